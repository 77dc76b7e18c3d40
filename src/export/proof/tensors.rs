//! A file's tensors as a reader sees them, with an account of which it has used.

use crate::models::adapter::{Change, Factor, Matrix};
use crate::weights::TensorFile;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// See the module's documentation.
pub(super) struct Tensors<'a> {
    file: &'a TensorFile,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Tensors<'a> {
    /// All tensors of `file`, none used yet.
    pub fn new(file: &'a TensorFile) -> Self {
        Self { file, used: RefCell::default() }
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.file.names()
    }

    /// The header's strings.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        self.file.metadata()
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.file.contains(key)
    }

    /// A tensor as a matrix, all extents after the first taken as one.
    pub fn matrix(&self, key: &str) -> Option<Matrix> {
        let shape = self.file.view(key).ok()?.shape;
        let rows = *shape.first()?;
        let values = self.use_values(key)?;
        Some(Matrix { rows, columns: values.len() / rows.max(1), values })
    }

    /// A tensor's values in a row.
    pub fn vector(&self, key: &str) -> Option<Vec<f32>> {
        self.use_values(key)
    }

    /// The first extent of a tensor.
    pub fn rows(&self, key: &str) -> Option<usize> {
        self.file.view(key).ok()?.shape.first().copied()
    }

    /// The one value of a tensor.
    pub fn scalar(&self, key: &str) -> Option<f64> {
        match self.use_values(key)?.as_slice() {
            [value] => Some(f64::from(*value)),
            _ => None,
        }
    }

    /// Keys that nobody asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.keys().filter(|key| !used.contains(*key)).map(str::to_owned).collect()
    }

    /// A low-rank pair under the first of `endings` (of up and down) that is there; its scale is 1.
    pub fn low_rank(&self, name: &str, endings: &[[&str; 2]]) -> Option<Change> {
        let [up, down] = endings.iter().find(|[up, _]| self.has(&format!("{name}{up}")))?;
        let a = self.matrix(&format!("{name}{down}"))?;
        let b = self.matrix(&format!("{name}{up}"))?;
        (a.rows == b.columns).then_some(Change::LowRank { a, b, scale: 1.0 })
    }

    /// LyCORIS' four factors; the scale is 1.
    pub fn hadamard(&self, name: &str) -> Option<Change> {
        let part = |part: &str| self.matrix(&format!("{name}.hada_{part}"));
        let (w1_a, w1_b, w2_a, w2_b) = (part("w1_a")?, part("w1_b")?, part("w2_a")?, part("w2_b")?);
        Some(Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale: 1.0 })
    }

    /// LyCORIS' two Kronecker factors; the scale is 1.
    pub fn kronecker(&self, name: &str) -> Option<Change> {
        let factor = |which: &str| {
            let part = |part: &str| self.matrix(&format!("{name}.lokr_{which}{part}"));
            match part("") {
                Some(whole) => Some(Factor::Whole(whole)),
                None => Some(Factor::Product(part("_a")?, part("_b")?)),
            }
        };
        Some(Change::Kronecker { w1: factor("w1")?, w2: factor("w2")?, scale: 1.0 })
    }

    fn use_values(&self, key: &str) -> Option<Vec<f32>> {
        let values = self.file.read_f32(key).ok()?;
        self.used.borrow_mut().insert(key.to_owned());
        Some(values)
    }
}
