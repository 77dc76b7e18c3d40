//! From settings to everything that a run consists of, checked before a weight is read.

use super::captions;
use crate::autograd::recompute::Recompute;
use crate::autograd::run::Planned;
use crate::autograd::{Persistent, Program};
use crate::cache::Store;
use crate::dataset::{
    self, Captioning, Dataset, DatasetOptions, Length, Sampling, Schedule, ScheduleOptions, Source, Wording,
};
use crate::device::Limits;
use crate::diffusion::sampler::{Guidance, SkipLayerGuidance};
use crate::error::{Error, Result};
use crate::models::adapter::Adapters;
use crate::models::mmdit::config::{LATENT_PIXEL, PATCH};
use crate::models::mmdit::{MmditConfig, record_modulation};
use crate::models::text::TextEncoders;
use crate::models::tokenizer::CLIP_LENGTH;
use crate::models::vae::{Direction, Vae};
use crate::run::{data_sets, epoch_texts};
use crate::settings::{self, BackendSettings, DataBackends, DataSampling, RunSettings, Size};
use crate::train::EncoderDropout;
use crate::train::evaluation::{self, EvaluationBatch, EvaluationPrograms};
use crate::train::memory::{self, MemoryPlan};
use crate::train::programs::{self, Programs};
use crate::train::recipe::Recipe;
use crate::train::step::{StepModel, StepShape};
use crate::validate::{Drawing, Picture, PictureModel, STEPS_AHEAD, Shape};
use crate::weights::{ModelFiles, Overrides};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Everything that a run consists of.
#[derive(Debug)]
pub struct Opened {
    /// The settings.
    pub settings: RunSettings,
    /// The data sets.
    pub backends: DataBackends,
    /// The model's files.
    pub model: ModelFiles,
    /// The transformer's sizes.
    pub config: MmditConfig,
    /// Pictures and captions.
    pub dataset: Dataset,
    /// The samples that are held out of training.
    pub held_out: Vec<usize>,
    /// Which samples a step sees.
    pub schedule: Schedule,
    /// What is trained and how.
    pub recipe: Recipe,
    /// Layout of what outlives a step.
    pub persistent: Persistent,
}

/// The model files that the settings name.
pub fn open_model(settings: &RunSettings) -> Result<ModelFiles> {
    settings.refuse_missing(|_| true)?;
    let overrides = Overrides {
        vae: settings.vae_path.clone(),
        clip_l: settings.text_encoder_path.clone(),
        clip_g: settings.text_encoder_2_path.clone(),
        t5: settings.text_encoder_3_path.clone(),
        clip_l_tokenizer: settings.tokenizer_path.clone(),
        clip_g_tokenizer: settings.tokenizer_2_path.clone(),
        t5_tokenizer: settings.tokenizer_3_path.clone(),
    };
    ModelFiles::open(&settings.pretrained_model_name_or_path, &overrides)
}

/// The skip-layer guidance that the settings ask for.
pub fn skip_layers(settings: &RunSettings) -> Option<SkipLayerGuidance> {
    (!settings.validation_guidance_skip_layers.is_empty()).then_some(SkipLayerGuidance {
        start: settings.validation_guidance_skip_layers_start,
        stop: settings.validation_guidance_skip_layers_stop,
        scale: settings.validation_guidance_skip_scale,
    })
}

/// Whether the model has the blocks that are to be skipped.
pub fn check_skipped_blocks(config: &MmditConfig, settings: &RunSettings) -> Result<()> {
    let depth = config.depth;
    match settings.validation_guidance_skip_layers.iter().find(|&&block| block >= depth) {
        None => Ok(()),
        Some(block) => {
            let cause = format!("the model has no block {block}");
            Err(Error::setting("validation_guidance_skip_layers", cause)
                .hint(format!("its blocks are 0 to {}", depth - 1)))
        }
    }
}

