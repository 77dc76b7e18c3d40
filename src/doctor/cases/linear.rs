//! Linear layers with adapters, their epilogues and gradients.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::activation::Activation;
use crate::kernels::gated_residual::Gate;
use crate::kernels::linear::{
    Base, Change, Epilogue, Linear, LinearInputGradient, LinearWeightGradient, OutputScaleGradient, Term,
};
use crate::kernels::low_rank::{Down, LowRankSide};
use crate::kernels::qk_norm::Part;
use crate::tensor::TensorId;
use std::ops::Range;

/// A layer to try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extents {
    /// Samples, tokens of a sample.
    pub(super) rows: [usize; 2],
    /// Columns of X.
    pub(super) inputs: usize,
    /// Columns of Y.
    pub(super) outputs: usize,
    /// Ranks of the adapters.
    pub(super) ranks: &'static [usize],
}

const fn extents(rows: usize, outputs: usize, inputs: usize) -> Extents {
    Extents { rows: [1, rows], inputs, outputs, ranks: &[] }
}

/// Around every multiple of a tile, rows that start where no vector does, and products of several large tiles.
const EDGES: [Extents; 12] = [
    extents(1, 1, 1),
    extents(63, 65, 127),
    extents(64, 64, 64),
    extents(65, 63, 33),
    extents(127, 129, 31),
    extents(128, 128, 32),
    extents(129, 127, 65),
    extents(5, 300, 8),
    extents(300, 5, 24),
    extents(257, 513, 40),
    extents(384, 768, 64),
    extents(2, 72, 1000),
];

/// Adapters of several ranks over neighbouring ranges of columns, none a multiple of a tile.
const ADAPTED: [Extents; 7] = [
    Extents { rows: [1, 1], inputs: 3, outputs: 5, ranks: &[1] },
    Extents { rows: [1, 63], inputs: 64, outputs: 192, ranks: &[16, 16, 16] },
    Extents { rows: [2, 65], inputs: 40, outputs: 129, ranks: &[1, 63] },
    Extents { rows: [1, 130], inputs: 72, outputs: 260, ranks: &[64, 8, 129] },
    Extents { rows: [3, 43], inputs: 127, outputs: 65, ranks: &[5] },
    Extents { rows: [1, 257], inputs: 64, outputs: 640, ranks: &[32, 65] },
    Extents { rows: [1, 64], inputs: 64, outputs: 64, ranks: &[1024] },
];

/// SD3.5 at 1024 x 1024.
const REAL: [(&str, Extents); 9] = [
    ("large.image.qkv.b1", Extents { rows: [1, 4096], inputs: 2432, outputs: 7296, ranks: &[64, 64, 64] }),
    (
        "large.image.qkv.r768.b1",
        Extents { rows: [1, 4096], inputs: 2432, outputs: 7296, ranks: &[768, 768, 768] },
    ),
    ("large.text.qkv.b1", Extents { rows: [1, 333], inputs: 2432, outputs: 7296, ranks: &[64, 64, 64] }),
    ("large.image.out.b1", Extents { rows: [1, 4096], inputs: 2432, outputs: 2432, ranks: &[128] }),
    ("large.image.fc1.b1", Extents { rows: [1, 4096], inputs: 2432, outputs: 9728, ranks: &[128] }),
    ("large.image.fc2.b1", Extents { rows: [1, 4096], inputs: 9728, outputs: 2432, ranks: &[128] }),
    ("medium.image.qkv.b4", Extents { rows: [4, 4096], inputs: 1536, outputs: 4608, ranks: &[64, 64, 64] }),
    ("medium.image.fc1.b4", Extents { rows: [4, 4096], inputs: 1536, outputs: 6144, ranks: &[] }),
    ("medium.image.fc2.b4", Extents { rows: [4, 4096], inputs: 6144, outputs: 1536, ranks: &[] }),
];

