use super::*;
use crate::autograd::derive::derive;
use crate::autograd::{Engine, Persistent, Program};
use crate::device::cpu::Cpu;
use crate::ops;
use crate::ops::magnitude::magnitude_scale;
use crate::random::{Purpose, Stream};

fn drawn(lane: u32, elements: usize) -> Vec<f32> {
    let mut values = vec![0.0; elements];
    Stream::new(3, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
    values
}

#[test]
fn the_scale_is_the_magnitude_over_the_length_of_the_changed_row() {
    const SCALE: f64 = 0.7;
    let (all, rows, columns, rank) = (90, 3..80, 11, 4);
    let (weight, magnitude) = (drawn(0, all * columns), drawn(1, rows.len()));
    let (a, b, dscale) = (drawn(2, rank * columns), drawn(3, rows.len() * rank), drawn(4, rows.len()));

    let mut program = Program::new();
    let w = program.input("w", [all, columns]);
    let m = program.input("m", [rows.len()]);
    let change = LowRankChange {
        a: program.input("a", [rank, columns]),
        b: program.input("b", [rows.len(), rank]),
        scale: SCALE as f32,
    };
    let seed = program.input("d scale", [rows.len()]);
    let scale = magnitude_scale(&mut program, "layer", (w, rows.clone()), Some(change), m).unwrap();
    program.output(scale);
    let wanted = [m, change.a, change.b];
    let gradients = derive(&mut program, &[(scale, seed)], &[], &wanted, ops::derivative).unwrap();
    assert_eq!(gradients[1..], [None, None], "the norm counts as a constant");

    let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
    let planned = engine.plan(program).unwrap();
    engine.reserve(&planned).unwrap();
    for (id, values) in [(w, &weight), (m, &magnitude), (change.a, &a), (change.b, &b), (seed, &dscale)] {
        engine.write(&planned, id, values).unwrap();
    }
    engine.run(&planned).unwrap();
    let (scales, dm) =
        (engine.read(&planned, scale).unwrap(), engine.read(&planned, gradients[0].unwrap()).unwrap());
    for row in 0..rows.len() {
        let element = |j: usize| {
            let product = (0..rank).map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * columns + j]));
            f64::from(weight[(rows.start + row) * columns + j]) + SCALE * product.sum::<f64>()
        };
        let norm = (0..columns).map(|j| element(j).powi(2)).sum::<f64>().sqrt();
        let close = |found: f32, expected: f64| (f64::from(found) - expected).abs() <= 1e-6 * expected.abs();
        assert!(close(scales[row], f64::from(magnitude[row]) / norm), "row {row}");
        assert!(close(dm[row], f64::from(dscale[row]) / norm), "row {row}");
    }
}

#[test]
fn magnitudes_that_are_the_rows_lengths_change_nothing() {
    let (rows, columns) = (70, 33);
    let weight = drawn(5, rows * columns);
    let lengths: Vec<f32> = weight.chunks_exact(columns).map(length).collect();
    let mut program = Program::new();
    let (w, m) = (program.input("w", [rows, columns]), program.input("m", [rows]));
    let scale = magnitude_scale(&mut program, "layer", (w, 0..rows), None, m).unwrap();
    program.output(scale);
    let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
    let planned = engine.plan(program).unwrap();
    engine.reserve(&planned).unwrap();
    engine.write(&planned, w, &weight).unwrap();
    engine.write(&planned, m, &lengths).unwrap();
    engine.run(&planned).unwrap();
    assert_eq!(engine.read(&planned, scale).unwrap(), vec![1.0; rows]);
}
