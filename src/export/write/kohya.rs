//! kohya's form: `lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight`, with an alpha tensor for every layer.
//!
//! q, k and v are one layer there. Pairs that share A are stacked; others become one pair of their ranks' sum, whose B
//! is block-diagonal, and whose alpha is scaled along: readers divide by that sum.

use super::contents::Contents;
use super::{Alpha, cannot};
use crate::error::{Error, Result};
use crate::export::layers;
use crate::export::rows::swap_halves;
use crate::export::weight_change::size;
use crate::models::adapter::{AdapterModule, Change, Matrix};
use std::collections::BTreeMap;

const FORM: &str = "kohya's form";

/// A low-rank pair and its scale.
struct Pair {
    a: Matrix,
    b: Matrix,
    scale: f64,
}

/// Adds all modules.
pub(super) fn fill(contents: &mut Contents, modules: &[AdapterModule], alpha: Alpha) -> Result<()> {
    let mut layers: BTreeMap<String, Vec<Option<Pair>>> = BTreeMap::new();
    for module in modules {
        let Some((layer, part, parts)) = layers::single_file(&module.module) else {
            let cause = format!("SD3.5's transformer has no layer `{}`", module.module);
            return Err(Error::usage(cause).hint("the LoRA is for another model"));
        };
        let slots = layers.entry(layer).or_insert_with(|| (0..parts).map(|_| None).collect());
        let pair = pair(module)?;
        if let Some(slot) = slots.get_mut(part) {
            *slot = Some(pair);
        }
    }
    let (mut ranks, mut alphas) = (Vec::new(), Vec::new());
    for (layer, slots) in layers {
        let pair = fused(&layer, slots)?;
        let rank = pair.a.rows as f64;
        let (factor, alpha) =
            if alpha == Alpha::Folded { (pair.scale, rank) } else { (1.0, pair.scale * rank) };
        let name = format!("lora_unet_{}", layers::flattened(&layer));
        contents.matrix(format!("{name}.lora_down.weight"), &pair.a, 1.0)?;
        contents.matrix(format!("{name}.lora_up.weight"), &pair.b, factor)?;
        contents.alpha(format!("{name}.alpha"), alpha);
        ranks.push(pair.a.rows);
        alphas.push(alpha);
    }
    contents.note("ss_network_module", "networks.lora_sd3");
    contents.note("ss_network_dim", &common(&ranks).map_or("Dynamic".to_owned(), |rank| rank.to_string()));
    contents.note("ss_network_alpha", &common(&alphas).map_or("Dynamic".to_owned(), |a| a.to_string()));
    Ok(())
}

fn common<T: PartialEq + Copy>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|value| *value == first).then_some(first)
}

/// The module's pair in the row order of the single-file layout.
fn pair(module: &AdapterModule) -> Result<Pair> {
    let hint = "use --to lycoris or comfyui";
    if module.magnitude.is_some() {
        return Err(cannot(FORM, module, "its readers know no magnitudes", hint));
    }
    let (outputs, inputs) = size(&module.change);
    let swapped;
    let change = if layers::swaps_halves(&module.module, inputs, outputs) {
        swapped = swap_halves(module.change.clone());
        &swapped
    } else {
        &module.change
    };
    let Change::LowRank { a, b, scale } = change else {
        let hint = "use --to lycoris or comfyui, or --resize RANK for the nearest low-rank pairs";
        return Err(cannot(FORM, module, "its SD3 network knows low-rank pairs alone", hint));
    };
    Ok(Pair { a: a.clone(), b: b.clone(), scale: *scale })
}

/// One pair for the parts of a layer; parts without an adapter are left as they are.
fn fused(layer: &str, slots: Vec<Option<Pair>>) -> Result<Pair> {
    let parts = slots.len();
    let mut present: Vec<(usize, Pair)> =
        slots.into_iter().enumerate().filter_map(|(part, pair)| Some((part, pair?))).collect();
    let Some((_, first)) = present.first() else {
        return Err(Error::shape(layer, "there is no adapter for this layer"));
    };
    let (height, width) = (first.b.rows, first.a.columns);
    if present.iter().any(|(_, pair)| (pair.b.rows, pair.a.columns) != (height, width)) {
        return Err(Error::shape(layer, "the adapters of its parts have different sizes"));
    }
    if parts == 1 {
        return Ok(present.swap_remove(0).1);
    }
    let shares_a = present.len() == parts && present.iter().all(|(_, pair)| pair.a == first.a);
    let shares_scale = present.iter().all(|(_, pair)| pair.scale == first.scale);
    let scale = if shares_scale { first.scale } else { 1.0 };
    let factor = |pair: &Pair| if shares_scale { 1.0 } else { pair.scale };
    let a = if shares_a { first.a.clone() } else { stacked(&present, width) };
    let mut b = Matrix { rows: parts * height, columns: a.rows, values: vec![0.0; parts * height * a.rows] };
    let mut column = 0;
    for (part, pair) in &present {
        let rank = pair.a.rows;
        for row in 0..height {
            let from = &pair.b.values[row * rank..][..rank];
            let to = (part * height + row) * b.columns + column;
            let to = b.values[to..to + rank].iter_mut();
            to.zip(from).for_each(|(to, from)| *to = (f64::from(*from) * factor(pair)) as f32);
        }
        column += if shares_a { 0 } else { rank };
    }
    Ok(Pair { a, b, scale })
}

/// The A of all pairs, one above the other.
fn stacked(present: &[(usize, Pair)], width: usize) -> Matrix {
    let values: Vec<f32> = present.iter().flat_map(|(_, pair)| pair.a.values.iter().copied()).collect();
    Matrix { rows: values.len() / width, columns: width, values }
}
