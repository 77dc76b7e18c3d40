//! Softmax attention over one or two streams, read and written in place of a concatenation.
//!
//! Queries, keys and values are columns of each stream's tensor. Forward keeps the log-sum-exp of every query;
//! backward makes the probabilities from it again, a chunk of queries at a time (FlashAttention,
//! arXiv 2205.14135), in a fixed order.

use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply};
use crate::kernels::{parallel, scalar};
use crate::tensor::{Shape, TensorId};
use multiversion::multiversion;
use std::ops::Range;

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

    /// This stream's columns `first..` of head `head` in batch `batch`.
    fn window<'a>(
        &self,
        first: usize,
        (batch, head): (usize, usize),
        heads: &Heads,
        operands: &cpu::Operands<'a>,
    ) -> Matrix<'a> {
        let shape = operands.shape(self.qkv);
        let tokens = shape.dims()[1];
        let all = Matrix::new(operands.read(self.qkv), shape.rows(), shape.columns());
        let column = first + head * heads.dim;
        all.rows_in(batch * tokens..(batch + 1) * tokens).columns_in(column..column + heads.dim)
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

/// The part of one head's queries that one task works on.
struct Chunk<'a> {
    batch: usize,
    head: usize,
    stream: usize,
    queries: Range<usize>,
    out: MatrixMut<'a>,
    lse: MatrixMut<'a>,
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
        let (keys, _) = token_counts(&self.streams, |id| operands.shape(id).dims()[1]);
        parallel::over_lanes(self.chunks(operands), operands.lanes(), |mut chunk, scratch| {
            let rows = chunk.queries.len();
            let mut scores = MatrixMut::new(&mut scratch[..rows * keys], rows, keys);
            self.scores(&mut scores, &chunk, operands);
            for row in 0..rows {
                self.mask(scores.row_mut(row), chunk.queries.start + row, &chunk, operands);
                chunk.lse.row_mut(0)[row] = softmax(scores.row_mut(row));
            }
            let mut first = 0;
            for stream in &self.streams {
                let values = stream.window(stream.v, (chunk.batch, chunk.head), &self.heads, operands);
                let columns = first..first + values.rows();
                let weights = scores.as_matrix().columns_in(columns.clone());
                multiply(&mut chunk.out, first > 0, 1.0, weights, values);
                first = columns.end;
            }
        });
        Ok(())
    }
}

impl Attention {
    /// Cuts all queries into chunks, each with its windows of O and log-sum-exp.
    fn chunks<'a>(&self, operands: &cpu::Operands<'a>) -> Vec<Chunk<'a>> {
        let lse_shape: &Shape = operands.shape(self.lse);
        let (rows, queries) = (lse_shape.rows(), lse_shape.columns());
        let mut lse: Vec<_> = MatrixMut::new(operands.write(self.lse), rows, queries)
            .split_rows(1)
            .into_iter()
            .map(Some)
            .collect();
        let mut lse_parts: Vec<std::vec::IntoIter<MatrixMut<'a>>> = Vec::new();
        let asking: Vec<_> = self.streams.iter().enumerate().filter(|(_, s)| s.q.is_some()).collect();
        let widths: Vec<usize> = asking
            .iter()
            .flat_map(|(_, stream)| {
                chunk_ranges(operands.shape(stream.qkv).dims()[1]).map(|range| range.len())
            })
            .collect();
        for row in &mut lse {
            if let Some(row) = row.take() {
                lse_parts.push(row.split_columns_into(widths.iter().copied()).into_iter());
            }
        }
        let mut chunks = Vec::new();
        for (&(index, stream), &out) in asking.iter().zip(&self.outs) {
            let shape = operands.shape(out);
            let tokens = operands.shape(stream.qkv).dims()[1];
            let whole = MatrixMut::new(operands.write(out), shape.rows(), shape.columns());
            for (batch, sample) in whole.split_rows(tokens).into_iter().enumerate() {
                for (head, column) in sample.split_columns(self.heads.dim).into_iter().enumerate() {
                    let parts = column.split_rows(QUERIES_A_CHUNK).into_iter().zip(chunk_ranges(tokens));
                    for (out, queries) in parts {
                        let lse = lse_parts[batch * self.heads.count + head].next();
                        let Some(lse) = lse else { unreachable!("as many windows as chunks") };
                        chunks.push(Chunk { batch, head, stream: index, queries, out, lse });
                    }
                }
            }
        }
        chunks
    }

    /// scale Q K^T for one chunk against the keys of all streams.
    fn scores(&self, scores: &mut MatrixMut<'_>, chunk: &Chunk<'_>, operands: &cpu::Operands<'_>) {
        let place = (chunk.batch, chunk.head);
        let asking = &self.streams[chunk.stream];
        let queries =
            asking.window(asking.q.unwrap_or(0), place, &self.heads, operands).rows_in(chunk.queries.clone());
        score_all_keys(scores, queries, &self.streams, place, &self.heads, operands);
    }

    /// Adds the mask to one query's scores.
    fn mask(&self, scores: &mut [f32], query: usize, chunk: &Chunk<'_>, operands: &cpu::Operands<'_>) {
        match self.mask {
            Mask::None => {}
            Mask::Causal => scores[query + 1..].fill(f32::NEG_INFINITY),
            Mask::RelativeBias { table, ids } => {
                let buckets = operands.read(table);
                for (key, score) in scores.iter_mut().enumerate() {
                    let bucket = relative_bucket(key as i64 - query as i64);
                    *score += buckets[bucket * self.heads.count + chunk.head];
                }
                if let Some(ids) = ids {
                    let ids = &operands.read_ids(ids)[chunk.batch * scores.len()..];
                    let padding = scores.iter_mut().zip(ids).filter(|(_, id)| **id == 0);
                    padding.for_each(|(score, _)| *score = f32::NEG_INFINITY);
                }
            }
        }
    }
}

