//! What adapters add to the weights of a model, in the model's own order of rows.

use super::base::own_rows;
use super::weight_change::{RowNorm, WeightChange, changed_rows};
use crate::models::adapter::{AdapterModule, Module};
use std::collections::BTreeMap;
use std::ops::Range;

/// The changes of any number of adapters, by the canonical names of weights (without `.weight`). Those of one layer
/// follow each other: magnitudes scale what the adapters before made of it.
#[derive(Debug, Clone, Default)]
pub struct Changes(BTreeMap<String, Vec<Placed>>);

/// A change and where it goes.
#[derive(Debug, Clone)]
struct Placed {
    layer: Module,
    change: WeightChange,
    magnitude: Option<Vec<f32>>,
    strength: f64,
}

impl Changes {
    /// Adds the change of `module` to `layer` at a strength.
    pub fn add(&mut self, layer: &Module, module: &AdapterModule, strength: f64) {
        let placed = Placed {
            layer: layer.clone(),
            change: WeightChange::new(&module.change),
            magnitude: module.magnitude.clone(),
            strength,
        };
        self.0.entry(layer.weight.clone()).or_default().push(placed);
    }

    /// The weights that are changed.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Columns of a weight that is changed.
    pub fn columns(&self, weight: &str) -> Option<usize> {
        self.of(weight).next().map(|placed| placed.change.columns())
    }

    /// Whether any of these rows of a weight are changed.
    pub fn touch(&self, weight: &str, rows: &Range<usize>) -> bool {
        self.of(weight).any(|placed| !overlap(&placed.layer.rows, rows).is_empty())
    }

    /// Changes `values`, the rows `rows` of a weight.
    pub fn apply(&self, weight: &str, rows: &Range<usize>, values: &mut [f64]) {
        for placed in self.of(weight) {
            let middle = placed.layer.rows.start + placed.layer.rows.len() / 2;
            for half in [placed.layer.rows.start..middle, middle..placed.layer.rows.end] {
                let here = overlap(&half, rows);
                if !here.is_empty() {
                    let columns = placed.change.columns();
                    let part = (here.start - rows.start) * columns..(here.end - rows.start) * columns;
                    placed.add(&here, &mut values[part]);
                }
            }
        }
    }

    fn of(&self, weight: &str) -> impl Iterator<Item = &Placed> {
        self.0.get(weight).into_iter().flatten()
    }
}

impl Placed {
    /// Adds the change of the rows `rows` of the weight to them.
    fn add(&self, rows: &Range<usize>, weight: &mut [f64]) {
        let own = own_rows(&self.layer, rows);
        let magnitude = self.magnitude.as_ref().map(|all| (&all[own.clone()], RowNorm::Changed));
        let changed = changed_rows(weight, &self.change.delta(own), self.change.columns(), magnitude);
        for (weight, changed) in weight.iter_mut().zip(changed) {
            *weight += self.strength * (changed - *weight);
        }
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> Range<usize> {
    let start = one.start.max(other.start);
    start..one.end.min(other.end).max(start)
}
