//! Every program of a run, recorded and planned before a weight is read.

use crate::autograd::program::{Home, Program};
use crate::autograd::recompute::Recompute;
use crate::autograd::run::Planned;
use crate::dataset::{Schedule, Source};
use crate::device::Limits;
use crate::error::Result;
use crate::models::mmdit::{ModulationInputs, ModulationVectors, record_modulation};
use crate::train::optimize;
use crate::train::recipe::Recipe;
use crate::train::step::{self, StepInputs, StepModel, StepShape};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
#[derive(Debug)]
pub struct Programs {
    /// Step programs by shape.
    pub steps: BTreeMap<StepShape, (Planned, StepInputs)>,
    /// The modulation program.
    pub modulation: (Planned, ModulationInputs, ModulationVectors),
    /// Rows of the modulation program.
    pub modulation_rows: usize,
    /// The optimizer program.
    pub optimize: Planned,
}

/// The shapes that a schedule's batches take: full ones and each bucket's short one.
pub fn shapes(
    schedule: &Schedule,
    sources: &[Source],
    batch_size: usize,
    text_tokens: usize,
) -> BTreeSet<StepShape> {
    let mut shapes = BTreeSet::new();
    for group in schedule.groups() {
        let (width, height) = (group.bucket.width, group.bucket.height);
        let keeps_the_model = sources.get(group.set).is_some_and(|source| source.lesson.keeps_the_model);
        let full = (group.batches > 1).then_some(batch_size);
        for batch in full.into_iter().chain([group.last_batch]) {
            shapes.insert(StepShape { batch, width, height, text_tokens, keeps_the_model });
        }
    }
    shapes
}

impl Programs {
    /// Records and plans everything for a device with `limits`.
    pub fn record(
        recipe: &Recipe,
        model: &StepModel<'_>,
        shapes: &BTreeSet<StepShape>,
        modulation_rows: usize,
        policy: Recompute,
        limits: &Limits,
    ) -> Result<Self> {
        let planned = |program: Program| Planned::new(program, limits);
        let mut steps = BTreeMap::new();
        for &shape in shapes {
            let (program, inputs) = step::record(model, &shape, policy)?;
            steps.insert(shape, (planned(program)?, inputs));
        }
        let StepModel { config, adapters, persistent, .. } = *model;
        let mut program = Program::new();
        let (inputs, vectors) =
            record_modulation(&mut program, config, adapters, persistent, modulation_rows)?;
        let optimize = optimize::record(model.persistent, recipe.adamw, recipe.average.is_some())?;
        Ok(Self {
            steps,
            modulation: (planned(program)?, inputs, vectors),
            modulation_rows,
            optimize: planned(optimize)?,
        })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        let steps = self.steps.values().map(|(planned, _)| planned);
        steps.chain([&self.modulation.0, &self.optimize])
    }

    /// Bytes of the arena that serves all of them.
    pub fn arena_bytes(&self) -> usize {
        self.all().map(|planned| planned.plan.bytes).max().unwrap_or(0)
    }

    /// Bytes of the resident weights that they use.
    pub fn weight_bytes(&self) -> usize {
        weight_bytes(self.all().map(|planned| &*planned.program))
    }
}

/// Bytes of the resident weights that `programs` use, each once.
pub fn weight_bytes<'a>(programs: impl IntoIterator<Item = &'a Program>) -> usize {
    let mut weights = BTreeMap::new();
    for tensor in programs.into_iter().flat_map(|program| &program.tensors) {
        if let Home::Weight(name) = &tensor.home {
            weights.insert(name, tensor.shape.elements() * tensor.dtype.size());
        }
    }
    weights.values().sum()
}
