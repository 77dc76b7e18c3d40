//! The centre crop of the stored position table.

use crate::error::{Error, Result};
use crate::models::mmdit::MmditConfig;
use crate::models::mmdit::config::{LATENT_PIXEL, PATCH};
use crate::weights::WeightMap;

/// Positions `[h/2 * w/2, columns]` of latents of `height` x `width`, row-major.
///
/// Rows are read straight from the file, so the table (a tenth of SD3.5 Medium) is never in memory as a whole.
pub fn read(weights: &WeightMap, config: &MmditConfig, height: usize, width: usize) -> Result<Vec<f32>> {
    let (size, rows, columns) = (config.position_size, height / PATCH, width / PATCH);
    if rows > size || columns > size {
        let (w, h) = (width * LATENT_PIXEL, height * LATENT_PIXEL);
        let cause = format!("a picture of {w}x{h} does not fit the model's positions");
        return Err(Error::shape("resolution", cause)
            .hint(format!("no side may be longer than {} pixels", config.max_side())));
    }
    let table = weights.get("pos_embed")?.as_matrix();
    let (top, left) = ((size - rows) / 2, (size - columns) / 2);
    let mut positions = vec![0.0; rows * columns * config.width];
    for (row, out) in positions.chunks_exact_mut(columns * config.width).enumerate() {
        let first = (top + row) * size + left;
        table.read_rows_f32(first..first + columns, out)?;
    }
    Ok(positions)
}
