//! The linear layer where a card keeps activations in f32: in encoders, in modulation, and where the transformer's
//! streams begin.

use super::{Epilogue, Linear};
use crate::device::cuda::{Address, Launches, Operands, vectorised};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::gemm::{Tile, epilogue_of};
use crate::kernels::parameters::{GEMM_STORE, GEMM_VECTOR_A, GEMM_VECTOR_B, GEMM_VECTOR_C, GemmExactParams};
use crate::kernels::spread::{grid, word};
use crate::tensor::{DType, TensorId};

/// The kernel's tile.
const TILE: Tile = Tile::M64N64;
/// Elements that a thread reads and writes at once.
const OCTET: usize = 8;

impl Linear {
    /// Whether the activations are f32.
    pub(super) fn is_exact(&self, operands: &Operands<'_>) -> bool {
        operands.dtype(self.x) == DType::F32
    }

    pub(super) fn launch_exactly(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        if !self.terms.is_empty() {
            let error = Error::new(ErrorKind::Kernel, kernel, "activations kept in f32 meet adapters");
            return Err(
                error.hint("adapters train on bf16 activations; encoders, embedders and modulation keep f32")
            );
        }
        let (epilogue, y) = self.exact_result(kernel)?;
        let (shape, rows) = (operands.shape(self.x), &self.base.rows);
        let (m, n, k) = (shape.rows(), rows.len(), shape.columns());
        if m == 0 || n == 0 {
            return Ok(());
        }
        let element = DType::Bf16.size();
        let w = operands.bf16(kernel, self.base.weight)? + (rows.start * k * element) as Address;
        let bias = self.base.bias.map(|bias| operands.bf16(kernel, bias)).transpose()?;
        let bias = bias.map_or(0, |bias| bias + (rows.start * element) as Address);
        let (x, y) = (operands.f32(kernel, self.x)?, operands.f32(kernel, y)?);
        let octets = |addresses: &[Address], columns: usize| {
            addresses.iter().all(|&address| vectorised(address, columns, element))
                && columns.is_multiple_of(OCTET)
        };
        let mut vectors = 0;
        for (vector, holds) in [
            (GEMM_VECTOR_A, octets(&[x], k)),
            (GEMM_VECTOR_B, octets(&[w], k)),
            (GEMM_VECTOR_C, octets(&[y, bias], n)),
        ] {
            vectors |= if holds { vector } else { 0 };
        }
        let parameters = GemmExactParams {
            x,
            w,
            bias,
            y,
            m: word(kernel, m)?,
            n: word(kernel, n)?,
            k: word(kernel, k)?,
            epilogue,
            vectors,
            reserved: 0,
        };
        let (down, across) = TILE.grid(m, n);
        let grid = grid(kernel, [down, across, 1])?;
        to.push_shared("gemm_exact_64x64", grid, TILE.threads(), TILE.shared_bytes(), &parameters);
        Ok(())
    }

    /// What becomes of Y, and where it goes.
    fn exact_result(&self, kernel: &str) -> Result<(u32, TensorId)> {
        match self.epilogue {
            Epilogue::None => Ok((GEMM_STORE, self.y)),
            Epilogue::Activate { activation, to, keeps_y: false } => Ok((epilogue_of(activation), to)),
            _ => {
                let cause = "activations kept in f32 meet an epilogue other than an activation by itself";
                Err(Error::new(ErrorKind::Kernel, kernel, cause))
            }
        }
    }
}
