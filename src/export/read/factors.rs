//! The tensors of one layer as a change: shapes checked, values in f32.

use super::keys::{Group, Role};
use crate::error::{Error, Result};
use crate::models::adapter::{Change, Factor, Matrix};
use crate::tensor::DType;
use crate::weights::TensorFile;

/// The cure for a file whose parts do not fit together.
const DAMAGED: &str = "download or export the LoRA again";

/// One layer's adapter as it stands in the file.
pub(super) struct Factors {
    /// With scale 1.
    pub change: Change,
    /// DoRA's magnitudes, `[out]`.
    pub magnitude: Option<Vec<f32>>,
    /// The `.alpha` tensor.
    pub alpha: Option<f64>,
    /// Keys of tensors with values that are not finite.
    pub not_finite: Vec<String>,
}

/// Reads the group of the layer `name`.
///
/// # Errors
/// A part that lacks its partner; kinds mixed in one layer; shapes that do not fit together.
pub(super) fn read(file: &TensorFile, name: &str, group: &Group) -> Result<Factors> {
    let parts = Parts { file, name, group };
    let change = parts.change()?;
    let magnitude = parts.magnitude(&change)?;
    let alpha = group.get(&Role::Alpha).map(|key| parts.alpha(key)).transpose()?;
    let mut not_finite = Vec::new();
    for key in group.values() {
        if file.read_f32(key)?.iter().any(|value| !value.is_finite()) {
            not_finite.push(key.clone());
        }
    }
    Ok(Factors { change, magnitude, alpha, not_finite })
}

/// The tensors of one layer.
struct Parts<'a> {
    file: &'a TensorFile,
    name: &'a str,
    group: &'a Group,
}

