//! The definition of the backward pass, a head of a sample at a time.

use crate::device::cpu;
use crate::kernels::attention::forward::{chunk_ranges, score_all_keys};
use crate::kernels::attention::{AttentionGradient, Heads, token_counts};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply};
use crate::kernels::{parallel, scalar};
use crate::tensor::TensorId;
use multiversion::multiversion;

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

/// One head of one sample, with its windows of every stream's gradient.
struct HeadGradient<'a> {
    batch: usize,
    head: usize,
    dq: Vec<Option<MatrixMut<'a>>>,
    dk: Vec<MatrixMut<'a>>,
    dv: Vec<MatrixMut<'a>>,
}

impl AttentionGradient {
    /// dQ, dK and dV of all heads.
    pub(super) fn backward_on_cpu(&self, operands: &cpu::Operands<'_>) {
        parallel::over_lanes(self.heads_with_gradients(operands), operands.lanes(), |head, scratch| {
            self.one_head(head, scratch, operands);
        });
    }

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
            let values = operands.write(dqkv);
            if stream.has_other_columns(shape, &self.heads) {
                values.fill(0.0);
            }
            let whole = MatrixMut::new(values, shape.rows(), shape.columns());
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