fn chunk_ranges(tokens: usize) -> impl Iterator<Item = Range<usize>> {
    (0..tokens).step_by(QUERIES_A_CHUNK).map(move |first| first..(first + QUERIES_A_CHUNK).min(tokens))
}

/// Scores of `queries` against the keys of all streams, side by side.
fn score_all_keys(
    scores: &mut MatrixMut<'_>,
    queries: Matrix<'_>,
    streams: &[Stream],
    place: (usize, usize),
    heads: &Heads,
    operands: &cpu::Operands<'_>,
) {
    let mut first = 0;
    for stream in streams {
        let keys = stream.window(stream.k, place, heads, operands);
        let columns = first..first + keys.rows();
        multiply(&mut scores.columns_in(columns.clone()), false, heads.scale, queries, keys.transposed());
        first = columns.end;
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

/// Turns scores into probabilities and returns their log-sum-exp.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn softmax(scores: &mut [f32]) -> f32 {
    let largest = scalar::max(scores);
    for score in scores.iter_mut() {
        *score = scalar::exp(*score - largest);
    }
    let total = scalar::sum(scores, |p| p);
    let inverse = 1.0 / total;
    for score in scores.iter_mut() {
        *score *= inverse;
    }
    largest + total.ln()
}

/// Turns scores into probabilities by their known log-sum-exp.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn probabilities(scores: &mut [f32], lse: f32) {
    for score in scores.iter_mut() {
        *score = scalar::exp(*score - lse);
    }
}

/// dS = P (dP - delta), written over dP.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn score_gradient(dp: &mut [f32], p: &[f32], delta: f32) {
    for (dp, p) in dp.iter_mut().zip(p) {
        *dp = (*dp - delta) * p;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    scalar::sum2(a, b, |a, b| a * b)
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
        parallel::over_lanes(self.heads_with_gradients(operands), operands.lanes(), |head, scratch| {
            self.one_head(head, scratch, operands);
        });
        Ok(())
    }
}

/// One head of one sample, with its windows of every stream's gradient.
struct HeadGradient<'a> {
    batch: usize,
    head: usize,
    dq: Vec<Option<MatrixMut<'a>>>,
    dk: Vec<MatrixMut<'a>>,
    dv: Vec<MatrixMut<'a>>,
}

