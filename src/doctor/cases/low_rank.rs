//! The low-rank side of adapters, with and without dropout.

use super::linear::{Extents, Kind, dy, hidden, terms};
use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::linear::Change;
use crate::kernels::low_rank::{
    Down, Dropout, LowRankDown, LowRankDownGradient, LowRankHiddenGradient, LowRankInputGradient,
    LowRankUpGradient,
};
use crate::kernels::step_state::{SampleState, StepHeader};
use crate::tensor::TensorId;
use bytemuck::Zeroable;

/// Ranks and rows around every edge; few long sums and many short ones.
const SMALL: [Extents; 9] = [
    Extents { rows: [1, 1], inputs: 1, outputs: 1, ranks: &[1] },
    Extents { rows: [1, 63], inputs: 64, outputs: 192, ranks: &[16, 16, 16] },
    Extents { rows: [2, 65], inputs: 40, outputs: 129, ranks: &[1, 63] },
    Extents { rows: [1, 129], inputs: 72, outputs: 260, ranks: &[64, 8, 65] },
    Extents { rows: [3, 43], inputs: 127, outputs: 65, ranks: &[5] },
    Extents { rows: [1, 1030], inputs: 65, outputs: 96, ranks: &[127] },
    Extents { rows: [2, 64], inputs: 1288, outputs: 1300, ranks: &[32, 8] },
    Extents { rows: [1, 70], inputs: 16, outputs: 90, ranks: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
    Extents { rows: [1, 200], inputs: 264, outputs: 328, ranks: &[136] },
];

/// SD3.5 at 1024 x 1024.
const REAL: [(&str, Extents); 4] = [
    ("large.image.qkv.b1", Extents { rows: [1, 4096], inputs: 2432, outputs: 7296, ranks: &[64, 64, 64] }),
    (
        "large.image.qkv.r768.b1",
        Extents { rows: [1, 4096], inputs: 2432, outputs: 7296, ranks: &[768, 768, 768] },
    ),
    ("large.text.out.b1", Extents { rows: [1, 333], inputs: 2432, outputs: 2432, ranks: &[128] }),
    ("medium.image.qkv.b4", Extents { rows: [4, 4096], inputs: 1536, outputs: 4608, ranks: &[64, 64, 64] }),
];

/// What a case records.
type Part = fn(&mut Recorder, Extents, bool) -> Result<()>;

/// Every part, by name; those with a mask are recorded with and without.
const MASKED: [(&str, Part); 5] = [
    ("down", |recorder, at, drops| down(recorder, at, drops, 1)),
    ("down in two", |recorder, at, drops| down(recorder, at, drops, 2)),
    ("dx", |recorder, at, drops| input_gradient(recorder, at, drops, false)),
    ("dx added", |recorder, at, drops| input_gradient(recorder, at, drops, true)),
    ("da", down_gradient),
];
const UNMASKED: [(&str, Part); 3] = [
    ("dh", |recorder, at, _| hidden_gradient(recorder, at, Kind::LowRank)),
    ("dh scaled", |recorder, at, _| hidden_gradient(recorder, at, Kind::LowRankScaled)),
    ("db", |recorder, at, _| up_gradient(recorder, at)),
];

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |what: String, part: Part, drops: bool| {
        for at in SMALL {
            let Extents { rows: [samples, tokens], inputs, outputs, ranks } = at;
            let name = format!("{what}, m {samples} x {tokens}, n {outputs}, k {inputs}, ranks {ranks:?}");
            // Roundings of adapters that are added one after another, or of a scaled dY.
            let tolerance = if drops || what.contains("scaled") { 8e-3 } else { 4e-3 };
            let case = Case::small("low_rank", name, move |recorder| part(recorder, at, drops));
            cases.push(case.within(tolerance));
        }
        for (shape, at) in REAL {
            let name = format!("{shape}.{}", what.replace([' ', ','], "_"));
            let case = Case::real("low_rank", name, move |recorder| part(recorder, at, drops));
            cases.push(case.within(8e-3));
        }
    };
    for (what, part) in MASKED {
        add(what.to_owned(), part, false);
        add(format!("{what} dropped"), part, true);
    }
    for (what, part) in UNMASKED {
        add(what.to_owned(), part, false);
    }
    cases
}

