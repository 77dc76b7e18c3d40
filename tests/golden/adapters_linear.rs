//! Adapters on one linear layer: output, gradients and merged weight of every form, as they are trained.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use sargent::autograd::derive::derive;
use sargent::autograd::persistent::Flat;
use sargent::autograd::run::WeightSource;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::error::{Error, Result};
use sargent::models::adapter::{Adapter, AdapterModule, Adapters, Change, Factor, Matrix, Module, load};
use sargent::ops::{self, linear::linear};
use sargent::train::step::gradient_sinks;

/// Where the case recommends none: a merged weight.
const MERGED_LIMIT: f64 = 2e-6;

const MAGNITUDE: &str = "lora_magnitude_vector.weight";

/// The name of the layer among the program's weights.
const LAYER: &str = "layer";

/// The frozen layer, its input and the gradient of its output.
struct Frozen {
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<f32>,
    grad_output: Vec<f32>,
}

impl WeightSource for Frozen {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(if name.ends_with(".weight") { &self.weight } else { &self.bias });
        Ok(())
    }
}

/// What came out.
struct Outcome {
    y: Vec<f32>,
    grad_x: Vec<f32>,
    /// By the ends of the parameters' names.
    gradients: Vec<(String, Vec<f32>)>,
    /// What the parameters hold.
    values: AdapterModule,
}

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let base = case.tensors("base")?;
    let shape = base.shape("weight")?;
    let frozen = Frozen {
        inputs: shape[1],
        outputs: shape[0],
        weight: base.f32("weight")?,
        bias: base.f32("bias")?,
        x: base.f32("x")?,
        grad_output: base.f32("grad_output")?,
    };
    for name in case.names(&["hyper", "variants"])? {
        let tensors = case.tensors(name)?;
        let scale = case.number(&["hyper", "variants", name, "scaling"])?;
        let adapter = read(&tensors, scale)?;
        let ours = run(&frozen, &adapter)?;
        checks.holds(&format!("{name} is kept as it is"), ours.values == adapter);
        check_outcome(case, checks, (name, &tensors), &ours)?;
        if tensors.contains("merged_weight") {
            let merged = merged_weight(&frozen, &adapter)?;
            let expected = tensors.f32("merged_weight")?;
            checks.close(
                &format!("{name} merged weight"),
                &merged,
                &expected,
                Of::Output.limit(MERGED_LIMIT),
            );
        }
    }
    Ok(())
}

/// The adapter in a file.
fn read(tensors: &Tensors, scale: f64) -> Result<AdapterModule> {
    let has = |name: &str| tensors.contains(&format!("param.{name}"));
    let matrix = |name: &str| -> Result<Matrix> {
        let name = format!("param.{name}");
        match *tensors.shape(&name)? {
            [rows, columns] => Ok(Matrix { rows, columns, values: tensors.f32(&name)? }),
            ref shape => Err(Error::usage(format!("`{name}` has shape {shape:?}, not that of a matrix"))),
        }
    };
    let factor = |name: &str| -> Result<Factor> {
        match has(name) {
            true => Ok(Factor::Whole(matrix(name)?)),
            false => Ok(Factor::Product(matrix(&format!("{name}_a"))?, matrix(&format!("{name}_b"))?)),
        }
    };
    let change = if has("hada_w1_a") {
        Change::Hadamard {
            w1_a: matrix("hada_w1_a")?,
            w1_b: matrix("hada_w1_b")?,
            w2_a: matrix("hada_w2_a")?,
            w2_b: matrix("hada_w2_b")?,
            scale,
        }
    } else if tensors.names().any(|name| name.starts_with("param.lokr_")) {
        Change::Kronecker { w1: factor("lokr_w1")?, w2: factor("lokr_w2")?, scale }
    } else {
        Change::LowRank { a: matrix("lora_A.weight")?, b: matrix("lora_B.weight")?, scale }
    };
    let magnitude = has(MAGNITUDE).then(|| tensors.f32(&format!("param.{MAGNITUDE}"))).transpose()?;
    Ok(AdapterModule { module: LAYER.to_owned(), change, magnitude })
}

