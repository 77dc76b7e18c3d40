//! What an adapter lowers to in a program: a low-rank pair or an effective weight, and DoRA's scale of the outputs.

use super::form::Form;
use super::lokr::FactorForm;
use super::of_layer::Adapter;
use crate::autograd::Program;
use crate::error::Result;
use crate::kernels::effective_weight::{Factor, Join};
use crate::kernels::magnitude::LowRankChange;
use crate::ops::effective_weight::{Change, effective_weight};
use crate::ops::linear::{Adapted, Lowered};
use crate::ops::magnitude::magnitude_scale;
use crate::tensor::TensorId;
use std::ops::Range;

/// Finds a parameter's tensor by name; none where the program's region lacks it.
pub(super) type Find<'f> = dyn FnMut(&mut Program, &str) -> Option<TensorId> + 'f;

impl Adapter {
    /// Records what makes it of the frozen `weight`; `place` are its index among all and its columns of the layer's
    /// output. Gives none where a parameter is not in the program's region.
    pub(super) fn lower(
        &self,
        program: &mut Program,
        find: &mut Find<'_>,
        (index, columns): (u32, Range<usize>),
        weight: TensorId,
    ) -> Result<Option<Adapted>> {
        let scale = self.scale as f32;
        let path = &self.module.path;
        let magnitude = if self.with_magnitude { find(program, &self.magnitude_name()) } else { None };
        let rows = self.module.rows.clone();
        let lowered = match self.form {
            Form::LowRank { .. } => {
                let mut matrix = |suffix| find(program, &self.name(suffix));
                let (Some(a), Some(b)) = (matrix("lora_A.weight"), matrix("lora_B.weight")) else {
                    return Ok(None);
                };
                Lowered::LowRank { a, b, scale }
            }
            Form::Hadamard { .. } | Form::Kronecker { .. } => {
                let Some(change) = self.change(program, find) else { return Ok(None) };
                let weight =
                    effective_weight(program, &format!("{path} W"), (weight, rows.clone()), &change)?;
                Lowered::Effective { weight }
            }
        };
        let output_scale = match magnitude {
            None => None,
            Some(magnitude) => {
                let (changed, change) = match lowered {
                    Lowered::LowRank { a, b, scale } => ((weight, rows), Some(LowRankChange { a, b, scale })),
                    Lowered::Effective { weight } => ((weight, 0..rows.len()), None),
                };
                Some(magnitude_scale(program, path, changed, change, magnitude)?)
            }
        };
        Ok(Some(Adapted { columns, index, lowered, output_scale }))
    }

    /// The change of the weight, if it is made of factors.
    fn change(&self, program: &mut Program, find: &mut Find<'_>) -> Option<Change> {
        let mut matrix = |suffix: &str| find(program, &self.name(suffix));
        let (join, factors) = match self.form {
            Form::LowRank { .. } => return None,
            Form::Hadamard { .. } => {
                let first = Factor::Product(matrix("hada_w1_a")?, matrix("hada_w1_b")?);
                (Join::Hadamard, [first, Factor::Product(matrix("hada_w2_a")?, matrix("hada_w2_b")?)])
            }
            Form::Kronecker { w1, w2 } => {
                let mut factor = |name: &str, form: FactorForm| {
                    Some(match form.rank {
                        None => Factor::Whole(matrix(name)?),
                        Some(_) => {
                            Factor::Product(matrix(&format!("{name}_a"))?, matrix(&format!("{name}_b"))?)
                        }
                    })
                };
                (Join::Kronecker, [factor("lokr_w1", w1)?, factor("lokr_w2", w2)?])
            }
        };
        Some(Change { join, factors, scale: self.scale as f32 })
    }
}
