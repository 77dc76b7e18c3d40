//! Joint attention of two streams, forward and backward, at a short and at a real length.

use super::case::{Case, Of, Tensors, device};
use super::checks::{Checks, norm};
use super::heads::Heads;
use crate::recording::Recording;
use sargent::error::Result;
use sargent::kernels::attention::{Heads as HeadPlan, Mask, Stream};
use sargent::ops::attention::attention;
use std::ops::Range;

/// What an element of an integer tensor stands for.
const CODE: f32 = 1.0 / 32.0;

const TENSORS: [&str; 4] = ["out", "grad_q", "grad_k", "grad_v"];

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    check_full(case, checks)?;
    check_long(case, checks)
}

fn kind(name: &str) -> Of {
    if name.starts_with("grad_") { Of::Gradient } else { Of::Output }
}

/// Whole tensors.
fn check_full(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("full")?;
    let ours = run(case, "full", &expected, 1.0)?;
    for (name, ours) in TENSORS.into_iter().zip(&ours) {
        let limit = case.tolerance(&["full", name], kind(name))?;
        checks.close(&format!("full {name}"), ours, &expected.f32(name)?, limit);
    }
    Ok(())
}

/// Some rows, sums over tokens and over features, and norms.
fn check_long(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("long")?;
    let heads = Heads::of(&expected.shape("q")?);
    let rows = expected.i64("rows")?;
    let ours = run(case, "long", &expected, CODE)?;
    for (name, ours) in TENSORS.into_iter().zip(&ours) {
        let limit = case.tolerance(&["long", name], kind(name))?;
        let token = |head: &[f32], row: i64| head[row as usize * heads.dim..][..heads.dim].to_vec();
        let whole_heads = ours.chunks_exact(heads.tokens * heads.dim);
        let picked: Vec<f32> =
            whole_heads.flat_map(|head| rows.iter().flat_map(move |&row| token(head, row))).collect();
        checks.close(&format!("long {name} rows"), &picked, &expected.f32(&format!("{name}.rows"))?, limit);
        let expected_norm = case.number(&["results", "long_norms", name])?;
        checks.number(&format!("long {name} norm"), norm(ours), expected_norm, limit);
        for (sums, suffix) in [
            (sums_over_tokens(ours, heads), "sum_over_tokens"),
            (sums_over_features(ours, heads), "sum_over_features"),
        ] {
            let expected = expected.f32(&format!("{name}.{suffix}"))?;
            let differences: Vec<f64> = sums.iter().zip(&expected).map(|(a, b)| a - f64::from(*b)).collect();
            let error =
                if sums.len() == expected.len() { norm(&differences) / expected_norm } else { f64::NAN };
            checks.within(&format!("long {name} {suffix}"), error, 10.0 * limit);
        }
    }
    Ok(())
}

fn sums_over_tokens(values: &[f32], heads: Heads) -> Vec<f64> {
    let mut sums = Vec::new();
    for head in values.chunks_exact(heads.tokens * heads.dim) {
        sums.extend(
            (0..heads.dim).map(|feature| {
                head.iter().skip(feature).step_by(heads.dim).map(|&x| f64::from(x)).sum::<f64>()
            }),
        );
    }
    sums
}

fn sums_over_features(values: &[f32], heads: Heads) -> Vec<f64> {
    values.chunks_exact(heads.dim).map(|row| row.iter().map(|&x| f64::from(x)).sum()).collect()
}

/// Output and gradients as torch lays them out.
fn run(case: &Case, part: &str, inputs: &Tensors, unit: f32) -> Result<[Vec<f32>; 4]> {
    let heads = Heads::of(&inputs.shape("q")?);
    let image = case.count(&["hyper", part, "img"])?;
    let streams: [Range<usize>; 2] = [0..image, image..heads.tokens];
    let read =
        |name: &str| -> Result<Vec<f32>> { Ok(inputs.f32(name)?.into_iter().map(|x| x * unit).collect()) };
    let qkv = [read("q")?, read("k")?, read("v")?];
    let grad_out = read("grad_out")?;
    let width = heads.width();
    let mut recording = Recording::default();
    let qkvs = streams.clone().map(|tokens| {
        let parts = qkv.each_ref().map(|part| heads.side_by_side(part, tokens.clone()));
        let rows = (0..heads.batch * tokens.len())
            .flat_map(|row| parts.iter().flat_map(move |part| part[row * width..][..width].iter().copied()));
        recording.input("qkv", [heads.batch, tokens.len(), 3 * width], &rows.collect::<Vec<_>>())
    });
    let plan =
        HeadPlan { count: heads.count, dim: heads.dim, scale: case.number(&["hyper", "scale"])? as f32 };
    let sides = qkvs.map(|qkv| Stream { qkv, q: Some(0), k: width, v: 2 * width });
    let outs = attention(&mut recording.program, "attention", sides.to_vec(), plan, Mask::None)?;
    let seeds = streams.clone().map(|tokens| heads.side_by_side(&grad_out, tokens));
    let seeded = [(outs[0], seeds[0].as_slice()), (outs[1], seeds[1].as_slice())];
    let ran = recording.run_backward(device()?, &outs, &seeded, &qkvs)?;
    let mut whole = [0; 4].map(|_| vec![0.0; grad_out.len()]);
    for (index, tokens) in streams.iter().enumerate() {
        heads.put_back(&mut whole[0], tokens.clone(), &ran.read(outs[index])?, (0, width));
        let gradient = ran.gradient(index, heads.batch * tokens.len() * 3 * width)?;
        for (part, whole) in whole[1..].iter_mut().enumerate() {
            heads.put_back(whole, tokens.clone(), &gradient, (part * width, 3 * width));
        }
    }
    Ok(whole)
}
