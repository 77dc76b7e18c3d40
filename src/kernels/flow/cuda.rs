//! Flow matching's inputs on a card.

use crate::device::cuda::{Address, Launches, Operands};
use crate::error::Result;
use crate::kernels::flow::{DrawNoise, FlowNoising, FlowNoisingGradient, SampleLatents};
use crate::kernels::parameters::{DrawParams, FLOW_THREADS, FlowNoisingGradientParams, FlowNoisingParams};
use crate::kernels::spread::grid;
use crate::kernels::step_state;
use crate::tensor::{Shape, TensorId};

/// Elements of a thread: a block of the counter stream.
const ELEMENTS_A_THREAD: usize = 4;

/// Elements of a sample.
fn sample_size(shape: &Shape) -> usize {
    shape.elements() / shape.dims()[0].max(1)
}

/// Blocks for every sample of a tensor.
fn blocks(kernel: &str, shape: &Shape) -> Result<[u32; 3]> {
    let a_block = FLOW_THREADS as usize * ELEMENTS_A_THREAD;
    grid(kernel, [sample_size(shape).div_ceil(a_block), shape.dims()[0], 1])
}

/// The samples' part of the step state.
fn samples(kernel: &str, state: TensorId, operands: &Operands<'_>) -> Result<Address> {
    Ok(operands.f32(kernel, state)? + (step_state::HEADER_WORDS * size_of::<f32>()) as Address)
}

impl SampleLatents {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.latents);
        let parameters = DrawParams {
            state: operands.f32(kernel, self.state)?,
            mean: operands.f32(kernel, self.mean)?,
            logvar: operands.f32(kernel, self.logvar)?,
            out: operands.f32(kernel, self.latents)?,
            sample_size: sample_size(shape) as u64,
            shift: self.shift,
            scale: self.scale,
        };
        to.push("sample_latents", blocks(kernel, shape)?, FLOW_THREADS, &parameters);
        Ok(())
    }
}

impl DrawNoise {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.noise);
        let parameters = DrawParams {
            state: operands.f32(kernel, self.state)?,
            mean: 0,
            logvar: 0,
            out: operands.f32(kernel, self.noise)?,
            sample_size: sample_size(shape) as u64,
            shift: 0.0,
            scale: 1.0,
        };
        to.push("draw_noise", blocks(kernel, shape)?, FLOW_THREADS, &parameters);
        Ok(())
    }
}

impl FlowNoising {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.latents);
        let parameters = FlowNoisingParams {
            samples: samples(kernel, self.state, operands)?,
            latents: operands.f32(kernel, self.latents)?,
            noise: operands.f32(kernel, self.noise)?,
            noisy: operands.f32(kernel, self.noisy)?,
            velocity: operands.f32(kernel, self.velocity)?,
            sample_size: sample_size(shape) as u64,
        };
        to.push("flow_noising", blocks(kernel, shape)?, FLOW_THREADS, &parameters);
        Ok(())
    }
}

impl FlowNoisingGradient {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.dlatents.to);
        let gradient = |id: Option<TensorId>| id.map_or(Ok(0), |id| operands.f32(kernel, id));
        let parameters = FlowNoisingGradientParams {
            samples: samples(kernel, self.state, operands)?,
            dnoisy: gradient(self.dnoisy)?,
            dvelocity: gradient(self.dvelocity)?,
            dlatents: operands.f32(kernel, self.dlatents.to)?,
            sample_size: sample_size(shape) as u64,
            accumulates: self.dlatents.accumulates().into(),
            reserved: 0,
        };
        to.push("flow_noising_gradient", blocks(kernel, shape)?, FLOW_THREADS, &parameters);
        Ok(())
    }
}