/// What the adapters of a case are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    LowRank,
    LowRankScaled,
    /// Two that add up, the second with scales.
    LowRankInTwo,
    Effective,
    EffectiveScaled,
}

impl Extents {
    /// Columns of each adapter: neighbouring ranges of different widths, the first and last column free where there
    /// is room.
    pub(super) fn ranges(&self) -> Vec<Range<usize>> {
        let count = self.ranks.len();
        let margin = usize::from(self.outputs > 2 * count && !self.outputs.is_multiple_of(64));
        let inner = self.outputs - 2 * margin;
        let cut = |i: usize| margin + i * inner / count;
        (0..count).map(|i| cut(i)..cut(i + 1)).collect()
    }

    /// Columns of H that each adapter has.
    pub(super) fn hidden(&self) -> Vec<Range<usize>> {
        let end = |i: usize| self.ranks[..i].iter().sum::<usize>();
        (0..self.ranks.len()).map(|i| end(i)..end(i + 1)).collect()
    }

    fn name(&self) -> String {
        let Self { rows: [samples, tokens], inputs, outputs, ranks } = self;
        let ranks = if ranks.is_empty() { String::new() } else { format!(", ranks {ranks:?}") };
        format!("m {samples} x {tokens}, n {outputs}, k {inputs}{ranks}")
    }
}

/// W as a window of a larger weight, and a bias.
fn base(recorder: &mut Recorder, at: Extents) -> Base {
    let first = if at.inputs.is_multiple_of(2) { 8 } else { 3 };
    let rows = first..first + at.outputs;
    let deviation = 1.0 / (at.inputs as f32).sqrt();
    let weight = recorder.normal("w", [rows.end + 1, at.inputs], deviation);
    let bias = Some(recorder.normal("bias", [rows.end + 1], 0.5));
    Base { weight, rows, bias }
}

/// The adapters of a layer.
pub(super) fn terms(recorder: &mut Recorder, at: Extents, kind: Kind) -> Vec<Term> {
    if kind == Kind::LowRankInTwo {
        return [Kind::LowRank, Kind::LowRankScaled]
            .into_iter()
            .flat_map(|kind| terms(recorder, at, kind))
            .collect();
    }
    let ranges = at.ranges().into_iter().zip(at.hidden()).enumerate();
    let term = |(index, (columns, hidden)): (usize, (Range<usize>, Range<usize>))| {
        let change = match kind {
            Kind::LowRank | Kind::LowRankScaled | Kind::LowRankInTwo => {
                let deviation = 1.0 / (hidden.len() as f32).sqrt();
                let b = recorder.normal("b", [columns.len(), hidden.len()], deviation);
                Change::LowRank { hidden, b, scale: 0.7 + index as f32 }
            }
            Kind::Effective | Kind::EffectiveScaled => {
                let deviation = 1.0 / (at.inputs as f32).sqrt();
                Change::Effective { weight: recorder.normal("w", [columns.len(), at.inputs], deviation) }
            }
        };
        let scaled = matches!(kind, Kind::LowRankScaled | Kind::EffectiveScaled) && index % 2 == 0;
        let output_scale = scaled.then(|| recorder.input("scale", [columns.len()], |draw| 1.0 + 0.3 * draw));
        Term { columns, change, output_scale }
    };
    ranges.map(term).collect()
}

/// H, if there are ranks.
pub(super) fn hidden(recorder: &mut Recorder, at: Extents) -> Option<TensorId> {
    let ranks: usize = at.ranks.iter().sum();
    (ranks > 0).then(|| recorder.normal("h", [at.rows[0], at.rows[1], ranks], 1.0))
}

fn x(recorder: &mut Recorder, at: Extents) -> TensorId {
    recorder.normal("x", [at.rows[0], at.rows[1], at.inputs], 1.0)
}

pub(super) fn dy(recorder: &mut Recorder, at: Extents) -> TensorId {
    recorder.normal("dy", [at.rows[0], at.rows[1], at.outputs], 1.0)
}

