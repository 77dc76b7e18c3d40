//! Softmax attention and its gradients.

use crate::doctor::{Case, Recorder, Scale};
use crate::error::Result;
use crate::kernels::attention::{self, Attention, AttentionGradient, Heads, Mask};
use crate::random::{Purpose, Stream};
use crate::tensor::TensorId;

/// The mask of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Masked {
    No,
    Causal,
    Bias,
    BiasAndPadding,
}

/// A case's shapes. Streams are (tokens, whether they ask).
#[derive(Debug, Clone)]
struct Shapes {
    batch: usize,
    heads: usize,
    dim: usize,
    streams: Vec<(usize, bool)>,
    masked: Masked,
    /// Deviation of queries and keys: from 3 on the softmax is nearly one-hot, and its largest score moves from tile
    /// to tile.
    deviation: f32,
    /// Columns of qkv that belong to nothing.
    others: usize,
    /// Whether the gradients are made too.
    backward: bool,
    /// Whether activations are kept in f32.
    exact: bool,
}

impl Default for Shapes {
    fn default() -> Self {
        Self {
            batch: 1,
            heads: 1,
            dim: 64,
            streams: vec![(64, true)],
            masked: Masked::No,
            deviation: 1.0,
            others: 0,
            backward: true,
            exact: false,
        }
    }
}

/// Gradients lose digits where dP and delta cancel; delta comes from the rounded O.
const TOLERANCE: f64 = 1e-2;

/// Where activations are kept in f32.
const EXACT_TOLERANCE: f64 = 1e-5;

/// All cases.
pub fn cases() -> Vec<Case> {
    let all = [joint(), one_stream(), widths(), masked(), drawn(), exact()].into_iter().flatten();
    all.map(small)
        .chain(real().into_iter().map(|named| Case { scale: Scale::Real, ..small(named) }))
        .collect()
}

type Named = (String, Shapes);

fn named(name: impl Into<String>, shapes: Shapes) -> Named {
    (name.into(), shapes)
}

/// One stream of every length around a tile.
fn one_stream() -> Vec<Named> {
    let lengths = [1, 15, 31, 32, 33, 63, 64, 65, 127, 128, 129, 193, 257];
    let case = |tokens: usize| {
        named(format!("tokens {tokens}"), Shapes { streams: vec![(tokens, true)], ..Shapes::default() })
    };
    lengths.map(case).into()
}

/// Two streams of odd lengths, with and without queries of the second (or the first), several samples and heads.
fn joint() -> Vec<Named> {
    let both = |image, text| vec![(image, true), (text, true)];
    let default = Shapes::default;
    vec![
        named("image 65, text 63", Shapes { streams: both(65, 63), ..default() }),
        named("image 129, text 1", Shapes { streams: both(129, 1), ..default() }),
        named("image 1, text 131", Shapes { streams: both(1, 131), ..default() }),
        named("samples, heads", Shapes { batch: 3, heads: 3, streams: both(77, 45), ..default() }),
        named("no text queries", Shapes { streams: vec![(130, true), (67, false)], heads: 2, ..default() }),
        named("no image queries", Shapes { streams: vec![(67, false), (130, true)], heads: 2, ..default() }),
        named("peaked", Shapes { streams: both(200, 65), deviation: 3.0, ..default() }),
        named("other columns", Shapes { streams: both(33, 9), others: 64, ..default() }),
        named(
            "other columns, no text queries",
            Shapes { streams: vec![(33, true), (9, false)], others: 128, batch: 2, ..default() },
        ),
    ]
}

/// Heads of every width, aligned to sixteen bytes or not.
fn widths() -> Vec<Named> {
    let dims = [1, 3, 8, 12, 16, 24, 40, 72, 100, 128, 136, 260, 512];
    let case = |dim: usize| {
        let streams = vec![(70, true), (33, true)];
        let shapes = Shapes { dim, heads: 2, streams, backward: dim <= 128, ..Shapes::default() };
        named(format!("dim {dim}"), shapes)
    };
    dims.map(case).into()
}

