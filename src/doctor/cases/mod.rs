//! The table of all cases.

mod activation;
mod add;
mod gated_residual;
mod layer_norm;
mod linear;
mod low_rank;
mod qk_norm;
mod tokens;

use crate::doctor::Case;

/// Every case of every kernel.
pub fn all() -> Vec<Case> {
    [
        activation::cases(),
        add::cases(),
        add::cast_cases(),
        add::multiply_cases(),
        gated_residual::cases(),
        layer_norm::cases(),
        layer_norm::affine_cases(),
        layer_norm::rms_cases(),
        linear::cases(),
        low_rank::cases(),
        qk_norm::cases(),
        tokens::gather_rows_cases(),
        tokens::patchify_cases(),
        tokens::positions_cases(),
        tokens::timestep_features_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
