//! Effective weights and the gradients of their factors on a card.
//!
//! Products inside the factors, and from a factor's gradient to those of its matrices, are matrix products; the latter
//! read what they sum over column by column, so gradients and second matrices are transposed in front of them.

use super::{EffectiveWeight, EffectiveWeightGradient, Factor, Join};
use crate::device::cuda::{Address, Architecture, Launches, Operands, vectorised};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::contract::{Shapes, Update};
use crate::kernels::gemm::{DeviceMatrix, Finish, Group, Layout, Output, Places, Problem};
use crate::kernels::parameters::{
    ELEMENTWISE_THREADS, HadamardGradientParams, HadamardWeightParams, KRONECKER_THREADS, KroneckerExtents,
    KroneckerGradientParams, KroneckerWeightParams, TRANSPOSE_EDGE, TRANSPOSE_THREADS, TransposeParams,
};
use crate::kernels::spread::{Elements, grid, word};
use crate::tensor::{DType, TensorId};

/// Alignment of what shares a workspace.
const ALIGNMENT: usize = 256;

/// Scratch memory that is handed out from its beginning on.
struct Room {
    start: Address,
    next: Address,
}

impl Room {
    fn at(start: Address) -> Self {
        Self { start, next: start }
    }

    /// A bf16 matrix.
    fn matrix(&mut self, rows: usize, columns: usize) -> DeviceMatrix {
        let address = self.next;
        let bytes = (rows * columns * DType::Bf16.size()).next_multiple_of(ALIGNMENT);
        self.next += bytes as Address;
        DeviceMatrix { address, rows, columns, stride: columns }
    }

    fn bytes(&self) -> usize {
        (self.next - self.start) as usize
    }
}

/// The values of both factors, and the products that make some of them.
struct Values {
    values: [DeviceMatrix; 2],
    products: Group,
}

impl Values {
    fn new(
        kernel: &'static str,
        factors: &[Factor<TensorId>; 2],
        places: Places<'_>,
        room: &mut Room,
    ) -> Result<Self> {
        let mut problems = Vec::new();
        let mut value = |factor: &Factor<TensorId>| match factor {
            Factor::Whole(id) => places.matrix(kernel, *id),
            Factor::Product(a, b) => {
                let (a, b) = (places.matrix(kernel, *a)?, places.matrix(kernel, *b)?);
                let c = room.matrix(a.rows, b.columns);
                let output = Output::Matrix { c: Some(c), accumulate: false, finish: Finish::Store };
                problems.push(Problem::plain(c.rows, c.columns, a, b, output));
                Ok(c)
            }
        };
        let values = [value(&factors[0])?, value(&factors[1])?];
        Ok(Self { values, products: Group::plain(kernel, Layout::Nn, problems) })
    }
}

/// The extents of a Kronecker product of these factors.
fn extents(kernel: &str, [first, second]: &[DeviceMatrix; 2]) -> Result<KroneckerExtents> {
    Ok(KroneckerExtents {
        l: word(kernel, first.rows)?,
        m: word(kernel, first.columns)?,
        k: word(kernel, second.rows)?,
        n: word(kernel, second.columns)?,
    })
}

/// Blocks of a kernel whose threads have an element each and whose rows are blocks in y.
fn element_grid(kernel: &str, rows: usize, columns: usize) -> Result<[u32; 3]> {
    grid(kernel, [columns.div_ceil(KRONECKER_THREADS as usize), rows, 1])
}

impl EffectiveWeight {
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let mut room = Room::at(0);
        let values = Values::new("EffectiveWeight", &self.factors, Places::Planned(shapes), &mut room);
        values.map_or(0, |values| room.bytes() + values.products.workspace(architecture))
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let mut room = Room::at(operands.workspace().0);
        let made = Values::new(kernel, &self.factors, Places::OnCard(operands), &mut room)?;
        made.products.launch(room.next, &operands.architecture(), to)?;
        let [first, second] = made.values.map(|value| value.address);
        let shape = operands.shape(self.to);
        let before = self.rows.start * shape.columns() * DType::Bf16.size();
        let weight = operands.bf16(kernel, self.weight)? + before as Address;
        let (changed, scale) = (operands.bf16(kernel, self.to)?, self.scale);
        match self.join {
            Join::Hadamard => {
                let spread = Elements::new(shape, &[weight, first, second, changed]);
                let Elements { elements, aligned } = spread;
                let parameters =
                    HadamardWeightParams { weight, first, second, to: changed, elements, scale, aligned };
                to.push("hadamard_weight", spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
            }
            Join::Kronecker => {
                let extents = extents(kernel, &made.values)?;
                let parameters =
                    KroneckerWeightParams { weight, first, second, to: changed, extents, scale, reserved: 0 };
                let grid = element_grid(kernel, shape.rows(), shape.columns())?;
                to.push("kronecker_weight", grid, KRONECKER_THREADS, &parameters);
            }
        }
        Ok(())
    }
}

/// The launches of a gradient, in order.
struct Steps {
    made: Values,
    /// The gradients of the factors that are products.
    gradients: [Option<DeviceMatrix>; 2],
    /// From and to.
    transposed: Vec<(DeviceMatrix, DeviceMatrix)>,
    products: Group,
}

