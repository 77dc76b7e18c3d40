//! The derivative of every differentiable op, on odd shapes.

use super::slopes::check;
use super::values::normals;
use crate::recording::Recording;
use sargent::device::cpu::Cpu;
use sargent::kernels::activation::Activation;
use sargent::kernels::attention::{Heads, Mask, Stream};
use sargent::kernels::gated_residual::Gate;
use sargent::kernels::layer_norm::Modulation;
use sargent::kernels::linear::Base;
use sargent::kernels::qk_norm::Part;
use sargent::kernels::step_state::{self, SampleState, StepHeader};
use sargent::ops::activation::{activate, add};
use sargent::ops::attention::attention;
use sargent::ops::linear::{Adapted, Layer, Lowered, linear};
use sargent::ops::{flow, modulation, patches, qk_norm};
use sargent::tensor::TensorId;

/// A frozen layer of `outputs` rows, of which `rows` are computed.
fn frozen(
    recording: &mut Recording,
    (outputs, inputs): (usize, usize),
    rows: std::ops::Range<usize>,
) -> Base {
    let weight = recording.input("W", [outputs, inputs], &normals("W", outputs * inputs));
    let bias = recording.input("bias", [outputs], &normals("bias", outputs));
    Base { weight, rows, bias: Some(bias) }
}

#[test]
fn a_frozen_linear_layer() {
    check("linear", &[("x", &[2, 3, 5])], &|recording, ids| {
        let layer = Layer { base: frozen(recording, (9, 5), 2..9), adapted: Vec::new(), dropout: None };
        Ok(vec![linear(&mut recording.program, "y", ids[0], &layer)?])
    });
}

#[test]
fn low_rank_pairs_that_share_an_input() {
    let inputs: [(&str, &[usize]); 6] =
        [("x", &[1, 7, 5]), ("A1", &[2, 5]), ("B1", &[3, 2]), ("A2", &[3, 5]), ("B2", &[4, 3]), ("s", &[4])];
    check("low-rank pairs", &inputs, &|recording, ids| {
        let pair = |columns, index, a, b, scale, output_scale| Adapted {
            columns,
            index,
            lowered: Lowered::LowRank { a, b, scale },
            output_scale,
        };
        let adapted =
            vec![pair(0..3, 0, ids[1], ids[2], 0.5, None), pair(4..8, 1, ids[3], ids[4], -1.5, Some(ids[5]))];
        let layer = Layer { base: frozen(recording, (9, 5), 0..9), adapted, dropout: None };
        Ok(vec![linear(&mut recording.program, "y", ids[0], &layer)?])
    });
}

#[test]
fn effective_weights_between_frozen_rows() {
    let inputs: [(&str, &[usize]); 5] =
        [("x", &[3, 2, 4]), ("W1", &[2, 4]), ("s1", &[2]), ("W2", &[3, 4]), ("s2", &[3])];
    check("effective weights", &inputs, &|recording, ids| {
        let effective = |columns, index, weight, scale| Adapted {
            columns,
            index,
            lowered: Lowered::Effective { weight },
            output_scale: Some(scale),
        };
        let adapted = vec![effective(5..8, 1, ids[3], ids[4]), effective(1..3, 0, ids[1], ids[2])];
        let layer = Layer { base: frozen(recording, (10, 4), 1..10), adapted, dropout: None };
        Ok(vec![linear(&mut recording.program, "y", ids[0], &layer)?])
    });
}

#[test]
fn joint_attention_of_two_streams() {
    let inputs: [(&str, &[usize]); 2] = [("image", &[2, 5, 18]), ("text", &[2, 3, 18])];
    check("joint attention", &inputs, &|recording, ids| {
        let side = |qkv| Stream { qkv, q: Some(0), k: 6, v: 12 };
        let heads = Heads { count: 2, dim: 3, scale: 0.6 };
        attention(&mut recording.program, "o", vec![side(ids[0]), side(ids[1])], heads, Mask::None)
    });
}

#[test]
fn attention_to_a_stream_that_asks_nothing() {
    let inputs: [(&str, &[usize]); 2] = [("image", &[1, 4, 12]), ("text", &[1, 6, 8])];
    check("attention without text queries", &inputs, &|recording, ids| {
        let image = Stream { qkv: ids[0], q: Some(0), k: 4, v: 8 };
        let text = Stream { qkv: ids[1], q: None, k: 0, v: 4 };
        let heads = Heads { count: 1, dim: 4, scale: 0.5 };
        attention(&mut recording.program, "o", vec![image, text], heads, Mask::None)
    });
}

#[test]
fn attention_over_more_queries_than_a_chunk() {
    check("long attention", &[("qkv", &[1, 67, 3])], &|recording, ids| {
        let stream = Stream { qkv: ids[0], q: Some(0), k: 1, v: 2 };
        let heads = Heads { count: 1, dim: 1, scale: 1.0 };
        attention(&mut recording.program, "o", vec![stream], heads, Mask::None)
    });
}

