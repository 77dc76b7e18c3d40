//! Runs the steps.

use crate::autograd::persistent::Flat;
use crate::autograd::run::WeightSource;
use crate::autograd::{Engine, Persistent};
use crate::cache::TextEmbeddings;
use crate::dataset::{Batch, Captioning, Schedule, shown_view};
use crate::device::Device;
use crate::diffusion::sigmas::timestep;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::step_state;
use crate::models::adapter::{Adapter, AdapterModule};
use crate::models::mmdit::{Conditioning, ModulationAhead};
use crate::optimizer::ema::decay_at;
use crate::train::adapters::values_to_continue;
use crate::train::data::TrainingData;
use crate::train::encoder_dropout::EncoderDropout;
use crate::train::evaluation::{Evaluation, EvaluationReport};
use crate::train::programs::Programs;
use crate::train::recipe::Recipe;
use crate::train::step::{StepShape, StepValues};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;

/// A run in progress.
#[derive(Debug)]
pub struct Trainer<'a> {
    recipe: &'a Recipe,
    schedule: &'a Schedule,
    captions: Captioning<'a>,
    encoder_dropout: Option<EncoderDropout>,
    data: &'a TrainingData<'a>,
    positions: HashMap<(usize, usize), Vec<f32>>,
    text_tokens: usize,
    engine: Engine,
    programs: Programs,
    ahead: ModulationAhead,
    /// Steps done.
    step: u64,
    /// What the learning rate is multiplied by: below 1 after the run went back.
    rate_factor: f64,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Optimizer steps done, this one included.
    pub step: u64,
    /// Epoch of the step, from 0.
    pub epoch: u64,
    /// Mean loss over its samples.
    pub loss: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping.
    pub gradient_norm: f64,
    /// Its samples, in order.
    pub shown: Vec<Shown>,
    /// Wall time.
    pub seconds: f64,
}

/// One sample of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// Its index in the dataset.
    pub sample: usize,
    /// Which of its views was shown.
    pub view: usize,
    /// Its noise level.
    pub sigma: f64,
    /// Its loss, weighted.
    pub loss: f64,
}

/// What a trainer needs that does not change.
#[derive(Debug, Clone)]
pub struct TrainerParts<'a> {
    /// What is trained and how.
    pub recipe: &'a Recipe,
    /// Which samples a step sees.
    pub schedule: &'a Schedule,
    /// Which texts they come with.
    pub captions: Captioning<'a>,
    /// Which text encoders are left out.
    pub encoder_dropout: Option<EncoderDropout>,
    /// Latents and embeddings.
    pub data: &'a TrainingData<'a>,
    /// Layout of what outlives a step.
    pub persistent: &'a Persistent,
    /// Text tokens of every sample.
    pub text_tokens: usize,
    /// Bytes of the arena, which validation shares.
    pub arena_bytes: usize,
}

/// The flat buffers that a checkpoint keeps, by their names there; a run without a moving average has none.
const STATE: [(&str, Flat); 4] = [
    ("parameters", Flat::Parameters),
    ("moment1", Flat::Moment1),
    ("moment2", Flat::Moment2),
    ("average", Flat::Average),
];

/// A batch, and what tells its program apart.
struct MicroBatch {
    shape: StepShape,
    batch: Batch,
}

impl<'a> Trainer<'a> {
    /// A trainer at step 0 with fresh adapters.
    ///
    /// `positions` are the patches' positions by picture width and height.
    pub fn new(
        parts: TrainerParts<'a>,
        programs: Programs,
        weights: &dyn WeightSource,
        positions: HashMap<(usize, usize), Vec<f32>>,
        device: &Device,
    ) -> Result<Self> {
        let TrainerParts {
            recipe,
            schedule,
            captions,
            encoder_dropout,
            data,
            persistent,
            text_tokens,
            arena_bytes,
        } = parts;
        let mut engine = Engine::new(device.clone(), arena_bytes, persistent.clone())?;
        for planned in programs.all() {
            engine.load_weights(&planned.program, weights)?;
        }
        let (planned, inputs, vectors) = programs.modulation.clone();
        let ahead = ModulationAhead::new(planned, inputs, vectors, programs.modulation_rows);
        let mut trainer = Self {
            recipe,
            schedule,
            captions,
            encoder_dropout,
            data,
            positions,
            text_tokens,
            engine,
            programs,
            ahead,
            step: 0,
            rate_factor: 1.0,
        };
        trainer.initialise(weights)?;
        Ok(trainer)
    }

    /// Writes the initial adapters, which change nothing yet. The moving average starts as their copy.
    fn initialise(&mut self, weights: &dyn WeightSource) -> Result<()> {
        let Recipe { adapters, init, seed, continues, .. } = self.recipe;
        let mut start = vec![0.0; self.engine.layout().elements()];
        for index in 0..adapters.all.len() {
            for (name, values) in adapters.initial(index, *init, *seed, weights)? {
                if let Some(parameter) = self.engine.layout().parameter(&name) {
                    start[parameter.offset..][..values.len()].copy_from_slice(&values);
                }
            }
        }
        if let Some(path) = continues {
            self.start_from(&values_to_continue(path)?, &mut start);
        }
        [Flat::Parameters, Flat::Average]
            .into_iter()
            .try_for_each(|flat| self.engine.set_flat(flat, 0, &start))
    }