/// CLIP's and T5's masks at several widths and lengths.
fn masked() -> Vec<Named> {
    let masks = [
        (Masked::Causal, "causal"),
        (Masked::Bias, "relative bias"),
        (Masked::BiasAndPadding, "relative bias, padding"),
    ];
    let mut cases = Vec::new();
    for (masked, mask) in masks {
        for (dim, tokens) in
            [(64, 77), (64, 1), (16, 129), (64, 300), (12, 65), (128, 130), (512, 65), (300, 70)]
        {
            let streams = vec![(tokens, true)];
            let shapes =
                Shapes { batch: 2, heads: 2, dim, streams, masked, backward: false, ..Shapes::default() };
            cases.push(named(format!("{mask}, dim {dim}, tokens {tokens}"), shapes));
        }
    }
    cases
}

/// Activations in f32, as frozen encoders keep them.
fn exact() -> Vec<Named> {
    let default = || Shapes { exact: true, backward: false, batch: 2, heads: 2, ..Shapes::default() };
    let mut cases = vec![
        named("exact, image 65, text 63", Shapes { streams: vec![(65, true), (63, true)], ..default() }),
        named("exact, no image queries", Shapes { streams: vec![(67, false), (130, true)], ..default() }),
        named("exact, peaked", Shapes { streams: vec![(200, true)], deviation: 3.0, ..default() }),
        named("exact, other columns", Shapes { streams: vec![(33, true)], others: 3, ..default() }),
    ];
    for (dim, tokens) in [(1, 1), (3, 33), (40, 64), (65, 70), (300, 31), (512, 65)] {
        let streams = vec![(tokens, true)];
        cases.push(named(
            format!("exact, dim {dim}, tokens {tokens}"),
            Shapes { dim, streams, heads: 1, ..default() },
        ));
    }
    for masked in [Masked::Causal, Masked::Bias, Masked::BiasAndPadding] {
        for (dim, tokens) in [(64, 77), (12, 300), (128, 65)] {
            let streams = vec![(tokens, true)];
            let shapes = Shapes { dim, streams, masked, ..default() };
            cases.push(named(format!("exact, {masked:?}, dim {dim}, tokens {tokens}"), shapes));
        }
    }
    cases
}

/// Shapes that nobody thought of.
fn drawn() -> Vec<Named> {
    let draws = Stream::new(1, Purpose::Noise, 0, 0, 0);
    let case = |index: usize| {
        let mut element = 16 * index..;
        let mut below = |bound| draws.below(element.next().unwrap_or_default(), bound);
        let (batch, heads, dim) = (1 + below(2), 1 + below(3), 1 + below(128));
        let streams = vec![(1 + below(200), true), (1 + below(100), below(3) > 0)];
        let name = format!("drawn: {batch} samples, {heads} heads of {dim}, tokens {streams:?}");
        named(name, Shapes { batch, heads, dim, streams, ..Shapes::default() })
    };
    (0..10).map(case).collect()
}

/// The shapes of SD3.5 and its encoders.
fn real() -> Vec<Named> {
    let joint =
        |heads, image| Shapes { heads, streams: vec![(image, true), (333, true)], ..Shapes::default() };
    let last = |heads| Shapes { heads, streams: vec![(4096, true), (333, false)], ..Shapes::default() };
    let encoder = |heads, dim, tokens, masked| Shapes {
        heads,
        dim,
        streams: vec![(tokens, true)],
        masked,
        backward: false,
        ..Shapes::default()
    };
    let shapes = [
        ("large.joint.b1", joint(38, 4096)),
        ("large.joint.last.b1", last(38)),
        ("medium.joint.b1", joint(24, 4096)),
        ("medium.joint.b4", Shapes { batch: 4, ..joint(24, 4096) }),
        ("medium.dual.b1", Shapes { heads: 24, streams: vec![(4096, true)], ..Shapes::default() }),
        ("vae.1024", encoder(1, 512, 16384, Masked::No)),
        ("t5.256", encoder(64, 64, 256, Masked::BiasAndPadding)),
        ("clip_l.77", encoder(12, 64, 77, Masked::Causal)),
        ("clip_g.77", encoder(20, 64, 77, Masked::Causal)),
    ];
    let mut cases = Vec::new();
    for (name, shapes) in shapes {
        let forward = Shapes { backward: false, ..shapes.clone() };
        cases.push(named(format!("{name}.forward"), forward));
        if shapes.backward {
            cases.push(named(format!("{name}.forward_backward"), shapes));
        }
    }
    cases
}

