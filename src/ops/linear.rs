//! Linear layers, frozen or adapted.

use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::linear::{
    Base, Change, Epilogue, Linear, LinearInputGradient, LinearWeightGradient, OutputScaleGradient, Term,
};
use crate::kernels::low_rank::{
    Down, Dropout, LowRankDown, LowRankDownGradient, LowRankHiddenGradient, LowRankInputGradient,
    LowRankUpGradient,
};
use crate::tensor::TensorId;
use std::ops::Range;

/// An adapter as the linear op sees it, whatever its kind.
#[derive(Debug, Clone)]
pub struct Adapted {
    /// Output columns that it changes.
    pub columns: Range<usize>,
    /// Its index among all adapters, for its dropout masks.
    pub index: u32,
    /// What it lowers to.
    pub lowered: Lowered,
    /// `[columns]`: multiplies the columns before the bias is added.
    pub output_scale: Option<TensorId>,
}

/// The two forms that adapters lower to.
#[derive(Debug, Clone, Copy)]
pub enum Lowered {
    /// Adds `scale * x A^T B^T`.
    LowRank {
        /// A, `[rank, in]`.
        a: TensorId,
        /// B, `[columns, rank]`.
        b: TensorId,
        /// alpha / rank.
        scale: f32,
    },
    /// Replaces the rows of the frozen weight; its gradient is a dense dW.
    Effective {
        /// `[columns, in]`.
        weight: TensorId,
    },
}

/// A linear layer to record.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The frozen weight.
    pub base: Base,
    /// Adapters.
    pub adapted: Vec<Adapted>,
    /// Dropout in front of the low-rank pairs.
    pub dropout: Option<Dropout>,
}

/// Y `[.., out]` of X `[.., in]`.
pub fn linear(program: &mut Program, name: &str, x: TensorId, layer: &Layer) -> Result<TensorId> {
    let x_shape = program.shape(x).clone();
    let mut downs = Vec::new();
    let mut terms = Vec::new();
    let mut ranks = 0;
    for adapted in &layer.adapted {
        let change = match adapted.lowered {
            Lowered::LowRank { a, b, scale } => {
                let rank = program.shape(a).rows();
                let hidden = ranks..ranks + rank;
                ranks += rank;
                downs.push(Down { a, hidden: hidden.clone(), adapter: adapted.index });
                Change::LowRank { hidden, b, scale }
            }
            Lowered::Effective { weight } => Change::Effective { weight },
        };
        let columns = adapted.columns.clone();
        terms.push(Term { columns, change, output_scale: adapted.output_scale });
    }
    let hidden = if downs.is_empty() {
        None
    } else {
        let hidden = program.activation(format!("{name}.hidden"), x_shape.with_columns(ranks));
        program.launch(LowRankDown { downs, dropout: layer.dropout.clone(), x, hidden })?;
        Some(hidden)
    };
    let y = program.activation(name, x_shape.with_columns(layer.base.rows.len()));
    program.launch(Linear { base: layer.base.clone(), terms, x, hidden, y, epilogue: Epilogue::None })?;
    Ok(y)
}

pub(super) fn linear_derivative(node: &Linear, d: &mut Derivation<'_>) -> Result<()> {
    let dy = d.expect_gradient(node.y)?;
    if let Some(hidden) = node.hidden {
        let is_low_rank = |term: &&Term| matches!(term.change, Change::LowRank { .. });
        let terms: Vec<Term> = node.terms.iter().filter(is_low_rank).cloned().collect();
        let trained = |term: &Term| matches!(term.change, Change::LowRank { b, .. } if d.needs(b));
        let up: Vec<Term> = terms.iter().filter(|term| trained(term)).cloned().collect();
        if d.needs(hidden) {
            let dhidden = d.like(hidden);
            d.launch(LowRankHiddenGradient { terms, dy, dhidden })?;
            d.pass(hidden, dhidden)?;
        }
        if !up.is_empty() {
            let sides = up.iter().filter_map(|term| match term.change {
                Change::LowRank { b, .. } => Some(b),
                Change::Effective { .. } => None,
            });
            let db = sides.map(|b| d.accumulate(b)).collect();
            d.launch(LowRankUpGradient { terms: up, hidden, dy, db })?;
        }
    }
    for term in &node.terms {
        term_derivative(node, term, dy, d)?;
    }
    if d.needs(node.x) {
        let dx = d.accumulate(node.x);
        d.launch(LinearInputGradient {
            base: node.base.clone(),
            terms: node.terms.clone(),
            dy,
            low_rank: None,
            dx,
        })?;
    }
    Ok(())
}

/// Gradients of an effective weight and of an output scale.
fn term_derivative(node: &Linear, term: &Term, dy: TensorId, d: &mut Derivation<'_>) -> Result<()> {
    if let Change::Effective { weight } = term.change
        && d.needs(weight)
    {
        let dw = d.accumulate(weight);
        d.launch(LinearWeightGradient { term: term.clone(), x: node.x, dy, dw })?;
    }
    if let Some(scale) = term.output_scale
        && d.needs(scale)
    {
        let dscale = d.accumulate(scale);
        let (base, term, hidden) = (node.base.clone(), term.clone(), node.hidden);
        d.launch(OutputScaleGradient { base, term, x: node.x, hidden, dy, dscale })?;
    }
    Ok(())
}

pub(super) fn low_rank_down_derivative(node: &LowRankDown, d: &mut Derivation<'_>) -> Result<()> {
    let dhidden = d.expect_gradient(node.hidden)?;
    let trained: Vec<Down> = node.downs.iter().filter(|down| d.needs(down.a)).cloned().collect();
    if !trained.is_empty() {
        let da = trained.iter().map(|down| d.accumulate(down.a)).collect();
        let (dropout, x) = (node.dropout.clone(), node.x);
        d.launch(LowRankDownGradient { downs: trained, dropout, x, dhidden, da })?;
    }
    if d.needs(node.x) {
        let dx = d.accumulate(node.x);
        let (downs, dropout) = (node.downs.clone(), node.dropout.clone());
        d.launch(LowRankInputGradient { downs, dropout, dhidden, dx })?;
    }
    Ok(())
}
