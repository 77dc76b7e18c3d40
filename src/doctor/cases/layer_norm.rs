//! LayerNorm with modulation and its gradients; LayerNorm and RMSNorm with gains.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::layer_norm::{
    LayerNormModulate, LayerNormModulateGradient, Modulation, ModulationGradient,
};
use crate::kernels::layer_norm_affine::LayerNormAffine;
use crate::kernels::rms_norm::RmsNorm;
use crate::tensor::TensorId;

/// Samples, tokens of a sample, columns.
type Extents = [usize; 3];

/// What a case records at some extents.
type Part = fn(&mut Recorder, Extents) -> Result<()>;

/// Every part, by name.
const PARTS: [(&str, Part); 6] = [
    ("forward", |recorder, extents| forward(recorder, extents, rows)),
    ("forward of f32", |recorder, extents| forward(recorder, extents, exact_rows)),
    ("gradient", |recorder, extents| gradient(recorder, extents, false)),
    ("gradient added", |recorder, extents| gradient(recorder, extents, true)),
    ("modulation gradient", |recorder, extents| modulation_gradient(recorder, extents, false)),
    ("modulation gradient added", |recorder, extents| modulation_gradient(recorder, extents, true)),
];

/// Rows at every edge: one column, less than a vector, a vector, ends of forms, no multiple of a vector, beyond the
/// widest form; odd tokens, several samples, several bands.
const SMALL: [Extents; 13] = [
    [1, 1, 1],
    [2, 5, 3],
    [1, 3, 7],
    [3, 7, 8],
    [2, 9, 24],
    [2, 131, 64],
    [1, 3, 512],
    [2, 3, 520],
    [1, 2, 771],
    [2, 5, 1536],
    [2, 3, 2432],
    [1, 2, 2568],
    [1, 3, 4096],
];

/// All cases of LayerNorm with modulation.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, part) in PARTS {
        for extents in SMALL {
            let case = move |recorder: &mut Recorder| part(recorder, extents);
            cases.push(Case::small("layer_norm", format!("{name}, {extents:?}"), case));
        }
    }
    let real = [("large.image.b1", [1, 4096, 2432]), ("medium.image.b4", [4, 4096, 1536])];
    for (name, part) in PARTS {
        for (shape, extents) in real {
            let case = move |recorder: &mut Recorder| part(recorder, extents);
            cases.push(Case::real("layer_norm", format!("{shape}.{}", name.replace(' ', "_")), case));
        }
    }
    cases
}

/// Rows whose mean is far larger than their spread.
fn rows(recorder: &mut Recorder, extents: Extents) -> TensorId {
    recorder.input("x", extents, |draw| 3.0 + 0.1 * draw)
}

/// The same in f32.
fn exact_rows(recorder: &mut Recorder, extents: Extents) -> TensorId {
    recorder.exact_input("x", extents, |draw| 3.0 + 0.1 * draw)
}

/// Shift and scale among three chunks.
fn modulation(recorder: &mut Recorder, [samples, _, columns]: Extents) -> Modulation {
    let vectors = recorder.exact("vectors", [samples, 3 * columns], 0.5);
    Modulation { vectors, shift: 2, scale: 0 }
}

fn forward(
    recorder: &mut Recorder,
    extents: Extents,
    rows: fn(&mut Recorder, Extents) -> TensorId,
) -> Result<()> {
    let (x, modulation) = (rows(recorder, extents), modulation(recorder, extents));
    let y = recorder.program.activation("y", extents);
    recorder.program.launch(LayerNormModulate { x, modulation, y })?;
    recorder.output(y);
    Ok(())
}

fn gradient(recorder: &mut Recorder, extents: Extents, adds: bool) -> Result<()> {
    let (x, modulation) = (rows(recorder, extents), modulation(recorder, extents));
    let dy = recorder.normal("dy", extents, 1.0);
    let from = adds.then(|| recorder.normal("dx before", extents, 1.0));
    let to = recorder.program.activation("dx", extents);
    let dx = Update { from, to };
    recorder.program.launch(LayerNormModulateGradient { x, modulation, dy, dx })?;
    recorder.output(to);
    Ok(())
}

fn modulation_gradient(recorder: &mut Recorder, extents: Extents, adds: bool) -> Result<()> {
    let (x, modulation) = (rows(recorder, extents), modulation(recorder, extents));
    let dy = recorder.normal("dy", extents, 1.0);
    let shape = [extents[0], 3 * extents[2]];
    let from = adds.then(|| recorder.normal("dvectors before", shape, 1.0));
    let to = recorder.program.activation("dvectors", shape);
    let dvectors = Update { from, to };
    recorder.program.launch(ModulationGradient { x, modulation, dy, dvectors })?;
    recorder.output(to);
    Ok(())
}

/// Rows of f32: aligned and not.
const EXACT: [Extents; 3] = [[1, 3, 7], [2, 5, 64], [1, 3, 771]];

/// All cases of LayerNorm with gain and bias.
pub fn affine_cases() -> Vec<Case> {
    let mut cases: Vec<_> = SMALL
        .map(|extents| {
            Case::small("layer_norm_affine", format!("{extents:?}"), move |recorder| {
                affine(recorder, extents)
            })
        })
        .into();
    cases.extend(EXACT.map(|extents| {
        let case = move |recorder: &mut Recorder| affine(recorder, extents);
        Case::small("layer_norm_affine", format!("{extents:?}"), case).exactly()
    }));
    cases.push(Case::real("layer_norm_affine", "clip_g.b1", |recorder| affine(recorder, [1, 77, 1280])));
    cases
}

fn affine(recorder: &mut Recorder, extents: Extents) -> Result<()> {
    let x = rows(recorder, extents);
    let (gain, bias) =
        (recorder.weight("gain", [extents[2]], 1.0), recorder.weight("bias", [extents[2]], 1.0));
    let y = recorder.program.activation("y", extents);
    recorder.program.launch(LayerNormAffine { x, gain, bias, epsilon: 1e-5, y })?;
    recorder.output(y);
    Ok(())
}

/// All cases of RMSNorm.
pub fn rms_cases() -> Vec<Case> {
    let mut cases: Vec<_> = SMALL
        .map(|extents| {
            Case::small("rms_norm", format!("{extents:?}"), move |recorder| rms(recorder, extents))
        })
        .into();
    cases.extend(EXACT.map(|extents| {
        let case = move |recorder: &mut Recorder| rms(recorder, extents);
        Case::small("rms_norm", format!("{extents:?}"), case).exactly()
    }));
    cases.push(Case::real("rms_norm", "t5.b1", |recorder| rms(recorder, [1, 256, 4096])));
    cases
}

fn rms(recorder: &mut Recorder, extents: Extents) -> Result<()> {
    let x = recorder.normal("x", extents, 2.0);
    let gain = recorder.weight("gain", [extents[2]], 1.0);
    let y = recorder.program.activation("y", extents);
    recorder.program.launch(RmsNorm { x, gain, epsilon: 1e-6, y })?;
    recorder.output(y);
    Ok(())
}
