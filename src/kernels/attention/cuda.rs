//! Attention on a card.

use crate::device::cuda::{Address, Launches, Operands, vectorised};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::attention::tiles::{self, Wanted};
use crate::kernels::attention::{
    Attention, AttentionGradient, Heads, Mask, Stream, relative_bucket, token_counts,
};
use crate::kernels::parameters::{
    ATTENTION_DISTANCES, ATTENTION_MASK_CAUSAL, ATTENTION_MASK_NONE, ATTENTION_MASK_RELATIVE_BIAS,
    ATTENTION_STATISTICS_TILE, AttentionGradientParams, AttentionParams, AttentionStream,
    AttentionStreamGradient,
};
use crate::kernels::spread::word;
use crate::tensor::TensorId;
use bytemuck::Zeroable;

/// Threads of the kernels that take one element or one row at a time.
const THREADS: usize = 256;
/// Threads that share a row in the kernel of the statistics.
const LANES: usize = 8;
/// bf16 in sixteen bytes.
const PIECE: usize = 8;
/// Bytes of a query's log-sum-exp and delta.
const STATISTIC: usize = 2 * size_of::<f32>();

/// Queries of a stream, padded to whole tiles of statistics.
fn padded(tokens: usize) -> usize {
    tokens.next_multiple_of(ATTENTION_STATISTICS_TILE as usize)
}

/// The streams of a launch, and what can be said of all of them.
struct Located {
    streams: [AttentionStream; 2],
    batch: usize,
    queries: usize,
    statistics: usize,
    aligned: bool,
}

impl Located {
    fn new(
        kernel: &str,
        streams: &[Stream],
        outs: &[TensorId],
        heads: &Heads,
        operands: &Operands<'_>,
    ) -> Result<Self> {
        let batch = operands.shape(streams[0].qkv).dims()[0];
        let mut all = Self {
            streams: [AttentionStream::zeroed(); 2],
            batch,
            queries: 0,
            statistics: 0,
            aligned: heads.dim.is_multiple_of(PIECE),
        };
        let mut outs = outs.iter();
        for (located, stream) in all.streams.iter_mut().zip(streams) {
            let shape = operands.shape(stream.qkv);
            let (tokens, columns) = (shape.dims()[1], shape.columns());
            let qkv = operands.bf16(kernel, stream.qkv)?;
            all.aligned &= vectorised(qkv, columns, size_of::<u16>());
            *located = AttentionStream {
                qkv,
                tokens: word(kernel, tokens)?,
                columns: word(kernel, columns)?,
                k: word(kernel, stream.k)?,
                v: word(kernel, stream.v)?,
                ..AttentionStream::zeroed()
            };
            if let (Some(q), Some(&out)) = (stream.q, stream.q.and_then(|_| outs.next())) {
                located.out = operands.bf16(kernel, out)?;
                all.aligned &= vectorised(located.out, heads.count * heads.dim, size_of::<u16>());
                (located.q, located.asks) = (word(kernel, q)?, 1);
                located.first_query = word(kernel, all.queries)?;
                located.first_statistic = word(kernel, all.statistics)?;
                all.queries += tokens;
                all.statistics += padded(tokens);
            }
        }
        Ok(all)
    }

    /// Tokens of every stream.
    fn keys(&self) -> impl Iterator<Item = usize> {
        self.streams.iter().map(|stream| stream.tokens as usize)
    }

    /// Tokens of the streams that ask.
    fn queries(&self) -> impl Iterator<Item = usize> {
        self.streams.iter().filter(|stream| stream.asks == 1).map(|stream| stream.tokens as usize)
    }

    /// A grid of `blocks` for each head of each sample.
    fn grid(&self, kernel: &str, blocks: usize, heads: &Heads) -> Result<[u32; 3]> {
        Ok([word(kernel, blocks)?, word(kernel, heads.count)?, word(kernel, self.batch)?])
    }
}

impl Attention {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let heads = &self.heads;
        let located = Located::new(kernel, &self.streams, &self.outs, heads, operands)?;
        let mut parameters = AttentionParams {
            streams: located.streams,
            lse: operands.f32(kernel, self.lse)?,
            heads: word(kernel, heads.count)?,
            head_dim: word(kernel, heads.dim)?,
            queries: word(kernel, located.queries)?,
            mask: ATTENTION_MASK_NONE,
            scale: heads.scale,
            aligned: located.aligned.into(),
            ..AttentionParams::zeroed()
        };
        match self.mask {
            Mask::None => {}
            Mask::Causal => parameters.mask = ATTENTION_MASK_CAUSAL,
            Mask::RelativeBias { table, ids } => {
                parameters.mask = ATTENTION_MASK_RELATIVE_BIAS;
                parameters.bias_table = operands.bf16(kernel, table)?;
                parameters.ids = ids.map_or(Ok(0), |ids| operands.i32(kernel, ids))?;
                (parameters.bucket_behind, parameters.bucket_ahead) = buckets();
            }
        }
        let masked = self.mask != Mask::None;
        let wanted = Wanted { head_dim: heads.dim, masked, aligned: located.aligned };
        let tile = tiles::forward(kernel, wanted, operands.architecture())?;
        let grid = located.grid(kernel, tile.blocks(located.queries()), heads)?;
        to.push_shared(tile.symbol, grid, tile.threads, tile.shared_bytes, &parameters);
        Ok(())
    }
}

