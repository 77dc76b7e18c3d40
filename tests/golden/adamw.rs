//! AdamW trajectories on given gradients: in f32, with bf16 parameters, and with states in bf16 and in 8 bits.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use half::bf16;
use sargent::autograd::persistent::Flat;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::error::Result;
use sargent::kernels::adamw::{AdamW, AdamWSettings, Form};
use sargent::kernels::{Update, step_state};

/// Where the case recommends none: the states of f32 arithmetic.
const STATE_LIMIT: f64 = 2e-6;

/// How many elements may differ by one place of bf16 where parameters are rounded after every step.
const ROUNDED_OTHERWISE: f64 = 0.05;

/// What the given numbers become before and between steps.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    bf16_inputs: bool,
    bf16_parameters: bool,
    form: Form,
}

const MODES: [Mode; 3] = [
    Mode { name: "fp32", bf16_inputs: false, bf16_parameters: false, form: Form::F32 },
    Mode { name: "bf16_master", bf16_inputs: true, bf16_parameters: false, form: Form::F32 },
    Mode { name: "bf16_no_master", bf16_inputs: true, bf16_parameters: true, form: Form::F32 },
];

/// A form of the states that torch does not have, and how far it may stray from f32 states.
struct Coarse {
    /// The trajectory that it must stay near.
    mode: Mode,
    parameters: f64,
    moments: f64,
}

const COARSE: [Coarse; 2] = [
    // Ten roundings with a deviation of at most half a place of bf16, 2^-8 of the value.
    Coarse {
        mode: Mode { name: "bf16_master", bf16_inputs: true, bf16_parameters: false, form: Form::Bf16 },
        parameters: 1.3e-2,
        moments: 2e-2,
    },
    // Parts of 0.9 / 64 of a block's largest element; gradients far below that one move their parameters too little.
    Coarse {
        mode: Mode { name: "fp32", bf16_inputs: false, bf16_parameters: false, form: Form::Block8 },
        parameters: 2e-2,
        moments: 3e-2,
    },
];

/// One parameter after every step, and its states after the last.
struct Trajectory {
    steps: Vec<f32>,
    moment1: Vec<f32>,
    moment2: Vec<f32>,
}

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let inputs = case.tensors("inputs")?;
    for mode in MODES {
        let expected = case.tensors(mode.name)?;
        for (index, ours) in run(case, &inputs, mode)?.iter().enumerate() {
            let what = |tensor: &str| format!("{} {tensor}.{index}", mode.name);
            let param = format!("param.{index}");
            if mode.bf16_parameters {
                check_rounded(checks, &what("param"), &ours.steps, &expected.f32(&param)?);
            } else {
                let limit = case.tolerance(&[mode.name, &param], Of::Exact)?;
                checks.close(&what("param"), &ours.steps, &expected.f32(&param)?, limit);
            }
            let states = [("exp_avg", &ours.moment1), ("exp_avg_sq", &ours.moment2)];
            for (state, ours) in states {
                let name = format!("{state}.{index}");
                let limit = case.tolerance_or(&[mode.name, &name], STATE_LIMIT, Of::Exact);
                checks.close(&what(state), ours, &expected.f32(&name)?, limit);
            }
            if expected.contains(&format!("param_bf16.{index}")) {
                let rounded: Vec<f32> = ours.steps.iter().map(|&p| round(p)).collect();
                check_rounded(
                    checks,
                    &what("param_bf16"),
                    &rounded,
                    &expected.f32(&format!("param_bf16.{index}"))?,
                );
            }
        }
    }
    COARSE.iter().try_for_each(|coarse| check_coarse(case, &inputs, coarse, checks))?;
    checks
        .note("bf16_torch: informational (it rounds every intermediate to the nearest), not run".to_owned());
    Ok(())
}

/// Near the trajectory with f32 states.
fn check_coarse(case: &Case, inputs: &Tensors, coarse: &Coarse, checks: &mut Checks) -> Result<()> {
    let mode = coarse.mode;
    let expected = case.tensors(mode.name)?;
    for (index, ours) in run(case, inputs, mode)?.iter().enumerate() {
        for (tensor, ours, limit) in [
            ("param", &ours.steps, coarse.parameters),
            ("exp_avg", &ours.moment1, coarse.moments),
            ("exp_avg_sq", &ours.moment2, coarse.moments),
        ] {
            let what = format!("{:?} beside {}, {tensor}.{index}", mode.form, mode.name);
            checks.close(&what, ours, &expected.f32(&format!("{tensor}.{index}"))?, limit);
        }
        if mode.form == Form::Bf16 {
            let of_bf16 = ours.steps.iter().chain(&ours.moment1).chain(&ours.moment2).all(|&x| x == round(x));
            checks.holds(&format!("everything kept of parameter {index} is bf16"), of_bf16);
        }
    }
    Ok(())
}

