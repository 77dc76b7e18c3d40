//! Differentiable ops over kernels: what each records, what it keeps, and its derivative.

pub mod activation;
pub mod attention;
pub mod convolution;
pub mod effective_weight;
pub mod flow;
pub mod linear;
pub mod magnitude;
pub mod modulation;
pub mod patches;
pub mod qk_norm;
pub mod text;

use crate::autograd::Derivation;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Kernel;

/// The derivative of every differentiable kernel; pass it to [`crate::autograd::derive::derive`].
pub fn derivative(kernel: &Kernel, d: &mut Derivation<'_>) -> Result<()> {
    match kernel {
        Kernel::Linear(node) => linear::linear_derivative(node, d),
        Kernel::LowRankDown(node) => linear::low_rank_down_derivative(node, d),
        Kernel::EffectiveWeight(node) => effective_weight::derivative(node, d),
        Kernel::MagnitudeScale(node) => magnitude::derivative(node, d),
        Kernel::Attention(node) => attention::derivative(node, d),
        Kernel::QkNorm(node) => qk_norm::derivative(node, d),
        Kernel::LayerNormModulate(node) => modulation::layer_norm_derivative(node, d),
        Kernel::GatedResidual(node) => modulation::gated_residual_derivative(node, d),
        Kernel::Activate(node) => activation::derivative(node, d),
        Kernel::Add(node) => activation::add_derivative(node, d),
        Kernel::AddPositions(node) => patches::positions_derivative(node, d),
        Kernel::Patchify(node) => patches::patchify_derivative(node, d),
        Kernel::Unpatchify(node) => patches::unpatchify_derivative(node, d),
        Kernel::FlowNoising(node) => flow::derivative(node, d),
        other => {
            let cause = format!("{} has no derivative", other.name());
            Err(Error::new(ErrorKind::Kernel, "derivative", cause))
        }
    }
}
