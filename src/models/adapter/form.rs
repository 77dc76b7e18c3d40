//! The forms of adapters: which matrices each has, and how they begin.
//!
//! | form | change of the weight | begins |
//! |---|---|---|
//! | LoRA (arXiv 2106.09685) | s B A | A drawn, B zero, as in PEFT |
//! | LoHa (arXiv 2108.06098) | s (W1a W1b) ∘ (W2a W2b) | W2a zero, the others drawn, as in LyCORIS |
//! | LoKr (arXiv 2309.14859) | s W1 ⊗ W2, each whole or a product | W2 or W2b zero, the others drawn, as in LyCORIS |

use crate::models::adapter::lokr::FactorForm;

/// What an adapter is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// LoRA: A `[rank, in]` and B `[out, rank]`.
    LowRank {
        /// Rank.
        rank: usize,
    },
    /// LoHa: two products of `[out, rank]` and `[rank, in]`.
    Hadamard {
        /// Rank.
        rank: usize,
    },
    /// LoKr: `[l, m]` and `[k, n]` of `out = l k`, `in = m n`.
    Kronecker {
        /// The outer factor.
        w1: FactorForm,
        /// The inner factor.
        w2: FactorForm,
    },
}

/// How A starts; B starts at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraInit {
    /// Uniform within 1 / sqrt(in), PEFT's default.
    Uniform,
    /// Normal with deviation 1 / rank, PEFT's `gaussian`.
    Gaussian,
}

/// How a matrix begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// With zeros.
    Zero,
    /// Uniform on both sides of zero, up to this bound.
    Uniform(f32),
    /// Normal with this deviation.
    Normal(f32),
}

/// A matrix that is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The end of its name, as in files.
    pub suffix: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// How it begins.
    pub start: Start,
}

impl Form {
    /// Its matrices for a layer of `inputs` to `outputs`.
    pub fn matrices(&self, outputs: usize, inputs: usize, init: LoraInit) -> Vec<Trained> {
        let matrix = |suffix: &str, shape, start| Trained { suffix: suffix.to_owned(), shape, start };
        match *self {
            Self::LowRank { rank } => {
                let start = match init {
                    LoraInit::Uniform => Start::kaiming(inputs),
                    LoraInit::Gaussian => Start::Normal(1.0 / rank as f32),
                };
                vec![
                    matrix("lora_A.weight", [rank, inputs], start),
                    matrix("lora_B.weight", [outputs, rank], Start::Zero),
                ]
            }
            Self::Hadamard { rank } => vec![
                matrix("hada_w1_a", [outputs, rank], Start::Normal(0.1)),
                matrix("hada_w1_b", [rank, inputs], Start::Normal(1.0)),
                matrix("hada_w2_a", [outputs, rank], Start::Zero),
                matrix("hada_w2_b", [rank, inputs], Start::Normal(1.0)),
            ],
            Self::Kronecker { w1, w2 } => {
                let all = w1.matrices("lokr_w1", false).into_iter().chain(w2.matrices("lokr_w2", true));
                all.map(|(suffix, shape, start)| matrix(&suffix, shape, start)).collect()
            }
        }
    }

    /// The rank; of LoKr that of a factor that is a product, if there is one.
    pub fn rank(&self) -> Option<usize> {
        match self {
            Self::LowRank { rank } | Self::Hadamard { rank } => Some(*rank),
            Self::Kronecker { w1, w2 } => w2.rank.or(w1.rank),
        }
    }

    /// Its name among people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LowRank { .. } => "LoRA",
            Self::Hadamard { .. } => "LoHa",
            Self::Kronecker { .. } => "LoKr",
        }
    }
}

impl Start {
    /// torch's `kaiming_uniform_` with a = sqrt(5) for a matrix of so many columns.
    pub fn kaiming(columns: usize) -> Self {
        Self::Uniform((columns as f32).sqrt().recip())
    }
}
