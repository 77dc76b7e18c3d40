//! What an adapter does to one linear layer, on the host, as it goes to and comes from files.
//!
//! LoRA: Hu et al., arXiv 2106.09685. LoHa: Hyeon-Woo et al., arXiv 2108.06098. LoKr: Yeh et al., arXiv 2309.14859
//! (LyCORIS). DoRA: Liu et al., arXiv 2402.09353.

/// The change of one linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterModule {
    /// Path in the diffusers transformer, such as `transformer_blocks.0.attn.to_q`.
    pub module: String,
    /// What is added to the weight.
    pub change: Change,
    /// DoRA's magnitudes, `[out]`: row i of the changed weight is scaled to this length.
    pub magnitude: Option<Vec<f32>>,
}

/// A matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// `[rows, columns]`.
    pub values: Vec<f32>,
}

/// What is added to a weight `[out, in]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// LoRA: `scale * b a`.
    LowRank {
        /// `[rank, in]`.
        a: Matrix,
        /// `[out, rank]`.
        b: Matrix,
        /// alpha / rank, or alpha / sqrt(rank) when rank-stabilised.
        scale: f64,
    },
    /// LoHa: `scale * (w1_a w1_b) ∘ (w2_a w2_b)`.
    Hadamard {
        /// `[out, rank]`.
        w1_a: Matrix,
        /// `[rank, in]`.
        w1_b: Matrix,
        /// `[out, rank]`.
        w2_a: Matrix,
        /// `[rank, in]`.
        w2_b: Matrix,
        /// alpha / rank.
        scale: f64,
    },
    /// LoKr: `scale * w1 ⊗ w2`.
    Kronecker {
        /// `[l, m]` of `out = l k`, `in = m n`.
        w1: Factor,
        /// `[k, n]`.
        w2: Factor,
        /// alpha / rank; 1 when both factors are whole.
        scale: f64,
    },
}

/// A factor of a Kronecker product.
#[derive(Debug, Clone, PartialEq)]
pub enum Factor {
    /// The matrix itself.
    Whole(Matrix),
    /// The product of two.
    Product(Matrix, Matrix),
}
