//! Between the parameters of an adapter and its values on the host.

use super::change::{AdapterModule, Change, Factor, Matrix};
use super::form::{Form, LoraInit};
use super::lokr::FactorForm;
use super::modules::Module;
use super::of_layer::Adapter;
use crate::error::{Error, Result};

impl Adapter {
    /// The adapter of the layer `module` whose values are `values`, applied at `strength`.
    ///
    /// # Errors
    /// Values that are for a layer of another size, or that do not fit together.
    pub fn of(values: &AdapterModule, module: &Module, prefix: String, strength: f64) -> Result<Self> {
        let (form, scale) = form_of(&values.change);
        let adapter = Self {
            prefix,
            module: module.clone(),
            form,
            scale: scale * strength,
            with_magnitude: values.magnitude.is_some(),
        };
        let wrong = |cause: String| Error::shape(&values.module, cause);
        let expected = form.matrices(adapter.outputs(), module.inputs, LoraInit::Uniform);
        for (matrix, trained) in matrices_of(&values.change).into_iter().zip(&expected) {
            let fits = [matrix.rows, matrix.columns] == trained.shape
                && matrix.values.len() == matrix.rows * matrix.columns;
            if !fits {
                return Err(wrong(format!(
                    "{} has shape [{}, {}], a layer of {} to {} needs {:?}",
                    trained.suffix,
                    matrix.rows,
                    matrix.columns,
                    module.inputs,
                    adapter.outputs(),
                    trained.shape
                )));
            }
        }
        if let Form::Kronecker { w1, w2 } = form {
            let made = (w1.rows * w2.rows, w1.columns * w2.columns);
            if made != (adapter.outputs(), module.inputs) {
                let cause = format!("its factors make a weight of {} to {}", made.1, made.0);
                return Err(wrong(format!(
                    "{cause}, the layer's is {} to {}",
                    module.inputs,
                    adapter.outputs()
                )));
            }
        }
        match &values.magnitude {
            Some(magnitude) if magnitude.len() != adapter.outputs() => {
                let cause = format!("{} magnitudes for {} outputs", magnitude.len(), adapter.outputs());
                Err(wrong(cause))
            }
            _ => Ok(adapter),
        }
    }

    /// Name and values of every parameter; `values` are those of an adapter of this form.
    pub fn parameters_of<'v>(&self, values: &'v AdapterModule) -> Vec<(String, &'v [f32])> {
        let named = self.form.matrices(self.outputs(), self.module.inputs, LoraInit::Uniform).into_iter();
        let matrices = matrices_of(&values.change).into_iter().map(|matrix| &matrix.values[..]);
        let mut all: Vec<_> = named.map(|matrix| self.name(&matrix.suffix)).zip(matrices).collect();
        all.extend(values.magnitude.as_deref().map(|values| (self.magnitude_name(), values)));
        all
    }

    /// Its values on the host; `read` gives those of a parameter.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn values(&self, read: impl Fn(&str) -> Result<Vec<f32>>) -> Result<AdapterModule> {
        let matrix = |name: &str, [rows, columns]: [usize; 2]| {
            Ok(Matrix { rows, columns, values: read(&self.name(name))? })
        };
        let ((out, input), scale) = ((self.outputs(), self.module.inputs), self.scale);
        let factor = |name: &str, form: FactorForm| -> Result<Factor> {
            let FactorForm { rows, columns, rank } = form;
            Ok(match rank {
                None => Factor::Whole(matrix(name, [rows, columns])?),
                Some(rank) => Factor::Product(
                    matrix(&format!("{name}_a"), [rows, rank])?,
                    matrix(&format!("{name}_b"), [rank, columns])?,
                ),
            })
        };
        let change = match self.form {
            Form::LowRank { rank } => Change::LowRank {
                a: matrix("lora_A.weight", [rank, input])?,
                b: matrix("lora_B.weight", [out, rank])?,
                scale,
            },
            Form::Hadamard { rank } => Change::Hadamard {
                w1_a: matrix("hada_w1_a", [out, rank])?,
                w1_b: matrix("hada_w1_b", [rank, input])?,
                w2_a: matrix("hada_w2_a", [out, rank])?,
                w2_b: matrix("hada_w2_b", [rank, input])?,
                scale,
            },
            Form::Kronecker { w1, w2 } => {
                Change::Kronecker { w1: factor("lokr_w1", w1)?, w2: factor("lokr_w2", w2)?, scale }
            }
        };
        let magnitude = self.with_magnitude.then(|| read(&self.magnitude_name())).transpose()?;
        Ok(AdapterModule { module: self.module.path.clone(), change, magnitude })
    }
}

/// Form and scale of a change.
fn form_of(change: &Change) -> (Form, f64) {
    match change {
        Change::LowRank { a, scale, .. } => (Form::LowRank { rank: a.rows }, *scale),
        Change::Hadamard { w1_b, scale, .. } => (Form::Hadamard { rank: w1_b.rows }, *scale),
        Change::Kronecker { w1, w2, scale } => {
            let form = |factor: &Factor| match factor {
                Factor::Whole(matrix) => {
                    FactorForm { rows: matrix.rows, columns: matrix.columns, rank: None }
                }
                Factor::Product(a, b) => FactorForm { rows: a.rows, columns: b.columns, rank: Some(b.rows) },
            };
            (Form::Kronecker { w1: form(w1), w2: form(w2) }, *scale)
        }
    }
}

/// The matrices of a change, in the order of [`Form::matrices`].
fn matrices_of(change: &Change) -> Vec<&Matrix> {
    match change {
        Change::LowRank { a, b, .. } => vec![a, b],
        Change::Hadamard { w1_a, w1_b, w2_a, w2_b, .. } => vec![w1_a, w1_b, w2_a, w2_b],
        Change::Kronecker { w1, w2, .. } => {
            let all = [w1, w2].into_iter().flat_map(|factor| match factor {
                Factor::Whole(matrix) => vec![matrix],
                Factor::Product(a, b) => vec![a, b],
            });
            all.collect()
        }
    }
}
