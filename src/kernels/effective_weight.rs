//! The weight of a layer whose adapter is no low-rank pair, W + s * join(F1, F2), and the gradients of the factors.
//!
//! LoHa joins its factors element by element (arXiv 2108.06098), LoKr by the Kronecker product (arXiv 2309.14859).

mod cuda;
mod factor;
mod join;

pub use factor::Factor;
pub use join::Join;

use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::matrix::Matrix;
use crate::kernels::parallel;
use crate::tensor::{Shape, TensorId};
use factor::{take, values};
use std::ops::Range;

/// `to` = W + s * join(F1, F2), `[rows, in]`.
#[derive(Debug, Clone)]
pub struct EffectiveWeight {
    /// W, `[out of all, in]`.
    pub weight: TensorId,
    /// The rows of W that are changed.
    pub rows: Range<usize>,
    /// How the factors make a change.
    pub join: Join,
    /// The factors.
    pub factors: [Factor<TensorId>; 2],
    /// alpha / rank.
    pub scale: f32,
    /// The changed rows.
    pub to: TensorId,
}

/// Gradients of the factors from the dense dW.
#[derive(Debug, Clone)]
pub struct EffectiveWeightGradient {
    /// As in the forward kernel.
    pub join: Join,
    /// The factors.
    pub factors: [Factor<TensorId>; 2],
    /// alpha / rank.
    pub scale: f32,
    /// dW, `[rows, in]`.
    pub dw: TensorId,
    /// One for each matrix of the factors.
    pub gradients: [Factor<Update>; 2],
}

/// Checks that the factors make a change of shape `weight`.
fn check_factors(
    kernel: &str,
    join: Join,
    factors: &[Factor<TensorId>; 2],
    weight: &Shape,
    shapes: &dyn Shapes,
) -> Result<()> {
    factors.iter().try_for_each(|factor| factor.check(kernel, shapes))?;
    let [first, second] = factors.each_ref().map(|factor| factor.extents(shapes));
    let made = join.extents(first, second);
    expect(kernel, made == Some((weight.rows(), weight.columns())), || {
        format!("factors {first:?} and {second:?} do not make a weight {weight}")
    })
}

/// Operations of the products inside the factors.
fn factor_flops(factors: &[Factor<TensorId>; 2], shapes: &dyn Shapes) -> u64 {
    factors.iter().map(|factor| factor.flops(shapes)).sum()
}

/// Bytes of f32 scratch memory of the factors that are products.
fn value_bytes(factors: &[Factor<TensorId>; 2], shapes: &dyn Shapes) -> usize {
    let products = factors.iter().filter(|factor| factor.is_product());
    products.map(|factor| factor.elements(shapes) * size_of::<f32>()).sum()
}

impl Contract for EffectiveWeight {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.weight)];
        all.extend(self.factors.iter_mut().flat_map(|factor| factor.all_mut()).map(Operand::Read));
        all.push(Operand::Write(&mut self.to));
        all
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        const KERNEL: &str = "EffectiveWeight";
        let (weight, to) = (shapes.shape(self.weight), shapes.shape(self.to));
        expect(KERNEL, self.rows.end <= weight.rows(), || format!("rows {:?} of W {weight}", self.rows))?;
        expect_shape(KERNEL, "the changed W", &[self.rows.len(), weight.columns()].into(), to)?;
        check_factors(KERNEL, self.join, &self.factors, to, shapes)
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        factor_flops(&self.factors, shapes)
    }

    fn workspace(&self, shapes: &dyn Shapes, _limits: &Limits) -> usize {
        value_bytes(&self.factors, shapes)
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let [first, second] = values(&self.factors, &mut operands.scratch(), operands);
        let columns = operands.shape(self.weight).columns();
        let weight = &operands.read(self.weight)[self.rows.start * columns..self.rows.end * columns];
        parallel::over_rows(operands.write(self.to), columns, |row, part| {
            part.copy_from_slice(&weight[row * columns..][..part.len()]);
            for (row, out) in (row..).zip(part.chunks_exact_mut(columns)) {
                self.join.add_row(out, row, first, second, self.scale);
            }
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes, architecture)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for EffectiveWeightGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.dw)];
        all.extend(self.factors.iter_mut().flat_map(|factor| factor.all_mut()).map(Operand::Read));
        all.extend(self.gradients.iter_mut().flat_map(|factor| factor.all_mut()).map(Operand::Update));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        let updates = self.gradients.iter().flat_map(|factor| factor.all());
        updates.flat_map(|update| update.tensors()).chain([self.dw]).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        const KERNEL: &str = "EffectiveWeightGradient";
        check_factors(KERNEL, self.join, &self.factors, shapes.shape(self.dw), shapes)?;
        for (factor, gradient) in self.factors.iter().zip(&self.gradients) {
            let alike = factor.is_product() == gradient.is_product();
            expect(KERNEL, alike, || "a factor and its gradient have different forms".to_owned())?;
            for (id, update) in factor.all().zip(gradient.all()) {
                expect_shape(KERNEL, "a gradient", shapes.shape(*id), shapes.shape(update.to))?;
            }
        }
        Ok(())
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        // Every factor that is a product is made once, and each of its two matrices gets a gradient.
        3 * factor_flops(&self.factors, shapes)
    }

    fn workspace(&self, shapes: &dyn Shapes, _limits: &Limits) -> usize {
        let gradients = self.factors.iter().map(|factor| factor.elements(shapes) * size_of::<f32>());
        value_bytes(&self.factors, shapes) + gradients.sum::<usize>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let mut scratch = operands.scratch();
        let [first, second] = values(&self.factors, &mut scratch, operands);
        let shape = operands.shape(self.dw);
        let dw = Matrix::new(operands.read(self.dw), shape.rows(), shape.columns());
        let dfirst = take(&mut scratch, first.rows() * first.columns());
        self.join.first_gradient(dfirst, dw, first, second, self.scale);
        self.factors[0].pass_gradient(
            &self.gradients[0],
            Matrix::new(dfirst, first.rows(), first.columns()),
            operands,
        );
        let dsecond = take(&mut scratch, second.rows() * second.columns());
        self.join.second_gradient(dsecond, dw, first, second, self.scale);
        let dsecond = Matrix::new(dsecond, second.rows(), second.columns());
        self.factors[1].pass_gradient(&self.gradients[1], dsecond, operands);
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes, architecture)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[cfg(test)]
mod tests;