impl Parts<'_> {
    fn change(&self) -> Result<Change> {
        let any = |is: fn(&Role) -> bool| self.group.keys().any(is);
        let kinds = [
            any(|role| matches!(role, Role::Down | Role::Up)),
            any(|role| matches!(role, Role::Hadamard(_))),
            any(|role| matches!(role, Role::Kronecker(_))),
        ];
        match kinds {
            [true, false, false] => self.low_rank(),
            [false, true, false] => self.hadamard(),
            [false, false, true] => self.kronecker(),
            [false, false, false] => {
                Err(self.wrong("has an alpha or magnitudes and nothing that they scale"))
            }
            _ => Err(self.wrong("mixes LoRA, LoHa and LoKr tensors")),
        }
    }

    fn low_rank(&self) -> Result<Change> {
        let a = self.needed(Role::Down, "lora_A (lora_down)")?;
        let b = self.needed(Role::Up, "lora_B (lora_up)")?;
        self.require_inner(&b, &a, Role::Up, "lora_A")?;
        Ok(Change::LowRank { a, b, scale: 1.0 })
    }

    fn hadamard(&self) -> Result<Change> {
        let part = |index: u8, name: &str| self.needed(Role::Hadamard(index), name);
        let (w1_a, w1_b) = (part(0, "hada_w1_a")?, part(1, "hada_w1_b")?);
        let (w2_a, w2_b) = (part(2, "hada_w2_a")?, part(3, "hada_w2_b")?);
        self.require_inner(&w1_a, &w1_b, Role::Hadamard(0), "hada_w1_b")?;
        self.require_inner(&w2_a, &w2_b, Role::Hadamard(2), "hada_w2_b")?;
        if (w1_a.rows, w1_b.columns) != (w2_a.rows, w2_b.columns) {
            return Err(self.wrong("has two products of different shapes"));
        }
        Ok(Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale: 1.0 })
    }

    fn kronecker(&self) -> Result<Change> {
        let w1 = self.factor(0, ["lokr_w1", "lokr_w1_a", "lokr_w1_b"])?;
        let w2 = self.factor(3, ["lokr_w2", "lokr_w2_a", "lokr_w2_b"])?;
        Ok(Change::Kronecker { w1, w2, scale: 1.0 })
    }

    /// The factor whose roles begin at `first`: whole, or a product of two.
    fn factor(&self, first: u8, names: [&str; 3]) -> Result<Factor> {
        let has = |index: u8| self.group.contains_key(&Role::Kronecker(index));
        match (has(first), has(first + 1) || has(first + 2)) {
            (true, true) => Err(self.wrong(&format!("has {} both whole and as a product", names[0]))),
            (true, false) | (false, false) => {
                Ok(Factor::Whole(self.needed(Role::Kronecker(first), names[0])?))
            }
            (false, true) => {
                let left = self.needed(Role::Kronecker(first + 1), names[1])?;
                let right = self.needed(Role::Kronecker(first + 2), names[2])?;
                self.require_inner(&left, &right, Role::Kronecker(first + 1), names[2])?;
                Ok(Factor::Product(left, right))
            }
        }
    }

    /// Magnitudes `[out]` or `[out, 1]`.
    fn magnitude(&self, change: &Change) -> Result<Option<Vec<f32>>> {
        let Some(key) = self.group.get(&Role::Magnitude) else { return Ok(None) };
        let (rows, columns) = crate::export::weight_change::size(change);
        let view = self.file.view(key)?;
        let refused = |cause: String| {
            Err(Error::tensor(self.file.path(), key, cause)
                .hint("magnitudes of the output axis are needed, one for every row of the weight"))
        };
        match *view.shape {
            [1, across] if across == columns && rows > 1 => refused(
                "its magnitudes are of the input axis (an older DoRA), which is not supported".to_owned(),
            ),
            _ if view.shape.iter().product::<usize>() != rows => {
                refused(format!("shape {:?} where {rows} magnitudes are expected", view.shape))
            }
            _ => self.floats(key).map(Some),
        }
    }

    fn alpha(&self, key: &str) -> Result<f64> {
        match self.floats(key)?.as_slice() {
            [alpha] => Ok(f64::from(*alpha)),
            values => {
                let cause = format!("{} values where one alpha is expected", values.len());
                Err(Error::tensor(self.file.path(), key, cause).hint(DAMAGED))
            }
        }
    }

    /// The matrix of `role`; a 1x1 convolution counts as one.
    fn needed(&self, role: Role, called: &str) -> Result<Matrix> {
        let key = self.group.get(&role).ok_or_else(|| {
            let cause = format!("the adapter `{}` lacks its {called}", self.name);
            Error::weights(self.file.path(), cause).hint(DAMAGED)
        })?;
        match *self.file.view(key)?.shape {
            [rows, columns] | [rows, columns, 1, 1] if rows > 0 && columns > 0 => {
                Ok(Matrix { rows, columns, values: self.floats(key)? })
            }
            ref shape => {
                let cause = format!("shape {shape:?} where a matrix is expected");
                Err(Error::tensor(self.file.path(), key, cause).hint(DAMAGED))
            }
        }
    }

    /// That `left right` can be multiplied.
    fn require_inner(&self, left: &Matrix, right: &Matrix, role: Role, other: &str) -> Result<()> {
        if left.columns == right.rows {
            return Ok(());
        }
        let cause =
            format!("shape [{}, {}] does not fit {other}'s rank {}", left.rows, left.columns, right.rows);
        let key = self.group.get(&role).map_or(self.name, String::as_str);
        Err(Error::tensor(self.file.path(), key, cause).hint(DAMAGED))
    }

    fn floats(&self, key: &str) -> Result<Vec<f32>> {
        let dtype = self.file.view(key)?.dtype;
        let is_number = matches!(dtype, DType::F32 | DType::F64 | DType::Bf16 | DType::F16);
        let is_count = key.ends_with(".alpha") && matches!(dtype, DType::I32 | DType::I64);
        if is_number || is_count {
            return self.file.read_f32(key);
        }
        Err(Error::tensor(self.file.path(), key, format!("the element type {dtype} is not supported"))
            .hint("export the LoRA again in fp32, bf16 or fp16"))
    }

    fn wrong(&self, cause: &str) -> Error {
        Error::weights(self.file.path(), format!("the adapter `{}` {cause}", self.name)).hint(DAMAGED)
    }
}