fn dropout(recorder: &mut Recorder, at: Extents, drops: bool) -> Option<Dropout> {
    drops.then(|| {
        let header = StepHeader { seed: [7, 9], step: 3, first_sample: 2, ..StepHeader::zeroed() };
        let state = recorder.step_state(header, vec![SampleState::zeroed(); at.rows[0]]);
        Dropout { probability: 0.3, state, rows_a_sample: at.rows[1] }
    })
}

fn x(recorder: &mut Recorder, at: Extents) -> TensorId {
    recorder.normal("x", [at.rows[0], at.rows[1], at.inputs], 1.0)
}

fn downs(recorder: &mut Recorder, at: Extents) -> Vec<Down> {
    let deviation = 1.0 / (at.inputs as f32).sqrt();
    let down = |(hidden, adapter): (std::ops::Range<usize>, u32)| Down {
        a: recorder.normal("a", [hidden.len(), at.inputs], deviation),
        hidden,
        adapter: 40 + adapter,
    };
    at.hidden().into_iter().zip(0..).map(down).collect()
}

fn dhidden(recorder: &mut Recorder, at: Extents) -> TensorId {
    recorder.normal("dh", [at.rows[0], at.rows[1], at.ranks.iter().sum()], 1.0)
}

/// H with so many adapters that add up in every range of its columns.
fn down(recorder: &mut Recorder, at: Extents, drops: bool, addends: usize) -> Result<()> {
    let (x, dropout) = (x(recorder, at), dropout(recorder, at, drops));
    let downs = (0..addends).flat_map(|_| downs(recorder, at)).collect();
    let hidden = recorder.program.activation("h", [at.rows[0], at.rows[1], at.ranks.iter().sum()]);
    recorder.program.launch(LowRankDown { downs, dropout, x, hidden })?;
    recorder.output(hidden);
    Ok(())
}

fn input_gradient(recorder: &mut Recorder, at: Extents, drops: bool, adds: bool) -> Result<()> {
    let (dhidden, downs) = (dhidden(recorder, at), downs(recorder, at));
    let dropout = dropout(recorder, at, drops);
    let shape = [at.rows[0], at.rows[1], at.inputs];
    let from = adds.then(|| recorder.normal("dx before", shape, 1.0));
    let to = recorder.program.activation("dx", shape);
    let dx = Update { from, to };
    recorder.program.launch(LowRankInputGradient { downs, dropout, dhidden, dx })?;
    recorder.output(to);
    Ok(())
}

fn down_gradient(recorder: &mut Recorder, at: Extents, drops: bool) -> Result<()> {
    let (x, dhidden, downs) = (x(recorder, at), dhidden(recorder, at), downs(recorder, at));
    let dropout = dropout(recorder, at, drops);
    let mut da = Vec::new();
    for (index, down) in downs.iter().enumerate() {
        let shape = [down.hidden.len(), at.inputs];
        let from = (index % 2 == 1).then(|| recorder.normal("da before", shape, 1.0));
        let to = recorder.program.activation(format!("da{index}"), shape);
        da.push(Update { from, to });
    }
    let outputs: Vec<_> = da.iter().map(|update| update.to).collect();
    recorder.program.launch(LowRankDownGradient { downs, dropout, x, dhidden, da })?;
    outputs.into_iter().for_each(|id| recorder.output(id));
    Ok(())
}

fn hidden_gradient(recorder: &mut Recorder, at: Extents, kind: Kind) -> Result<()> {
    let (dy, terms) = (dy(recorder, at), terms(recorder, at, kind));
    let dhidden = recorder.program.activation("dh", [at.rows[0], at.rows[1], at.ranks.iter().sum()]);
    recorder.program.launch(LowRankHiddenGradient { terms, dy, dhidden })?;
    recorder.output(dhidden);
    Ok(())
}

fn up_gradient(recorder: &mut Recorder, at: Extents) -> Result<()> {
    let (dy, terms) = (dy(recorder, at), terms(recorder, at, Kind::LowRankScaled));
    let Some(hidden) = hidden(recorder, at) else { return Ok(()) };
    let mut db = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let Change::LowRank { hidden, .. } = &term.change else { continue };
        let shape = [term.columns.len(), hidden.len()];
        let from = (index % 2 == 1).then(|| recorder.normal("db before", shape, 1.0));
        let to = recorder.program.activation(format!("db{index}"), shape);
        db.push(Update { from, to });
    }
    let outputs: Vec<_> = db.iter().map(|update| update.to).collect();
    recorder.program.launch(LowRankUpGradient { terms, hidden, dy, db })?;
    outputs.into_iter().for_each(|id| recorder.output(id));
    Ok(())
}
