//! What is trained and how: the part of the settings that the numbers depend on, in the types of the rooms that
//! use it.

use crate::autograd::Persistent;
use crate::diffusion::density::{Density, LossWeighting, SigmaDraw};
use crate::diffusion::sigmas::auto_shift;
use crate::error::Result;
use crate::kernels::adamw::{AdamWSettings, Form};
use crate::models::adapter::{Adapters, LoraInit};
use crate::models::mmdit::MmditConfig;
use crate::optimizer::schedule::{LearningRate, ScheduleKind};
use crate::settings::{self, GradClipMethod, LrScheduler, OptimizerKind, RunSettings, SigmaDensity};
use crate::train::adapters::adapters;
use std::path::PathBuf;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Seed of everything random.
    pub seed: u64,
    /// The adapters.
    pub adapters: Adapters,
    /// How A starts.
    pub init: LoraInit,
    /// The file whose adapters are trained on.
    pub continues: Option<PathBuf>,
    /// Distribution of noise levels before the shift.
    pub density: Density,
    /// The shift; none: by the number of image tokens.
    pub shift: Option<f64>,
    /// Weight of a sample's loss by its noise level.
    pub loss_weighting: LossWeighting,
    /// Learning rate by step.
    pub learning_rate: LearningRate,
    /// Form of the states, betas, epsilon, decay.
    pub adamw: AdamWSettings,
    /// How gradients are clipped.
    pub clip: Clip,
    /// The moving average, if there is one.
    pub average: Option<Average>,
    /// Steps whose modulation vectors are made at once.
    pub modulation_steps: usize,
}

/// How gradients are clipped; 0 leaves them alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clip {
    /// All together are scaled down to this norm.
    Norm(f64),
    /// Each element is clamped to this size.
    Value(f64),
}

impl Clip {
    /// The largest norm and the largest element, of which one is 0.
    pub fn limits(self) -> (f32, f32) {
        match self {
            Self::Norm(norm) => (norm as f32, 0.0),
            Self::Value(value) => (0.0, value as f32),
        }
    }
}

/// The exponential moving average of the adapters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// Highest decay.
    pub decay: f64,
    /// Steps before it begins.
    pub update_after: u64,
}

impl Recipe {
    /// The recipe of a run of `total_steps`.
    ///
    /// # Errors
    /// Target layers that the model lacks, a schedule that cannot be followed.
    pub fn new(settings: &RunSettings, config: &MmditConfig, total_steps: u64) -> Result<Self> {
        let learning_rate = LearningRate {
            kind: schedule_kind(settings.lr_scheduler),
            base: settings.learning_rate,
            warmup: settings.lr_warmup_steps,
            total: total_steps,
            end: settings.lr_end,
            power: settings.lr_power,
            cycles: settings.lr_num_cycles as f64,
        };
        learning_rate.check()?;
        Ok(Self {
            seed: settings.seed,
            adapters: adapters(settings, config)?,
            continues: settings.init_lora.clone(),
            init: match settings.lora_init_type {
                settings::LoraInit::Default => LoraInit::Uniform,
                settings::LoraInit::Gaussian => LoraInit::Gaussian,
            },
            density: match settings.sigma_density {
                SigmaDensity::LogitNormal => {
                    Density::LogitNormal { mean: settings.logit_mean, std: settings.logit_std }
                }
                SigmaDensity::Mode => Density::Mode { scale: settings.mode_scale },
                SigmaDensity::Uniform => Density::Uniform,
            },
            shift: (!settings.flow_schedule_auto_shift).then_some(settings.flow_schedule_shift),
            loss_weighting: match settings.loss_weighting {
                settings::LossWeighting::None => LossWeighting::None,
                settings::LossWeighting::SigmaSqrt => LossWeighting::SigmaSqrt,
                settings::LossWeighting::Cosmap => LossWeighting::Cosmap,
            },
            learning_rate,
            adamw: AdamWSettings {
                form: match settings.optimizer {
                    OptimizerKind::AdamW => Form::F32,
                    OptimizerKind::AdamWBf16 => Form::Bf16,
                    OptimizerKind::AdamW8bit => Form::Block8,
                },
                beta1: settings.adam_beta1,
                beta2: settings.adam_beta2,
                epsilon: settings.adam_epsilon,
                weight_decay: settings.adam_weight_decay,
            },
            clip: match settings.grad_clip_method {
                GradClipMethod::Norm => Clip::Norm(settings.max_grad_norm),
                GradClipMethod::Value => Clip::Value(settings.max_grad_norm),
            },
            average: settings.use_ema.then_some(Average {
                decay: settings.ema_decay,
                update_after: settings.ema_update_after_step,
            }),
            modulation_steps: settings.modulation_steps.max(1),
        })
    }

    /// The persistent region of this run, for batches of at most `samples`.
    pub fn persistent(&self, samples: usize) -> Persistent {
        let mut persistent = Persistent::with_states(samples, self.adamw.form, self.average.is_some());
        self.adapters.declare(&mut persistent);
        persistent
    }

    /// `count` noise levels that stand for all that pictures of `image_tokens` are trained at.
    pub fn levels(&self, image_tokens: usize, count: usize) -> Vec<f64> {
        self.sigmas(image_tokens).levels(count)
    }

    /// The noise level of a sample whose picture has `image_tokens`.
    pub fn sigma(&self, step: u64, sample: usize, image_tokens: usize) -> f64 {
        self.sigmas(image_tokens).draw(self.seed, step as u32, sample as u32)
    }

    fn sigmas(&self, image_tokens: usize) -> SigmaDraw {
        SigmaDraw { density: self.density, shift: self.shift.unwrap_or_else(|| auto_shift(image_tokens)) }
    }
}

fn schedule_kind(scheduler: LrScheduler) -> ScheduleKind {
    match scheduler {
        LrScheduler::Constant => ScheduleKind::Constant,
        LrScheduler::ConstantWithWarmup => ScheduleKind::ConstantWithWarmup,
        LrScheduler::Linear => ScheduleKind::Linear,
        LrScheduler::Cosine => ScheduleKind::Cosine,
        LrScheduler::CosineWithRestarts => ScheduleKind::CosineWithRestarts,
        LrScheduler::Polynomial => ScheduleKind::Polynomial,
        LrScheduler::Sine => ScheduleKind::Sine,
        LrScheduler::CosineWave => ScheduleKind::CosineWave,
    }
}
