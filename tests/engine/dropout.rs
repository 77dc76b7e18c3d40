//! LoRA dropout: the mask is the same forward and backward, fair, and gone at probability 0.

use super::slopes::check;
use super::values::normals;
use crate::recording::Recording;
use bytemuck::Zeroable;
use sargent::device::cpu::Cpu;
use sargent::kernels::linear::Base;
use sargent::kernels::low_rank::Dropout;
use sargent::kernels::step_state::{SampleState, StepHeader};
use sargent::ops::linear::{Adapted, Layer, Lowered, linear};
use sargent::tensor::TensorId;

const SAMPLES: usize = 2;
const TOKENS: usize = 3;
const INPUTS: usize = 5;
const OUTPUTS: usize = 4;
const RANK: usize = 2;

/// Where in a run the mask is drawn.
#[derive(Clone, Copy)]
struct Place {
    seed: u32,
    step: u32,
    first_sample: u32,
    adapter: u32,
}

const HERE: Place = Place { seed: 5, step: 1, first_sample: 0, adapter: 0 };

/// Records a layer with one pair; no probability means no dropout.
fn record(
    recording: &mut Recording,
    [x, a, b]: [TensorId; 3],
    probability: Option<f32>,
    place: Place,
) -> sargent::error::Result<TensorId> {
    let header = StepHeader {
        seed: [place.seed, 0],
        step: place.step,
        first_sample: place.first_sample,
        ..StepHeader::zeroed()
    };
    let state = recording.step_state(header, vec![SampleState::zeroed(); SAMPLES]);
    let weight = recording.input("W", [OUTPUTS, INPUTS], &normals("W", OUTPUTS * INPUTS));
    let dropout = probability.map(|probability| Dropout { probability, state, rows_a_sample: TOKENS });
    let lowered = Lowered::LowRank { a, b, scale: 1.5 };
    let adapted = vec![Adapted { columns: 0..OUTPUTS, index: place.adapter, lowered, output_scale: None }];
    let base = Base { weight, rows: 0..OUTPUTS, bias: None };
    linear(&mut recording.program, "y", x, &Layer { base, adapted, dropout })
}

/// Output and gradients of x, A and B for fixed values.
fn run(probability: Option<f32>, place: Place) -> [Vec<f32>; 4] {
    let mut recording = Recording::default();
    let mut input =
        |name: &str, shape: &[usize]| recording.input(name, shape, &normals(name, shape.iter().product()));
    let ids =
        [input("x", &[SAMPLES, TOKENS, INPUTS]), input("A", &[RANK, INPUTS]), input("B", &[OUTPUTS, RANK])];
    let y = record(&mut recording, ids, probability, place).unwrap();
    let seed = normals("seed", SAMPLES * TOKENS * OUTPUTS);
    let ran = recording.run_backward(Cpu::new(), &[y], &[(y, &seed)], &ids).unwrap();
    let gradient = |index| ran.gradient(index, 0).unwrap();
    [ran.read(y).unwrap(), gradient(0), gradient(1), gradient(2)]
}

#[test]
fn the_mask_of_the_backward_pass_is_that_of_the_forward_pass() {
    let inputs: [(&str, &[usize]); 3] =
        [("x", &[SAMPLES, TOKENS, INPUTS]), ("A", &[RANK, INPUTS]), ("B", &[OUTPUTS, RANK])];
    for probability in [0.1, 0.6] {
        check("dropout", &inputs, &|recording, ids| {
            Ok(vec![record(recording, [ids[0], ids[1], ids[2]], Some(probability), HERE)?])
        });
    }
}

/// The gradient of x is summed in another order, all else agrees to the last bit.
#[test]
fn probability_zero_is_no_dropout() {
    let ([y, dx, da, db], [none_y, none_dx, none_da, none_db]) = (run(Some(0.0), HERE), run(None, HERE));
    assert_eq!((y, da, db), (none_y, none_da, none_db));
    assert!(dx.iter().zip(&none_dx).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)));
}

#[test]
fn every_seed_step_sample_and_adapter_has_a_mask_of_its_own() {
    let outputs: Vec<_> = [
        HERE,
        Place { seed: 6, ..HERE },
        Place { step: 2, ..HERE },
        Place { first_sample: 2, ..HERE },
        Place { adapter: 1, ..HERE },
    ]
    .map(|place| run(Some(0.5), place))
    .into();
    for (index, output) in outputs.iter().enumerate() {
        assert!(outputs[..index].iter().all(|other| other != output), "place {index}");
    }
    assert_eq!(run(Some(0.5), HERE), outputs[0]);
}

/// A micro-batch that starts at sample 1 draws what the whole batch draws for that sample.
#[test]
fn masks_belong_to_samples_not_to_micro_batches() {
    let mask = |place: Place| {
        let mut recording = Recording::default();
        let x = recording.input("x", [SAMPLES, TOKENS, INPUTS], &[1.0; SAMPLES * TOKENS * INPUTS]);
        let a = recording.input("A", [RANK, INPUTS], &normals("A", RANK * INPUTS));
        let b = recording.input("B", [OUTPUTS, RANK], &normals("B", OUTPUTS * RANK));
        let y = record(&mut recording, [x, a, b], Some(0.5), place).unwrap();
        recording.run(Cpu::new(), &[y]).unwrap().read(y).unwrap()
    };
    let (whole, second) = (mask(HERE), mask(Place { first_sample: 1, ..HERE }));
    let sample = TOKENS * OUTPUTS;
    assert_eq!(whole[sample..], second[..sample]);
}

#[test]
fn dropout_keeps_the_expectation() {
    const DRAWS: u32 = 4000;
    let without = run(None, HERE)[0].clone();
    let (mut sums, mut squares) = (vec![0.0; without.len()], vec![0.0; without.len()]);
    for step in 0..DRAWS {
        for (index, y) in run(Some(0.3), Place { step, ..HERE })[0].iter().enumerate() {
            sums[index] += f64::from(*y);
            squares[index] += f64::from(*y).powi(2);
        }
    }
    for (index, expected) in without.iter().enumerate() {
        let mean = sums[index] / f64::from(DRAWS);
        let deviation = (squares[index] / f64::from(DRAWS) - mean * mean).sqrt();
        let error = (mean - f64::from(*expected)).abs();
        assert!(error <= 4.5 * deviation / f64::from(DRAWS).sqrt(), "element {index} is off by {error}");
    }
}