#[test]
fn norm_with_modulation() {
    check("layer norm", &[("x", &[2, 3, 7]), ("vectors", &[2, 21])], &|recording, ids| {
        let chunks = Modulation { vectors: ids[1], shift: 2, scale: 0 };
        Ok(vec![modulation::layer_norm_modulate(&mut recording.program, "y", ids[0], chunks)?])
    });
}

#[test]
fn gated_residuals() {
    let inputs: [(&str, &[usize]); 3] = [("x", &[2, 3, 5]), ("y", &[2, 3, 5]), ("vectors", &[2, 10])];
    check("gated residual", &inputs, &|recording, ids| {
        let gate = Gate { vectors: ids[2], chunk: 1 };
        Ok(vec![modulation::gated_residual(&mut recording.program, "z", ids[0], gate, ids[1])?])
    });
}

#[test]
fn norms_of_queries_and_keys() {
    let inputs: [(&str, &[usize]); 3] = [("qkv", &[1, 3, 16]), ("w1", &[3]), ("w2", &[3])];
    check("qk norm", &inputs, &|recording, ids| {
        let parts = vec![Part { first: 0, weight: ids[1] }, Part { first: 6, weight: ids[2] }];
        Ok(vec![qk_norm::qk_norm(&mut recording.program, "y", ids[0], 2, parts)?])
    });
}

#[test]
fn activations() {
    for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::QuickGelu, Activation::Silu] {
        check(&format!("{activation:?}"), &[("x", &[37])], &|recording, ids| {
            Ok(vec![activate(&mut recording.program, "y", activation, ids[0])?])
        });
    }
}

#[test]
fn patches_and_positions() {
    let inputs: [(&str, &[usize]); 1] = [("latents", &[2, 3, 4, 6])];
    check("patches", &inputs, &|recording, ids| {
        let patched = patches::patchify(&mut recording.program, "patches", ids[0])?;
        let table = recording.input("positions", [6, 12], &normals("positions", 72));
        let placed = patches::add_positions(&mut recording.program, "placed", patched, table)?;
        Ok(vec![patches::unpatchify(&mut recording.program, "back", placed, [2, 3, 4, 6])?])
    });
}

#[test]
fn noising_leads_back_to_the_clean_latents() {
    check("noising", &[("latents", &[2, 1, 2, 4])], &|recording, ids| {
        let levels = [0.25f32, 0.875].map(|sigma| SampleState { sigma, ..bytemuck::Zeroable::zeroed() });
        let state = recording.step_state(bytemuck::Zeroable::zeroed(), levels.to_vec());
        let noise = recording.input("noise", [2, 1, 2, 4], &normals("noise", 16));
        let noised = flow::noise_latents(&mut recording.program, ids[0], noise, state)?;
        Ok(vec![noised.noisy, noised.velocity])
    });
}

/// What is used several times gets the sum of its gradients, whatever shares memory.
#[test]
fn tensors_that_are_used_several_times() {
    let inputs: [(&str, &[usize]); 2] = [("x", &[1, 3, 5]), ("vectors", &[1, 5])];
    check("fan-out", &inputs, &|recording, ids| {
        let program = &mut recording.program;
        let doubled = add(program, "doubled", ids[0], ids[0])?;
        let active = activate(program, "active", Activation::Silu, doubled)?;
        let sum = add(program, "sum", active, ids[0])?;
        let gate = Gate { vectors: ids[1], chunk: 0 };
        let gated = modulation::gated_residual(program, "gated", sum, gate, sum)?;
        Ok(vec![add(program, "end", gated, doubled)?, active])
    });
}

/// The gradient that the loss kernel writes, by its formula in f64, and the losses.
#[test]
fn the_velocity_loss_and_its_gradient() {
    let (samples, elements) = (3usize, 10usize);
    let shape = [samples, 5, 1, 2];
    let (predicted, target) = (normals("predicted", 30), normals("target", 30));
    let weights = [0.5f32, 1.0, 3.0];
    let mut recording = Recording::default();
    let states = weights.map(|loss_weight| SampleState { loss_weight, ..bytemuck::Zeroable::zeroed() });
    let header = StepHeader { sample_weight: 0.125, ..bytemuck::Zeroable::zeroed() };
    let state = recording.step_state(header, states.to_vec());
    let prediction: TensorId = recording.input("prediction", shape, &predicted);
    let velocity = recording.input("velocity", shape, &target);
    let gradient = flow::velocity_loss(&mut recording.program, prediction, velocity, state).unwrap();
    let mut ran = recording.run(Cpu::new(), &[gradient]).unwrap();
    let found = ran.read(gradient).unwrap();
    let losses = step_state::samples(ran.engine.step_state(samples).unwrap());
    for (sample, weight) in weights.map(f64::from).into_iter().enumerate() {
        let mut squares = 0.0;
        for i in sample * elements..(sample + 1) * elements {
            let difference = f64::from(predicted[i]) - f64::from(target[i]);
            squares += difference * difference;
            let expected = 2.0 * 0.125 * weight * difference / elements as f64;
            assert!((f64::from(found[i]) - expected).abs() <= 1e-6 * expected.abs() + 1e-9);
        }
        let expected = weight * squares / elements as f64;
        assert!((f64::from(losses[sample].loss) - expected).abs() <= 1e-6 * expected);
    }
}
