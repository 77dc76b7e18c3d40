//! RMSNorm of queries and keys, and its gradients, on a card.

use crate::device::cuda::{Address, Launches, Operands, vectorised};
use crate::error::{Error, Result};
use crate::kernels::Shapes;
use crate::kernels::parameters::{
    COLUMN_SUMS_THREADS, QK_NORM_PARTS, QkNormParams, QkNormPart, QkNormWeightGradientParams, ROW_THREADS,
};
use crate::kernels::qk_norm::{Part, QkNorm, QkNormGradient, QkNormWeightGradient};
use crate::kernels::spread::{ColumnSums, grid, word};
use crate::tensor::{Shape, TensorId};

const BF16: usize = size_of::<u16>();
const LANES: u32 = 32;

/// The forms of a kernel: the widest head and the lanes of a head, narrowest first.
const WIDEST: [(usize, u32); 3] = [(32, 4), (64, 8), (128, 16)];
/// For heads of at most 32, 64 and 128 columns, and for any other.
type Forms = [&'static str; 4];
const FORWARD: Forms = ["qk_norm_32", "qk_norm_64", "qk_norm_128", "qk_norm_any"];
const GRADIENT: Forms =
    ["qk_norm_gradient_32", "qk_norm_gradient_64", "qk_norm_gradient_128", "qk_norm_gradient_any"];

/// The launch of the right one of `forms` on heads of `qkv`; the gradient also reads `x`.
fn launch(
    kernel: &str,
    forms: &Forms,
    (parts, heads): (&[Part], usize),
    (x, qkv): (TensorId, TensorId),
    operands: &Operands<'_>,
    to: &mut Launches,
) -> Result<()> {
    let Some(first) = parts.first() else { return Ok(()) };
    let head_dim = operands.shape(first.weight).elements();
    let alike = parts.iter().all(|part| operands.shape(part.weight).elements() == head_dim);
    if !alike || parts.len() > QK_NORM_PARTS as usize {
        return Err(Error::shape(kernel, "at most two parts with heads of one size have a CUDA form"));
    }
    let shape = operands.shape(qkv);
    let (x, qkv) = (operands.bf16(kernel, x)?, operands.bf16(kernel, qkv)?);
    let mut table = [QkNormPart { weight: 0, first: 0, reserved: 0 }; QK_NORM_PARTS as usize];
    let mut aligned = [x, qkv].iter().all(|&address| vectorised(address, shape.columns(), BF16));
    for (part, entry) in parts.iter().zip(&mut table) {
        let weight = operands.bf16(kernel, part.weight)?;
        aligned &= vectorised(weight, head_dim, BF16) && vectorised(0, part.first, BF16);
        *entry = QkNormPart { weight, first: word(kernel, part.first)?, reserved: 0 };
    }
    let form = WIDEST.iter().position(|&(widest, _)| aligned && head_dim <= widest);
    let lanes = form.map_or(LANES, |form| WIDEST[form].1);
    let groups = shape.rows() * heads * parts.len();
    let parameters = QkNormParams {
        parts: table,
        x,
        qkv,
        part_count: parts.len() as u32,
        rows: word(kernel, shape.rows())?,
        columns: word(kernel, shape.columns())?,
        heads: word(kernel, heads)?,
        head_dim: word(kernel, head_dim)?,
        reserved: 0,
    };
    let blocks = word(kernel, groups)?.div_ceil(ROW_THREADS / lanes) as usize;
    to.push(forms[form.unwrap_or(WIDEST.len())], grid(kernel, [blocks, 1, 1])?, ROW_THREADS, &parameters);
    Ok(())
}

impl QkNorm {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let qkv = self.qkv.to;
        launch(kernel, &FORWARD, (&self.parts, self.heads), (qkv, qkv), operands, to)
    }
}

impl QkNormGradient {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        launch(kernel, &GRADIENT, (&self.parts, self.heads), (self.qkv, self.dqkv.to), operands, to)
    }
}

impl QkNormWeightGradient {
    /// The sum of the gain over all heads of all rows.
    fn column_sums(&self, qkv: &Shape, dweight: &Shape) -> ColumnSums {
        let rows = qkv.rows() * self.heads;
        ColumnSums { samples: 1, rows, columns: dweight.elements(), sums: 1, lanes: 8 }
    }

    /// One word a head, then the bands' sums.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        let sums = self.column_sums(shapes.shape(self.qkv), shapes.shape(self.dweight.to));
        sums.rows * size_of::<f32>() + sums.bytes()
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.qkv);
        let sums = self.column_sums(shape, operands.shape(self.dweight.to));
        let first = (self.part.first * BF16) as Address;
        let (x, dy) = (operands.bf16(kernel, self.qkv)? + first, operands.bf16(kernel, self.dqkv)? + first);
        let rows_aligned = [x, dy].iter().all(|&address| vectorised(address, shape.columns(), BF16));
        let aligned = u32::from(rows_aligned && vectorised(0, sums.columns, BF16));
        let (reciprocal_rms, _) = operands.workspace();
        let parameters = QkNormWeightGradientParams {
            x,
            dy,
            reciprocal_rms,
            partials: reciprocal_rms + (sums.rows * size_of::<f32>()) as Address,
            dweight: operands.f32(kernel, self.dweight.to)?,
            columns: shape.columns() as u64,
            rows: word(kernel, shape.rows())?,
            heads: word(kernel, self.heads)?,
            head_dim: word(kernel, sums.columns)?,
            band_rows: word(kernel, sums.band_rows())?,
            bands: word(kernel, sums.bands())?,
            aligned,
            accumulates: self.dweight.accumulates().into(),
            reserved: 0,
        };
        let warps = word(kernel, sums.rows)?.div_ceil(ROW_THREADS / LANES);
        to.push("qk_norm_reciprocal_rms", [warps, 1, 1], ROW_THREADS, &parameters);
        let bands = sums.grid(kernel, aligned)?;
        to.push("qk_norm_weight_gradient", bands, COLUMN_SUMS_THREADS, &parameters);
        let blocks = parameters.head_dim.div_ceil(COLUMN_SUMS_THREADS);
        to.push("qk_norm_weight_gradient_sum", [blocks, 1, 1], COLUMN_SUMS_THREADS, &parameters);
        Ok(())
    }
}
