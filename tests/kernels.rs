//! Every kernel's CUDA form on the emulator, against its definition on the processor: the small cases of the doctor.

// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]

use sargent::autograd::persistent::Flat;
use sargent::autograd::{Engine, Persistent, Program};
#[cfg(emulator)]
use sargent::device::cuda::Architecture;
use sargent::device::{self, Choice, Device};
use sargent::doctor::{Case, Scale, cases, check};
use sargent::kernels::gradient_norm::GradientNorm;
use sargent::kernels::{Update, step_state};

#[path = "kernels/products.rs"]
mod products;
#[path = "kernels/rest.rs"]
mod rest;

/// What the emulated cards of these tests are.
#[cfg(emulator)]
const ARCHITECTURE: Architecture = Architecture { compute: 80, multiprocessors: 4, shared_memory: 99 << 10 };

/// The device in `SARGENT_DEVICE`, else the emulator.
fn device() -> Device {
    let wanted = std::env::var("SARGENT_DEVICE").unwrap_or_else(|_| "emulator".to_owned());
    device::choose(wanted.parse::<Choice>().unwrap()).unwrap().0
}

/// The small cases of the kernels called `kernel`.
fn small_cases(kernel: &str) -> Vec<Case> {
    let mut cases = cases::all();
    cases.retain(|case| case.kernel == kernel && case.scale == Scale::Small);
    assert!(!cases.is_empty(), "there is no case of {kernel}");
    cases
}

/// Checks cases, each on the device that is made for it.
fn check_all(cases: &[Case], device: impl Fn(usize) -> Device) {
    let mut failures = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        match check(case, &device(index)) {
            Ok(verdict) if verdict.passed => {}
            Ok(verdict) => failures.push(format!("{case:?}: {verdict:?}")),
            Err(error) => failures.push(format!("{case:?}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Two tests for each family of kernels: what they compute, and whether their threads keep out of each other's way.
macro_rules! kernels {
    ($($test:ident $kernel:literal,)*) => {
        $(mod $test {
            #[test]
            fn computes_what_it_is_defined_to() {
                let device = super::device();
                super::check_all(&super::small_cases($kernel), |_| device.clone());
            }

            /// Races and what C++ leaves undefined, under five orders of warps.
            #[cfg(emulator)]
            #[test]
            fn is_free_of_races() {
                use sargent::device::cuda::emulated::Emulated;
                let mut cases = super::small_cases($kernel);
                let mut index = 0;
                cases.retain(|_| { index += 1; index % 4 == 1 });
                super::check_all(&cases, |index| {
                    super::Device::Cuda(Emulated::checked(super::ARCHITECTURE, index as u64 % 5))
                });
            }
        })*
    };
}

kernels! {
    linear "linear",
    low_rank "low_rank",
    activation "activation",
    adamw "adamw",
    add "add",
    attention "attention",
    cast "cast",
    channels "channels",
    conv2d "conv2d",
    draw_noise "draw_noise",
    effective_weight "effective_weight",
    flow_noising "flow_noising",
    gated_multiply "gated_multiply",
    gated_residual "gated_residual",
    gather_rows "gather_rows",
    gradient_norm "gradient_norm",
    group_norm "group_norm",
    group_statistics "group_statistics",
    layer_norm "layer_norm",
    layer_norm_affine "layer_norm_affine",
    magnitude "magnitude",
    moving_average "moving_average",
    patchify "patchify",
    positions "positions",
    qk_norm "qk_norm",
    rms_norm "rms_norm",
    sample_latents "sample_latents",
    timestep_features "timestep_features",
    velocity_loss "velocity_loss",
}

/// A comparison has no room for what is not a number, so this is no case of the doctor.
#[test]
fn a_gradient_that_is_not_finite_makes_the_norm_so() {
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut layout = Persistent::new(1);
        layout.add("parameter", [40_000]);
        let mut program = Program::new();
        let state = layout.step_state(&mut program, 1);
        let gradients = layout.flat(&mut program, Flat::Gradients).unwrap();
        let state = Update { from: Some(state), to: state };
        program.launch(GradientNorm { gradients, state }).unwrap();
        let mut engine = Engine::new(device(), 0, layout).unwrap();
        let planned = engine.plan(program).unwrap();
        engine.reserve(&planned).unwrap();
        engine.set_flat(Flat::Gradients, 39_984, &[1.0, broken]).unwrap();
        engine.change_step_state(1, |state| step_state::header_mut(state).max_gradient_norm = 1.0).unwrap();
        engine.run(&planned).unwrap();
        assert!(!step_state::header(engine.step_state(1).unwrap()).gradient_norm.is_finite(), "{broken}");
    }
}