    /// The loss on held-out samples, by the adapters as they are.
    pub fn evaluate(&mut self, evaluation: &mut Evaluation) -> Result<EvaluationReport> {
        evaluation.run(&mut self.engine, self.recipe, self.data, &self.positions)
    }

    /// Puts the values of a file into `start`, in place of those with which its layers would begin.
    fn start_from(&self, values: &[AdapterModule], start: &mut [f32]) {
        for values in values {
            let of_layer = |adapter: &&Adapter| adapter.module.path == values.module;
            let Some(adapter) = self.recipe.adapters.all.iter().find(of_layer) else { continue };
            for (name, values) in adapter.parameters_of(values) {
                if let Some(parameter) = self.engine.layout().parameter(&name) {
                    start[parameter.offset..][..values.len()].copy_from_slice(values);
                }
            }
        }
    }

    /// The engine, for validation and checkpoints between steps.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// What a checkpoint must hold to continue bit for bit: flat buffers by name.
    pub fn state(&self) -> Result<Vec<(&'static str, Vec<f32>)>> {
        let values = |(name, flat)| Ok(self.engine.flat(flat)?.map(|values| (name, values)));
        STATE.into_iter().filter_map(|part| values(part).transpose()).collect()
    }

    /// Continues after `step` steps from the flat buffers of a checkpoint.
    ///
    /// # Errors
    /// A buffer that is missing or has another length.
    pub fn restore(&mut self, step: u64, state: &BTreeMap<String, Vec<f32>>) -> Result<()> {
        for (name, flat) in STATE {
            if !self.engine.has(flat) {
                continue;
            }
            let elements = self.engine.layout().elements();
            let values = state.get(name).filter(|values| values.len() == elements).ok_or_else(|| {
                let cause = format!("the checkpoint's `{name}` does not fit this run");
                Error::new(ErrorKind::Training, "resume_from_checkpoint", cause)
            })?;
            self.engine.set_flat(flat, 0, values)?;
        }
        self.step = step;
        self.ahead.clear();
        Ok(())
    }

    /// Multiplies the learning rate of the coming steps by `factor`.
    pub fn set_rate_factor(&mut self, factor: f64) {
        self.rate_factor = factor;
    }

