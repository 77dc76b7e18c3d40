//! Flow matching's inputs: a draw of the clean latents, noise, noisy latents and the velocity target.
//!
//! x_t = (1 - sigma) x_0 + sigma eps, v = eps - x_0 (arXiv 2403.03206). Draws come from the counters in the step
//! state, so a step can be run again, on any device, with the same noise.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect_shape};
use crate::kernels::step_state;
use crate::random::{Purpose, Stream};
use crate::tensor::TensorId;
use rayon::prelude::*;

/// x_0 = (mean + exp(logvar / 2) n - shift) scale, all `[b, channels, h, w]`.
#[derive(Debug, Clone)]
pub struct SampleLatents {
    /// Mean of the latent distribution.
    pub mean: TensorId,
    /// Logarithm of its variance.
    pub logvar: TensorId,
    /// The VAE's shift factor.
    pub shift: f32,
    /// The VAE's scaling factor.
    pub scale: f32,
    /// The step state.
    pub state: TensorId,
    /// x_0.
    pub latents: TensorId,
}

/// eps, standard normal, `[b, channels, h, w]`.
#[derive(Debug, Clone)]
pub struct DrawNoise {
    /// The step state.
    pub state: TensorId,
    /// eps.
    pub noise: TensorId,
}

/// x_t and v from x_0 and eps, all `[b, channels, h, w]`.
#[derive(Debug, Clone)]
pub struct FlowNoising {
    /// x_0.
    pub latents: TensorId,
    /// eps.
    pub noise: TensorId,
    /// The step state, for sigma.
    pub state: TensorId,
    /// x_t.
    pub noisy: TensorId,
    /// v.
    pub velocity: TensorId,
}

/// dx_0 (+)= (1 - sigma) dx_t - dv.
#[derive(Debug, Clone)]
pub struct FlowNoisingGradient {
    /// The step state, for sigma.
    pub state: TensorId,
    /// Gradient of x_t, if there is one.
    pub dnoisy: Option<TensorId>,
    /// Gradient of v, if there is one.
    pub dvelocity: Option<TensorId>,
    /// dx_0.
    pub dlatents: Update,
}

/// The stream of one sample's draws.
fn stream(state: &[f32], purpose: Purpose, sample: usize) -> Stream {
    let header = step_state::header(state);
    let seed = u64::from(header.seed[0]) | (u64::from(header.seed[1]) << 32);
    Stream::new(seed, purpose, 0, header.step, header.first_sample + sample as u32)
}

impl Contract for SampleLatents {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let reads = [&mut self.mean, &mut self.logvar, &mut self.state].map(Operand::Read);
        reads.into_iter().chain([Operand::Write(&mut self.latents)]).collect()
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.mean, self.logvar, self.state, self.latents]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect_shape("SampleLatents", "logvar", shapes.shape(self.mean), shapes.shape(self.logvar))?;
        expect_shape("SampleLatents", "latents", shapes.shape(self.mean), shapes.shape(self.latents))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (mean, logvar) = (operands.read(self.mean), operands.read(self.logvar));
        let (state, shape) = (operands.read(self.state), operands.shape(self.latents));
        let sample_size = shape.elements() / shape.dims()[0];
        let samples = operands.write(self.latents).par_chunks_exact_mut(sample_size).enumerate();
        samples.for_each(|(sample, latents)| {
            stream(state, Purpose::Latent, sample).fill_normal(latents);
            let range = sample * sample_size..(sample + 1) * sample_size;
            let distribution = mean[range.clone()].iter().zip(&logvar[range]);
            for (z, (mean, logvar)) in latents.iter_mut().zip(distribution) {
                let deviation = (0.5 * logvar.clamp(-30.0, 20.0)).exp();
                *z = (mean + deviation * *z - self.shift) * self.scale;
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for DrawNoise {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.state), Operand::Write(&mut self.noise)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.state, self.noise]
    }

    fn check(&self, _shapes: &dyn Shapes) -> Result<()> {
        Ok(())
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (state, shape) = (operands.read(self.state), operands.shape(self.noise));
        let samples = operands.write(self.noise).par_chunks_exact_mut(shape.elements() / shape.dims()[0]);
        samples.enumerate().for_each(|(sample, noise)| {
            stream(state, Purpose::Noise, sample).fill_normal(noise);
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for FlowNoising {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let reads = [&mut self.latents, &mut self.noise, &mut self.state].map(Operand::Read);
        let writes = [&mut self.noisy, &mut self.velocity].map(Operand::Write);
        reads.into_iter().chain(writes).collect()
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.latents, self.noise, self.state, self.noisy, self.velocity]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let latents = shapes.shape(self.latents);
        [("noise", self.noise), ("noisy", self.noisy), ("velocity", self.velocity)]
            .into_iter()
            .try_for_each(|(name, id)| expect_shape("FlowNoising", name, latents, shapes.shape(id)))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (latents, noise) = (operands.read(self.latents), operands.read(self.noise));
        let samples = step_state::samples(operands.read(self.state));
        let shape = operands.shape(self.latents);
        let sample_size = shape.elements() / shape.dims()[0];
        let noisy = operands.write(self.noisy).iter_mut().zip(operands.write(self.velocity));
        for (i, (noisy, velocity)) in noisy.enumerate() {
            let sigma = samples[i / sample_size].sigma;
            *noisy = (1.0 - sigma) * latents[i] + sigma * noise[i];
            *velocity = noise[i] - latents[i];
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for FlowNoisingGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.state)];
        all.extend(self.dnoisy.iter_mut().chain(&mut self.dvelocity).map(Operand::Read));
        all.push(Operand::Update(&mut self.dlatents));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        let gradients = self.dnoisy.into_iter().chain(self.dvelocity);
        gradients.chain([self.state, self.dlatents.to]).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let dlatents = shapes.shape(self.dlatents.to);
        self.dnoisy
            .iter()
            .chain(&self.dvelocity)
            .try_for_each(|&id| expect_shape("FlowNoisingGradient", "gradient", dlatents, shapes.shape(id)))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let samples = step_state::samples(operands.read(self.state));
        let shape = operands.shape(self.dlatents.to);
        let sample_size = shape.elements() / shape.dims()[0];
        let dlatents = operands.write(self.dlatents.to);
        if !self.dlatents.accumulates() {
            dlatents.fill(0.0);
        }
        if let Some(dnoisy) = self.dnoisy {
            let dnoisy = operands.read(dnoisy);
            for (i, gradient) in dlatents.iter_mut().enumerate() {
                *gradient += (1.0 - samples[i / sample_size].sigma) * dnoisy[i];
            }
        }
        if let Some(dvelocity) = self.dvelocity {
            let dvelocity = operands.read(dvelocity);
            dlatents.iter_mut().zip(dvelocity).for_each(|(gradient, dv)| *gradient -= dv);
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
