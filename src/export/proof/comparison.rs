//! What a reader does to the weights, beside what the adapter does: row by row in f64, a stretch of rows at a time.

use super::{Patch, Reading, Verdict};
use crate::error::Result;
use crate::export::base::{Base, own_rows, rows_of_change};
use crate::export::weight_change::{RowNorm, WeightChange, changed_rows, matrices, rank, scale};
use crate::export::{low_rank, rows};
use crate::models::adapter::{AdapterModule, Change, Module};
use std::ops::Range;

/// Rows that are compared at a time.
const STRETCH: usize = 64;

/// Multiplications that a module may cost; where all its rows would cost more, stretches of rows spread over the
/// whole module stand for it.
const BUDGET: usize = 1 << 29;

/// Compares `reading` with `modules`.
pub(super) fn judge(
    reader: &'static str,
    reading: Reading,
    modules: &[AdapterModule],
    layers: &[Module],
    base: Option<&Base>,
    tolerance: f64,
) -> Result<Verdict> {
    let mut verdict = Verdict {
        reader,
        meant: false,
        matched: 0,
        modules: modules.len(),
        ignored: Vec::new(),
        worst_difference: 0.0,
        worst_module: String::new(),
        strength: [f64::INFINITY, f64::NEG_INFINITY],
        unchecked: 0,
        refusal: None,
        holds: false,
    };
    let loaded = match reading {
        Ok(loaded) => loaded,
        Err(refusal) => {
            (verdict.refusal, verdict.strength) = (Some(refusal), [0.0; 2]);
            return Ok(verdict);
        }
    };
    verdict.ignored = loaded.ignored;
    let prepared: Vec<Prepared<'_>> = loaded.patches.iter().map(Prepared::of).collect();
    for module in modules {
        let Some(layer) = layers.iter().find(|layer| layer.path == module.module) else { continue };
        let found = compare(module, layer, &prepared, base)?;
        verdict.matched += usize::from(found.is_patched);
        verdict.unchecked += usize::from(!found.is_checked);
        if found.difference > verdict.worst_difference {
            (verdict.worst_difference, verdict.worst_module) = (found.difference, module.module.clone());
        }
        if let Some(strength) = found.strength {
            let [least, most] = verdict.strength;
            verdict.strength = [least.min(strength), most.max(strength)];
        }
    }
    if verdict.strength[0] > verdict.strength[1] {
        verdict.strength = [1.0; 2];
    }
    verdict.holds = verdict.matched == verdict.modules
        && verdict.worst_difference <= tolerance
        && verdict.strength.iter().all(|strength| (strength - 1.0).abs() <= tolerance);
    Ok(verdict)
}

/// A patch with its factors at hand.
struct Prepared<'a> {
    patch: &'a Patch,
    change: WeightChange,
}

impl<'a> Prepared<'a> {
    fn of(patch: &'a Patch) -> Self {
        Self { patch, change: WeightChange::new(&patch.change) }
    }

    /// The rows of the change and the magnitudes for the rows `rows` of the weight, which it covers.
    fn part(&self, rows: &Range<usize>) -> (Vec<f64>, Option<(&[f32], RowNorm)>) {
        let (patch, first) = (self.patch, self.patch.rows.start);
        let part = rows.start - first..rows.end - first;
        let magnitude = patch.magnitude.as_ref().and_then(|(all, norm)| Some((all.get(part)?, *norm)));
        (self.change.delta(rows_of_change(&patch.rows, patch.swapped, rows)), magnitude)
    }
}

/// How one module fares.
struct Found {
    is_patched: bool,
    is_checked: bool,
    /// Over the largest value of the module's change.
    difference: f64,
    /// None where the module changes nothing.
    strength: Option<f64>,
}

