//! Gated residuals, and their gradients, on a card.

use crate::device::cuda::{Address, Launches, Operands};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::gated_residual::{Gate, GateGradient, GatedResidual, GatedResidualGradient};
use crate::kernels::parameters::{COLUMN_SUMS_THREADS, GateGradientParams, GatedResidualParams, ROW_THREADS};
use crate::kernels::spread::{ColumnSums, ModulationVectors, Rows, word};
use crate::tensor::{DType, Shape, TensorId};

impl Gate {
    /// Where the first sample's gate lies for rows of `columns` columns, in vectors at `vectors`.
    pub(in crate::kernels) fn first(&self, vectors: Address, columns: usize) -> Address {
        vectors + (self.chunk * columns * size_of::<f32>()) as Address
    }

    /// The launch of `symbol`, which puts the gate times `input` into `output` of type `dtype`, or onto it.
    fn launch(
        &self,
        (kernel, symbol, dtype): (&str, &'static str, DType),
        (input, output): (TensorId, TensorId),
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(input);
        let (input, output) = (operands.bf16(kernel, input)?, operands.address(kernel, output, dtype)?);
        let stride = operands.shape(self.vectors).columns();
        let gate = self.first(operands.f32(kernel, self.vectors)?, shape.columns());
        let next = gate + (stride * size_of::<f32>()) as Address;
        let spread = Rows::new(kernel, shape, &[gate, next, input, output])?;
        let parameters = GatedResidualParams {
            gate,
            in_: input,
            out: output,
            gate_stride: stride as u64,
            rows: spread.rows,
            columns: spread.columns,
            tokens: word(kernel, shape.dims()[1])?,
            aligned: spread.aligned,
        };
        to.push(symbol, spread.grid_of_pieces(kernel)?, ROW_THREADS, &parameters);
        Ok(())
    }
}

impl GatedResidual {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.x.to) {
            DType::F32 => ("gated_residual_f32", DType::F32),
            _ => ("gated_residual_bf16", DType::Bf16),
        };
        self.gate.launch((kernel, symbol, dtype), (self.y, self.x.to), operands, to)
    }
}

impl GatedResidualGradient {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let symbol = (kernel, "gated_residual_gradient", DType::Bf16);
        self.gate.launch(symbol, (self.dx, self.dy), operands, to)
    }
}

/// The sum of the gate over the rows of y `[samples, tokens, columns]`.
fn column_sums(y: &Shape) -> ColumnSums {
    ColumnSums { samples: y.dims()[0], rows: y.dims()[1], columns: y.columns(), sums: 1, lanes: 32 }
}

impl GateGradient {
    /// The bands' sums.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        column_sums(shapes.shape(self.y)).bytes()
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.y);
        let (y, dx) = (operands.bf16(kernel, self.y)?, operands.bf16(kernel, self.dx)?);
        let sums = column_sums(shape);
        let (partials, _) = operands.workspace();
        let Rows { columns, aligned, .. } = Rows::new(kernel, shape, &[y, dx])?;
        let parameters = GateGradientParams {
            y,
            dx,
            partials,
            tokens: word(kernel, sums.rows)?,
            band_rows: word(kernel, sums.band_rows())?,
            columns,
            aligned,
        };
        to.push("gate_gradient", sums.grid(kernel, aligned)?, COLUMN_SUMS_THREADS, &parameters);
        let vectors = ModulationVectors {
            address: operands.bf16(kernel, self.dvectors.to)?,
            length: operands.shape(self.dvectors.to).columns(),
            chunks: [self.gate.chunk, 0],
            accumulates: self.dvectors.accumulates(),
        };
        sums.add_up(kernel, partials, &vectors, to)
    }
}