/// Whether pictures of this size can be drawn.
pub fn check_size(config: &MmditConfig, key: &str, size: Size) -> Result<()> {
    let (width, height) = (size.width as usize, size.height as usize);
    let unit = LATENT_PIXEL * PATCH;
    if !width.is_multiple_of(unit) || !height.is_multiple_of(unit) || width * height == 0 {
        return Err(Error::setting(
            key,
            format!("{width}x{height} is not a multiple of {unit} on both sides"),
        ));
    }
    if width.max(height) > config.max_side() {
        let cause = format!("{width}x{height} does not fit the model's positions");
        return Err(Error::setting(key, cause)
            .hint(format!("no side may be longer than {} pixels", config.max_side())));
    }
    Ok(())
}

impl Opened {
    /// Opens model and data. `check_pixels` decodes every picture to the end; a plan need not.
    pub fn open(settings: RunSettings, backends: DataBackends, check_pixels: bool) -> Result<Self> {
        let model = open_model(&settings)?;
        let config = MmditConfig::from_weights(&model.mmdit)?;
        check_skipped_blocks(&config, &settings)?;
        if !settings.validation_prompts.is_empty() {
            for &size in &settings.validation_resolution {
                check_size(&config, "validation_resolution", size)?;
            }
        }
        let mut dataset = Dataset::open(&DatasetOptions {
            sources: backends.images.iter().map(|backend| source(backend, &settings)).collect(),
            seed: settings.seed,
            max_side: Some(config.max_side()),
            skip_broken_images: settings.skip_broken_images,
            check_pixels,
        })?;
        let held_out = dataset::hold_out(&mut dataset.samples, settings.eval_share, settings.seed);
        let schedule = Schedule::new(
            &dataset.samples,
            &dataset.sources,
            &ScheduleOptions {
                seed: settings.seed,
                batch_size: settings.train_batch_size,
                gradient_accumulation_steps: settings.gradient_accumulation_steps,
                length: match settings.max_train_steps {
                    0 => Length::Epochs(settings.num_train_epochs as usize),
                    steps => Length::Steps(steps as usize),
                },
                sampling: match settings.data_backend_sampling {
                    DataSampling::AutoWeighting => Sampling::BySize,
                    DataSampling::Uniform => Sampling::Uniform,
                },
                fill_short_batches: settings.fills_short_batches(),
            },
        )?;
        let recipe = Recipe::new(&settings, &config, schedule.total_steps() as u64)?;
        let persistent = recipe.persistent(settings.train_batch_size);
        Ok(Self { settings, backends, model, config, dataset, held_out, schedule, recipe, persistent })
    }

    /// Opens every part of the model and reads the weights that every run needs once, so that what is missing or
    /// broken is found before anything is written.
    ///
    /// # Errors
    /// A part or a tokenizer that is missing or does not fit; a value that is not finite, with its file and tensor.
    pub fn check_model(&self) -> Result<()> {
        TextEncoders::open(&self.model)?;
        self.model.mmdit.check_finite()?;
        self.model.vae()?.check_finite()
    }

