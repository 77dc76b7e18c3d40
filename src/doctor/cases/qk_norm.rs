//! RMSNorm of queries and keys, and its gradients.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::qk_norm::{Part, QkNorm, QkNormGradient, QkNormWeightGradient};
use crate::tensor::TensorId;

/// Fused queries, keys and values.
#[derive(Debug, Clone, Copy)]
struct Heads {
    rows: usize,
    heads: usize,
    head_dim: usize,
}

impl Heads {
    fn part(self) -> usize {
        self.heads * self.head_dim
    }

    fn shape(self) -> [usize; 2] {
        [self.rows, 3 * self.part()]
    }
}

/// Normalises queries and keys, or keys alone.
type Record = fn(&mut Recorder, Heads, bool) -> Result<()>;

const PARTS: [(&str, Record); 3] =
    [("forward", forward), ("gradient", gradient), ("weight gradient", weight_gradient)];

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, record) in PARTS {
        for head_dim in [3, 7, 8, 24, 32, 40, 64, 96, 128, 160] {
            let case = move |recorder: &mut Recorder| {
                record(recorder, Heads { rows: 5, heads: 3, head_dim }, true)?;
                record(recorder, Heads { rows: 1, heads: 1, head_dim }, false)
            };
            cases.push(Case::small("qk_norm", format!("{name}, head dim {head_dim}"), case));
        }
        for (shape, rows, heads) in [("large.image.b1", 4096, 38), ("medium.image.b4", 16384, 24)] {
            let heads = Heads { rows, heads, head_dim: 64 };
            let case = move |recorder: &mut Recorder| record(recorder, heads, true);
            cases.push(Case::real("qk_norm", format!("{shape}.{}", name.replace(' ', "_")), case));
        }
    }
    let many = Heads { rows: 57, heads: 5, head_dim: 16 };
    let case = move |recorder: &mut Recorder| weight_gradient(recorder, many, true);
    cases.push(Case::small("qk_norm", "weight gradient, many bands", case));
    cases
}

fn parts(recorder: &mut Recorder, heads: Heads, queries: bool) -> Vec<Part> {
    let first = if queries { 0 } else { heads.part() };
    let firsts = (first..=heads.part()).step_by(heads.part());
    let mut gain = |first| {
        let weight = recorder.input("gain", [heads.head_dim], |draw| 1.0 + 0.3 * draw);
        Part { first, weight }
    };
    firsts.map(&mut gain).collect()
}

fn forward(recorder: &mut Recorder, heads: Heads, queries: bool) -> Result<()> {
    let parts = parts(recorder, heads, queries);
    let qkv = recorder.normal("qkv", heads.shape(), 2.0);
    let to = recorder.program.activation("qkv normalised", heads.shape());
    let qkv = Update { from: Some(qkv), to };
    recorder.program.launch(QkNorm { parts, heads: heads.heads, qkv })?;
    recorder.output(to);
    Ok(())
}

fn gradient(recorder: &mut Recorder, heads: Heads, queries: bool) -> Result<()> {
    let parts = parts(recorder, heads, queries);
    let qkv = recorder.normal("qkv", heads.shape(), 2.0);
    let dqkv = recorder.normal("dqkv before", heads.shape(), 1.0);
    let to = recorder.program.activation("dqkv", heads.shape());
    let dqkv = Update { from: Some(dqkv), to };
    recorder.program.launch(QkNormGradient { parts, heads: heads.heads, qkv, dqkv })?;
    recorder.output(to);
    Ok(())
}

/// The gradient of the keys' gain; with queries, theirs is added to it.
fn weight_gradient(recorder: &mut Recorder, heads: Heads, queries: bool) -> Result<()> {
    let parts = parts(recorder, heads, queries);
    let qkv = recorder.normal("qkv", heads.shape(), 2.0);
    let dqkv = recorder.normal("dqkv", heads.shape(), 1.0);
    let mut before: Option<TensorId> = None;
    for part in parts {
        let to = recorder.program.activation("dweight", [heads.head_dim]);
        let dweight = Update { from: before, to };
        recorder.program.launch(QkNormWeightGradient { part, heads: heads.heads, qkv, dqkv, dweight })?;
        before = Some(to);
    }
    before.into_iter().for_each(|id| recorder.output(id));
    Ok(())
}
