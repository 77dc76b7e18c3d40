//! A derivative against finite differences of the program it was derived from.

use super::values::normals;
use crate::recording::{Ran, Recording};
use sargent::device::cpu::Cpu;
use sargent::error::Result;
use sargent::tensor::TensorId;

/// Distance of the points at which the program is run.
const STEP: f64 = 0.05;

/// Relative L2 distance that the differences of f32 results can be held to.
const LIMIT: f64 = 1e-3;

/// Records an op over inputs and returns its outputs.
pub type Build<'a> = &'a dyn Fn(&mut Recording, &[TensorId]) -> Result<Vec<TensorId>>;

/// Fails unless the derivative with respect to every input agrees with differences of the fourth order, element by
/// element. The loss is a fixed random combination of all outputs.
pub fn check(op: &str, inputs: &[(&str, &[usize])], build: Build<'_>) {
    let values: Vec<Vec<f32>> =
        inputs.iter().map(|(name, shape)| normals(name, shape.iter().product())).collect();
    let analytic = gradients(inputs, &values, build).unwrap();
    for (index, (name, _)) in inputs.iter().enumerate() {
        let numeric = differences(inputs, &values, build, index);
        let distance: f64 = analytic[index]
            .iter()
            .zip(&numeric)
            .map(|(a, n)| (f64::from(*a) - n).powi(2))
            .sum::<f64>()
            .sqrt();
        let norm = numeric.iter().map(|n| n * n).sum::<f64>().sqrt();
        assert!(norm > 0.0, "{op}: nothing depends on {name}");
        assert!(distance <= LIMIT * norm, "{op}: gradient of {name} is off by {:.2e}", distance / norm);
    }
}

fn record(inputs: &[(&str, &[usize])], values: &[Vec<f32>]) -> (Recording, Vec<TensorId>) {
    let mut recording = Recording::default();
    let add = |((name, shape), values): (&(&str, &[usize]), &Vec<f32>)| recording.input(name, *shape, values);
    let ids = inputs.iter().zip(values).map(add).collect();
    (recording, ids)
}

/// The weights of the outputs' elements in the loss.
fn probe(output: usize, elements: usize) -> Vec<f32> {
    normals(&format!("probe {output}"), elements)
}

fn gradients(inputs: &[(&str, &[usize])], values: &[Vec<f32>], build: Build<'_>) -> Result<Vec<Vec<f32>>> {
    let (mut recording, ids) = record(inputs, values);
    let outputs = build(&mut recording, &ids)?;
    let elements = |id: &TensorId| recording.program.tensors[id.index()].shape.elements();
    let probes: Vec<Vec<f32>> = outputs.iter().enumerate().map(|(i, id)| probe(i, elements(id))).collect();
    let seeds: Vec<(TensorId, &[f32])> =
        outputs.iter().copied().zip(probes.iter().map(Vec::as_slice)).collect();
    let ran = recording.run_backward(Cpu::new(), &outputs, &seeds, &ids)?;
    values.iter().enumerate().map(|(index, values)| ran.gradient(index, values.len())).collect()
}

fn loss(inputs: &[(&str, &[usize])], values: &[Vec<f32>], build: Build<'_>) -> Result<f64> {
    let (mut recording, ids) = record(inputs, values);
    let outputs = build(&mut recording, &ids)?;
    let ran: Ran = recording.run(Cpu::new(), &outputs)?;
    let mut loss = 0.0;
    for (index, &output) in outputs.iter().enumerate() {
        let values = ran.read(output)?;
        let products =
            values.iter().zip(probe(index, values.len())).map(|(y, p)| f64::from(*y) * f64::from(p));
        loss += products.sum::<f64>();
    }
    Ok(loss)
}

fn differences(inputs: &[(&str, &[usize])], values: &[Vec<f32>], build: Build<'_>, index: usize) -> Vec<f64> {
    let mut moved = values.to_vec();
    (0..values[index].len())
        .map(|element| {
            let mut at = |steps: f64| {
                moved[index][element] = (f64::from(values[index][element]) + steps * STEP) as f32;
                loss(inputs, &moved, build).unwrap()
            };
            let slope = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP);
            moved[index][element] = values[index][element];
            slope
        })
        .collect()
}
