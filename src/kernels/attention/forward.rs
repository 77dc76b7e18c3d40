//! The definition of the forward pass, a chunk of queries of one head at a time.

use crate::device::cpu;
use crate::kernels::attention::{
    Attention, Heads, Mask, QUERIES_A_CHUNK, Stream, relative_bucket, token_counts,
};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply};
use crate::kernels::{parallel, scalar};
use crate::tensor::Shape;
use multiversion::multiversion;
use std::ops::Range;

impl Stream {
    /// This stream's columns `first..` of head `head` in batch `batch`.
    pub(super) fn window<'a>(
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

/// The part of one head's queries that one task works on.
struct Chunk<'a> {
    batch: usize,
    head: usize,
    stream: usize,
    queries: Range<usize>,
    out: MatrixMut<'a>,
    lse: MatrixMut<'a>,
}

impl Attention {
    /// O and log-sum-exp.
    pub(super) fn forward_on_cpu(&self, operands: &cpu::Operands<'_>) {
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
    }

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

pub(super) fn chunk_ranges(tokens: usize) -> impl Iterator<Item = Range<usize>> {
    (0..tokens).step_by(QUERIES_A_CHUNK).map(move |first| first..(first + QUERIES_A_CHUNK).min(tokens))
}

/// Scores of `queries` against the keys of all streams, side by side.
pub(super) fn score_all_keys(
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
