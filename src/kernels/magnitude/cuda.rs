//! DoRA's magnitudes on a card: the change as a matrix product, then a warp for each row.

use super::{LowRankChange, MagnitudeGradient, MagnitudeScale};
use crate::device::cuda::{Address, Architecture, Launches, Operands, vectorised};
use crate::error::Result;
use crate::kernels::contract::Shapes;
use crate::kernels::gemm::{DeviceMatrix, Finish, Group, Layout, Output, Places, Problem};
use crate::kernels::parameters::{MagnitudeGradientParams, MagnitudeScaleParams, ROW_THREADS};
use crate::kernels::spread::word;
use crate::tensor::DType;

/// Alignment of what shares a workspace.
const ALIGNMENT: usize = 256;
/// Lanes of a warp, which has a row.
const LANES: u32 = 32;

impl MagnitudeScale {
    /// Bytes of the change.
    fn change_bytes(&self, places: Places<'_>) -> usize {
        let columns = self.change.map_or(0, |_| places.shape(self.weight).columns());
        (self.rows.len() * columns * DType::Bf16.size()).next_multiple_of(ALIGNMENT)
    }

    /// The product that makes the change at `workspace`.
    fn product(&self, kernel: &'static str, places: Places<'_>, workspace: Address) -> Result<Group> {
        let mut problems = Vec::new();
        if let Some(LowRankChange { a, b, scale }) = self.change {
            let (a, b) = (places.matrix(kernel, a)?, places.matrix(kernel, b)?);
            let c = DeviceMatrix { address: workspace, rows: b.rows, columns: a.columns, stride: a.columns };
            let output = Output::Matrix { c: Some(c), accumulate: false, finish: Finish::Store };
            problems.push(Problem { factor: scale, ..Problem::plain(c.rows, c.columns, b, a, output) });
        }
        Ok(Group::plain(kernel, Layout::Nn, problems))
    }

    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let places = Places::Planned(shapes);
        let product = self.product("MagnitudeScale", places, 0);
        self.change_bytes(places) + product.map_or(0, |product| product.workspace(architecture))
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (workspace, places) = (operands.workspace().0, Places::OnCard(operands));
        let behind = workspace + self.change_bytes(places) as Address;
        self.product(kernel, places, workspace)?.launch(behind, &operands.architecture(), to)?;
        let columns = operands.shape(self.weight).columns();
        let before = self.rows.start * columns * DType::Bf16.size();
        let weight = operands.bf16(kernel, self.weight)? + before as Address;
        let change = if self.change.is_some() { workspace } else { 0 };
        let aligned = [weight, change].iter().all(|&start| vectorised(start, columns, DType::Bf16.size()));
        let rows = word(kernel, self.rows.len())?;
        let parameters = MagnitudeScaleParams {
            weight,
            change,
            magnitude: operands.bf16(kernel, self.magnitude)?,
            norm: operands.f32(kernel, self.norm)?,
            scale: operands.bf16(kernel, self.scale)?,
            rows,
            columns: word(kernel, columns)?,
            aligned: aligned.into(),
            reserved: 0,
        };
        to.push("magnitude_scale", [rows.div_ceil(ROW_THREADS / LANES), 1, 1], ROW_THREADS, &parameters);
        Ok(())
    }
}

impl MagnitudeGradient {
    pub(super) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let rows = word(kernel, operands.shape(self.norm).elements())?;
        let parameters = MagnitudeGradientParams {
            dscale: operands.f32(kernel, self.dscale)?,
            norm: operands.f32(kernel, self.norm)?,
            dmagnitude: operands.f32(kernel, self.dmagnitude.to)?,
            rows,
            accumulates: self.dmagnitude.accumulates().into(),
        };
        to.push("magnitude_gradient", [rows.div_ceil(ROW_THREADS), 1, 1], ROW_THREADS, &parameters);
        Ok(())
    }
}
