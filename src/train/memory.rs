//! What a run keeps in device memory, by purpose, before any of it is there.

use crate::autograd::recompute::Recompute;
use crate::autograd::{Persistent, persistent::Flat};
use crate::device::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::train::programs::Programs;
use crate::train::recipe::Recipe;
use crate::train::step::{StepModel, StepShape};
use serde::Serialize;
use std::collections::BTreeSet;

/// Bytes by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// The recompute policy that it holds for.
    pub recompute: Recompute,
    /// Frozen weights of transformer and modulation, and of the VAE's decoder where pictures are drawn.
    pub weights: usize,
    /// Adapters.
    pub adapters: usize,
    /// The flat gradient buffer.
    pub gradients: usize,
    /// Optimizer states.
    pub optimizer: usize,
    /// The moving average.
    pub average: usize,
    /// The step state.
    pub step_state: usize,
    /// The most that activations and their gradients take at one time.
    pub activations: usize,
    /// The most that one kernel's scratch takes.
    pub workspace: usize,
    /// The part of the arena that drawing validation pictures needs.
    pub drawing_arena: usize,
    /// The part of the arena that evaluating held-out pictures needs.
    pub evaluation_arena: usize,
    /// The part of the arena that encoding captions between epochs needs at least.
    pub encoding_arena: usize,
    /// The arena: activations, gradients and scratch, placed; for whichever of training, evaluating, drawing and
    /// encoding needs the most.
    pub arena: usize,
}

/// What does not depend on the recompute policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// The device.
    pub limits: Limits,
    /// What drawing validation pictures needs.
    pub drawing: Drawing,
    /// Bytes of the arena that evaluating held-out pictures needs.
    pub evaluation_arena: usize,
    /// Bytes of the arena that encoding captions between epochs needs.
    pub encoding_arena: usize,
}

/// What drawing validation pictures needs beside the transformer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawing {
    /// Bytes of the arena.
    pub arena: usize,
    /// Bytes of the VAE's weights.
    pub weights: usize,
}

impl MemoryPlan {
    /// Adds up what `programs` need.
    pub fn of(programs: &Programs, persistent: &Persistent, recompute: Recompute, fixed: &Fixed) -> Self {
        let precision = fixed.limits.precision();
        let has = |which: Flat| persistent.flat_bytes(which, precision);
        let most = |part: fn(&crate::autograd::Plan) -> usize| {
            programs.all().map(|planned| part(&planned.plan)).max().unwrap_or(0)
        };
        Self {
            recompute,
            weights: programs.weight_bytes() + fixed.drawing.weights,
            adapters: has(Flat::Parameters) + has(Flat::Working) + has(Flat::Rest),
            gradients: has(Flat::Gradients),
            optimizer: has(Flat::Moment1) + has(Flat::Moment2),
            average: has(Flat::Average),
            step_state: persistent.state_bytes(),
            activations: most(|plan| plan.tensor_peak),
            workspace: most(|plan| plan.workspace_peak),
            drawing_arena: fixed.drawing.arena,
            evaluation_arena: fixed.evaluation_arena,
            encoding_arena: fixed.encoding_arena,
            arena: [fixed.drawing.arena, fixed.evaluation_arena, fixed.encoding_arena]
                .into_iter()
                .fold(programs.arena_bytes(), usize::max),
        }
    }

    /// Bytes of the persistent region.
    pub fn persistent(&self) -> usize {
        self.adapters + self.gradients + self.optimizer + self.average + self.step_state
    }

    /// Everything while training.
    pub fn total(&self) -> usize {
        self.weights + self.persistent() + self.arena
    }
}

/// Records all programs under `policy`, or under the fastest policy that fits where it is none.
///
/// # Errors
/// No policy fits; the message says what the leanest would need.
pub fn fit(
    recipe: &Recipe,
    model: &StepModel<'_>,
    shapes: &BTreeSet<StepShape>,
    modulation_rows: usize,
    policy: Option<Recompute>,
    fixed: &Fixed,
) -> Result<(Programs, MemoryPlan)> {
    // `full` needs no less than `lean` and computes more, so nobody is given it unasked.
    let candidates = [Recompute::Store, Recompute::Selective, Recompute::Lean];
    let candidates = policy.map_or(candidates.to_vec(), |policy| vec![policy]);
    let mut smallest = usize::MAX;
    for candidate in candidates {
        let programs = Programs::record(recipe, model, shapes, modulation_rows, candidate, &fixed.limits)?;
        let memory = MemoryPlan::of(&programs, model.persistent, candidate, fixed);
        if memory.total() as u64 <= fixed.limits.memory {
            return Ok((programs, memory));
        }
        smallest = smallest.min(memory.total());
    }
    let gibibytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let cause = format!(
        "training needs {:.2} GiB of the {:.2} GiB that there are",
        gibibytes(smallest as u64),
        gibibytes(fixed.limits.memory)
    );
    Err(Error::new(ErrorKind::Device, "memory", cause)
        .hint("lower train_batch_size, resolution or lora_rank, or set recompute=lean"))
}
