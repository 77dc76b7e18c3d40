//! AdamW in its three forms, the moving average, and the norm of all gradients.

use crate::autograd::Persistent;
use crate::autograd::persistent::Flat;
use crate::doctor::{Case, Recorder};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Update;
use crate::kernels::adamw::{AdamW, AdamWSettings, Form, MovingAverage};
use crate::kernels::gradient_norm::GradientNorm;
use crate::kernels::step_state::{SampleState, StepHeader};
use crate::random::{Purpose, Stream};
use crate::tensor::TensorId;

/// Lengths around those of a vector, a block of codes and a block of threads.
const SMALL: [usize; 7] = [1, 7, 255, 256, 257, 4099, 9000];
/// All adapters of SD3.5 Large at rank 64.
const LARGE_RANK_64: usize = 47_316_992;

/// A step in the middle of a run.
pub(super) fn header() -> StepHeader {
    StepHeader {
        seed: [7, 9],
        step: 5,
        first_sample: 3,
        learning_rate: 1e-3,
        bias_correction1: 1.0 - 0.9f32.powi(6),
        bias_correction2: 1.0 - 0.999f32.powi(6),
        sample_weight: 0.25,
        max_gradient_norm: 1.0,
        gradient_norm: 0.0,
        clip_factor: 0.5,
        ema_decay: 0.75,
        // Some gradients of the cases are larger, most are not.
        max_gradient_value: 0.25,
        reserved: [0; 3],
    }
}

/// A flat buffer, every value made from a normal. A large one repeats the same values.
fn flat(recorder: &mut Recorder, flat: Flat, make: impl Fn(f32) -> f32) -> Result<TensorId> {
    let elements = recorder.layout.as_ref().map_or(0, Persistent::elements);
    let mut draws = vec![0.0; elements.min(1 << 20)];
    Stream::new(2, Purpose::Noise, flat as u32, 0, 0).fill_normal(&mut draws);
    let values = draws.into_iter().map(make).collect::<Vec<_>>().into_iter().cycle().take(elements).collect();
    let lacks = || Error::new(ErrorKind::Kernel, "case", format!("the region has no {flat:?}"));
    recorder.flat(flat, values).ok_or_else(lacks)
}

/// The region of one parameter, and the step state.
fn region(recorder: &mut Recorder, form: Form, elements: usize) -> TensorId {
    let mut layout = Persistent::with_states(1, form, true);
    layout.add("parameter", [elements]);
    recorder.layout = Some(layout);
    recorder.step_state(header(), vec![SampleState { sigma: 0.0, loss_weight: 1.0, loss: 0.0, reserved: 0 }])
}

fn in_place(id: TensorId) -> Update {
    Update { from: Some(id), to: id }
}

fn record_adamw(recorder: &mut Recorder, form: Form, elements: usize) -> Result<()> {
    let state = region(recorder, form, elements);
    // Some are exactly zero, and they span many orders of magnitude.
    let gradients = flat(recorder, Flat::Gradients, |n| if n.abs() < 0.1 { 0.0 } else { n * n * n * n * n })?;
    let parameters = flat(recorder, Flat::Parameters, |n| 0.05 * n)?;
    let moment1 = flat(recorder, Flat::Moment1, |n| 0.1 * n)?;
    let moment2 = flat(recorder, Flat::Moment2, |n| 0.01 * n * n)?;
    let settings = AdamWSettings { form, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
    recorder.program.launch(AdamW {
        settings,
        state,
        gradients,
        parameters: in_place(parameters),
        moment1: in_place(moment1),
        moment2: in_place(moment2),
        working: None,
        rest: None,
    })?;
    [Flat::Parameters, Flat::Moment1, Flat::Moment2].into_iter().for_each(|flat| recorder.output_flat(flat));
    Ok(())
}

/// AdamW. Rounding falls the other way where the last bit before it differs, seldom.
pub fn adamw_cases() -> Vec<Case> {
    let forms = [(Form::F32, "f32", 1e-6), (Form::Bf16, "bf16", 1e-3), (Form::Block8, "8 bits", 1e-3)];
    let of_form = |(form, name, tolerance): (Form, &'static str, f64)| {
        let small = SMALL.into_iter().map(move |elements| {
            let record = move |recorder: &mut Recorder| record_adamw(recorder, form, elements);
            Case::small("adamw", format!("{name}, {elements}"), record).within(tolerance)
        });
        let record = move |recorder: &mut Recorder| record_adamw(recorder, form, LARGE_RANK_64);
        small.chain([Case::real("adamw", format!("{name}, large.r64"), record).within(tolerance)])
    };
    forms.into_iter().flat_map(of_form).collect()
}

/// The moving average of parameters in f32 and in bf16.
pub fn moving_average_cases() -> Vec<Case> {
    let case = |form: Form, elements: usize| {
        let record = move |recorder: &mut Recorder| {
            let state = region(recorder, form, elements);
            let parameters = flat(recorder, Flat::Parameters, |n| n)?;
            let average = in_place(flat(recorder, Flat::Average, |n| n + 1.0)?);
            recorder.program.launch(MovingAverage { form, state, parameters, average })?;
            recorder.output_flat(Flat::Average);
            Ok(())
        };
        Case::small("moving_average", format!("{form:?}, {elements}"), record).within(1e-6)
    };
    let of_form = |form| SMALL.into_iter().map(move |elements| case(form, elements));
    [Form::F32, Form::Bf16].into_iter().flat_map(of_form).collect()
}

/// The norm of all gradients, below and above what it is clipped to.
pub fn gradient_norm_cases() -> Vec<Case> {
    let record = |elements: usize, size: f32| {
        move |recorder: &mut Recorder| {
            let state = in_place(region(recorder, Form::F32, elements));
            let gradients = flat(recorder, Flat::Gradients, |n| size * n)?;
            recorder.program.launch(GradientNorm { gradients, state })?;
            recorder.output_step_state();
            Ok(())
        }
    };
    let small = SMALL.into_iter().chain([32_768, 100_000]).flat_map(|elements| {
        [("clipped", 1e3), ("left alone", 1e-6)].map(|(what, size)| {
            Case::small("gradient_norm", format!("{elements}, {what}"), record(elements, size)).within(1e-6)
        })
    });
    let real = Case::real("gradient_norm", "large.r64", record(LARGE_RANK_64, 1e-3)).within(1e-6);
    small.chain([real]).collect()
}
