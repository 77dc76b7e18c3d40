//! Norms, modulation, gates, activations and timestep features, each with its gradients.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use super::heads::Heads;
use crate::recording::Recording;
use sargent::error::{Error, Result};
use sargent::kernels::activation::Activation;
use sargent::kernels::gated_residual::Gate;
use sargent::kernels::layer_norm::{EPSILON, Modulation};
use sargent::kernels::qk_norm::Part;
use sargent::kernels::timestep_features::TimestepFeatures;
use sargent::ops;

/// Tensors by name, as the case has them.
type Named = Vec<(&'static str, Vec<f32>)>;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    checks.number("epsilon", f64::from(EPSILON), case.number(&["hyper", "eps"])?, 1e-7);
    for file in case.names(&["files"])? {
        let name = file.trim_end_matches(".safetensors");
        let tensors = case.tensors(name)?;
        if name == "timestep_features" {
            check_features(case, checks, &tensors)?;
            continue;
        }
        let ours = run(name, &tensors)?;
        let expected = tensors.names().filter(|key| is_result(key));
        for key in expected {
            match ours.iter().find(|(name, _)| *name == key) {
                Some((_, ours)) => {
                    checks.close(
                        &format!("{name} {key}"),
                        ours,
                        &tensors.f32(key)?,
                        case.tolerance(&[name, key], kind(key))?,
                    );
                }
                None => checks.fail(&format!("{name} {key}"), "this was not computed"),
            }
        }
    }
    Ok(())
}

fn kind(name: &str) -> Of {
    if name.starts_with("grad_") { Of::Gradient } else { Of::Output }
}

/// Whether a tensor is a result of the op and not an input.
fn is_result(name: &str) -> bool {
    name == "out" || name.starts_with("grad_") && name != "grad_out"
}

/// The largest absolute difference, against f32 as torch has it and against f64.
fn check_features(case: &Case, checks: &mut Checks, tensors: &Tensors) -> Result<()> {
    let shape = tensors.shape("features")?;
    let mut recording = Recording::default();
    let timesteps = recording.input("timesteps", [shape[0]], &tensors.f32("timesteps")?);
    let features = recording.program.activation("features", shape);
    recording.program.launch(TimestepFeatures { timesteps, features })?;
    let ours = recording.run(device()?, &[features])?.read(features)?;
    let limit = case.tolerance(&["timestep_features"], Of::Output)?;
    let in_f32: Vec<f64> = tensors.f32("features")?.into_iter().map(f64::from).collect();
    for (what, expected) in [("features", in_f32), ("features_fp64", tensors.f64("features_fp64")?)] {
        let differences = ours.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
        checks.within(&format!("timestep_features {what}"), differences.fold(0.0, f64::max), limit);
    }
    Ok(())
}

/// Output and gradients of one op; a name that ends in `_tiny` means small inputs of the same op.
fn run(name: &str, tensors: &Tensors) -> Result<Named> {
    match name.trim_end_matches("_tiny") {
        "rms_norm" => rms_norm(tensors),
        "layer_norm_modulate" => layer_norm_modulate(tensors),
        "gated_residual" => gated_residual(tensors),
        "gelu_tanh" => activation(tensors, Activation::GeluTanh),
        "gelu_erf" => activation(tensors, Activation::GeluErf),
        "quick_gelu" => activation(tensors, Activation::QuickGelu),
        "silu" => activation(tensors, Activation::Silu),
        other => Err(Error::usage(format!("there is no op `{other}`"))),
    }
}

