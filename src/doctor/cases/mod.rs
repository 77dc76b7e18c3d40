//! The table of all cases.

mod activation;
mod add;
mod attention;
mod effective_weight;
mod flow;
mod gated_residual;
mod layer_norm;
mod linear;
mod low_rank;
mod magnitude;
mod optimizer;
mod pictures;
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
        attention::cases(),
        effective_weight::cases(),
        flow::draw_noise_cases(),
        flow::noising_cases(),
        flow::sample_latents_cases(),
        flow::velocity_loss_cases(),
        gated_residual::cases(),
        layer_norm::cases(),
        layer_norm::affine_cases(),
        layer_norm::rms_cases(),
        linear::cases(),
        low_rank::cases(),
        magnitude::cases(),
        optimizer::adamw_cases(),
        optimizer::gradient_norm_cases(),
        optimizer::moving_average_cases(),
        pictures::channels_cases(),
        pictures::conv2d_cases(),
        pictures::group_norm_cases(),
        pictures::group_statistics_cases(),
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
