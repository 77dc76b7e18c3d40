//! AdamW over all adapters in one launch (Loshchilov and Hutter, arXiv 1711.05101, in torch's order of
//! operations), and the exponential moving average.
//!
//! Parameters and moments are kept in one of three forms. The update is the same f32 arithmetic in all of them; they
//! differ in what is left of its results until the next step.

pub mod block8;
mod cuda;
mod rounding;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect_shape};
use crate::kernels::step_state::{self, StepHeader};
use crate::tensor::TensorId;
use multiversion::multiversion;
use rayon::prelude::*;
use rounding::Rounding;

/// Elements that one part covers: whole blocks of [`block8`] and of the random stream.
const ELEMENTS_A_PART: usize = 1 << 14;

/// What is kept of parameters and moments from one step to the next.
///
/// The processor keeps f32 in every form, yet only values that the form can hold, so that all devices agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Everything in f32.
    #[default]
    F32,
    /// Everything in bf16, rounded stochastically: no small update is lost on average.
    Bf16,
    /// Parameters in f32, moments in 8 bits with a scale for every block.
    Block8,
}

/// What stays fixed for a run. In f64, because `1 - beta2` of an f32 0.999 would be off by one part in 10^5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    /// What is kept between steps.
    pub form: Form,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment after bias correction.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// One step. Gradients are multiplied by the clip factor and clamped to the largest value as they are read.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Form, betas, epsilon, decay.
    pub settings: AdamWSettings,
    /// The step state: learning rate, bias corrections, clip factor and largest value; seed and step for the rounding.
    pub state: TensorId,
    /// Flat buffer of gradients.
    pub gradients: TensorId,
    /// Flat buffer of parameters, as `gradients`.
    pub parameters: Update,
    /// First moments.
    pub moment1: Update,
    /// Second moments.
    pub moment2: Update,
    /// The parameters in bf16, for a device whose matrix products read them so; none where they are kept so.
    pub working: Option<TensorId>,
    /// What bf16 leaves of them, where products read that too.
    pub rest: Option<TensorId>,
}

/// average = decay * average + (1 - decay) * parameters.
#[derive(Debug, Clone)]
pub struct MovingAverage {
    /// The form of the parameters; the average itself is f32 in all of them.
    pub form: Form,
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
        all.extend([&mut self.working, &mut self.rest].into_iter().flatten().map(Operand::Write));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        let kept = [self.parameters.to, self.moment1.to, self.moment2.to];
        let exact = match self.settings.form {
            Form::F32 => &kept[..],
            Form::Bf16 => &[],
            Form::Block8 => &kept[..1],
        };
        [&[self.state, self.gradients], exact].concat()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let gradients = shapes.shape(self.gradients);
        [("parameters", self.parameters), ("moment1", self.moment1), ("moment2", self.moment2)]
            .into_iter()
            .try_for_each(|(name, update)| expect_shape("AdamW", name, gradients, shapes.shape(update.to)))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let header = step_state::header(operands.read(self.state));
        let step = Step::new(&self.settings, header);
        let rounding = Rounding::new(header);
        let gradients = operands.read(self.gradients).par_chunks(ELEMENTS_A_PART);
        let parameters = operands.write(self.parameters.to).par_chunks_mut(ELEMENTS_A_PART);
        let moment1 = operands.write(self.moment1.to).par_chunks_mut(ELEMENTS_A_PART);
        let moment2 = operands.write(self.moment2.to).par_chunks_mut(ELEMENTS_A_PART);
        let parts = parameters.zip(gradients).zip(moment1.zip(moment2)).enumerate();
        parts.for_each(|(part, ((p, g), (m, v)))| {
            update(p, g, m, v, &step);
            match self.settings.form {
                Form::F32 => {}
                Form::Bf16 => rounding.round(part * ELEMENTS_A_PART, p, m, v),
                Form::Block8 => block8::round(m, v),
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// What one step multiplies and adds, the same for every element.
struct Step {
    clip_factor: f32,
    largest: f32,
    beta2: f32,
    fresh1: f32,
    fresh2: f32,
    kept: f32,
    rate: f32,
    root_correction: f32,
    epsilon: f32,
}

impl Step {
    fn new(settings: &AdamWSettings, header: &StepHeader) -> Self {
        Self {
            clip_factor: header.clip_factor,
            largest: if header.max_gradient_value > 0.0 { header.max_gradient_value } else { f32::MAX },
            beta2: settings.beta2 as f32,
            fresh1: (1.0 - settings.beta1) as f32,
            fresh2: (1.0 - settings.beta2) as f32,
            kept: (1.0 - f64::from(header.learning_rate) * settings.weight_decay) as f32,
            rate: header.learning_rate / header.bias_correction1,
            root_correction: header.bias_correction2.sqrt(),
            epsilon: settings.epsilon as f32,
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn update(parameters: &mut [f32], gradients: &[f32], moment1: &mut [f32], moment2: &mut [f32], step: &Step) {
    let states = moment1.iter_mut().zip(moment2.iter_mut());
    for ((p, g), (m, v)) in parameters.iter_mut().zip(gradients).zip(states) {
        let g = (g * step.clip_factor).clamp(-step.largest, step.largest);
        *m += step.fresh1 * (g - *m);
        *v = step.beta2 * *v + step.fresh2 * g * g;
        *p = *p * step.kept - step.rate * *m / (v.sqrt() / step.root_correction + step.epsilon);
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
        let parameters = (self.form != Form::Bf16).then_some(self.parameters);
        parameters.into_iter().chain([self.state, self.average.to]).collect()
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

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    const SETTINGS: AdamWSettings =
        AdamWSettings { form: Form::F32, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };

    /// First moments after the first step, a tenth of the gradients that the step sees.
    fn seen(gradients: [f32; 4], header: StepHeader) -> [f32; 4] {
        let (mut parameters, mut moment1, mut moment2) = ([0.0; 4], [0.0; 4], [0.0; 4]);
        let step = Step::new(&SETTINGS, &header);
        update(&mut parameters, &gradients, &mut moment1, &mut moment2, &step);
        moment1.map(|m| (10.0 * m * 1e4).round() / 1e4)
    }

    #[test]
    fn gradients_are_clamped_by_value_after_they_are_scaled() {
        let gradients = [3.0, -3.0, 0.25, -0.5];
        let header = StepHeader {
            clip_factor: 1.0,
            bias_correction1: 0.1,
            bias_correction2: 1e-3,
            ..StepHeader::zeroed()
        };
        assert_eq!(seen(gradients, header), gradients);
        assert_eq!(
            seen(gradients, StepHeader { max_gradient_value: 1.0, ..header }),
            [1.0, -1.0, 0.25, -0.5]
        );
        let both = StepHeader { max_gradient_value: 1.0, clip_factor: 0.5, ..header };
        assert_eq!(seen(gradients, both), [1.0, -1.0, 0.125, -0.25]);
    }
}
