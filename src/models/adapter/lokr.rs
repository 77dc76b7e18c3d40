//! How LoKr divides a weight into factors, as LyCORIS does.

use super::form::{Form, Start};

/// The sizes of one factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorForm {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// The rank of the product that it is; none where it is a whole matrix.
    pub rank: Option<usize>,
}

/// What a LoKr is asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LokrOptions {
    /// Rank of factors that are products.
    pub rank: usize,
    /// The larger factor's divisor at most; -1 divides as evenly as can be.
    pub factor: i64,
    /// Whether the first factor may be a product too.
    pub decompose_both: bool,
    /// Whether both factors are whole whatever the rank.
    pub full_matrix: bool,
}

impl FactorForm {
    /// Suffix, shape and start of its matrices; `ends_at_zero` if it is to begin as zero.
    pub(super) fn matrices(&self, name: &str, ends_at_zero: bool) -> Vec<(String, [usize; 2], Start)> {
        let last = |columns| if ends_at_zero { Start::Zero } else { Start::kaiming(columns) };
        match self.rank {
            None => vec![(name.to_owned(), [self.rows, self.columns], last(self.columns))],
            Some(rank) => vec![
                (format!("{name}_a"), [self.rows, rank], Start::kaiming(rank)),
                (format!("{name}_b"), [rank, self.columns], last(self.columns)),
            ],
        }
    }
}

impl LokrOptions {
    /// The form for a layer of `inputs` to `outputs`.
    pub fn form(&self, outputs: usize, inputs: usize) -> Form {
        let ((l, k), (m, n)) = (divide(outputs, self.factor), divide(inputs, self.factor));
        let decomposed = |rows: usize, columns: usize| {
            (!self.full_matrix && 2 * self.rank < rows.max(columns)).then_some(self.rank)
        };
        let w1_rank = if self.decompose_both { decomposed(l, m) } else { None };
        Form::Kronecker {
            w1: FactorForm { rows: l, columns: m, rank: w1_rank },
            w2: FactorForm { rows: k, columns: n, rank: decomposed(k, n) },
        }
    }
}

/// Two factors of `dimension`, the smaller first: `factor` and the rest if it divides, else the most even pair whose
/// smaller one is at most `factor` (any, where it is not positive).
pub fn divide(dimension: usize, factor: i64) -> (usize, usize) {
    let most = usize::try_from(factor).ok().filter(|&factor| factor > 0).unwrap_or(dimension);
    if most > 0 && factor > 0 && dimension.is_multiple_of(most) {
        let other = dimension / most;
        return (most.min(other), most.max(other));
    }
    let root = dimension.isqrt();
    let small = (1..=root.min(most)).rev().find(|&small| dimension.is_multiple_of(small)).unwrap_or(1);
    (small, dimension / small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_divided_as_lycoris_divides_them() {
        // From LyCORIS' documentation of `factorization`, and the widths of SD3.5.
        let cases = [
            (128, -1, (8, 16)),
            (250, -1, (10, 25)),
            (360, -1, (18, 20)),
            (512, -1, (16, 32)),
            (1024, -1, (32, 32)),
            (360, 4, (4, 90)),
            (512, 4, (4, 128)),
            (1536, -1, (32, 48)),
            (1536, 16, (16, 96)),
            (2432, -1, (38, 64)),
            (2432, 16, (16, 152)),
            (2432, 8, (8, 304)),
            (6144, 8, (8, 768)),
            (9728, 8, (8, 1216)),
            (250, 4, (2, 125)),
            (127, 4, (1, 127)),
            (80, 7, (5, 16)),
            (48, 7, (6, 8)),
        ];
        for (dimension, factor, expected) in cases {
            assert_eq!(divide(dimension, factor), expected, "{dimension} by {factor}");
        }
    }

    #[test]
    fn a_rank_that_saves_nothing_leaves_a_factor_whole() {
        let options = LokrOptions { rank: 4, factor: -1, decompose_both: true, full_matrix: false };
        let ranks = |options: LokrOptions| match options.form(80, 48) {
            Form::Kronecker { w1, w2 } => (w1.rank, w2.rank),
            _ => unreachable!(),
        };
        // 80 = 8 x 10, 48 = 6 x 8: w1 is 8 x 6, w2 10 x 8.
        assert_eq!(ranks(options), (None, Some(4)));
        assert_eq!(ranks(LokrOptions { rank: 2, ..options }), (Some(2), Some(2)));
        assert_eq!(ranks(LokrOptions { rank: 2, decompose_both: false, ..options }), (None, Some(2)));
        assert_eq!(ranks(LokrOptions { rank: 2, full_matrix: true, ..options }), (None, None));
        assert_eq!(ranks(LokrOptions { rank: 10_000, ..options }), (None, None));
    }
}
