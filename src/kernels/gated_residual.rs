//! x + gate * y, with one gate vector a sample.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::layer_norm::chunk;
use crate::kernels::parallel;
use crate::tensor::TensorId;

/// Where the gate lies in a modulation vector, counted in chunks of the stream's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// `[b, chunks * columns]`.
    pub vectors: TensorId,
    /// Chunk of the gate.
    pub chunk: usize,
}

/// x `[b, tokens, columns]` becomes x + gate * y.
#[derive(Debug, Clone)]
pub struct GatedResidual {
    /// The gate.
    pub gate: Gate,
    /// y, as x.
    pub y: TensorId,
    /// x, before and after.
    pub x: Update,
}

/// dy = gate * dx.
#[derive(Debug, Clone)]
pub struct GatedResidualGradient {
    /// The gate.
    pub gate: Gate,
    /// Gradient of the result.
    pub dx: TensorId,
    /// dy.
    pub dy: TensorId,
}

/// d gate (+)= the sum over tokens of dx y.
#[derive(Debug, Clone)]
pub struct GateGradient {
    /// The gate.
    pub gate: Gate,
    /// y.
    pub y: TensorId,
    /// Gradient of the result.
    pub dx: TensorId,
    /// Gradient of the modulation vectors; other chunks are left alone (zero where nothing was there).
    pub dvectors: Update,
}

impl Gate {
    pub(in crate::kernels) fn check(&self, kernel: &str, y: TensorId, shapes: &dyn Shapes) -> Result<()> {
        let (y, vectors) = (shapes.shape(y), shapes.shape(self.vectors));
        let fits = vectors.rows() == y.dims()[0] && (self.chunk + 1) * y.columns() <= vectors.columns();
        expect(kernel, y.dims().len() == 3 && fits, || {
            format!("y has shape {y}, modulation {vectors}, chunk {} is asked for", self.chunk)
        })
    }

    pub(in crate::kernels) fn of_sample<'a>(
        &self,
        sample: usize,
        columns: usize,
        operands: &cpu::Operands<'a>,
    ) -> &'a [f32] {
        let length = operands.shape(self.vectors).columns();
        chunk(operands.read(self.vectors), length, sample, self.chunk, columns)
    }
}

impl Contract for GatedResidual {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.gate.vectors), Operand::Read(&mut self.y), Operand::Update(&mut self.x)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.gate.vectors]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect("GatedResidual", self.x.accumulates(), || "there is no residual to add to".to_owned())?;
        self.gate.check("GatedResidual", self.y, shapes)?;
        expect_shape("GatedResidual", "x", shapes.shape(self.y), shapes.shape(self.x.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (y, shape) = (operands.read(self.y), operands.shape(self.y));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        parallel::over_rows(operands.write(self.x.to), columns, |first, rows| {
            for (row, x) in (first..).zip(rows.chunks_exact_mut(columns)) {
                let gate = self.gate.of_sample(row / tokens, columns, operands);
                let y = &y[row * columns..][..columns];
                x.iter_mut().zip(y).zip(gate).for_each(|((x, y), gate)| *x += gate * y);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for GatedResidualGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.gate.vectors), Operand::Read(&mut self.dx), Operand::Write(&mut self.dy)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.gate.vectors]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        self.gate.check("GatedResidualGradient", self.dx, shapes)?;
        expect_shape("GatedResidualGradient", "dy", shapes.shape(self.dx), shapes.shape(self.dy))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (dx, shape) = (operands.read(self.dx), operands.shape(self.dx));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        parallel::over_rows(operands.write(self.dy), columns, |first, rows| {
            for (row, dy) in (first..).zip(rows.chunks_exact_mut(columns)) {
                let gate = self.gate.of_sample(row / tokens, columns, operands);
                let dx = &dx[row * columns..][..columns];
                dy.iter_mut().zip(dx).zip(gate).for_each(|((dy, dx), gate)| *dy = gate * dx);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for GateGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.y), Operand::Read(&mut self.dx), Operand::Update(&mut self.dvectors)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        self.gate.check("GateGradient", self.y, shapes)?;
        let vectors = shapes.shape(self.gate.vectors);
        expect_shape("GateGradient", "dvectors", vectors, shapes.shape(self.dvectors.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (y, dx, shape) = (operands.read(self.y), operands.read(self.dx), operands.shape(self.y));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        let length = operands.shape(self.dvectors.to).columns();
        let dvectors = operands.write(self.dvectors.to);
        if !self.dvectors.accumulates() {
            dvectors.fill(0.0);
        }
        for (sample, dvector) in dvectors.chunks_exact_mut(length).enumerate() {
            let dgate = &mut dvector[self.gate.chunk * columns..][..columns];
            for row in sample * tokens..(sample + 1) * tokens {
                let range = row * columns..(row + 1) * columns;
                let products = y[range.clone()].iter().zip(&dx[range]);
                dgate.iter_mut().zip(products).for_each(|(dgate, (y, dx))| *dgate += y * dx);
            }
        }
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, _architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