fn compare(
    module: &AdapterModule,
    layer: &Module,
    patches: &[Prepared<'_>],
    base: Option<&Base>,
) -> Result<Found> {
    let covers = |patch: &&Prepared<'_>| {
        let rows = &patch.patch.rows;
        patch.patch.weight == layer.weight && rows.start <= layer.rows.start && rows.end >= layer.rows.end
    };
    let patches: Vec<&Prepared<'_>> = patches.iter().filter(covers).collect();
    let needs_base = |patch: &&&Prepared<'_>| matches!(patch.patch.magnitude, Some((_, RowNorm::Base)));
    let is_checked = base.is_some() || !patches.iter().any(|patch| needs_base(&patch));
    if let [patch] = patches.as_slice()
        && let Some(strength) = strength_of_same(module, layer, patch.patch)
    {
        let difference = (strength - 1.0).abs();
        return Ok(Found { is_patched: true, is_checked, difference, strength: Some(strength) });
    }
    let change = WeightChange::new(&module.change);
    let columns = change.columns();
    let (mut largest, mut difference, mut along, mut squares) = (0.0_f64, 0.0_f64, 0.0, 0.0);
    for rows in stretches(layer, columns * rank(&module.change).unwrap_or(1)) {
        let weight = match base {
            Some(base) => base.canonical_rows(&layer.weight, rows.clone())?,
            None => vec![0.0; rows.len() * columns],
        };
        let own = own_rows(layer, &rows);
        let magnitude = module.magnitude.as_ref().and_then(|all| all.get(own.clone()));
        let delta = change.delta(own);
        let expected =
            effect(&weight, &delta, columns, magnitude.map(|m| (m, RowNorm::Changed)), base.is_some());
        let mut read = weight.clone();
        for patch in &patches {
            let (delta, magnitude) = patch.part(&rows);
            let changed = effect(&read, &delta, columns, magnitude, base.is_some());
            read.iter_mut().zip(changed).for_each(|(read, changed)| *read += changed);
        }
        for ((read, weight), expected) in read.iter().zip(&weight).zip(&expected) {
            let read = read - weight;
            largest = largest.max(expected.abs());
            difference = difference.max((read - expected).abs());
            along += read * expected;
            squares += expected * expected;
        }
    }
    Ok(Found {
        is_patched: !patches.is_empty(),
        is_checked,
        difference: if largest > 0.0 { difference / largest } else { difference },
        strength: (squares > 0.0).then(|| along / squares),
    })
}

/// What is added to `weight` in all. Without the weights, magnitudes count as a factor on the rows of the change, so
/// that equal ones have equal effects.
fn effect(
    weight: &[f64],
    delta: &[f64],
    columns: usize,
    magnitude: Option<(&[f32], RowNorm)>,
    has_weights: bool,
) -> Vec<f64> {
    match magnitude {
        None => delta.to_vec(),
        Some(magnitude) if has_weights => {
            let changed = changed_rows(weight, delta, columns, Some(magnitude));
            changed.iter().zip(weight).map(|(changed, weight)| changed - weight).collect()
        }
        Some((magnitude, _)) => {
            let rows = delta.chunks(columns.max(1)).zip(magnitude);
            rows.flat_map(|(row, &factor)| row.iter().map(move |value| value * f64::from(factor))).collect()
        }
    }
}

/// How much stronger the patch is than the module, if it is made of the same numbers: no product is needed then.
fn strength_of_same(module: &AdapterModule, layer: &Module, patch: &Patch) -> Option<f64> {
    if layer.halves_swapped || module.magnitude.is_some() || patch.magnitude.is_some() || patch.swapped {
        return None;
    }
    let (own, read) = (scale(&module.change), scale(&patch.change));
    let first = patch.rows.start;
    let rows = layer.rows.start - first..layer.rows.end - first;
    let part;
    let change = if rows.len() == patch.rows.len() {
        &patch.change
    } else if matches!(patch.change, Change::LowRank { .. }) {
        part = low_rank::without_unused(rows::take(&patch.change, rows));
        &part
    } else {
        return None;
    };
    let is_same = matrices(change) == matrices(&module.change);
    let is_something = own != 0.0 && matrices(change).iter().all(|(_, m)| m.values.iter().any(|v| *v != 0.0));
    (is_same && is_something).then_some(read / own)
}

/// Stretches of the layer's rows in its weight, none of which crosses the middle; as many as the budget allows at
/// `cost` a row.
fn stretches(layer: &Module, cost: usize) -> Vec<Range<usize>> {
    let step = (layer.rows.len() * cost).div_ceil(BUDGET).max(1);
    let middle = layer.rows.start + layer.rows.len() / 2;
    let halves = [layer.rows.start..middle, middle..layer.rows.end];
    let cut = |half: Range<usize>| {
        let end = half.end;
        half.step_by(STRETCH).map(move |start| start..(start + STRETCH).min(end))
    };
    halves.into_iter().flat_map(cut).step_by(step).collect()
}
