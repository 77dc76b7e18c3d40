//! The tensors and strings of a file that is being put together.

use super::encode::{SaveDtype, encode};
use crate::error::{Error, ErrorKind, Result};
use crate::models::adapter::Matrix;
use crate::tensor::DType;
use crate::weights::TensorBytes;
use std::collections::BTreeMap;

/// See the module's documentation.
pub(super) struct Contents {
    dtype: SaveDtype,
    /// The tensors so far.
    pub tensors: Vec<TensorBytes<'static>>,
    /// The header's strings.
    pub metadata: BTreeMap<String, String>,
}

impl Contents {
    /// Nothing yet; weights will be of `dtype`.
    pub fn new(dtype: SaveDtype) -> Self {
        Self { dtype, tensors: Vec::new(), metadata: BTreeMap::new() }
    }

    /// Adds a string to the header.
    pub fn note(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    /// Adds `factor` times a matrix.
    pub fn matrix(&mut self, name: String, matrix: &Matrix, factor: f64) -> Result<()> {
        let values = matrix.values.iter().map(|&value| f64::from(value) * factor);
        self.values(name, &[matrix.rows, matrix.columns], values)
    }

    /// Adds a tensor of weights.
    pub fn values(&mut self, name: String, shape: &[usize], values: impl Iterator<Item = f64>) -> Result<()> {
        let Some(bytes) = encode(values, self.dtype) else {
            let place = format!("tensor `{name}`");
            return Err(Error::new(ErrorKind::Training, place, "it holds values that are not finite")
                .hint("nothing was written; lower the learning rate or start from an earlier checkpoint"));
        };
        let dtype = self.dtype.dtype();
        self.tensors.push(TensorBytes { name: name.into(), dtype, shape: shape.into(), bytes: bytes.into() });
        Ok(())
    }

    /// Adds a scalar alpha, in f32 whatever the weights are.
    pub fn alpha(&mut self, name: String, alpha: f64) {
        let bytes = (alpha as f32).to_le_bytes().to_vec();
        let shape: &[usize] = &[];
        self.tensors.push(TensorBytes {
            name: name.into(),
            dtype: DType::F32,
            shape: shape.into(),
            bytes: bytes.into(),
        });
    }
}