/// T5's buckets of keys behind and ahead of a query, by distance.
pub(super) fn buckets() -> ([u8; ATTENTION_DISTANCES as usize], [u8; ATTENTION_DISTANCES as usize]) {
    let bucket = |relative: i64| relative_bucket(relative) as u8;
    (
        std::array::from_fn(|distance| bucket(-(distance as i64))),
        std::array::from_fn(|distance| bucket(distance as i64)),
    )
}

impl AttentionGradient {
    /// The statistics of every query of every head.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        let (_, statistics) = token_counts(&self.streams, |id| padded(shapes.shape(id).dims()[1]));
        shapes.shape(self.streams[0].qkv).dims()[0] * self.heads.count * statistics * STATISTIC
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let heads = &self.heads;
        let mut located = Located::new(kernel, &self.streams, &self.outs, heads, operands)?;
        let gradients = self.gradients(kernel, &mut located, operands)?;
        let (statistics, _) = operands.workspace();
        let parameters = AttentionGradientParams {
            streams: located.streams,
            gradients,
            lse: operands.f32(kernel, self.lse)?,
            statistics,
            heads: word(kernel, heads.count)?,
            head_dim: word(kernel, heads.dim)?,
            queries: word(kernel, located.queries)?,
            statistics_count: word(kernel, located.statistics)?,
            scale: heads.scale,
            batch: word(kernel, located.batch)?,
            aligned: located.aligned.into(),
            reserved: 0,
        };
        let wanted = Wanted { head_dim: heads.dim, masked: false, aligned: located.aligned };
        let tiles = tiles::backward(kernel, wanted, operands.architecture())?;

        if let Some(elements) = self.largest_with_other_columns(operands) {
            let blocks = word(kernel, elements.div_ceil(THREADS))?;
            let streams = self.streams.len() as u32;
            to.push("attention_clear_columns", [blocks, 1, streams], THREADS as u32, &parameters);
        }
        let blocks = (located.statistics * heads.count).div_ceil(THREADS / LANES);
        let grid = [word(kernel, blocks)?, word(kernel, located.batch)?, 1];
        to.push("attention_statistics", grid, THREADS as u32, &parameters);
        for (tile, blocks) in [
            (tiles.keys, tiles.keys.blocks(located.keys())),
            (tiles.queries, tiles.queries.blocks(located.queries())),
        ] {
            let grid = located.grid(kernel, blocks, heads)?;
            to.push_shared(tile.symbol, grid, tile.threads, tile.shared_bytes, &parameters);
        }
        Ok(())
    }

    /// Where the gradients lie.
    fn gradients(
        &self,
        kernel: &str,
        located: &mut Located,
        operands: &Operands<'_>,
    ) -> Result<[AttentionStreamGradient; 2]> {
        let mut gradients = [AttentionStreamGradient::zeroed(); 2];
        let mut douts = self.douts.iter();
        for ((gradient, stream), &dqkv) in gradients.iter_mut().zip(&self.streams).zip(&self.dqkvs) {
            let columns = operands.shape(dqkv).columns();
            gradient.dqkv = operands.bf16(kernel, dqkv)?;
            located.aligned &= vectorised(gradient.dqkv, columns, size_of::<u16>());
            if let Some(&dout) = stream.q.and_then(|_| douts.next()) {
                gradient.dout = operands.bf16(kernel, dout)?;
                located.aligned &=
                    (gradient.dout as Address).is_multiple_of((PIECE * size_of::<u16>()) as u64);
            }
        }
        Ok(gradients)
    }

    /// Elements of the largest gradient, if one has columns that are neither queries, keys nor values.
    fn largest_with_other_columns(&self, operands: &Operands<'_>) -> Option<usize> {
        let shapes =
            || self.streams.iter().zip(&self.dqkvs).map(|(stream, &dqkv)| (stream, operands.shape(dqkv)));
        let others = shapes().any(|(stream, shape)| stream.has_other_columns(shape, &self.heads));
        shapes().map(|(_, shape)| shape.elements()).max().filter(|_| others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_by_distance_are_those_of_the_definition_everywhere() {
        let (behind, ahead) = buckets();
        for relative in -1000i64..1000 {
            let distance = (relative.unsigned_abs() as usize).min(ATTENTION_DISTANCES as usize - 1);
            let found = if relative > 0 { ahead[distance] } else { behind[distance] };
            assert_eq!(usize::from(found), relative_bucket(relative), "{relative}");
        }
    }
}
