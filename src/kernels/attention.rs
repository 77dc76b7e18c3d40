//! Softmax attention over one or two streams, read and written in place of a concatenation.
//!
//! Queries, keys and values are columns of each stream's tensor. Forward keeps the log-sum-exp of every query;
//! backward makes the probabilities from it again, a chunk of queries at a time (FlashAttention,
//! arXiv 2205.14135), in a fixed order.

mod backward;
mod cuda;
mod exact;
mod forward;
mod tiles;

use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::tensor::{Shape, TensorId};

/// Queries that one part of the scores covers.
const QUERIES_A_CHUNK: usize = 64;

/// One stream of tokens.
#[derive(Debug, Clone)]
pub struct Stream {
    /// `[b, tokens, columns]`.
    pub qkv: TensorId,
    /// First column of the queries; none if nobody asks what this stream's tokens attend to.
    pub q: Option<usize>,
    /// First column of the keys.
    pub k: usize,
    /// First column of the values.
    pub v: usize,
}

/// What is added to the scores before the softmax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Nothing: every token sees every token.
    None,
    /// Minus infinity for keys after the query.
    Causal,
    /// T5's bias by relative position.
    RelativeBias {
        /// `[buckets, heads]`.
        table: TensorId,
        /// Token ids `[b, tokens]`, of which 0 is padding that nobody sees; none: everybody sees it.
        ids: Option<TensorId>,
    },
}

/// What forward and backward share.
#[derive(Debug, Clone)]
pub struct Heads {
    /// Number of heads.
    pub count: usize,
    /// Columns of one head.
    pub dim: usize,
    /// Factor of the scores.
    pub scale: f32,
}

/// O = softmax(scale Q K^T + mask) V over the tokens of all streams.
#[derive(Debug, Clone)]
pub struct Attention {
    /// One or two streams.
    pub streams: Vec<Stream>,
    /// Heads.
    pub heads: Heads,
    /// Mask.
    pub mask: Mask,
    /// Log-sum-exp of every query, `[b, heads, queries of all streams]`.
    pub lse: TensorId,
    /// O of every stream that has queries, `[b, tokens, heads * dim]`.
    pub outs: Vec<TensorId>,
}

/// dQ, dK, dV of an unmasked [`Attention`].
#[derive(Debug, Clone)]
pub struct AttentionGradient {
    /// As in the forward kernel.
    pub streams: Vec<Stream>,
    /// As in the forward kernel.
    pub heads: Heads,
    /// Log-sum-exp.
    pub lse: TensorId,
    /// O of every stream that has queries.
    pub outs: Vec<TensorId>,
    /// dO of every stream that has queries.
    pub douts: Vec<TensorId>,
    /// Gradient of every stream's tensor.
    pub dqkvs: Vec<TensorId>,
}

impl Stream {
    fn tokens(&self, shapes: &dyn Shapes) -> usize {
        shapes.shape(self.qkv).dims()[1]
    }

    /// Whether there are columns that are neither queries, keys nor values; their gradient is zero.
    fn has_other_columns(&self, qkv: &Shape, heads: &Heads) -> bool {
        let parts = 2 + usize::from(self.q.is_some());
        qkv.columns() > parts * heads.count * heads.dim
    }
}

/// Keys of all streams, and queries of those that have them.
fn token_counts(streams: &[Stream], shape: impl Fn(TensorId) -> usize) -> (usize, usize) {
    let keys = streams.iter().map(|stream| shape(stream.qkv)).sum();
    let queries = streams.iter().filter(|stream| stream.q.is_some()).map(|stream| shape(stream.qkv)).sum();
    (keys, queries)
}

