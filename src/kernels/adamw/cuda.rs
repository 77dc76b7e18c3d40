//! AdamW in its three forms, and the moving average, on a card.

use crate::device::cuda::{Address, Launches, Operands};
use crate::error::{Error, Result};
use crate::kernels::adamw::{AdamW, AdamWSettings, Form, MovingAverage};
use crate::kernels::parameters::{
    ADAMW_BLOCK, ADAMW_BLOCKS_A_WARP, ADAMW_ELEMENTS_A_THREAD, ADAMW_THREADS, AdamWBf16Params,
    AdamWBlock8Params, AdamWDecay, AdamWParams, MovingAverageBf16Params, MovingAverageParams,
};
use crate::kernels::spread::grid;
use crate::tensor::{DType, TensorId};

/// Elements of a block whose threads have a few neighbours each.
const ELEMENTS_A_BLOCK: u32 = ADAMW_THREADS * ADAMW_ELEMENTS_A_THREAD;
/// Elements of a block whose warps have a few blocks of codes each.
const CODES_A_BLOCK: u32 = ADAMW_THREADS / 32 * ADAMW_BLOCKS_A_WARP * ADAMW_BLOCK;

impl AdamWSettings {
    /// The constants that the kernels take.
    fn decay(&self) -> AdamWDecay {
        AdamWDecay {
            weight_decay: self.weight_decay,
            beta2: self.beta2 as f32,
            fresh1: (1.0 - self.beta1) as f32,
            fresh2: (1.0 - self.beta2) as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

/// Elements of a flat buffer, which comes in whole multiples of `line`.
fn flat_elements(kernel: &str, id: TensorId, operands: &Operands<'_>, line: u32) -> Result<u64> {
    let shape = operands.shape(id);
    if shape.elements().is_multiple_of(line as usize) {
        return Ok(shape.elements() as u64);
    }
    Err(Error::shape(kernel, format!("a flat buffer {shape} is not a multiple of {line} elements")))
}

/// Blocks for `elements`.
fn blocks(kernel: &str, elements: u64, a_block: u32) -> Result<[u32; 3]> {
    grid(kernel, [elements.div_ceil(u64::from(a_block)) as usize, 1, 1])
}

impl AdamW {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        match self.settings.form {
            Form::F32 => self.launch_f32(kernel, operands, to),
            Form::Bf16 => self.launch_bf16(kernel, operands, to),
            Form::Block8 => self.launch_block8(kernel, operands, to),
        }
    }

    /// The working copy, or its rest; none is 0.
    fn copy(copy: Option<TensorId>, kernel: &str, operands: &Operands<'_>) -> Result<Address> {
        copy.map_or(Ok(0), |copy| operands.bf16(kernel, copy))
    }

    fn launch_f32(&self, kernel: &str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let elements = flat_elements(kernel, self.gradients, operands, ADAMW_ELEMENTS_A_THREAD)?;
        let parameters = AdamWParams {
            decay: self.settings.decay(),
            state: operands.f32(kernel, self.state)?,
            gradients: operands.f32(kernel, self.gradients)?,
            parameters: operands.f32(kernel, self.parameters.to)?,
            moment1: operands.f32(kernel, self.moment1.to)?,
            moment2: operands.f32(kernel, self.moment2.to)?,
            working: Self::copy(self.working, kernel, operands)?,
            rest: Self::copy(self.rest, kernel, operands)?,
            elements,
        };
        to.push("adamw_f32", blocks(kernel, elements, ELEMENTS_A_BLOCK)?, ADAMW_THREADS, &parameters);
        Ok(())
    }

    fn launch_bf16(&self, kernel: &str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let elements = flat_elements(kernel, self.gradients, operands, ADAMW_ELEMENTS_A_THREAD)?;
        let parameters = AdamWBf16Params {
            decay: self.settings.decay(),
            state: operands.f32(kernel, self.state)?,
            gradients: operands.f32(kernel, self.gradients)?,
            parameters: operands.bf16(kernel, self.parameters.to)?,
            moment1: operands.bf16(kernel, self.moment1.to)?,
            moment2: operands.bf16(kernel, self.moment2.to)?,
            elements,
        };
        to.push("adamw_bf16", blocks(kernel, elements, ELEMENTS_A_BLOCK)?, ADAMW_THREADS, &parameters);
        Ok(())
    }

    fn launch_block8(&self, kernel: &str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let elements = flat_elements(kernel, self.gradients, operands, ADAMW_BLOCK)?;
        let codes = |id: TensorId| operands.address(kernel, id, DType::I8);
        let (codes1, codes2) = (codes(self.moment1.to)?, codes(self.moment2.to)?);
        let parameters = AdamWBlock8Params {
            decay: self.settings.decay(),
            state: operands.f32(kernel, self.state)?,
            gradients: operands.f32(kernel, self.gradients)?,
            parameters: operands.f32(kernel, self.parameters.to)?,
            codes1,
            scales1: codes1 + elements,
            codes2,
            scales2: codes2 + elements,
            working: Self::copy(self.working, kernel, operands)?,
            elements,
        };
        to.push("adamw_block8", blocks(kernel, elements, CODES_A_BLOCK)?, ADAMW_THREADS, &parameters);
        Ok(())
    }
}

impl MovingAverage {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let elements = flat_elements(kernel, self.parameters, operands, ADAMW_ELEMENTS_A_THREAD)?;
        let (state, average) = (operands.f32(kernel, self.state)?, operands.f32(kernel, self.average.to)?);
        let grid = blocks(kernel, elements, ELEMENTS_A_BLOCK)?;
        if self.form == Form::Bf16 {
            let parameters = operands.bf16(kernel, self.parameters)?;
            let parameters = MovingAverageBf16Params { state, parameters, average, elements };
            to.push("moving_average_bf16", grid, ADAMW_THREADS, &parameters);
        } else {
            let parameters = operands.f32(kernel, self.parameters)?;
            let parameters = MovingAverageParams { state, parameters, average, elements };
            to.push("moving_average", grid, ADAMW_THREADS, &parameters);
        }
        Ok(())
    }
}
