//! LayerNorm with modulation, and its gradients, on a card.

use crate::device::cuda::{Address, Launches, Operands, vectorised};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::layer_norm::{
    LayerNormModulate, LayerNormModulateGradient, Modulation, ModulationGradient,
};
use crate::kernels::parameters::{
    COLUMN_SUMS_THREADS, LayerNormModulateGradientParams, LayerNormModulateParams, LayerNormStatisticsParams,
    ModulationGradientParams, ModulationParams, ROW_THREADS,
};
use crate::kernels::spread::{ColumnSums, ModulationVectors, RowForms, Rows, word};
use crate::tensor::{DType, Shape};

const FORWARD: RowForms = [
    "layer_norm_modulate_512",
    "layer_norm_modulate_1536",
    "layer_norm_modulate_2560",
    "layer_norm_modulate_any",
];
const FORWARD_F32: RowForms = [
    "layer_norm_modulate_512_f32",
    "layer_norm_modulate_1536_f32",
    "layer_norm_modulate_2560_f32",
    "layer_norm_modulate_any_f32",
];
const GRADIENT: RowForms = [
    "layer_norm_gradient_512",
    "layer_norm_gradient_1536",
    "layer_norm_gradient_2560",
    "layer_norm_gradient_any",
];
/// Bytes of the mean and the reciprocal deviation of a row.
const STATISTICS: usize = 2 * size_of::<f32>();

impl Modulation {
    /// Where the chunks lie for rows of `columns` columns.
    fn parameters(&self, kernel: &str, columns: usize, operands: &Operands<'_>) -> Result<ModulationParams> {
        let vectors = operands.f32(kernel, self.vectors)?;
        let chunk = |chunk: usize| vectors + (chunk * columns * size_of::<f32>()) as Address;
        let stride = operands.shape(self.vectors).columns() as u64;
        Ok(ModulationParams { shift: chunk(self.shift), scale: chunk(self.scale), stride })
    }
}

impl ModulationParams {
    /// The addresses at which a row's chunks may start, for alignment: the first sample's and the second's.
    fn addresses(&self) -> [Address; 4] {
        let next = self.stride * size_of::<f32>() as u64;
        [self.shift, self.scale, self.shift + next, self.scale + next]
    }
}

impl LayerNormModulate {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.x);
        let (forms, dtype) = match operands.dtype(self.x) {
            DType::F32 => (&FORWARD_F32, DType::F32),
            _ => (&FORWARD, DType::Bf16),
        };
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.bf16(kernel, self.y)?);
        let modulation = self.modulation.parameters(kernel, shape.columns(), operands)?;
        let spread = Rows::new(kernel, shape, &[&[x, y], &modulation.addresses()[..]].concat())?;
        let Rows { rows, columns, aligned } = spread;
        let tokens = word(kernel, shape.dims()[1])?;
        let parameters = LayerNormModulateParams { x, y, modulation, rows, columns, tokens, aligned };
        to.push(spread.form(forms), spread.grid(), ROW_THREADS, &parameters);
        Ok(())
    }
}

impl LayerNormModulateGradient {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.x);
        let (x, dy) = (operands.bf16(kernel, self.x)?, operands.bf16(kernel, self.dy)?);
        let dx = operands.bf16(kernel, self.dx.to)?;
        let modulation = self.modulation.parameters(kernel, shape.columns(), operands)?;
        let spread = Rows::new(kernel, shape, &[&[x, dy, dx], &modulation.addresses()[..]].concat())?;
        let Rows { rows, columns, aligned } = spread;
        let parameters = LayerNormModulateGradientParams {
            x,
            dy,
            dx,
            modulation,
            rows,
            columns,
            tokens: word(kernel, shape.dims()[1])?,
            aligned,
            accumulates: self.dx.accumulates().into(),
            reserved: 0,
        };
        to.push(spread.form(&GRADIENT), spread.grid(), ROW_THREADS, &parameters);
        Ok(())
    }
}

/// The sums of shift and scale over the rows of x `[samples, tokens, columns]`.
fn column_sums(x: &Shape) -> ColumnSums {
    ColumnSums { samples: x.dims()[0], rows: x.dims()[1], columns: x.columns(), sums: 2, lanes: 32 }
}

impl ModulationGradient {
    /// The rows' statistics, then the bands' sums.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        let x = shapes.shape(self.x);
        x.rows() * STATISTICS + column_sums(x).bytes()
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.x);
        let (x, dy) = (operands.bf16(kernel, self.x)?, operands.bf16(kernel, self.dy)?);
        let sums = column_sums(shape);
        let (statistics, _) = operands.workspace();
        let partials = statistics + (shape.rows() * STATISTICS) as Address;

        let spread = Rows::new(kernel, shape, &[x])?;
        let Rows { rows, columns, aligned } = spread;
        let parameters = LayerNormStatisticsParams { x, statistics, rows, columns, aligned, reserved: 0 };
        to.push("layer_norm_statistics", spread.grid(), ROW_THREADS, &parameters);

        let aligned = u32::from(aligned == 1 && vectorised(dy, shape.columns(), size_of::<u16>()));
        let parameters = ModulationGradientParams {
            x,
            dy,
            statistics,
            partials,
            tokens: word(kernel, sums.rows)?,
            band_rows: word(kernel, sums.band_rows())?,
            columns,
            aligned,
        };
        to.push("modulation_gradient", sums.grid(kernel, aligned)?, COLUMN_SUMS_THREADS, &parameters);

        let vectors = ModulationVectors {
            address: operands.bf16(kernel, self.dvectors.to)?,
            length: operands.shape(self.dvectors.to).columns(),
            chunks: [self.modulation.shift, self.modulation.scale],
            accumulates: self.dvectors.accumulates(),
        };
        sums.add_up(kernel, partials, &vectors, to)
    }
}