fn check_attention(
    kernel: &str,
    streams: &[Stream],
    heads: &Heads,
    lse: TensorId,
    outs: &[TensorId],
    shapes: &dyn Shapes,
) -> Result<()> {
    let batch = shapes.shape(streams[0].qkv).dims()[0];
    let width = heads.count * heads.dim;
    for stream in streams {
        let shape = shapes.shape(stream.qkv);
        let columns = [stream.q.unwrap_or(0), stream.k, stream.v];
        expect(kernel, shape.dims().len() == 3 && shape.dims()[0] == batch, || {
            format!("qkv has shape {shape}")
        })?;
        expect(kernel, columns.iter().all(|c| c + width <= shape.columns() && c % heads.dim == 0), || {
            format!("queries, keys, values at columns {columns:?} of qkv {shape}, {width} wide")
        })?;
    }
    let (_, queries) = token_counts(streams, |id| shapes.shape(id).dims()[1]);
    expect_shape(kernel, "lse", &[batch, heads.count, queries].into(), shapes.shape(lse))?;
    let asking = streams.iter().filter(|stream| stream.q.is_some());
    expect(kernel, asking.clone().count() == outs.len(), || format!("{} outputs", outs.len()))?;
    asking.zip(outs).try_for_each(|(stream, &out)| {
        expect_shape(kernel, "O", &[batch, stream.tokens(shapes), width].into(), shapes.shape(out))
    })
}

impl Contract for Attention {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all: Vec<_> = self.streams.iter_mut().map(|stream| Operand::Read(&mut stream.qkv)).collect();
        if let Mask::RelativeBias { table, ids } = &mut self.mask {
            all.push(Operand::Read(table));
            all.extend(ids.as_mut().map(Operand::Read));
        }
        all.push(Operand::Write(&mut self.lse));
        all.extend(self.outs.iter_mut().map(Operand::Write));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.lse]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect("Attention", self.mask == Mask::None || self.streams.len() == 1, || {
            "a mask needs a single stream".to_owned()
        })?;
        check_attention("Attention", &self.streams, &self.heads, self.lse, &self.outs, shapes)
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let (keys, queries) = token_counts(&self.streams, |id| shapes.shape(id).dims()[1]);
        let batch = shapes.shape(self.lse).dims()[0];
        4 * (batch * keys * queries * self.heads.count * self.heads.dim) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        let (keys, _) = token_counts(&self.streams, |id| shapes.shape(id).dims()[1]);
        limits.lanes * QUERIES_A_CHUNK * keys * size_of::<f32>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        self.forward_on_cpu(operands);
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        if self.is_exact(operands) {
            return self.launch_exactly(kernel, operands, to);
        }
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for AttentionGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all: Vec<_> = self.streams.iter_mut().map(|stream| Operand::Read(&mut stream.qkv)).collect();
        all.push(Operand::Read(&mut self.lse));
        all.extend(self.outs.iter_mut().chain(&mut self.douts).map(Operand::Read));
        all.extend(self.dqkvs.iter_mut().map(Operand::Write));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.lse]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let kernel = "AttentionGradient";
        check_attention(kernel, &self.streams, &self.heads, self.lse, &self.outs, shapes)?;
        check_attention(kernel, &self.streams, &self.heads, self.lse, &self.douts, shapes)?;
        self.streams.iter().zip(&self.dqkvs).try_for_each(|(stream, &dqkv)| {
            expect_shape(kernel, "dqkv", shapes.shape(stream.qkv), shapes.shape(dqkv))
        })
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let (keys, queries) = token_counts(&self.streams, |id| shapes.shape(id).dims()[1]);
        let batch = shapes.shape(self.lse).dims()[0];
        10 * (batch * keys * queries * self.heads.count * self.heads.dim) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        let (keys, _) = token_counts(&self.streams, |id| shapes.shape(id).dims()[1]);
        limits.lanes * 2 * QUERIES_A_CHUNK * keys * size_of::<f32>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        self.backward_on_cpu(operands);
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, _architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// T5's bucket of a relative position (key minus query), bidirectional, 32 buckets up to distance 128.
pub fn relative_bucket(relative: i64) -> usize {
    const HALF: usize = 16;
    const EXACT: usize = 8;
    let distance = relative.unsigned_abs() as usize;
    let side = if relative > 0 { HALF } else { 0 };
    if distance < EXACT {
        return side + distance;
    }
    // ln(128 / 8) = ln 16 spans the other eight buckets.
    let logarithmic = ((distance as f32 / EXACT as f32).ln() / 16f32.ln() * EXACT as f32) as usize;
    side + (EXACT + logarithmic).min(HALF - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_buckets_count_from_the_query_and_saturate() {
        let cases = [(0, 0), (1, 17), (-1, 1), (7, 23), (-8, 8), (200, 31), (-200, 15), (15, 25), (16, 26)];
        for (relative, bucket) in cases {
            assert_eq!(relative_bucket(relative), bucket, "{relative}");
        }
    }
}