/// What is tried of a layer's epilogue.
#[derive(Debug, Clone, Copy)]
enum Ending {
    None,
    Activate(Activation, bool),
    GatedResidual { keeps_y: bool, exact: bool },
    QkNorm(bool),
}

fn forward(recorder: &mut Recorder, at: Extents, kind: Kind, ending: Ending) -> Result<()> {
    let (x, base, terms) = (x(recorder, at), base(recorder, at), terms(recorder, at, kind));
    let is_effective = matches!(kind, Kind::Effective | Kind::EffectiveScaled);
    let hidden = hidden(recorder, at).filter(|_| !is_effective);
    let shape = [at.rows[0], at.rows[1], at.outputs];
    let y = recorder.program.activation("y", shape);
    let exact = matches!(ending, Ending::GatedResidual { exact: true, .. });
    let result = recorder.activation("result", shape, exact);
    let (epilogue, to) = match ending {
        Ending::None => (Epilogue::None, None),
        Ending::Activate(activation, keeps_y) => {
            (Epilogue::Activate { activation, to: result, keeps_y }, Some(result))
        }
        Ending::GatedResidual { keeps_y, .. } => {
            let gate = Gate { vectors: recorder.exact("gates", [at.rows[0], 3 * at.outputs], 0.5), chunk: 1 };
            let x = Update { from: Some(recorder.either("residual", shape, exact)), to: result };
            (Epilogue::GatedResidual { gate, x, keeps_y }, Some(result))
        }
        Ending::QkNorm(keeps_y) => {
            let mut gain = |name: &str| recorder.input(name, [64], |draw| 1.0 + 0.2 * draw);
            let heads = at.outputs / 64 / 3;
            let parts = ["q", "k"].into_iter().enumerate();
            let parts = parts.map(|(i, name)| Part { first: i * heads * 64, weight: gain(name) }).collect();
            (Epilogue::QkNorm { parts, heads, to: result, keeps_y }, Some(result))
        }
    };
    let keeps_y = epilogue.keeps_y();
    recorder.program.launch(Linear { base, terms, x, hidden, y, epilogue })?;
    to.into_iter().chain(keeps_y.then_some(y)).for_each(|id| recorder.output(id));
    Ok(())
}

fn input_gradient(recorder: &mut Recorder, at: Extents, kind: Kind, adds: bool, side: bool) -> Result<()> {
    let (dy, base, terms) = (dy(recorder, at), base(recorder, at), terms(recorder, at, kind));
    let low_rank = hidden(recorder, at).filter(|_| side).map(|dhidden| {
        let downs = at.hidden().into_iter().zip(0..).map(|(hidden, adapter)| {
            let a = recorder.normal("a", [hidden.len(), at.inputs], 1.0 / (hidden.len() as f32).sqrt());
            Down { a, hidden, adapter }
        });
        LowRankSide { downs: downs.collect(), dropout: None, dhidden }
    });
    let shape = [at.rows[0], at.rows[1], at.inputs];
    let from = adds.then(|| recorder.normal("dx before", shape, 1.0));
    let to = recorder.program.activation("dx", shape);
    let dx = Update { from, to };
    recorder.program.launch(LinearInputGradient { base, terms, dy, low_rank, dx })?;
    recorder.output(to);
    Ok(())
}

