//! GroupNorm on a card.

use crate::device::cuda::{Launches, Operands, vectorised};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::group_norm::{GroupNorm, GroupStatistics, Norm};
use crate::kernels::parameters::{
    GROUP_NORM_THREADS, GROUP_NORM_WIDTH, GroupNormParams, GroupStatisticsParams, NormParams,
};
use crate::kernels::spread::{grid, word};
use crate::tensor::{DType, Shape};

/// Bytes of a channel of bf16: where eight such channels are aligned, so are eight of f32.
const BF16: usize = 2;
/// The fewest pixels of a band, but for the last.
const BAND: usize = 64;
/// The most bands of a picture.
const MOST_BANDS: usize = 1024;

/// How a picture is cut for its statistics.
struct Bands {
    pictures: usize,
    channels: usize,
    /// Pixels of a picture.
    area: usize,
    /// Pixels of a band.
    band: usize,
    bands: usize,
}

impl Bands {
    fn of(x: &Shape) -> Self {
        let (pictures, channels) = (x.dims()[0], x.columns());
        let area = x.rows() / pictures.max(1);
        let band = area.div_ceil(MOST_BANDS).max(BAND);
        Self { pictures, channels, area, band, bands: area.div_ceil(band) }
    }
}

impl GroupStatistics {
    /// Two sums for every channel of every band.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        let bands = Bands::of(shapes.shape(self.x));
        bands.pictures * bands.bands * bands.channels * 2 * size_of::<f64>()
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let Bands { pictures, channels, area, band, bands } = Bands::of(operands.shape(self.x));
        let groups = operands.shape(self.statistics).dims()[1];
        let (symbol, dtype, vector) = match operands.dtype(self.x) {
            DType::F32 => ("group_sums_f32", DType::F32, GROUP_NORM_WIDTH as usize / 2),
            _ => ("group_sums", DType::Bf16, GROUP_NORM_WIDTH as usize),
        };
        let x = operands.address(kernel, self.x, dtype)?;
        let aligned = vectorised(x, channels, BF16);
        let parameters = GroupStatisticsParams {
            x,
            sums: operands.workspace().0,
            statistics: operands.f32(kernel, self.statistics)?,
            area: area as u64,
            band: band as u64,
            bands: word(kernel, bands)?,
            channels: word(kernel, channels)?,
            groups: word(kernel, groups)?,
            aligned: aligned.into(),
            epsilon: self.epsilon,
            reserved: 0,
        };
        let width = if aligned { vector } else { 1 };
        let strips = channels.div_ceil(GROUP_NORM_THREADS as usize * width);
        let (first, second) =
            (grid(kernel, [strips, bands, pictures])?, grid(kernel, [groups, pictures, 1])?);
        to.push(symbol, first, GROUP_NORM_THREADS, &parameters);
        to.push("group_statistics", second, GROUP_NORM_THREADS, &parameters);
        Ok(())
    }
}

impl Norm {
    /// What kernels take.
    pub(crate) fn on_card(&self, kernel: &str, operands: &Operands<'_>) -> Result<NormParams> {
        Ok(NormParams {
            statistics: operands.f32(kernel, self.statistics)?,
            weight: operands.bf16(kernel, self.weight)?,
            bias: operands.bf16(kernel, self.bias)?,
            groups: word(kernel, operands.shape(self.statistics).dims()[1])?,
            silu: self.silu.into(),
        })
    }
}

impl GroupNorm {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.x);
        let (pictures, channels) = (shape.dims()[0], shape.columns());
        let elements = shape.elements() / pictures.max(1);
        let dtype = operands.dtype(self.x);
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.address(kernel, self.y, dtype)?);
        let aligned = vectorised(x, channels, BF16) && vectorised(y, channels, BF16);
        let parameters = GroupNormParams {
            x,
            y,
            norm: self.norm.on_card(kernel, operands)?,
            elements: elements as u64,
            channels: word(kernel, channels)?,
            aligned: aligned.into(),
        };
        let symbol = match (dtype, aligned) {
            (DType::F32, true) => "group_norm_octets_f32",
            (DType::F32, false) => "group_norm_any_f32",
            (_, true) => "group_norm_octets",
            (_, false) => "group_norm_any",
        };
        let width = if aligned { GROUP_NORM_WIDTH as usize } else { 1 };
        let blocks = elements.div_ceil(GROUP_NORM_THREADS as usize * width);
        to.push(symbol, grid(kernel, [blocks, pictures, 1])?, GROUP_NORM_THREADS, &parameters);
        Ok(())
    }
}
