//! What becomes of a linear layer's Y before it is written.
//!
//! A fused epilogue is defined as the layer followed by the kernel that it stands for. Y itself is written too where
//! somebody needs it (`keeps_y`), such as the backward pass of an activation.

use crate::device::cpu;
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::gated_residual::Gate;
use crate::kernels::parallel;
use crate::kernels::qk_norm::{Part, QkNorm, check_parts};
use crate::tensor::{Shape, TensorId};

/// What becomes of Y.
#[derive(Debug, Clone, Default)]
pub enum Epilogue {
    /// Y is the result.
    #[default]
    None,
    /// `to` = f(Y): [`crate::kernels::activation::Activate`].
    Activate {
        /// f.
        activation: Activation,
        /// f(Y), as Y.
        to: TensorId,
        /// Whether Y is written as well.
        keeps_y: bool,
    },
    /// x + gate * Y: [`crate::kernels::gated_residual::GatedResidual`].
    GatedResidual {
        /// The gate.
        gate: Gate,
        /// x, before and after.
        x: Update,
        /// Whether Y is written as well.
        keeps_y: bool,
    },
    /// `to` = Y with some heads normalised: [`QkNorm`].
    QkNorm {
        /// Queries (if any) and keys.
        parts: Vec<Part>,
        /// Heads of a part.
        heads: usize,
        /// The result, as Y.
        to: TensorId,
        /// Whether Y is written as well.
        keeps_y: bool,
    },
}

impl Epilogue {
    /// Whether Y itself is written.
    pub fn keeps_y(&self) -> bool {
        match self {
            Self::None => true,
            Self::Activate { keeps_y, .. }
            | Self::GatedResidual { keeps_y, .. }
            | Self::QkNorm { keeps_y, .. } => *keeps_y,
        }
    }

    /// Its own operands, and `y` where it is written.
    pub(super) fn operands<'a>(&'a mut self, y: &'a mut TensorId) -> Vec<Operand<'a>> {
        let mut all = Vec::new();
        if self.keeps_y() {
            all.push(Operand::Write(y));
        }
        match self {
            Self::None => {}
            Self::Activate { to, .. } => all.push(Operand::Write(to)),
            Self::GatedResidual { gate, x, .. } => {
                all.extend([Operand::Read(&mut gate.vectors), Operand::Update(x)]);
            }
            Self::QkNorm { parts, to, .. } => {
                all.extend(parts.iter_mut().map(|part| Operand::Read(&mut part.weight)));
                all.push(Operand::Write(to));
            }
        }
        all
    }

    /// Its operands that are f32 on every device.
    pub(super) fn exact(&self) -> Vec<TensorId> {
        match self {
            Self::GatedResidual { gate, .. } => vec![gate.vectors],
            Self::None | Self::Activate { .. } | Self::QkNorm { .. } => Vec::new(),
        }
    }

    /// Whether its operands fit to Y.
    pub(super) fn check(&self, y: TensorId, shapes: &dyn Shapes) -> Result<()> {
        let shape = shapes.shape(y);
        match self {
            Self::None => Ok(()),
            Self::Activate { to, .. } => expect_shape("Linear", "the result", shape, shapes.shape(*to)),
            Self::GatedResidual { gate, x, .. } => {
                expect("Linear", x.accumulates(), || "there is no residual to add to".to_owned())?;
                gate.check("Linear", y, shapes)?;
                expect_shape("Linear", "x", shape, shapes.shape(x.to))
            }
            Self::QkNorm { parts, heads, to, .. } => {
                check_parts("Linear", parts, *heads, shape.columns(), shapes)?;
                expect_shape("Linear", "the result", shape, shapes.shape(*to))
            }
        }
    }

    /// Bytes of scratch memory of the CPU definition: Y, where it has no other place.
    pub(super) fn workspace(&self, y: &Shape) -> usize {
        match self {
            Self::GatedResidual { keeps_y: false, .. } => y.elements() * size_of::<f32>(),
            _ => 0,
        }
    }

    /// Runs `product`, which writes Y, in the place where Y goes, then what follows.
    pub(super) fn run_on_cpu(
        &self,
        y: TensorId,
        operands: &cpu::Operands<'_>,
        product: impl FnOnce(&mut [f32]),
    ) -> Result<()> {
        match self {
            Self::None => product(operands.write(y)),
            Self::Activate { activation, to, keeps_y } => {
                let result = operands.write(*to);
                product(result);
                if *keeps_y {
                    operands.write(y).copy_from_slice(result);
                }
                parallel::over_rows(result, 1, |_, part| {
                    part.iter_mut().for_each(|value| *value = activation.value(*value));
                });
            }
            Self::GatedResidual { gate, x, keeps_y } => {
                let shape = operands.shape(y);
                let elements = shape.elements();
                let y = if *keeps_y { operands.write(y) } else { &mut operands.scratch()[..elements] };
                product(y);
                let (tokens, columns) = (shape.dims()[1], shape.columns());
                parallel::over_rows(operands.write(x.to), columns, |first, rows| {
                    for (row, x) in (first..).zip(rows.chunks_exact_mut(columns)) {
                        let gate = gate.of_sample(row / tokens, columns, operands);
                        let y = &y[row * columns..][..columns];
                        x.iter_mut().zip(y).zip(gate).for_each(|((x, y), gate)| *x += gate * y);
                    }
                });
            }
            Self::QkNorm { parts, heads, to, keeps_y } => {
                let result = operands.write(*to);
                product(result);
                if *keeps_y {
                    operands.write(y).copy_from_slice(result);
                }
                let qkv = Update { from: Some(*to), to: *to };
                return QkNorm { parts: parts.clone(), heads: *heads, qkv }.run_on_cpu(operands);
            }
        }
        Ok(())
    }
}