impl AttentionGradient {
    fn heads_with_gradients<'a>(&self, operands: &cpu::Operands<'a>) -> Vec<HeadGradient<'a>> {
        let batch = operands.shape(self.lse).dims()[0];
        let mut heads: Vec<HeadGradient<'a>> = (0..batch * self.heads.count)
            .map(|i| HeadGradient {
                batch: i / self.heads.count,
                head: i % self.heads.count,
                dq: Vec::new(),
                dk: Vec::new(),
                dv: Vec::new(),
            })
            .collect();
        for (stream, &dqkv) in self.streams.iter().zip(&self.dqkvs) {
            let shape = operands.shape(dqkv);
            let whole = MatrixMut::new(operands.write(dqkv), shape.rows(), shape.columns());
            for (batch, sample) in whole.split_rows(shape.dims()[1]).into_iter().enumerate() {
                let mut columns: Vec<_> =
                    sample.split_columns(self.heads.dim).into_iter().map(Some).collect();
                let heads = &mut heads[batch * self.heads.count..][..self.heads.count];
                for (index, head) in heads.iter_mut().enumerate() {
                    let mut take = |first: usize| columns[first / self.heads.dim + index].take();
                    head.dq.push(stream.q.and_then(&mut take));
                    head.dk.extend(take(stream.k));
                    head.dv.extend(take(stream.v));
                }
            }
        }
        heads
    }

    /// dQ, dK, dV of one head, a chunk of queries after the other.
    fn one_head(&self, mut head: HeadGradient<'_>, scratch: &mut [f32], operands: &cpu::Operands<'_>) {
        let place = (head.batch, head.head);
        let (keys, queries) = token_counts(&self.streams, |id| operands.shape(id).dims()[1]);
        let lse =
            &operands.read(self.lse)[(head.batch * self.heads.count + head.head) * queries..][..queries];
        let (p, dp) = scratch.split_at_mut(scratch.len() / 2);
        let asking = self.streams.iter().enumerate().filter(|(_, stream)| stream.q.is_some());
        let mut before = 0;
        for ((index, stream), (&out, &dout)) in asking.zip(self.outs.iter().zip(&self.douts)) {
            let tokens = operands.shape(stream.qkv).dims()[1];
            let out = head_window(out, place, &self.heads, operands);
            let dout = head_window(dout, place, &self.heads, operands);
            let q = stream.window(stream.q.unwrap_or(0), place, &self.heads, operands);
            for chunk in chunk_ranges(tokens) {
                let rows = chunk.len();
                let (q, dout) = (q.rows_in(chunk.clone()), dout.rows_in(chunk.clone()));
                let mut p = MatrixMut::new(&mut p[..rows * keys], rows, keys);
                let mut dp = MatrixMut::new(&mut dp[..rows * keys], rows, keys);
                score_all_keys(&mut p, q, &self.streams, place, &self.heads, operands);
                for row in 0..rows {
                    probabilities(p.row_mut(row), lse[before + chunk.start + row]);
                }
                self.value_gradient(&mut head, &p, &mut dp, dout, before + chunk.start > 0, operands);
                for row in 0..rows {
                    let delta = dot(out.row(chunk.start + row), dout.row(row));
                    score_gradient(dp.row_mut(row), p.row_mut(row), delta);
                }
                let Some(dq) = &mut head.dq[index] else { continue };
                let dq = &mut dq.rows_in(chunk.clone());
                let mut first = 0;
                for (key, stream) in self.streams.iter().enumerate() {
                    let k = stream.window(stream.k, place, &self.heads, operands);
                    let columns = first..first + k.rows();
                    let ds = dp.as_matrix().columns_in(columns.clone());
                    multiply(dq, first > 0, self.heads.scale, ds, k);
                    let started = before + chunk.start > 0;
                    multiply(&mut head.dk[key], started, self.heads.scale, ds.transposed(), q);
                    first = columns.end;
                }
            }
            before += tokens;
        }
    }

    /// dV += P^T dO and dP = dO V^T for one chunk of queries.
    fn value_gradient(
        &self,
        head: &mut HeadGradient<'_>,
        p: &MatrixMut<'_>,
        dp: &mut MatrixMut<'_>,
        dout: Matrix<'_>,
        started: bool,
        operands: &cpu::Operands<'_>,
    ) {
        let mut first = 0;
        for (key, stream) in self.streams.iter().enumerate() {
            let v = stream.window(stream.v, (head.batch, head.head), &self.heads, operands);
            let columns = first..first + v.rows();
            let weights = p.as_matrix().columns_in(columns.clone());
            multiply(&mut head.dv[key], started, 1.0, weights.transposed(), dout);
            multiply(&mut dp.columns_in(columns.clone()), false, 1.0, dout, v.transposed());
            first = columns.end;
        }
    }
}

/// One head of one sample in O or dO.
fn head_window<'a>(
    id: TensorId,
    (batch, head): (usize, usize),
    heads: &Heads,
    operands: &cpu::Operands<'a>,
) -> Matrix<'a> {
    let shape = operands.shape(id);
    let tokens = shape.dims()[1];
    Matrix::new(operands.read(id), shape.rows(), shape.columns())
        .rows_in(batch * tokens..(batch + 1) * tokens)
        .columns_in(head * heads.dim..(head + 1) * heads.dim)
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