/// Gradients of what only some kinds of adapters have, for the first term.
fn weight_gradients(recorder: &mut Recorder, at: Extents, kind: Kind, adds: bool) -> Result<()> {
    let (x, dy, base) = (x(recorder, at), dy(recorder, at), base(recorder, at));
    let term = terms(recorder, at, kind).swap_remove(0);
    let hidden = hidden(recorder, at);
    if let Change::Effective { .. } = term.change {
        let shape = [term.columns.len(), at.inputs];
        let from = adds.then(|| recorder.normal("dw before", shape, 1.0));
        let to = recorder.program.activation("dw", shape);
        let dw = Update { from, to };
        recorder.program.launch(LinearWeightGradient { term: term.clone(), x, dy, dw })?;
        recorder.output(to);
    }
    let from = adds.then(|| recorder.normal("dscale before", [term.columns.len()], 1.0));
    let to = recorder.program.activation("dscale", [term.columns.len()]);
    let dscale = Update { from, to };
    recorder.program.launch(OutputScaleGradient { base, term, x, hidden, dy, dscale })?;
    recorder.output(to);
    Ok(())
}

/// A case at small extents.
fn small(
    at: Extents,
    what: &str,
    record: impl Fn(&mut Recorder, Extents) -> Result<()> + Send + Sync + 'static,
) -> Case {
    Case::small("linear", format!("{what}, {}", at.name()), move |recorder| record(recorder, at))
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for at in EDGES {
        cases.push(small(at, "forward", |r, at| forward(r, at, Kind::LowRank, Ending::None)));
        cases.push(small(at, "dx", |r, at| input_gradient(r, at, Kind::LowRank, false, false)));
        let at = Extents { ranks: &[1], ..at };
        cases.push(small(at, "dw", |r, at| weight_gradients(r, at, Kind::Effective, false)));
    }
    for at in ADAPTED {
        cases.extend(adapted(at));
    }
    cases.extend(endings());
    cases.extend(exact());
    for (name, at) in REAL {
        cases.extend(real(name, at));
    }
    cases
}

/// A layer of a frozen encoder, activations in f32: what is lost is what two bf16 leave of X.
fn exact() -> Vec<Case> {
    const TOLERANCE: f64 = 1e-5;
    let mut cases = Vec::new();
    for at in EDGES {
        let case = small(at, "exact", |r, at| exact_forward(r, at, None));
        cases.push(case.within(TOLERANCE));
    }
    use Activation::*;
    for activation in [GeluTanh, GeluErf, QuickGelu, Silu] {
        for at in [extents(70, 136, 72), extents(33, 67, 17)] {
            let record = move |r: &mut Recorder, at| exact_forward(r, at, Some(activation));
            cases.push(small(at, &format!("exact {activation:?}"), record).within(TOLERANCE));
        }
    }
    cases
}

fn exact_forward(recorder: &mut Recorder, at: Extents, activation: Option<Activation>) -> Result<()> {
    recorder.program.keep_exact();
    let x = recorder.exact("x", [at.rows[0], at.rows[1], at.inputs], 1.0);
    let first = if at.inputs.is_multiple_of(2) { 8 } else { 3 };
    let rows = first..first + at.outputs;
    let weight = recorder.weight("w", [rows.end + 1, at.inputs], 1.0 / (at.inputs as f32).sqrt());
    let bias = activation.map(|_| recorder.weight("bias", [rows.end + 1], 0.5));
    let shape = [at.rows[0], at.rows[1], at.outputs];
    let y = recorder.program.activation("y", shape);
    let (epilogue, to) = match activation {
        None => (Epilogue::None, y),
        Some(activation) => {
            let to = recorder.program.activation("result", shape);
            (Epilogue::Activate { activation, to, keeps_y: false }, to)
        }
    };
    let base = Base { weight, rows, bias };
    recorder.program.launch(Linear { base, terms: Vec::new(), x, hidden: None, y, epilogue })?;
    recorder.output(to);
    Ok(())
}

