//! Adapters on one linear layer: output, gradients and merged weight.
//!
//! LoRA in both scalings is what the program trains. DoRA, LoHa and LoKr are not yet supported: they are listed,
//! and lowered by hand, so that the linear op is known to do what they will need.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use super::lowering::{DenseAdapter, Matrix};
use crate::recording::Recording;
use sargent::error::Result;
use sargent::kernels::linear::Base;
use sargent::ops::linear::{Adapted, Layer, Lowered, linear};

/// Where the case recommends none: a merged weight.
const MERGED_LIMIT: f64 = 2e-6;

const MAGNITUDE: &str = "lora_magnitude_vector.weight";

/// The frozen layer, its input and the gradient of its output.
struct Frozen {
    weight: Matrix,
    bias: Vec<f32>,
    x: Vec<f32>,
    grad_output: Vec<f32>,
}

/// An adapter in the forms that the linear op takes.
enum Adapter {
    LowRank { a: Matrix, b: Matrix, scale: f64, output_scale: Option<Vec<f32>> },
    Effective(Matrix),
}

/// What the linear op gave; gradients are those of the adapter's tensors in order.
struct Outcome {
    y: Vec<f32>,
    grad_x: Vec<f32>,
    gradients: Vec<Vec<f32>>,
}

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let base = case.tensors("base")?;
    let frozen = Frozen {
        weight: Matrix::read(&base, "weight")?,
        bias: base.f32("bias")?,
        x: base.f32("x")?,
        grad_output: base.f32("grad_output")?,
    };
    let mut unsupported = Vec::new();
    for name in case.names(&["hyper", "variants"])? {
        let tensors = case.tensors(name)?;
        let scale = case.number(&["hyper", "variants", name, "scaling"])?;
        if let Some(dense) = DenseAdapter::read(&tensors, scale)? {
            unsupported.push(name);
            check_dense(case, checks, (name, &tensors), &frozen, &dense)?;
        } else {
            let magnitude = format!("param.{MAGNITUDE}");
            unsupported.extend(tensors.contains(&magnitude).then_some(name));
            check_low_rank(case, checks, (name, &tensors), &frozen, scale)?;
        }
    }
    checks.note(format!("not yet supported, lowered by hand here: {}", unsupported.join(", ")));
    Ok(())
}

