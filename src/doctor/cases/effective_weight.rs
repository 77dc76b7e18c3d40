//! Effective weights of LoHa and LoKr, and the gradients of their factors.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::effective_weight::{EffectiveWeight, EffectiveWeightGradient, Factor, Join};
use crate::tensor::TensorId;

/// A factor's rows, columns, and rank where it is a product.
type Extents = (usize, usize, Option<usize>);

/// A layer to try.
#[derive(Debug, Clone, Copy)]
struct At {
    join: Join,
    factors: [Extents; 2],
}

const fn hadamard(rows: usize, columns: usize, rank: usize) -> At {
    At { join: Join::Hadamard, factors: [(rows, columns, Some(rank)); 2] }
}

const fn kronecker(first: Extents, second: Extents) -> At {
    At { join: Join::Kronecker, factors: [first, second] }
}

/// One element, odd extents, whole vectors, several tiles; all four sorts of Kronecker factors.
const SMALL: [At; 9] = [
    hadamard(1, 1, 1),
    hadamard(65, 33, 3),
    hadamard(72, 136, 8),
    hadamard(130, 264, 16),
    kronecker((1, 1, None), (1, 1, None)),
    kronecker((5, 6, None), (16, 8, Some(4))),
    kronecker((3, 5, Some(2)), (7, 9, None)),
    kronecker((8, 8, Some(3)), (24, 40, Some(8))),
    kronecker((2, 3, None), (37, 300, None)),
];

const REAL: [(&str, At); 3] = [
    ("large.attention.loha.r16", hadamard(2432, 2432, 16)),
    ("large.attention.lokr.factor16", kronecker((16, 16, None), (152, 152, None))),
    ("large.fc1.lokr.factor8.r64", kronecker((8, 8, None), (1216, 304, Some(64)))),
];

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, at) in SMALL.into_iter().enumerate() {
        let name = |part: &str| format!("{part}, {:?} {:?}", at.join, at.factors);
        let small = |name, record: fn(&mut Recorder, At, bool) -> Result<()>, adds| {
            Case::small("effective_weight", name, move |recorder| record(recorder, at, adds))
        };
        cases.push(small(name("weight"), |recorder, at, _| weight(recorder, at), false));
        // A factor and its gradient are rounded to bf16 on the way to the gradients of its matrices.
        cases.push(small(name("gradient"), gradient, index % 2 == 0).within(1e-2));
    }
    for (name, at) in REAL {
        let real = |part: &str, record: fn(&mut Recorder, At) -> Result<()>| {
            let record = move |recorder: &mut Recorder| record(recorder, at);
            Case::real("effective_weight", format!("{name}.{part}"), record).within(1e-2)
        };
        cases.push(real("weight", weight));
        cases.push(real("gradient", |recorder, at| gradient(recorder, at, true)));
    }
    cases
}

impl At {
    /// Rows and columns of the weight.
    fn weight(&self) -> (usize, usize) {
        let [first, second] = self.factors.map(|(rows, columns, _)| (rows, columns));
        self.join.extents(first, second).unwrap_or(first)
    }

    /// The factors, of values about as large as one.
    fn factors(&self, recorder: &mut Recorder) -> [Factor<TensorId>; 2] {
        self.factors.map(|(rows, columns, rank)| match rank {
            None => Factor::Whole(recorder.normal("factor", [rows, columns], 1.0)),
            Some(rank) => Factor::Product(
                recorder.normal("a", [rows, rank], 1.0 / (rank as f32).sqrt()),
                recorder.normal("b", [rank, columns], 1.0),
            ),
        })
    }
}

/// W as a window of a larger weight.
fn weight(recorder: &mut Recorder, at: At) -> Result<()> {
    let (rows, columns) = at.weight();
    let weight = recorder.normal("w", [rows + 9, columns], 1.0);
    let factors = at.factors(recorder);
    let to = recorder.program.activation("changed", [rows, columns]);
    let rows = 8..8 + rows;
    recorder.program.launch(EffectiveWeight { weight, rows, join: at.join, factors, scale: 0.7, to })?;
    recorder.output(to);
    Ok(())
}

fn gradient(recorder: &mut Recorder, at: At, adds: bool) -> Result<()> {
    let (rows, columns) = at.weight();
    let factors = at.factors(recorder);
    let dw = recorder.input("dw", [rows, columns], |draw| draw);
    let mut outputs = Vec::new();
    let mut update = |recorder: &mut Recorder, of: TensorId| {
        let shape = recorder.program.tensors[of.index()].shape.clone();
        let from = adds.then(|| recorder.input("before", shape.clone(), |draw| draw));
        let to = recorder.program.activation("gradient", shape);
        outputs.push(to);
        Update { from, to }
    };
    let gradients = factors.map(|factor| match factor {
        Factor::Whole(matrix) => Factor::Whole(update(recorder, matrix)),
        Factor::Product(a, b) => Factor::Product(update(recorder, a), update(recorder, b)),
    });
    recorder.program.launch(EffectiveWeightGradient { join: at.join, factors, scale: 0.7, dw, gradients })?;
    outputs.into_iter().for_each(|id| recorder.output(id));
    Ok(())
}