fn rms_norm(tensors: &Tensors) -> Result<Named> {
    let heads = Heads::of(&tensors.shape("x")?);
    let rows =
        |name: &str| -> Result<Vec<f32>> { Ok(heads.side_by_side(&tensors.f32(name)?, 0..heads.tokens)) };
    let mut recording = Recording::default();
    let x = recording.input("x", [heads.batch, heads.tokens, heads.width()], &rows("x")?);
    let weight = recording.input("weight", [heads.dim], &tensors.f32("weight")?);
    let part = Part { first: 0, weight };
    let out = ops::qk_norm::qk_norm(&mut recording.program, "out", x, heads.count, vec![part])?;
    let grad_out = rows("grad_out")?;
    let ran = recording.run_backward(device()?, &[out], &[(out, &grad_out)], &[x, weight])?;
    let as_heads = |rows: Vec<f32>| {
        let mut values = vec![0.0; rows.len()];
        heads.put_back(&mut values, 0..heads.tokens, &rows, (0, heads.width()));
        values
    };
    Ok(vec![
        ("out", as_heads(ran.read(out)?)),
        ("grad_x", as_heads(ran.gradient(0, grad_out.len())?)),
        ("grad_weight", ran.gradient(1, heads.dim)?),
    ])
}

/// One vector a sample, the chunks side by side.
fn vectors(chunks: &[&[f32]], columns: usize) -> Vec<f32> {
    let samples = chunks[0].len() / columns;
    let row = |sample: usize| chunks.iter().flat_map(move |chunk| &chunk[sample * columns..][..columns]);
    (0..samples).flat_map(row).copied().collect()
}

/// One chunk of all samples' vectors.
fn chunk(vectors: &[f32], (index, count): (usize, usize), columns: usize) -> Vec<f32> {
    vectors
        .chunks_exact(count * columns)
        .flat_map(|row| &row[index * columns..][..columns])
        .copied()
        .collect()
}

fn layer_norm_modulate(tensors: &Tensors) -> Result<Named> {
    let shape = tensors.shape("x")?;
    let (samples, columns) = (shape[0], shape[2]);
    let (shift, scale) = (tensors.f32("shift")?, tensors.f32("scale")?);
    let mut recording = Recording::default();
    let x = recording.input("x", shape.clone(), &tensors.f32("x")?);
    let both = vectors(&[&shift, &scale], columns);
    let vectors = recording.input("modulation", [samples, 2 * columns], &both);
    let modulation = Modulation { vectors, shift: 0, scale: 1 };
    let out = ops::modulation::layer_norm_modulate(&mut recording.program, "out", x, modulation)?;
    let grad_out = tensors.f32("grad_out")?;
    let ran = recording.run_backward(device()?, &[out], &[(out, &grad_out)], &[x, vectors])?;
    let dvectors = ran.gradient(1, both.len())?;
    Ok(vec![
        ("out", ran.read(out)?),
        ("grad_x", ran.gradient(0, grad_out.len())?),
        ("grad_shift", chunk(&dvectors, (0, 2), columns)),
        ("grad_scale", chunk(&dvectors, (1, 2), columns)),
    ])
}

fn gated_residual(tensors: &Tensors) -> Result<Named> {
    let shape = tensors.shape("x")?;
    let mut recording = Recording::default();
    let x = recording.input("x", shape.clone(), &tensors.f32("x")?);
    let y = recording.input("y", shape.clone(), &tensors.f32("y")?);
    let vectors = recording.input("gate", [shape[0], shape[2]], &tensors.f32("gate")?);
    let gate = Gate { vectors, chunk: 0 };
    let out = ops::modulation::gated_residual(&mut recording.program, "out", x, gate, y)?;
    let grad_out = tensors.f32("grad_out")?;
    let ran = recording.run_backward(device()?, &[out], &[(out, &grad_out)], &[x, y, vectors])?;
    Ok(vec![
        ("out", ran.read(out)?),
        ("grad_x", ran.gradient(0, grad_out.len())?),
        ("grad_y", ran.gradient(1, grad_out.len())?),
        ("grad_gate", ran.gradient(2, shape[0] * shape[2])?),
    ])
}

fn activation(tensors: &Tensors, activation: Activation) -> Result<Named> {
    let mut recording = Recording::default();
    let x = recording.input("x", tensors.shape("x")?, &tensors.f32("x")?);
    let out = ops::activation::activate(&mut recording.program, "out", activation, x)?;
    let grad_out = tensors.f32("grad_out")?;
    let ran = recording.run_backward(device()?, &[out], &[(out, &grad_out)], &[x])?;
    Ok(vec![("out", ran.read(out)?), ("grad_x", ran.gradient(0, grad_out.len())?)])
}