/// Every kind of adapter at some extents.
fn adapted(at: Extents) -> Vec<Case> {
    use Kind::*;
    let mut cases = Vec::new();
    for kind in [LowRank, LowRankScaled, Effective, EffectiveScaled] {
        let name = |what: &str| format!("{what}, {kind:?}");
        cases.push(small(at, &name("forward"), move |r, at| forward(r, at, kind, Ending::None)));
        // A scaled dY is rounded once more.
        let scaled = matches!(kind, LowRankScaled | EffectiveScaled);
        let tolerance = if scaled { 8e-3 } else { 4e-3 };
        let dx = small(at, &name("dx"), move |r, at| input_gradient(r, at, kind, false, false));
        let sum =
            small(at, &name("dx with dh a added"), move |r, at| input_gradient(r, at, kind, true, true));
        cases.extend([dx.within(tolerance), sum.within(tolerance)]);
        cases.push(small(at, &name("weight gradients"), move |r, at| weight_gradients(r, at, kind, false)));
    }
    let record = |r: &mut Recorder, at| forward(r, at, Kind::LowRankInTwo, Ending::None);
    cases.push(small(at, "forward, LowRankInTwo", record));
    cases.push(small(at, "weight gradients added", |r, at| weight_gradients(r, at, EffectiveScaled, true)));
    cases
}

/// Every epilogue.
fn endings() -> Vec<Case> {
    let at = [
        Extents { rows: [2, 33], inputs: 40, outputs: 192, ranks: &[16, 16, 16] },
        Extents { rows: [3, 50], inputs: 17, outputs: 67, ranks: &[5] },
        Extents { rows: [2, 150], inputs: 64, outputs: 576, ranks: &[] },
    ];
    let mut cases = Vec::new();
    for at in at {
        for keeps_y in [false, true] {
            let name = |what: &str| format!("{what}{}", if keeps_y { ", y kept" } else { "" });
            use Activation::*;
            for activation in [GeluTanh, GeluErf, QuickGelu, Silu] {
                let ending = Ending::Activate(activation, keeps_y);
                let what = name(&format!("{activation:?}"));
                cases.push(small(at, &what, move |r, at| forward(r, at, Kind::LowRank, ending)));
            }
            for (residual, exact) in [("gated residual", false), ("gated residual of f32", true)] {
                let ending = Ending::GatedResidual { keeps_y, exact };
                let record = move |r: &mut Recorder, at| forward(r, at, Kind::LowRankScaled, ending);
                let case = small(at, &name(residual), record);
                // Y is bf16.
                cases.push(if exact && !keeps_y { case.within(1e-5) } else { case });
            }
            if at.outputs.is_multiple_of(192) {
                let ending = Ending::QkNorm(keeps_y);
                cases.push(small(at, &name("qk norm"), move |r, at| forward(r, at, Kind::LowRank, ending)));
            }
        }
    }
    cases
}

/// A layer of SD3.5 as a step computes it.
fn real(name: &str, at: Extents) -> Vec<Case> {
    let case = |what: &str, record: fn(&mut Recorder, Extents) -> Result<()>| {
        Case::real("linear", format!("{name}.{what}"), move |recorder| record(recorder, at))
    };
    let mut cases = vec![
        case("forward", |r, at| forward(r, at, Kind::LowRank, Ending::None)),
        case("dx", |r, at| input_gradient(r, at, Kind::LowRank, false, true)),
    ];
    let frozen = Extents { ranks: &[], ..at };
    let record = move |recorder: &mut Recorder| forward(recorder, frozen, Kind::LowRank, Ending::None);
    cases.push(Case::real("linear", format!("{name}.frozen"), record));
    if name.contains("qkv") {
        cases.push(case("qk_norm", |r, at| forward(r, at, Kind::LowRank, Ending::QkNorm(true))));
    } else if name.contains("fc1") {
        let gelu = Ending::Activate(Activation::GeluTanh, true);
        let record = move |recorder: &mut Recorder| forward(recorder, at, Kind::LowRank, gelu);
        cases.push(Case::real("linear", format!("{name}.gelu"), record));
    } else {
        const STREAM: Ending = Ending::GatedResidual { keeps_y: false, exact: true };
        cases.push(case("gated_residual", |r, at| forward(r, at, Kind::LowRank, STREAM)));
    }
    cases
}