/// LoRA; with a magnitude vector DoRA, whose norm counts as a constant.
fn check_low_rank(
    case: &Case,
    checks: &mut Checks,
    (name, tensors): (&str, &Tensors),
    frozen: &Frozen,
    scale: f64,
) -> Result<()> {
    let a = Matrix::read(tensors, "param.lora_A.weight")?;
    let b = Matrix::read(tensors, "param.lora_B.weight")?;
    let merged = frozen.weight.plus(scale, &b.times(&a));
    let norms: Vec<f64> = (0..merged.rows).map(|row| merged.row_norm(row)).collect();
    let magnitude = format!("param.{MAGNITUDE}");
    let output_scale = if tensors.contains(&magnitude) {
        let magnitudes = tensors.f32(&magnitude)?;
        Some(magnitudes.iter().zip(&norms).map(|(&m, norm)| (f64::from(m) / norm) as f32).collect())
    } else {
        None
    };
    let adapter = Adapter::LowRank { a, b, scale, output_scale };
    let ours = run(frozen, &adapter)?;
    check_outcome(case, checks, (name, tensors), &ours, &merged_weight(frozen, &adapter)?)?;
    let limit = case.tolerance(&[name, "grads"], Of::Gradient)?;
    let mut close = |parameter: &str, ours: &[f64]| -> Result<()> {
        let expected = tensors.f32(&format!("grad.{parameter}"))?;
        checks.close(&format!("{name} grad.{parameter}"), ours, &expected, limit);
        Ok(())
    };
    let in_f64 = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    close("lora_A.weight", &in_f64(&ours.gradients[0]))?;
    close("lora_B.weight", &in_f64(&ours.gradients[1]))?;
    if let Some(dscale) = ours.gradients.get(2) {
        close(
            MAGNITUDE,
            &dscale.iter().zip(&norms).map(|(&d, norm)| f64::from(d) / norm).collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

/// LoHa and LoKr: the dense gradient of the effective weight must lead to their parameters' gradients.
fn check_dense(
    case: &Case,
    checks: &mut Checks,
    (name, tensors): (&str, &Tensors),
    frozen: &Frozen,
    dense: &DenseAdapter,
) -> Result<()> {
    let adapter = Adapter::Effective(dense.effective_weight(&frozen.weight));
    let ours = run(frozen, &adapter)?;
    check_outcome(case, checks, (name, tensors), &ours, &merged_weight(frozen, &adapter)?)?;
    let (rows, columns) = (frozen.weight.rows, frozen.weight.columns);
    let dw = Matrix::new(rows, columns, |i, j| f64::from(ours.gradients[0][i * columns + j]));
    let limit = case.tolerance(&[name, "grads"], Of::Gradient)?;
    for (parameter, gradient) in dense.gradients(&dw) {
        let parameter = format!("grad.{parameter}");
        checks.close(&format!("{name} {parameter}"), &gradient.values, &tensors.f32(&parameter)?, limit);
    }
    Ok(())
}

fn check_outcome(
    case: &Case,
    checks: &mut Checks,
    (name, tensors): (&str, &Tensors),
    ours: &Outcome,
    merged: &[f32],
) -> Result<()> {
    checks.close(
        &format!("{name} y"),
        &ours.y,
        &tensors.f32("y")?,
        case.tolerance(&[name, "y"], Of::Output)?,
    );
    let limit = case.tolerance(&[name, "grad_x"], Of::Gradient)?;
    checks.close(&format!("{name} grad_x"), &ours.grad_x, &tensors.f32("grad_x")?, limit);
    if tensors.contains("merged_weight") {
        checks.close(
            &format!("{name} merged weight"),
            merged,
            &tensors.f32("merged_weight")?,
            Of::Output.limit(MERGED_LIMIT),
        );
    }
    Ok(())
}

/// The layer's weight as the linear op sees it: its output for the unit vectors, without bias.
fn merged_weight(frozen: &Frozen, adapter: &Adapter) -> Result<Vec<f32>> {
    let (rows, columns) = (frozen.weight.rows, frozen.weight.columns);
    let identity = Matrix::new(columns, columns, |i, j| f64::from(u8::from(i == j)));
    let unit = Frozen {
        weight: frozen.weight.clone(),
        bias: vec![0.0; rows],
        x: identity.to_f32(),
        grad_output: vec![0.0; columns * rows],
    };
    let y = run(&unit, adapter)?.y;
    Ok(Matrix::new(rows, columns, |i, j| f64::from(y[j * rows + i])).to_f32())
}

/// Records the layer with its adapter, runs it forward and backward.
fn run(frozen: &Frozen, adapter: &Adapter) -> Result<Outcome> {
    let Matrix { rows: outputs, columns: inputs, .. } = frozen.weight;
    let mut recording = Recording::default();
    let x = recording.input("x", [frozen.x.len() / inputs, inputs], &frozen.x);
    let weight = recording.input("weight", [outputs, inputs], &frozen.weight.to_f32());
    let bias = recording.input("bias", [outputs], &frozen.bias);
    let (lowered, output_scale, trained) = match adapter {
        Adapter::LowRank { a, b, scale, output_scale } => {
            let a = recording.input("A", [a.rows, a.columns], &a.to_f32());
            let b = recording.input("B", [b.rows, b.columns], &b.to_f32());
            let output_scale = output_scale.as_ref().map(|s| recording.input("output scale", [outputs], s));
            let trained = [a, b].into_iter().chain(output_scale).collect();
            (Lowered::LowRank { a, b, scale: *scale as f32 }, output_scale, trained)
        }
        Adapter::Effective(effective) => {
            let weight = recording.input("effective weight", [outputs, inputs], &effective.to_f32());
            (Lowered::Effective { weight }, None, vec![weight])
        }
    };
    let adapted = vec![Adapted { columns: 0..outputs, index: 0, lowered, output_scale }];
    let layer = Layer { base: Base { weight, rows: 0..outputs, bias: Some(bias) }, adapted, dropout: None };
    let y = linear(&mut recording.program, "y", x, &layer)?;
    let elements: Vec<usize> =
        trained.iter().map(|id| recording.program.tensors[id.index()].shape.elements()).collect();
    let wanted: Vec<_> = std::iter::once(x).chain(trained).collect();
    let ran = recording.run_backward(device()?, &[y], &[(y, &frozen.grad_output)], &wanted)?;
    let gradients =
        elements.iter().enumerate().map(|(i, &n)| ran.gradient(i + 1, n)).collect::<Result<_>>()?;
    Ok(Outcome { y: ran.read(y)?, grad_x: ran.gradient(0, frozen.x.len())?, gradients })
}
