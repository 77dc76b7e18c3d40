//! AdamW over all adapters in one launch (Loshchilov and Hutter, arXiv 1711.05101, in torch's order of
//! operations), and the exponential moving average.

use crate::device::cpu;
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect_shape};
use crate::kernels::step_state::{self, StepHeader};
use crate::tensor::TensorId;
use multiversion::multiversion;
use rayon::prelude::*;

/// Elements that one part covers.
const ELEMENTS_A_PART: usize = 1 << 14;

/// What stays fixed for a run. In f64, because `1 - beta2` of an f32 0.999 would be off by one part in 10^5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment after bias correction.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// One step. Gradients are multiplied by the clip factor as they are read.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Betas, epsilon, decay.
    pub settings: AdamWSettings,
    /// The step state: learning rate, bias corrections, clip factor.
    pub state: TensorId,
    /// Flat buffer of gradients.
    pub gradients: TensorId,
    /// Flat buffer of parameters, as `gradients`.
    pub parameters: Update,
    /// First moments.
    pub moment1: Update,
    /// Second moments.
    pub moment2: Update,
    /// The parameters in bf16, for a device whose matrix products read them so.
    pub working: Option<TensorId>,
}

/// average = decay * average + (1 - decay) * parameters.
#[derive(Debug, Clone)]
pub struct MovingAverage {
    /// The step state: decay.
    pub state: TensorId,
    /// Flat buffer of parameters.
    pub parameters: TensorId,
    /// Flat buffer of averages.
    pub average: Update,
}

impl Contract for AdamW {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![
            Operand::Read(&mut self.state),
            Operand::Read(&mut self.gradients),
            Operand::Update(&mut self.parameters),
            Operand::Update(&mut self.moment1),
            Operand::Update(&mut self.moment2),
        ];
        all.extend(self.working.as_mut().map(Operand::Write));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.state, self.gradients, self.parameters.to, self.moment1.to, self.moment2.to]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let gradients = shapes.shape(self.gradients);
        [("parameters", self.parameters), ("moment1", self.moment1), ("moment2", self.moment2)]
            .into_iter()
            .try_for_each(|(name, update)| expect_shape("AdamW", name, gradients, shapes.shape(update.to)))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let header = step_state::header(operands.read(self.state));
        let gradients = operands.read(self.gradients).par_chunks(ELEMENTS_A_PART);
        let parameters = operands.write(self.parameters.to).par_chunks_mut(ELEMENTS_A_PART);
        let moment1 = operands.write(self.moment1.to).par_chunks_mut(ELEMENTS_A_PART);
        let moment2 = operands.write(self.moment2.to).par_chunks_mut(ELEMENTS_A_PART);
        parameters.zip(gradients).zip(moment1.zip(moment2)).for_each(|((p, g), (m, v))| {
            step(p, g, m, v, header, &self.settings);
        });
        Ok(())
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn step(
    parameters: &mut [f32],
    gradients: &[f32],
    moment1: &mut [f32],
    moment2: &mut [f32],
    header: &StepHeader,
    settings: &AdamWSettings,
) {
    let (beta2, epsilon) = (settings.beta2 as f32, settings.epsilon as f32);
    let (fresh1, fresh2) = ((1.0 - settings.beta1) as f32, (1.0 - settings.beta2) as f32);
    let kept = (1.0 - f64::from(header.learning_rate) * settings.weight_decay) as f32;
    let rate = header.learning_rate / header.bias_correction1;
    let root_correction = header.bias_correction2.sqrt();
    let states = moment1.iter_mut().zip(moment2.iter_mut());
    for ((p, g), (m, v)) in parameters.iter_mut().zip(gradients).zip(states) {
        let g = g * header.clip_factor;
        *m += fresh1 * (g - *m);
        *v = beta2 * *v + fresh2 * g * g;
        *p = *p * kept - rate * *m / (v.sqrt() / root_correction + epsilon);
    }
}

impl Contract for MovingAverage {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![
            Operand::Read(&mut self.state),
            Operand::Read(&mut self.parameters),
            Operand::Update(&mut self.average),
        ]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.state, self.parameters, self.average.to]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let parameters = shapes.shape(self.parameters);
        expect_shape("MovingAverage", "average", parameters, shapes.shape(self.average.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let decay = step_state::header(operands.read(self.state)).ema_decay;
        let parameters = operands.read(self.parameters);
        let average = operands.write(self.average.to);
        average.iter_mut().zip(parameters).for_each(|(a, p)| *a -= (1.0 - decay) * (*a - p));
        Ok(())
    }
}
