//! The loss on pictures that are held out of training, at noise and noise levels that never change, so that its
//! values can be compared from step to step.

use crate::autograd::Engine;
use crate::autograd::run::Planned;
use crate::dataset::Sample;
use crate::device::Limits;
use crate::diffusion::sigmas::timestep;
use crate::error::Result;
use crate::kernels::step_state;
use crate::models::mmdit::{Conditioning, ModulationAhead};
use crate::random::{Purpose, Stream};
use crate::train::data::TrainingData;
use crate::train::programs::Programs;
use crate::train::recipe::Recipe;
use crate::train::step::{self, StepInputs, StepModel, StepShape, StepValues};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// Samples of one bucket that are evaluated together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationBatch {
    /// Tells its program.
    pub shape: StepShape,
    /// Their indices in the dataset.
    pub samples: Vec<usize>,
    /// Their captions.
    pub captions: Vec<String>,
    /// Index among all held-out samples of the first of them; draws are told apart by it.
    pub first: usize,
}

/// Forward programs by shape.
pub type EvaluationPrograms = BTreeMap<StepShape, (Planned, StepInputs)>;

/// The batches of the samples `held_out`, at most `batch_size` in one.
pub fn batches(
    samples: &[Sample],
    held_out: &[usize],
    batch_size: usize,
    text_tokens: usize,
) -> Vec<EvaluationBatch> {
    let mut by_bucket: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &index in held_out {
        by_bucket.entry(samples[index].bucket).or_default().push(index);
    }
    let mut all = Vec::new();
    let mut first = 0;
    for (bucket, indices) in by_bucket {
        for indices in indices.chunks(batch_size) {
            let (width, height) = (bucket.width, bucket.height);
            let shape =
                StepShape { batch: indices.len(), width, height, text_tokens, keeps_the_model: false };
            let captions = indices.iter().map(|&index| samples[index].plain_caption()).collect();
            all.push(EvaluationBatch { shape, samples: indices.to_vec(), captions, first });
            first += indices.len();
        }
    }
    all
}

/// Plans the programs of `batches`. The model's adapters are those that are exported, without dropout.
pub fn programs(
    model: &StepModel<'_>,
    batches: &[EvaluationBatch],
    limits: &Limits,
) -> Result<EvaluationPrograms> {
    let mut programs = EvaluationPrograms::new();
    for batch in batches {
        if let Entry::Vacant(place) = programs.entry(batch.shape) {
            let (program, inputs) = step::record_evaluation(model, &batch.shape)?;
            place.insert((Planned::new(program, limits)?, inputs));
        }
    }
    Ok(programs)
}

/// Bytes of the arena that `programs` need.
pub fn arena_bytes(programs: &EvaluationPrograms) -> usize {
    programs.values().map(|(planned, _)| planned.plan.bytes).max().unwrap_or(0)
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationReport {
    /// Mean loss over samples and noise levels.
    pub loss: f64,
    /// Mean loss over the samples at each noise level, from the least noise to the most.
    pub by_sigma: Vec<(f64, f64)>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Evaluation {
    batches: Vec<EvaluationBatch>,
    programs: EvaluationPrograms,
    ahead: ModulationAhead,
    levels: usize,
    seed: u64,
}

impl Evaluation {
    /// An evaluation of `batches` at `levels` noise levels; `training` lends its modulation program.
    pub fn new(
        batches: Vec<EvaluationBatch>,
        programs: EvaluationPrograms,
        training: &Programs,
        levels: usize,
        seed: u64,
    ) -> Self {
        let (planned, inputs, vectors) = training.modulation.clone();
        let ahead = ModulationAhead::new(planned, inputs, vectors, training.modulation_rows);
        // Training's own noise must not be seen here.
        let stream = Stream::new(seed, Purpose::Evaluation, 0, 0, 0);
        let seed = u64::from(stream.word(0)) | u64::from(stream.word(1)) << 32;
        Self { batches, programs, ahead, levels, seed }
    }

    /// Evaluates with the adapters that `engine` holds.
    pub fn run(
        &mut self,
        engine: &mut Engine,
        recipe: &Recipe,
        data: &TrainingData<'_>,
        positions: &HashMap<(usize, usize), Vec<f32>>,
    ) -> Result<EvaluationReport> {
        let mut sums = vec![(0.0, 0.0); self.levels];
        for index in 0..self.batches.len() {
            let levels = recipe.levels(self.batches[index].shape.image_tokens(), self.levels);
            for (level, sigma) in levels.into_iter().enumerate() {
                let losses = self.batch(index, (level, sigma), engine, data, positions)?;
                let samples = losses.len() as f64;
                sums[level].0 += sigma * samples;
                sums[level].1 += losses.iter().sum::<f64>();
            }
        }
        let samples: f64 = self.batches.iter().map(|batch| batch.samples.len() as f64).sum();
        let by_sigma: Vec<_> =
            sums.into_iter().map(|(sigma, loss)| (sigma / samples, loss / samples)).collect();
        let loss = by_sigma.iter().map(|(_, loss)| loss).sum::<f64>() / by_sigma.len() as f64;
        Ok(EvaluationReport { loss, by_sigma })
    }

    /// The losses of one batch at one noise level.
    fn batch(
        &mut self,
        index: usize,
        (level, sigma): (usize, f64),
        engine: &mut Engine,
        data: &TrainingData<'_>,
        positions: &HashMap<(usize, usize), Vec<f32>>,
    ) -> Result<Vec<f64>> {
        let EvaluationBatch { shape, samples, captions, first } = &self.batches[index];
        let texts = captions.iter().map(|caption| data.text(caption)).collect::<Result<Vec<_>>>()?;
        let conditioning =
            texts.iter().map(|text| Conditioning { timestep: timestep(sigma), pooled: text.pooled.clone() });
        self.ahead.fill(engine, &conditioning.collect::<Vec<_>>())?;
        let vectors = self.ahead.take(samples.len());
        let seed = [self.seed as u32, (self.seed >> 32) as u32];
        engine.change_step_state(samples.len(), |state| {
            let header = step_state::header_mut(state);
            (header.seed, header.step, header.first_sample) = (seed, level as u32, *first as u32);
            for sample in step_state::samples_mut(state) {
                (sample.sigma, sample.loss_weight) = (sigma as f32, 1.0);
            }
        })?;
        let Some((planned, inputs)) = self.programs.get(shape) else { return Ok(Vec::new()) };
        let latents = samples.iter().map(|&sample| data.latents(sample, 0)).collect::<Result<Vec<_>>>()?;
        let values = StepValues {
            samples: latents.into_iter().zip(texts).collect(),
            positions: &positions[&(shape.width, shape.height)],
            modulation: &vectors,
        };
        inputs.write(engine, planned, &values)?;
        engine.run(planned)?;
        let state = engine.step_state(samples.len())?;
        Ok(step_state::samples(state).iter().map(|sample| f64::from(sample.loss)).collect())
    }
}
