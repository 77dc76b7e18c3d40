//! The flow-matching loss: mean over samples of weight * mean over elements of (prediction - velocity)^2.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect_shape};
use crate::kernels::step_state;
use crate::tensor::TensorId;
use rayon::prelude::*;

/// Each sample's weighted loss, written into the step state, and the gradient of the step's mean loss.
#[derive(Debug, Clone)]
pub struct VelocityLoss {
    /// `[b, channels, h, w]`.
    pub prediction: TensorId,
    /// The target, as `prediction`.
    pub velocity: TensorId,
    /// The step state: weights are read, losses written.
    pub state: Update,
    /// As `prediction`.
    pub dprediction: TensorId,
}

/// dv = -dprediction: the loss sees only the difference of the two.
#[derive(Debug, Clone)]
pub struct Negate {
    /// x.
    pub x: TensorId,
    /// -x.
    pub y: TensorId,
}

impl Contract for VelocityLoss {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![
            Operand::Read(&mut self.prediction),
            Operand::Read(&mut self.velocity),
            Operand::Update(&mut self.state),
            Operand::Write(&mut self.dprediction),
        ]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.prediction, self.velocity, self.state.to, self.dprediction]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let prediction = shapes.shape(self.prediction);
        expect_shape("VelocityLoss", "velocity", prediction, shapes.shape(self.velocity))?;
        expect_shape("VelocityLoss", "dprediction", prediction, shapes.shape(self.dprediction))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (prediction, velocity) = (operands.read(self.prediction), operands.read(self.velocity));
        let shape = operands.shape(self.prediction);
        let sample_size = shape.elements() / shape.dims()[0];
        let state = operands.write(self.state.to);
        let sample_weight = step_state::header(state).sample_weight;
        let gradients = operands.write(self.dprediction).par_chunks_exact_mut(sample_size);
        let samples = step_state::samples_mut(state).par_iter_mut();
        gradients.zip(samples).enumerate().for_each(|(index, (gradient, sample))| {
            let range = index * sample_size..(index + 1) * sample_size;
            let factor = 2.0 * sample_weight * sample.loss_weight / sample_size as f32;
            let mut squares = 0.0f64;
            let pairs = prediction[range.clone()].iter().zip(&velocity[range]);
            for (gradient, (prediction, velocity)) in gradient.iter_mut().zip(pairs) {
                let difference = prediction - velocity;
                squares += f64::from(difference) * f64::from(difference);
                *gradient = factor * difference;
            }
            sample.loss = (f64::from(sample.loss_weight) * squares / sample_size as f64) as f32;
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, _architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for Negate {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Write(&mut self.y)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.x, self.y]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect_shape("Negate", "y", shapes.shape(self.x), shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        operands.write(self.y).iter_mut().zip(operands.read(self.x)).for_each(|(y, x)| *y = -x);
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