    /// Which texts the pictures are trained with.
    pub fn captions(&self) -> Captioning<'_> {
        Captioning::new(self.settings.seed, &self.dataset.samples)
    }

    /// Which text encoders are left out by chance; none if all are always heard.
    ///
    /// # Errors
    /// A text encoder that is missing.
    pub fn encoder_dropout(&self) -> Result<Option<EncoderDropout>> {
        let settings = &self.settings;
        let rates = [settings.clip_l_dropout_rate, settings.clip_g_dropout_rate, settings.t5_dropout_rate];
        if rates == [0.0; 3] {
            return Ok(None);
        }
        let encoders = TextEncoders::open(&self.model)?;
        Ok(Some(EncoderDropout::new(rates, encoders.encoders())))
    }

    /// Every text that is known before the run and encoded then: captions that never vary, prompts, the empty one.
    pub fn fixed_texts(&self) -> BTreeSet<String> {
        let mut texts = self.captions().fixed();
        texts.extend(self.prompts());
        texts
    }

    /// Text tokens of every prompt: CLIP's and T5's.
    pub fn text_tokens(&self) -> usize {
        CLIP_LENGTH + self.settings.tokenizer_max_length
    }

    /// The shapes that batches take.
    pub fn shapes(&self) -> BTreeSet<StepShape> {
        let sources = &self.dataset.sources;
        programs::shapes(&self.schedule, sources, self.settings.train_batch_size, self.text_tokens())
    }

    /// What all step programs share.
    pub fn step_model(&self) -> StepModel<'_> {
        let constants = &self.model.vae_constants;
        StepModel {
            config: &self.config,
            adapters: &self.recipe.adapters,
            persistent: &self.persistent,
            latent_scaling: (constants.shift_factor, constants.scaling_factor),
        }
    }

    /// Records all programs under `policy`, or under the fastest one that fits.
    pub fn programs(&self, policy: Option<Recompute>, limits: &Limits) -> Result<(Programs, MemoryPlan)> {
        let fixed = self.fixed(limits)?;
        let rows = self.modulation_rows(self.settings.train_batch_size);
        memory::fit(&self.recipe, &self.step_model(), &self.shapes(), rows, policy, &fixed)
    }

    /// What training would need under `policy` with batches of `batch` samples.
    pub fn memory_of_batch(&self, batch: usize, policy: Recompute, limits: &Limits) -> Result<MemoryPlan> {
        let fixed = self.fixed(limits)?;
        let persistent = self.recipe.persistent(batch);
        let model = StepModel { persistent: &persistent, ..self.step_model() };
        let shapes = self.shapes().into_iter().map(|shape| StepShape { batch, ..shape }).collect();
        let rows = self.modulation_rows(batch);
        Ok(memory::fit(&self.recipe, &model, &shapes, rows, Some(policy), &fixed)?.1)
    }

    /// Rows of the modulation program: the samples of as many steps as are made ahead.
    fn modulation_rows(&self, batch: usize) -> usize {
        batch * self.settings.gradient_accumulation_steps * self.recipe.modulation_steps
    }

    fn fixed(&self, limits: &Limits) -> Result<memory::Fixed> {
        let encoding = epoch_texts::arena_bytes(self, limits)?;
        let evaluation = self.evaluation_programs(limits)?.1;
        Ok(memory::Fixed {
            limits: *limits,
            drawing: self.drawing(limits)?,
            evaluation_arena: evaluation::arena_bytes(&evaluation),
            encoding_arena: encoding,
        })
    }

    /// The batches of held-out samples, and their programs.
    pub fn evaluation_programs(&self, limits: &Limits) -> Result<(Vec<EvaluationBatch>, EvaluationPrograms)> {
        let batch_size = self.settings.train_batch_size;
        let batches =
            evaluation::batches(&self.dataset.samples, &self.held_out, batch_size, self.text_tokens());
        let adapters = self.drawing_adapters();
        let model = StepModel { adapters: &adapters, ..self.step_model() };
        let programs = evaluation::programs(&model, &batches, limits)?;
        Ok((batches, programs))
    }

    /// The recompute policy that the settings name; none for the fastest that fits.
    pub fn policy(&self) -> Option<Recompute> {
        match self.settings.recompute {
            settings::Recompute::Auto => None,
            settings::Recompute::Store => Some(Recompute::Store),
            settings::Recompute::Selective => Some(Recompute::Selective),
            settings::Recompute::Lean => Some(Recompute::Lean),
            settings::Recompute::Full => Some(Recompute::Full),
        }
    }

    /// The shapes of validation pictures.
    pub fn picture_shapes(&self) -> Vec<Shape> {
        let settings = &self.settings;
        if settings.validation_prompts.is_empty() {
            return Vec::new();
        }
        let (guidance, skipping) = (Guidance(settings.validation_guidance), skip_layers(settings).is_some());
        let shapes = |size: &Size| {
            let size = (size.width as usize, size.height as usize);
            Shape::of_picture(size, self.text_tokens(), guidance, skipping)
        };
        settings.validation_resolution.iter().flat_map(shapes).collect()
    }

    /// How a validation picture of `size` is drawn.
    pub fn validation_picture(&self, size: Size) -> Picture {
        let settings = &self.settings;
        Picture {
            width: size.width as usize,
            height: size.height as usize,
            steps: settings.validation_num_inference_steps,
            guidance: settings.validation_guidance,
            seed: settings.validation_seed,
            shift: f64::from(self.model.scheduler_shift),
            skip_layers: skip_layers(settings),
        }
    }

    /// The model as it draws validation pictures with `adapters`.
    pub fn picture_model<'a>(&'a self, adapters: &'a Adapters) -> PictureModel<'a> {
        PictureModel {
            weights: &self.model.mmdit,
            config: &self.config,
            adapters,
            persistent: &self.persistent,
            skipped_blocks: &self.settings.validation_guidance_skip_layers,
        }
    }

    /// The adapters as they draw: without dropout, averaged if the run averages.
    pub fn drawing_adapters(&self) -> Adapters {
        use crate::autograd::persistent::Flat;
        let averaged = self.recipe.average.is_some();
        self.recipe.adapters.for_inference(if averaged { Flat::Average } else { Flat::Parameters })
    }

    /// What drawing validation pictures needs.
    fn drawing(&self, limits: &Limits) -> Result<memory::Drawing> {
        let shapes = self.picture_shapes();
        if shapes.is_empty() {
            return Ok(memory::Drawing::default());
        }
        let adapters = self.drawing_adapters();
        let model = self.picture_model(&adapters);
        let vae = self.vae()?;
        let mut needs = memory::Drawing::default();
        for shape in shapes {
            let (transformer, ..) = Drawing::record(&model, shape)?;
            let mut modulation = Program::new();
            let rows = shape.part.rows() * STEPS_AHEAD;
            record_modulation(&mut modulation, &self.config, &adapters, &self.persistent, rows)?;
            let decoder = vae.record(Direction::Decode, shape.width, shape.height)?.program;
            let programs = [transformer, modulation, decoder].into_iter();
            let planned: Vec<_> =
                programs.map(|program| Planned::new(program, limits)).collect::<Result<_>>()?;
            needs.arena = planned.iter().map(|p| p.plan.bytes).fold(needs.arena, usize::max);
            needs.weights = programs::weight_bytes([&*planned[2].program]);
        }
        Ok(needs)
    }

    /// The VAE, none of whose weights is read yet.
    pub fn vae(&self) -> Result<Vae> {
        let vae = Vae::open(self.model.vae()?, &self.model.vae_constants)?;
        Ok(vae.with_band_rows(self.settings.vae_band_rows))
    }

    /// The caches that the settings name.
    pub fn store(&self) -> Store {
        let [latents, texts] = self.cache_folders();
        Store::open_at(latents, texts)
    }

    /// Where latents and text embeddings are kept.
    pub fn cache_folders(&self) -> [&Path; 2] {
        let latents = self.backends.images.first().map(|backend| backend.cache_dir_vae.as_path());
        [latents.unwrap_or(&self.settings.cache_dir_vae), &self.backends.cache_dir_text]
    }

    /// Every prompt that will be drawn, the negative one last.
    pub fn prompts(&self) -> Vec<String> {
        let settings = &self.settings;
        let drawn = settings.validation_prompts.iter().map(|prompt| prompt.text.clone());
        drawn.chain([settings.validation_negative_prompt.clone()]).collect()
    }
}

fn source(backend: &BackendSettings, run: &RunSettings) -> Source {
    Source {
        id: backend.id.clone(),
        folder: backend.instance_data_dir.clone(),
        captions: captions::options(backend),
        wording: Arc::new(wording(backend)),
        share: data_sets::share(backend),
        lesson: data_sets::lesson(backend, run),
        framing: data_sets::framing(backend),
        admission: data_sets::admission(backend),
        augmentation: data_sets::augmentation(backend),
    }
}

/// How the captions of a data set change from one appearance to the next.
fn wording(backend: &BackendSettings) -> Wording {
    Wording {
        dropout: backend.caption_dropout_probability,
        shuffle: backend.shuffle_caption,
        tag_dropout: backend.caption_tag_dropout_rate,
        separator: backend.caption_separator.clone(),
        keep_first: backend.keep_tokens,
        keep_marker: backend.keep_tokens_separator.clone(),
        inner_separator: backend.secondary_separator.clone(),
        wildcards: backend.enable_wildcard,
        lead: backend.instance_prompt.clone().filter(|_| backend.prepend_instance_prompt),
    }
}