fn check_outcome(
    case: &Case,
    checks: &mut Checks,
    (name, tensors): (&str, &Tensors),
    ours: &Outcome,
) -> Result<()> {
    let limit = case.tolerance(&[name, "y"], Of::Output)?;
    checks.close(&format!("{name} y"), &ours.y, &tensors.f32("y")?, limit);
    let limit = case.tolerance(&[name, "grad_x"], Of::Gradient)?;
    checks.close(&format!("{name} grad_x"), &ours.grad_x, &tensors.f32("grad_x")?, limit);
    let limit = case.tolerance(&[name, "grads"], Of::Gradient)?;
    for expected in tensors.names().filter(|expected| expected.starts_with("grad.")) {
        // PEFT's magnitudes are the weight of a module of that name; in files they have the module's.
        let suffix = expected["grad.".len()..].replace(MAGNITUDE, "lora_magnitude_vector");
        match ours.gradients.iter().find(|(found, _)| found.ends_with(&format!(".{suffix}"))) {
            Some((_, gradient)) => {
                checks.close(&format!("{name} {expected}"), gradient, &tensors.f32(expected)?, limit);
            }
            None => checks.fail(&format!("{name} {expected}"), "there is no such parameter"),
        }
    }
    Ok(())
}

/// The layer's weight as the linear op sees it: its output for the unit vectors, without bias.
fn merged_weight(frozen: &Frozen, adapter: &AdapterModule) -> Result<Vec<f32>> {
    let Frozen { inputs, outputs, .. } = *frozen;
    let identity = (0..inputs * inputs).map(|i| f32::from(u8::from(i / inputs == i % inputs)));
    let unit = Frozen {
        weight: frozen.weight.clone(),
        bias: vec![0.0; outputs],
        x: identity.collect(),
        grad_output: vec![0.0; inputs * outputs],
        ..*frozen
    };
    let y = run(&unit, adapter)?.y;
    Ok((0..outputs * inputs).map(|i| y[i % inputs * outputs + i / inputs]).collect())
}

/// Records the layer with its adapter as a model does, and runs it forward and backward.
fn run(frozen: &Frozen, values: &AdapterModule) -> Result<Outcome> {
    let Frozen { inputs, outputs, .. } = *frozen;
    let module = Module {
        path: LAYER.to_owned(),
        weight: LAYER.to_owned(),
        rows: 0..outputs,
        weight_rows: outputs,
        inputs,
        trainable: true,
        halves_swapped: false,
    };
    let all = vec![Adapter::of(values, &module, String::new(), 1.0)?];
    let adapters = Adapters { all, ..Adapters::default() };
    let mut persistent = Persistent::new(1);
    adapters.declare(&mut persistent);

    let mut program = Program::new();
    let x = program.input("x", [frozen.x.len() / inputs, inputs]);
    let layer = adapters.layer(&mut program, &persistent, LAYER, 0..outputs, outputs, x)?;
    let y = linear(&mut program, "y", x, &layer)?;
    let dy = program.input("dy", [frozen.x.len() / inputs, outputs]);
    let sinks = gradient_sinks(&mut program, &persistent);
    let gradients = derive(&mut program, &[(y, dy)], &sinks, &[x], ops::derivative)?;
    program.output(y);

    let mut engine = Engine::new(device()?, 0, persistent)?;
    let planned = engine.plan(program)?;
    engine.reserve(&planned)?;
    engine.load_weights(&planned.program, frozen)?;
    load::write(&mut engine, &adapters, [values])?;
    engine.clear_flat(Flat::Gradients)?;
    engine.write(&planned, x, &frozen.x)?;
    engine.write(&planned, dy, &frozen.grad_output)?;
    engine.run(&planned)?;

    let gradient = |(name, _): (String, _)| {
        let values = engine.parameter(&name, Flat::Gradients)?.unwrap_or_default();
        Ok((name, values))
    };
    let all = adapters.all.iter().flat_map(Adapter::parameters).map(gradient).collect::<Result<_>>()?;
    let grad_x = gradients[0].map(|id| engine.read(&planned, id)).transpose()?.unwrap_or_default();
    let mut kept = load::collect(&engine, &adapters, Flat::Parameters)?;
    Ok(Outcome { y: engine.read(&planned, y)?, grad_x, gradients: all, values: kept.remove(0) })
}
