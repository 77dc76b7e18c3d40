//! The weights of one part of a model, by canonical name.

use super::weight::{Residency, Weight};
use crate::error::{Error, Result};
use crate::tensor::Shape;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All weights of one part of a model (MMDiT, VAE or a text encoder).
#[derive(Debug, Clone)]
pub struct WeightMap {
    part: &'static str,
    path: PathBuf,
    weights: BTreeMap<String, Weight>,
    /// Weights that are in the files in a form that cannot be read, with the reason.
    refused: BTreeMap<String, Error>,
}

impl WeightMap {
    /// An empty map for `part`, whose files are at `path`.
    pub fn new(part: &'static str, path: &Path) -> Self {
        Self { part, path: path.to_owned(), weights: BTreeMap::new(), refused: BTreeMap::new() }
    }

    /// Adds a weight under its own name.
    pub fn insert(&mut self, weight: Weight) {
        self.weights.insert(weight.name.clone(), weight);
    }

    /// Takes the weight `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Weight> {
        self.weights.remove(name)
    }

    /// Keeps the reason why the weight `name` cannot be read until somebody asks for it.
    pub(super) fn refuse(&mut self, name: String, reason: Error) {
        self.refused.insert(name, reason);
    }

    /// The weight `name`; the error says what is missing where, or why it cannot be read.
    pub fn get(&self, name: &str) -> Result<&Weight> {
        if let Some(reason) = self.refused.get(name) {
            return Err(reason.clone());
        }
        self.weights.get(name).ok_or_else(|| {
            Error::tensor(&self.path, name, format!("the {} lacks this tensor", self.part))
                .hint("the file is incomplete or not of a Stable Diffusion 3.5 model")
        })
    }

    /// The weight `name`, which must have the shape `shape`.
    pub fn expect_shape(&self, name: &str, shape: &Shape) -> Result<&Weight> {
        let weight = self.get(name)?;
        if weight.shape == *shape {
            return Ok(weight);
        }
        let found = &weight.shape;
        Err(weight
            .wrong(format!("weight `{name}` has the shape {found}, the {} needs {shape}", self.part))
            .hint("the files belong to different models, or a config.json does not fit its weights"))
    }

    /// Whether the weight `name` is in the files, readable or not.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.contains_key(name) || self.refused.contains_key(name)
    }

    /// All readable names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().map(String::as_str)
    }

    /// All readable weights in the order of their names.
    pub fn weights(&self) -> impl Iterator<Item = &Weight> {
        self.weights.values()
    }

    /// Reads all readable weights; fails at a value that is not finite, naming file and tensor.
    pub fn check_finite(&self) -> Result<()> {
        let weights: Vec<&Weight> = self.weights().collect();
        weights.par_iter().try_for_each(|weight| weight.check_finite())
    }

    /// Bytes of all weights in the files.
    pub fn bytes(&self) -> usize {
        self.weights().map(Weight::bytes).sum()
    }

    /// The file or folder that the weights come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same weights, living at `residency`.
    pub fn with_residency(mut self, residency: Residency) -> Self {
        self.weights.values_mut().for_each(|weight| weight.residency = residency);
        self
    }

    /// The first reason why a weight cannot be read, if there is one.
    pub(super) fn first_refusal(&self) -> Option<&Error> {
        self.refused.values().next()
    }
}
