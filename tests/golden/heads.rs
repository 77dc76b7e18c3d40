//! From torch's `[b, heads, tokens, dim]` to this program's `[b, tokens, heads * dim]`.

use std::ops::Range;

/// Extents of a tensor of heads.
#[derive(Clone, Copy)]
pub struct Heads {
    /// Samples.
    pub batch: usize,
    /// Heads.
    pub count: usize,
    /// Tokens.
    pub tokens: usize,
    /// Columns of a head.
    pub dim: usize,
}

impl Heads {
    /// Of a shape `[b, heads, tokens, dim]`.
    pub fn of(shape: &[usize]) -> Self {
        let [batch, count, tokens, dim] = shape else { panic!("{shape:?} is no shape of heads") };
        Self { batch: *batch, count: *count, tokens: *tokens, dim: *dim }
    }

    /// Columns of all heads side by side.
    pub fn width(&self) -> usize {
        self.count * self.dim
    }

    fn place(&self, (sample, head, token): (usize, usize, usize)) -> usize {
        ((sample * self.count + head) * self.tokens + token) * self.dim
    }

    /// The tokens in `tokens`, heads side by side.
    pub fn side_by_side(&self, values: &[f32], tokens: Range<usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.batch * tokens.len() * self.width());
        for sample in 0..self.batch {
            for token in tokens.clone() {
                for head in 0..self.count {
                    out.extend_from_slice(&values[self.place((sample, head, token))..][..self.dim]);
                }
            }
        }
        out
    }

    /// Puts columns `first..` of rows of `columns`, one row for each token in `tokens`, back into `values`.
    pub fn put_back(
        &self,
        values: &mut [f32],
        tokens: Range<usize>,
        rows: &[f32],
        (first, columns): (usize, usize),
    ) {
        for (index, row) in rows.chunks_exact(columns).enumerate() {
            let (sample, token) = (index / tokens.len(), tokens.start + index % tokens.len());
            for head in 0..self.count {
                let from = &row[first + head * self.dim..][..self.dim];
                values[self.place((sample, head, token))..][..self.dim].copy_from_slice(from);
            }
        }
    }
}