impl EffectiveWeightGradient {
    /// The steps, with their places in `room`.
    fn steps(&self, kernel: &'static str, places: Places<'_>, room: &mut Room) -> Result<Steps> {
        let made = Values::new(kernel, &self.factors, places, room)?;
        let mut gradients = [None; 2];
        let (mut transposed, mut problems) = (Vec::new(), Vec::new());
        for (index, (factor, update)) in self.factors.iter().zip(&self.gradients).enumerate() {
            let (Factor::Product(a, b), Factor::Product(da, db)) = (factor, update) else { continue };
            // A Hadamard product's factors become their gradients where they are.
            let gradient = match self.join {
                Join::Hadamard => made.values[index],
                Join::Kronecker => room.matrix(made.values[index].rows, made.values[index].columns),
            };
            gradients[index] = Some(gradient);
            let (a, b) = (places.matrix(kernel, *a)?, places.matrix(kernel, *b)?);
            let mut transpose = |from: DeviceMatrix| {
                let to = room.matrix(from.columns, from.rows);
                transposed.push((from, to));
                to
            };
            let (across, b) = (transpose(gradient), transpose(b));
            problems.push(sums(kernel, across, b, da, places)?);
            problems.push(sums(kernel, a, gradient, db, places)?);
        }
        Ok(Steps { made, gradients, transposed, products: Group::plain(kernel, Layout::Tn, problems) })
    }

    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let mut room = Room::at(0);
        let steps = self.steps("EffectiveWeightGradient", Places::Planned(shapes), &mut room);
        steps.map_or(0, |steps| {
            let groups = [&steps.made.products, &steps.products];
            room.bytes() + groups.map(|group| group.workspace(architecture)).into_iter().max().unwrap_or(0)
        })
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (architecture, mut room) = (operands.architecture(), Room::at(operands.workspace().0));
        let steps = self.steps(kernel, Places::OnCard(operands), &mut room)?;
        steps.made.products.launch(room.next, &architecture, to)?;
        match self.join {
            Join::Hadamard => self.hadamard(kernel, &steps, operands, to)?,
            Join::Kronecker => self.kronecker(kernel, &steps, operands, to)?,
        }
        for (from, across) in &steps.transposed {
            transpose(kernel, *from, *across, to)?;
        }
        steps.products.launch(room.next, &architecture, to)
    }

    fn hadamard(
        &self,
        kernel: &'static str,
        steps: &Steps,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let [Some(first), Some(second)] = steps.gradients else {
            let cause = "the factors of a product by elements are products themselves on a card";
            return Err(Error::new(ErrorKind::Kernel, kernel, cause));
        };
        let (dw, first, second) = (operands.f32(kernel, self.dw)?, first.address, second.address);
        let spread = Elements::new(operands.shape(self.dw), &[dw, first, second]);
        let Elements { elements, aligned } = spread;
        let parameters = HadamardGradientParams { dw, first, second, elements, scale: self.scale, aligned };
        to.push("hadamard_gradient", spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }

    fn kronecker(
        &self,
        kernel: &'static str,
        steps: &Steps,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (dw, extents) = (operands.f32(kernel, self.dw)?, extents(kernel, &steps.made.values)?);
        for (index, symbol) in
            ["kronecker_first_gradient", "kronecker_second_gradient"].into_iter().enumerate()
        {
            let (sums, accumulates) = match &self.gradients[index] {
                Factor::Whole(update) => (operands.f32(kernel, update.to)?, update.accumulates()),
                Factor::Product(..) => (0, false),
            };
            let parameters = KroneckerGradientParams {
                dw,
                other: steps.made.values[1 - index].address,
                sums,
                values: steps.gradients[index].map_or(0, |gradient| gradient.address),
                extents,
                scale: self.scale,
                accumulates: accumulates.into(),
            };
            let DeviceMatrix { rows, columns, .. } = steps.made.values[index];
            let grid = match index {
                0 => grid(kernel, [columns, rows, 1])?,
                _ => element_grid(kernel, rows, columns)?,
            };
            to.push(symbol, grid, KRONECKER_THREADS, &parameters);
        }
        Ok(())
    }
}

/// A^T B, to an f32 gradient.
fn sums(
    kernel: &'static str,
    a: DeviceMatrix,
    b: DeviceMatrix,
    update: &Update,
    places: Places<'_>,
) -> Result<Problem> {
    let sums = places.address(kernel, update.to, DType::F32)?;
    let output = Output::Sums { sums, accumulate: update.accumulates() };
    Ok(Problem::plain(a.columns, b.columns, a, b, output))
}

fn transpose(kernel: &str, from: DeviceMatrix, across: DeviceMatrix, to: &mut Launches) -> Result<()> {
    let edge = TRANSPOSE_EDGE as usize;
    let whole = |matrix: DeviceMatrix| {
        vectorised(matrix.address, matrix.columns, DType::Bf16.size()) && matrix.columns.is_multiple_of(edge)
    };
    let parameters = TransposeParams {
        from: from.address,
        to: across.address,
        rows: word(kernel, from.rows)?,
        columns: word(kernel, from.columns)?,
        aligned: (whole(from) && whole(across)).into(),
        reserved: 0,
    };
    let across = from.columns.div_ceil(edge * TRANSPOSE_THREADS as usize);
    let grid = grid(kernel, [across, from.rows.div_ceil(edge), 1])?;
    to.push("transpose", grid, TRANSPOSE_THREADS, &parameters);
    Ok(())
}