    /// What it runs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Does one optimizer step.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, with the step and the samples.
    pub fn advance(&mut self) -> Result<StepReport> {
        let start = Instant::now();
        let micro_batches = self.micro_batches(self.step);
        let samples: usize = micro_batches.iter().map(|micro| micro.batch.samples.len()).sum();
        if self.ahead.is_empty() {
            self.make_modulation_vectors()?;
        }
        let learning_rate = self.prepare_step_state(samples)?;
        self.engine.clear_flat(Flat::Gradients)?;
        let mut shown = Vec::with_capacity(samples);
        for micro in &micro_batches {
            shown.extend(self.run_micro_batch(micro)?);
        }
        let loss: f64 = shown.iter().map(|shown| shown.loss).sum();
        self.engine.run(&self.programs.optimize)?;
        let gradient_norm = f64::from(step_state::header(self.engine.step_state(0)?).gradient_norm);
        if !gradient_norm.is_finite() {
            let samples = micro_batches.iter().flat_map(|micro| micro.batch.samples.iter().copied());
            return Err(self.not_finite("gradient", samples));
        }
        self.step += 1;
        Ok(StepReport {
            step: self.step,
            epoch: self.schedule.epoch_of(self.step as usize - 1) as u64,
            loss: loss / samples as f64,
            learning_rate,
            gradient_norm,
            shown,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    fn micro_batches(&self, step: u64) -> Vec<MicroBatch> {
        let batches = self.schedule.micro_batches(step as usize).into_iter();
        let with_shape = batches.map(|batch| {
            let lesson = batch.samples.first().map(|&sample| self.data.lesson(sample));
            let shape = StepShape {
                batch: batch.samples.len(),
                width: batch.bucket.width,
                height: batch.bucket.height,
                text_tokens: self.text_tokens,
                keeps_the_model: lesson.is_some_and(|lesson| lesson.keeps_the_model),
            };
            MicroBatch { shape, batch }
        });
        with_shape.collect()
    }

    /// Makes the vectors of this step and the next ones, as many as the recipe says.
    fn make_modulation_vectors(&mut self) -> Result<()> {
        let end = (self.step + self.recipe.modulation_steps as u64).min(self.schedule.total_steps() as u64);
        let mut coming = Vec::new();
        for step in self.step..end.max(self.step + 1) {
            for micro in self.micro_batches(step) {
                for (ordinal, &sample) in (micro.batch.first_ordinal..).zip(&micro.batch.samples) {
                    let sigma = self.recipe.sigma(step, ordinal, micro.shape.image_tokens());
                    let text = self.text(step, ordinal, sample)?;
                    coming.push(Conditioning { timestep: timestep(sigma), pooled: text.pooled.clone() });
                }
            }
        }
        self.ahead.fill(&mut self.engine, &coming)
    }

    /// What a sample's caption says to the model.
    fn text(&self, step: u64, ordinal: usize, sample: usize) -> Result<Rc<TextEmbeddings>> {
        let step = step as usize;
        let text = self.data.text(&self.captions.text(step, ordinal, sample))?;
        let dropout = self.encoder_dropout.as_ref();
        let left = dropout.and_then(|dropout| dropout.apply((self.recipe.seed, step, ordinal), &text));
        Ok(left.map_or(text, Rc::new))
    }

    /// The view of a sample in a step.
    fn view(&self, step: u64, ordinal: usize, sample: usize) -> usize {
        shown_view(self.recipe.seed, step as usize, ordinal, self.data.views(sample))
    }

    /// Writes what all micro-batches of the step share; returns the learning rate.
    fn prepare_step_state(&mut self, samples: usize) -> Result<f64> {
        let recipe = self.recipe;
        let (done, learning_rate) = (self.step, recipe.learning_rate.at(self.step) * self.rate_factor);
        let correction = |beta: f64| (1.0 - beta.powi(done as i32 + 1)) as f32;
        let ema_decay = recipe.average.map_or(0.0, |a| decay_at(done + 1, a.decay, a.update_after) as f32);
        self.engine.change_step_state(0, |state| {
            let header = step_state::header_mut(state);
            header.seed = [recipe.seed as u32, (recipe.seed >> 32) as u32];
            header.step = done as u32;
            header.learning_rate = learning_rate as f32;
            header.bias_correction1 = correction(recipe.adamw.beta1);
            header.bias_correction2 = correction(recipe.adamw.beta2);
            header.sample_weight = 1.0 / samples as f32;
            (header.max_gradient_norm, header.max_gradient_value) = recipe.clip.limits();
            header.ema_decay = ema_decay;
        })?;
        Ok(learning_rate)
    }

    /// Adds one micro-batch's gradients and returns what became of its samples.
    fn run_micro_batch(&mut self, micro: &MicroBatch) -> Result<Vec<Shown>> {
        let (batch, samples) = (&micro.batch, micro.batch.samples.len());
        let vectors = self.ahead.take(samples);
        let (recipe, data, step) = (self.recipe, self.data, self.step);
        let tokens = micro.shape.image_tokens();
        self.engine.change_step_state(samples, |state| {
            step_state::header_mut(state).first_sample = batch.first_ordinal as u32;
            let states = step_state::samples_mut(state).iter_mut().zip(batch.first_ordinal..);
            for ((state, ordinal), &sample) in states.zip(&batch.samples) {
                let sigma = recipe.sigma(step, ordinal, tokens);
                let weight = recipe.loss_weighting.weight(sigma) * data.lesson(sample).loss_weight;
                state.sigma = sigma as f32;
                state.loss_weight = weight as f32;
            }
        })?;
        self.write_inputs(micro, &vectors)?;
        let Some((planned, _)) = self.programs.steps.get(&micro.shape) else {
            return Err(Error::new(ErrorKind::Training, "step", format!("no program for {:?}", micro.shape)));
        };
        self.engine.run(planned)?;
        let state = self.engine.step_state(samples)?;
        let states = step_state::samples(state).to_vec();
        let mut shown = Vec::with_capacity(samples);
        for ((ordinal, &sample), state) in (batch.first_ordinal..).zip(&batch.samples).zip(states) {
            let (sigma, loss) = (f64::from(state.sigma), f64::from(state.loss));
            shown.push(Shown { sample, view: self.view(step, ordinal, sample), sigma, loss });
        }
        let mut broken = shown.iter().filter(|shown| !shown.loss.is_finite()).peekable();
        if broken.peek().is_some() {
            return Err(self.not_finite("loss", broken.map(|shown| shown.sample)));
        }
        Ok(shown)
    }

    /// Writes latents, embeddings, positions and modulation vectors of a micro-batch.
    fn write_inputs(&mut self, micro: &MicroBatch, vectors: &[Vec<f32>]) -> Result<()> {
        let Some((planned, inputs)) = self.programs.steps.get(&micro.shape) else { return Ok(()) };
        let mut samples = Vec::with_capacity(micro.batch.samples.len());
        for (ordinal, &sample) in (micro.batch.first_ordinal..).zip(&micro.batch.samples) {
            let latents = self.data.latents(sample, self.view(self.step, ordinal, sample))?;
            samples.push((latents, self.text(self.step, ordinal, sample)?));
        }
        let positions = &self.positions[&(micro.shape.width, micro.shape.height)];
        let values = StepValues { samples, positions, modulation: vectors };
        inputs.write(&mut self.engine, planned, &values)
    }

    fn not_finite(&self, what: &str, samples: impl IntoIterator<Item = usize>) -> Error {
        let cause = format!("the {what} is not a finite number ({})", self.data.pictures(samples));
        Error::new(ErrorKind::Training, format!("step {}", self.step + 1), cause)
            .hint("lower learning_rate or max_grad_norm, and look at the pictures named")
    }
}
