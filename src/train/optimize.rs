//! The optimizer program: clip, AdamW, moving average, all adapters in one launch each.

use crate::autograd::persistent::Flat;
use crate::autograd::{Persistent, Program};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Update;
use crate::kernels::adamw::{AdamW, AdamWSettings, MovingAverage};
use crate::kernels::gradient_norm::GradientNorm;

/// Records the update of all parameters from the flat gradient buffer.
pub fn record(persistent: &Persistent, settings: AdamWSettings, with_average: bool) -> Result<Program> {
    let mut program = Program::new();
    let state = persistent.step_state(&mut program, 1);
    let mut flat = |which: Flat| {
        persistent.flat(&mut program, which).ok_or_else(|| {
            Error::new(ErrorKind::Training, "optimizer", format!("the persistent region has no {which:?}"))
        })
    };
    let (parameters, gradients) = (flat(Flat::Parameters)?, flat(Flat::Gradients)?);
    let (moment1, moment2) = (flat(Flat::Moment1)?, flat(Flat::Moment2)?);
    let average = if with_average { Some(flat(Flat::Average)?) } else { None };
    let in_place = |id| Update { from: Some(id), to: id };
    program.launch(GradientNorm { gradients, state: in_place(state) })?;
    program.launch(AdamW {
        settings,
        state,
        gradients,
        parameters: in_place(parameters),
        moment1: in_place(moment1),
        moment2: in_place(moment2),
        working: None,
        rest: None,
    })?;
    if let Some(average) = average {
        let form = settings.form;
        program.launch(MovingAverage { form, state, parameters, average: in_place(average) })?;
    }
    Ok(program)
}