/// Equal, except that a few elements may differ by one place of bf16.
fn check_rounded(checks: &mut Checks, what: &str, ours: &[f32], expected: &[f32]) {
    let place = |x: f32| i32::from(bf16::from_f32(x).to_bits() as i16);
    let differing = ours.iter().zip(expected).filter(|(a, b)| a != b);
    let farthest = differing.clone().map(|(&a, &b)| (place(a) - place(b)).abs()).max().unwrap_or(0);
    checks.within(&format!("{what}, places of bf16"), f64::from(farthest), 1.0);
    let share = differing.count() as f64 / expected.len() as f64;
    checks.within(&format!("{what}, share of elements that differ"), share, ROUNDED_OTHERWISE);
}

fn round(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

/// All parameters of the case through the AdamW kernel.
fn run(case: &Case, inputs: &Tensors, mode: Mode) -> Result<Vec<Trajectory>> {
    let parameters: Vec<&str> = inputs.names().filter_map(|name| name.strip_prefix("init.")).collect();
    let rates = inputs.f64("lr")?;
    let betas = case.numbers(&["hyper", "betas"])?;
    let settings = AdamWSettings {
        form: mode.form,
        beta1: betas[0],
        beta2: betas[1],
        epsilon: case.number(&["hyper", "eps"])?,
        weight_decay: case.number(&["hyper", "weight_decay"])?,
    };
    let mut layout = Persistent::with_states(1, mode.form, false);
    for name in &parameters {
        layout.add(*name, inputs.shape(&format!("init.{name}"))?);
    }
    let program = record(&layout, settings)?;
    let mut engine = Engine::new(device()?, 0, layout)?;
    let planned = engine.plan(program)?;
    let as_mode = |values: Vec<f32>| -> Vec<f32> {
        if mode.bf16_inputs { values.into_iter().map(round).collect() } else { values }
    };
    let mut gradients = Vec::new();
    for name in &parameters {
        write(&mut engine, name, Flat::Parameters, &as_mode(inputs.f32(&format!("init.{name}"))?))?;
        gradients.push(as_mode(inputs.f32(&format!("grads.{name}"))?));
    }
    let mut steps = vec![Vec::new(); parameters.len()];
    for (step, rate) in rates.iter().enumerate() {
        engine.change_step_state(1, |state| {
            let header = step_state::header_mut(state);
            header.step = step as u32;
            header.learning_rate = *rate as f32;
            header.bias_correction1 = (1.0 - betas[0].powi(step as i32 + 1)) as f32;
            header.bias_correction2 = (1.0 - betas[1].powi(step as i32 + 1)) as f32;
            header.clip_factor = 1.0;
        })?;
        for (name, gradients) in parameters.iter().zip(&gradients) {
            let elements = gradients.len() / rates.len();
            write(&mut engine, name, Flat::Gradients, &gradients[step * elements..][..elements])?;
        }
        engine.run(&planned)?;
        for (name, steps) in parameters.iter().zip(&mut steps) {
            let mut values = read(&engine, name, Flat::Parameters)?;
            if mode.bf16_parameters {
                values.iter_mut().for_each(|p| *p = round(*p));
                write(&mut engine, name, Flat::Parameters, &values)?;
            }
            steps.extend(values);
        }
    }
    let trajectory = |(name, steps): (&&str, Vec<f32>)| {
        let (moment1, moment2) = (read(&engine, name, Flat::Moment1)?, read(&engine, name, Flat::Moment2)?);
        Ok(Trajectory { steps, moment1, moment2 })
    };
    parameters.iter().zip(steps).map(trajectory).collect()
}

/// One launch over the flat buffers.
fn record(layout: &Persistent, settings: AdamWSettings) -> Result<Program> {
    let mut program = Program::new();
    let state = layout.step_state(&mut program, 1);
    let mut flat = |flat| layout.flat(&mut program, flat).expect("the layout has optimizer states");
    let gradients = flat(Flat::Gradients);
    let [parameters, moment1, moment2] = [Flat::Parameters, Flat::Moment1, Flat::Moment2].map(|buffer| {
        let id = flat(buffer);
        Update { from: Some(id), to: id }
    });
    program.launch(AdamW {
        settings,
        state,
        gradients,
        parameters,
        moment1,
        moment2,
        working: None,
        rest: None,
    })?;
    Ok(program)
}

fn read(engine: &Engine, name: &str, flat: Flat) -> Result<Vec<f32>> {
    Ok(engine.parameter(name, flat)?.expect("a parameter of the layout"))
}

fn write(engine: &mut Engine, name: &str, flat: Flat, values: &[f32]) -> Result<()> {
    let offset = engine.layout().parameter(name).expect("a parameter of the layout").offset;
    engine.set_flat(flat, offset, values)
}
