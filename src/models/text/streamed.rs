//! Layers whose weights arrive from the file just before they are used and are gone right after, so that an
//! encoder needs memory for its largest matrix and its activations.

use crate::autograd::Program;
use crate::autograd::program::Work;
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::linear::Base;
use crate::ops::linear::Layer;
use crate::ops::{self, text};
use crate::tensor::{Shape, TensorId};
use crate::weights::WeightMap;

/// x W^T, plus the bias if there is one; W is `{name}.weight`, `[out, in]`.
pub(super) fn linear(
    program: &mut Program,
    name: &str,
    x: TensorId,
    out: usize,
    bias: bool,
) -> Result<TensorId> {
    let shape = Shape::from([out, program.shape(x).columns()]);
    let weight = program.arrival(&format!("{name}.weight"), &shape);
    let bias = bias.then(|| program.arrival(&format!("{name}.bias"), &[out].into()));
    let base = Base { weight, rows: 0..out, bias };
    ops::linear::linear(program, name, x, &Layer { base, adapted: Vec::new(), dropout: None })
}

/// LayerNorm with gain `{name}.weight` and bias `{name}.bias`.
pub(super) fn layer_norm(program: &mut Program, name: &str, x: TensorId, epsilon: f32) -> Result<TensorId> {
    let shape = Shape::from([program.shape(x).columns()]);
    let gain = program.arrival(&format!("{name}.weight"), &shape);
    let bias = program.arrival(&format!("{name}.bias"), &shape);
    text::layer_norm_affine(program, name, x, (gain, bias), epsilon)
}

/// RMSNorm with gain `{name}.weight`.
pub(super) fn rms_norm(program: &mut Program, name: &str, x: TensorId, epsilon: f32) -> Result<TensorId> {
    let gain = program.arrival(&format!("{name}.weight"), &[program.shape(x).columns()].into());
    text::rms_norm(program, name, x, gain, epsilon)
}

/// Fails unless `weights` has every weight that `program` asks for, in the shape that it asks for.
pub(super) fn check_arrivals(program: &Program, weights: &WeightMap) -> Result<()> {
    program.nodes.iter().try_for_each(|node| match &node.work {
        Work::WeightArrival { weight, to } => weights.expect_shape(weight, program.shape(*to)).map(|_| ()),
        Work::Launch(_) => Ok(()),
    })
}
