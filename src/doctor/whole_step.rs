//! A whole training step of a released model's size, with random weights: seconds, utilisation, memory.

use crate::autograd::recompute::Recompute;
use crate::autograd::run::{Planned, WeightSource};
use crate::autograd::{Engine, Persistent, Program};
use crate::device::Device;
use crate::doctor::rate::Rate;
use crate::error::Result;
use crate::kernels::adamw::{AdamWSettings, Form};
use crate::kernels::step_state;
use crate::models::adapter::{Adapters, Targets, select};
use crate::models::mmdit::{MmditConfig, record_modulation};
use crate::random::{Purpose, Stream};
use crate::train::optimize;
use crate::train::step::{self, StepModel, StepShape};
use serde::Serialize;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The model's sizes.
    pub config: MmditConfig,
    /// Samples.
    pub batch: usize,
    /// Width and height in pixels.
    pub side: usize,
    /// Text tokens: CLIP's 77 and T5's.
    pub text_tokens: usize,
    /// Rank of the adapters on all attention projections.
    pub rank: usize,
    /// Recompute policy.
    pub recompute: Recompute,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// The step's rate, the optimizer's update included in its seconds.
    pub rate: Rate,
    /// Bytes planned: weights, adapters and their states, arena.
    pub planned_bytes: usize,
    /// Bytes of device memory that the step took, by the device's own account; none on the processor.
    pub used_bytes: Option<u64>,
}

/// Steps that are measured.
const RUNS: u32 = 5;
/// Rows of the modulation program, whose weights are resident beside the step's.
const MODULATION_ROWS: usize = 8;

impl Setup {
    /// SD3.5 Large as the reference figures have it: 1024 pixels, rank 128, 333 text tokens.
    pub fn large(recompute: Recompute) -> Self {
        let config = MmditConfig::large();
        Self { config, batch: 1, side: 1024, text_tokens: 333, rank: 128, recompute }
    }

    /// SD3.5 Medium at the same.
    pub fn medium(recompute: Recompute) -> Self {
        Self { config: MmditConfig::medium(), ..Self::large(recompute) }
    }

    /// Runs some steps.
    ///
    /// # Errors
    /// The device has not the memory, or cannot run a kernel.
    pub fn measure(&self, device: &Device) -> Result<Measured> {
        let free_before = free_memory(device)?;
        let modules = select(&self.config, &Targets::Diffusers)?;
        let adapters = Adapters::new(modules, self.rank, self.rank as f64, 0.0);
        let mut persistent = Persistent::with_states(self.batch, Form::F32, false);
        adapters.declare(&mut persistent);
        let model = StepModel {
            config: &self.config,
            adapters: &adapters,
            persistent: &persistent,
            latent_scaling: (0.0, 1.0),
        };
        let (batch, side) = (self.batch, self.side);
        let shape = StepShape {
            batch,
            width: side,
            height: side,
            text_tokens: self.text_tokens,
            keeps_the_model: false,
        };
        let (program, _) = step::record(&model, &shape, self.recompute)?;
        let mut modulation = Program::new();
        record_modulation(&mut modulation, &self.config, &adapters, &persistent, MODULATION_ROWS)?;
        let settings =
            AdamWSettings { form: Form::F32, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
        let limits = device.limits()?;
        let update = Planned::new(optimize::record(&persistent, settings, false)?, &limits)?;
        let (step, modulation) = (Planned::new(program, &limits)?, Planned::new(modulation, &limits)?);

        let mut engine = Engine::new(device.clone(), step.plan.bytes.max(modulation.plan.bytes), persistent)?;
        let random = RandomWeights::new();
        engine.load_weights(&step.program, &random)?;
        engine.load_weights(&modulation.program, &random)?;
        self.write_inputs(&mut engine, &step, &random)?;
        let seconds = engine.time(&step, RUNS)? + engine.time(&update, RUNS)?;
        let free_after = free_memory(device)?;
        Ok(Measured {
            rate: Rate::new(seconds / f64::from(RUNS), &step),
            planned_bytes: engine.weight_bytes() + engine.persistent_bytes() + engine.arena_bytes(),
            used_bytes: free_before.zip(free_after).map(|(before, after)| before.saturating_sub(after)),
        })
    }

    fn write_inputs(&self, engine: &mut Engine, planned: &Planned, random: &RandomWeights) -> Result<()> {
        use crate::autograd::Home;
        use crate::tensor::TensorId;
        for (index, tensor) in planned.program.tensors.iter().enumerate() {
            if tensor.home == Home::Input {
                let mut values = vec![0.0; tensor.shape.elements()];
                random.fill(&mut values, 1.0);
                engine.write(planned, TensorId(index as u32), &values)?;
            }
        }
        engine.change_step_state(self.batch, |state| {
            step_state::header_mut(state).sample_weight = 1.0 / self.batch as f32;
            step_state::samples_mut(state).iter_mut().for_each(|s| (s.sigma, s.loss_weight) = (0.5, 1.0));
        })
    }
}

/// Bytes of device memory that are free; none on the processor.
fn free_memory(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cpu(_) => Ok(None),
        Device::Cuda(gpu) => gpu.free_memory().map(Some),
    }
}

/// Weights of the deviation that trained ones have about: the same normals over and over.
struct RandomWeights(Vec<f32>);

impl RandomWeights {
    fn new() -> Self {
        let mut normals = vec![0.0; 1 << 16];
        Stream::new(1, Purpose::Noise, 0, 0, 0).fill_normal(&mut normals);
        Self(normals)
    }

    fn fill(&self, out: &mut [f32], deviation: f32) {
        for part in out.chunks_mut(self.0.len()) {
            part.iter_mut().zip(&self.0).for_each(|(out, normal)| *out = deviation * normal);
        }
    }
}

impl WeightSource for RandomWeights {
    fn read(&self, _name: &str, out: &mut [f32]) -> Result<()> {
        self.fill(out, 0.02);
        Ok(())
    }
}
