//! The VAE. diffusers numbers the decoder's levels from the deepest, Stability from the finest.

use super::{Form, Rule, Table};

/// The 16-channel autoencoder: Stability's names; kernels with channels last, the attention as matrices.
pub static VAE: Table = Table {
    part: "VAE",
    prefixes: &["", "first_stage_model.", "vae."],
    rules: &[
        Rule::same(&["encoder.conv_in.{p}"]).form(Form::Convolution),
        Rule::same(&["encoder.conv_out.{p}"]).form(Form::Convolution),
        Rule::named("encoder.norm_out.{p}", &["encoder.conv_norm_out.{p}"]),
        Rule::named("encoder.mid.block_1.norm1.{p}", &["encoder.mid_block.resnets.0.norm1.{p}"]),
        Rule::named("encoder.mid.block_1.conv1.{p}", &["encoder.mid_block.resnets.0.conv1.{p}"])
            .form(Form::Convolution),
        Rule::named("encoder.mid.block_1.norm2.{p}", &["encoder.mid_block.resnets.0.norm2.{p}"]),
        Rule::named("encoder.mid.block_1.conv2.{p}", &["encoder.mid_block.resnets.0.conv2.{p}"])
            .form(Form::Convolution),
        Rule::named("encoder.mid.block_2.norm1.{p}", &["encoder.mid_block.resnets.1.norm1.{p}"]),
        Rule::named("encoder.mid.block_2.conv1.{p}", &["encoder.mid_block.resnets.1.conv1.{p}"])
            .form(Form::Convolution),
        Rule::named("encoder.mid.block_2.norm2.{p}", &["encoder.mid_block.resnets.1.norm2.{p}"]),
        Rule::named("encoder.mid.block_2.conv2.{p}", &["encoder.mid_block.resnets.1.conv2.{p}"])
            .form(Form::Convolution),
        Rule::named("encoder.mid.attn_1.norm.{p}", &["encoder.mid_block.attentions.0.group_norm.{p}"]),
        Rule::named("encoder.mid.attn_1.q.{p}", &["encoder.mid_block.attentions.0.to_q.{p}"])
            .form(Form::Matrix),
        Rule::named("encoder.mid.attn_1.k.{p}", &["encoder.mid_block.attentions.0.to_k.{p}"])
            .form(Form::Matrix),
        Rule::named("encoder.mid.attn_1.v.{p}", &["encoder.mid_block.attentions.0.to_v.{p}"])
            .form(Form::Matrix),
        Rule::named("encoder.mid.attn_1.proj_out.{p}", &["encoder.mid_block.attentions.0.to_out.0.{p}"])
            .form(Form::Matrix),
        Rule::named(
            "encoder.down.{i}.block.{j}.norm1.{p}",
            &["encoder.down_blocks.{i}.resnets.{j}.norm1.{p}"],
        ),
        Rule::named(
            "encoder.down.{i}.block.{j}.conv1.{p}",
            &["encoder.down_blocks.{i}.resnets.{j}.conv1.{p}"],
        )
        .form(Form::Convolution),
        Rule::named(
            "encoder.down.{i}.block.{j}.norm2.{p}",
            &["encoder.down_blocks.{i}.resnets.{j}.norm2.{p}"],
        ),
        Rule::named(
            "encoder.down.{i}.block.{j}.conv2.{p}",
            &["encoder.down_blocks.{i}.resnets.{j}.conv2.{p}"],
        )
        .form(Form::Convolution),
        Rule::named(
            "encoder.down.{i}.block.{j}.nin_shortcut.{p}",
            &["encoder.down_blocks.{i}.resnets.{j}.conv_shortcut.{p}"],
        )
        .form(Form::Convolution),
        Rule::named(
            "encoder.down.{i}.downsample.conv.{p}",
            &["encoder.down_blocks.{i}.downsamplers.0.conv.{p}"],
        )
        .form(Form::Convolution),
        Rule::same(&["decoder.conv_in.{p}"]).form(Form::Convolution),
        Rule::same(&["decoder.conv_out.{p}"]).form(Form::Convolution),
        Rule::named("decoder.norm_out.{p}", &["decoder.conv_norm_out.{p}"]),
        Rule::named("decoder.mid.block_1.norm1.{p}", &["decoder.mid_block.resnets.0.norm1.{p}"]),
        Rule::named("decoder.mid.block_1.conv1.{p}", &["decoder.mid_block.resnets.0.conv1.{p}"])
            .form(Form::Convolution),
        Rule::named("decoder.mid.block_1.norm2.{p}", &["decoder.mid_block.resnets.0.norm2.{p}"]),
        Rule::named("decoder.mid.block_1.conv2.{p}", &["decoder.mid_block.resnets.0.conv2.{p}"])
            .form(Form::Convolution),
        Rule::named("decoder.mid.block_2.norm1.{p}", &["decoder.mid_block.resnets.1.norm1.{p}"]),
        Rule::named("decoder.mid.block_2.conv1.{p}", &["decoder.mid_block.resnets.1.conv1.{p}"])
            .form(Form::Convolution),
        Rule::named("decoder.mid.block_2.norm2.{p}", &["decoder.mid_block.resnets.1.norm2.{p}"]),
        Rule::named("decoder.mid.block_2.conv2.{p}", &["decoder.mid_block.resnets.1.conv2.{p}"])
            .form(Form::Convolution),
        Rule::named("decoder.mid.attn_1.norm.{p}", &["decoder.mid_block.attentions.0.group_norm.{p}"]),
        Rule::named("decoder.mid.attn_1.q.{p}", &["decoder.mid_block.attentions.0.to_q.{p}"])
            .form(Form::Matrix),
        Rule::named("decoder.mid.attn_1.k.{p}", &["decoder.mid_block.attentions.0.to_k.{p}"])
            .form(Form::Matrix),
        Rule::named("decoder.mid.attn_1.v.{p}", &["decoder.mid_block.attentions.0.to_v.{p}"])
            .form(Form::Matrix),
        Rule::named("decoder.mid.attn_1.proj_out.{p}", &["decoder.mid_block.attentions.0.to_out.0.{p}"])
            .form(Form::Matrix),
        Rule::named("decoder.up.{i}.block.{j}.norm1.{p}", &["decoder.up_blocks.{i}.resnets.{j}.norm1.{p}"])
            .reversed(),
        Rule::named("decoder.up.{i}.block.{j}.conv1.{p}", &["decoder.up_blocks.{i}.resnets.{j}.conv1.{p}"])
            .form(Form::Convolution)
            .reversed(),
        Rule::named("decoder.up.{i}.block.{j}.norm2.{p}", &["decoder.up_blocks.{i}.resnets.{j}.norm2.{p}"])
            .reversed(),
        Rule::named("decoder.up.{i}.block.{j}.conv2.{p}", &["decoder.up_blocks.{i}.resnets.{j}.conv2.{p}"])
            .form(Form::Convolution)
            .reversed(),
        Rule::named(
            "decoder.up.{i}.block.{j}.nin_shortcut.{p}",
            &["decoder.up_blocks.{i}.resnets.{j}.conv_shortcut.{p}"],
        )
        .form(Form::Convolution)
        .reversed(),
        Rule::named("decoder.up.{i}.upsample.conv.{p}", &["decoder.up_blocks.{i}.upsamplers.0.conv.{p}"])
            .form(Form::Convolution)
            .reversed(),
    ],
};