fn small((name, shapes): Named) -> Case {
    let tolerance = if shapes.exact { EXACT_TOLERANCE } else { TOLERANCE };
    Case::small("attention", name, move |recorder| record(recorder, &shapes)).within(tolerance)
}

/// Records attention, and its gradients if wanted.
fn record(recorder: &mut Recorder, shapes: &Shapes) -> Result<()> {
    let Shapes { batch, heads, dim, deviation, .. } = *shapes;
    let width = heads * dim;
    if shapes.exact {
        recorder.program.keep_exact();
    }
    let (mut streams, mut outs, mut douts, mut dqkvs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut queries = 0;
    for (index, &(tokens, asks)) in shapes.streams.iter().enumerate() {
        let parts = if asks { 3 } else { 2 };
        let extents = [batch, tokens, parts * width + shapes.others];
        let name = format!("qkv {index}");
        let qkv = if shapes.exact {
            recorder.exact(&name, extents, deviation)
        } else {
            recorder.normal(&name, extents, deviation)
        };
        let q = asks.then_some(0);
        streams.push(attention::Stream { qkv, q, k: (parts - 2) * width, v: (parts - 1) * width });
        dqkvs.push(recorder.program.activation(format!("dqkv {index}"), extents));
        if asks {
            outs.push(recorder.program.activation(format!("o {index}"), [batch, tokens, width]));
            douts.push(recorder.normal(&format!("do {index}"), [batch, tokens, width], 1.0));
            queries += tokens;
        }
    }
    let lse = recorder.program.activation("lse", [batch, heads, queries]);
    let mask = mask(recorder, shapes);
    let scale = (dim as f32).sqrt().recip();
    let heads = Heads { count: heads, dim, scale };
    let forward = Attention { streams: streams.clone(), heads: heads.clone(), mask, lse, outs: outs.clone() };
    recorder.program.launch(forward)?;
    outs.iter().chain([&lse]).for_each(|&id| recorder.output(id));
    if shapes.backward {
        let dqkvs_out = dqkvs.clone();
        recorder.program.launch(AttentionGradient { streams, heads, lse, outs, douts, dqkvs })?;
        dqkvs_out.into_iter().for_each(|id| recorder.output(id));
    }
    Ok(())
}

/// The mask, with its operands.
fn mask(recorder: &mut Recorder, shapes: &Shapes) -> Mask {
    const BUCKETS: usize = 32;
    let padded = shapes.masked == Masked::BiasAndPadding;
    match shapes.masked {
        Masked::No => Mask::None,
        Masked::Causal => Mask::Causal,
        Masked::Bias | Masked::BiasAndPadding => {
            let table = recorder.weight("bias", [BUCKETS, shapes.heads], 1.0);
            let ids = padded.then(|| padded_ids(recorder, shapes));
            Mask::RelativeBias { table, ids }
        }
    }
}

/// Ids of which each sample's last third is padding.
fn padded_ids(recorder: &mut Recorder, shapes: &Shapes) -> TensorId {
    let tokens = shapes.streams[0].0;
    let id = |at: usize| if at % tokens < tokens.div_ceil(3) * 2 { 5 } else { 0 };
    let ids = (0..shapes.batch * tokens).map(id).collect();
    recorder.ids("ids", [shapes.batch, tokens], ids)
}
