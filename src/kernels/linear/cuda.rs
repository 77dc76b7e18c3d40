//! The linear layer and its gradients as products on a card.
//!
//! Y is one product: its sum runs through the ranks of the low-rank terms, whose share is then multiplied by their
//! scales, and on through the frozen weight and what replaces parts of it. dX is one product in the same way. Output
//! scales go over Y's columns in the epilogue; in front of a gradient they go over dY in a launch of their own.

use super::{
    Base, Change, Epilogue, Linear, LinearInputGradient, LinearWeightGradient, OutputScaleGradient, Term,
};
use crate::device::cuda::{Address, Architecture, Launches, Operands};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::contract::Shapes;
use crate::kernels::gemm::{
    DeviceMatrix, Finish, Gates, Group, HEAD_DIM, Layout, Output, PerColumn, Places, Problem, Segment,
    Variant, scale_columns,
};
use crate::kernels::qk_norm::Part;
use crate::tensor::{DType, TensorId};
use std::ops::Range;

/// Alignment of what shares a workspace.
const ALIGNMENT: usize = 256;

impl Base {
    /// W as a window of the rows computed.
    fn on_card(&self, kernel: &'static str, places: Places<'_>) -> Result<DeviceMatrix> {
        Ok(places.matrix(kernel, self.weight)?.rows_in(self.rows.clone()))
    }
}

impl Term {
    /// The scales of its columns, if it has any.
    pub(in crate::kernels) fn scales(
        &self,
        kernel: &'static str,
        places: Places<'_>,
    ) -> Result<Option<PerColumn>> {
        let Some(scale) = self.output_scale else { return Ok(None) };
        let values = places.address(kernel, scale, DType::Bf16)?;
        Ok(Some(PerColumn { values, columns: self.columns.clone() }))
    }
}

/// The scales of all columns that have one.
fn output_scales(kernel: &'static str, terms: &[Term], places: Places<'_>) -> Result<Vec<PerColumn>> {
    terms.iter().filter_map(|term| term.scales(kernel, places).transpose()).collect()
}

/// Pieces of the output columns, each with the weight that makes it.
fn weights_by_column(
    kernel: &'static str,
    base: &Base,
    terms: &[Term],
    places: Places<'_>,
) -> Result<Vec<(Range<usize>, DeviceMatrix)>> {
    let frozen = base.on_card(kernel, places)?;
    let effective = |term: &Term| match term.change {
        Change::Effective { weight } => Some((term.columns.clone(), weight)),
        Change::LowRank { .. } => None,
    };
    let mut replaced: Vec<_> = terms.iter().filter_map(effective).collect();
    replaced.sort_by_key(|(columns, _)| columns.start);
    let mut pieces = Vec::new();
    let mut next = 0;
    for (columns, weight) in replaced {
        if next < columns.start {
            pieces.push((next..columns.start, frozen.rows_in(next..columns.start)));
        }
        next = columns.end;
        pieces.push((columns, places.matrix(kernel, weight)?));
    }
    if next < base.rows.len() {
        pieces.push((next..base.rows.len(), frozen.rows_in(next..base.rows.len())));
    }
    Ok(pieces)
}

/// The low-rank terms as segments of Y's sum.
fn low_rank_segments(
    kernel: &'static str,
    terms: &[Term],
    hidden: Option<TensorId>,
    places: Places<'_>,
) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for term in terms {
        let (Change::LowRank { hidden: ranks, b, scale }, Some(hidden)) = (&term.change, hidden) else {
            continue;
        };
        let a = places.matrix(kernel, hidden)?.columns_in(ranks.clone());
        let b = places.matrix(kernel, *b)?;
        segments.push(Segment { a, b, columns: term.columns.clone(), scale: *scale });
    }
    Ok(segments)
}

impl Linear {
    /// The layer as a product.
    pub(in crate::kernels) fn problem(&self, kernel: &'static str, places: Places<'_>) -> Result<Problem> {
        let x = places.matrix(kernel, self.x)?;
        let weights = weights_by_column(kernel, &self.base, &self.terms, places)?;
        let segments = weights.into_iter().map(|(columns, b)| Segment { a: x, b, columns, scale: 1.0 });
        let bias = self.base.bias.map(|bias| places.address(kernel, bias, DType::Bf16)).transpose()?;
        let first = (self.base.rows.start * DType::Bf16.size()) as Address;
        Ok(Problem {
            m: x.rows,
            n: self.base.rows.len(),
            scaled: low_rank_segments(kernel, &self.terms, self.hidden, places)?,
            segments: segments.collect(),
            factor: 1.0,
            output_scales: output_scales(kernel, &self.terms, places)?,
            bias: bias.map(|bias| bias + first),
            adapter: 0,
            output: self.epilogue.output(kernel, self.y, places)?,
        })
    }

    pub(super) fn group(&self, kernel: &'static str, places: Places<'_>) -> Result<Group> {
        Ok(Group::plain(kernel, Layout::Nt, vec![self.problem(kernel, places)?]))
    }
}

impl Epilogue {
    /// Whether the epilogue that normalises heads can follow a layer: heads are of its size and start at a multiple
    /// of it.
    pub fn can_normalise(first_column: usize, head_dim: usize) -> bool {
        head_dim == HEAD_DIM && first_column.is_multiple_of(HEAD_DIM)
    }

    fn output(&self, kernel: &'static str, y: TensorId, places: Places<'_>) -> Result<Output> {
        let finish = match self {
            Self::None => Finish::Store,
            Self::Activate { activation, to, .. } => {
                Finish::Activate { activation: *activation, result: places.matrix(kernel, *to)? }
            }
            Self::GatedResidual { gate, x, .. } => {
                let vectors = places.address(kernel, gate.vectors, DType::F32)?;
                let gate = Gates {
                    first: gate.first(vectors, places.shape(y).columns()),
                    stride: places.shape(gate.vectors).columns(),
                    rows_a_sample: places.shape(y).dims()[1],
                };
                Finish::GatedResidual { x: places.stream(kernel, x.to)?, gate }
            }
            Self::QkNorm { parts, heads, to, .. } => {
                let norms = parts.iter().map(|part| gains(kernel, part, *heads, places));
                Finish::QkNorm { norms: norms.collect::<Result<_>>()?, result: places.matrix(kernel, *to)? }
            }
        };
        let c = if self.keeps_y() { Some(places.matrix(kernel, y)?) } else { None };
        Ok(Output::Matrix { c, accumulate: false, finish })
    }
}

fn gains(kernel: &'static str, part: &Part, heads: usize, places: Places<'_>) -> Result<PerColumn> {
    let head_dim = places.shape(part.weight).elements();
    if !Epilogue::can_normalise(part.first, head_dim) {
        let cause =
            format!("heads of {head_dim} from column {} cannot be normalised in the epilogue", part.first);
        return Err(Error::new(ErrorKind::Kernel, kernel, cause));
    }
    let values = places.address(kernel, part.weight, DType::Bf16)?;
    Ok(PerColumn { values, columns: part.first..part.first + heads * head_dim })
}

/// dY as the gradients of a layer see it: as it is, or in scratch memory with each column multiplied by its scale.
pub(in crate::kernels) struct OutputGradient {
    /// dY.
    dy: DeviceMatrix,
    scales: Vec<PerColumn>,
}

impl OutputGradient {
    pub(in crate::kernels) fn new(
        kernel: &'static str,
        terms: &[Term],
        dy: TensorId,
        places: Places<'_>,
    ) -> Result<Self> {
        Ok(Self { dy: places.matrix(kernel, dy)?, scales: output_scales(kernel, terms, places)? })
    }

    /// Bytes of scratch memory that it takes.
    fn bytes(&self) -> usize {
        if self.scales.is_empty() {
            0
        } else {
            (self.dy.rows * self.dy.columns * 2).next_multiple_of(ALIGNMENT)
        }
    }

    /// The scaled dY, made in the scratch memory at `workspace`.
    pub(in crate::kernels) fn scaled(&self, workspace: Address) -> DeviceMatrix {
        if self.scales.is_empty() { self.dy } else { DeviceMatrix { address: workspace, ..self.dy } }
    }

    /// Bytes of scratch memory of a group of products that read it, its own included.
    pub(in crate::kernels) fn workspace_of(&self, group: &Group, architecture: &Architecture) -> usize {
        self.bytes() + group.workspace(architecture)
    }

    /// Adds the launch that makes it, if one is needed, and those of a group of products that read it.
    pub(in crate::kernels) fn launch_with(
        &self,
        group: &Group,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (workspace, architecture) = (operands.workspace().0, operands.architecture());
        if !self.scales.is_empty() {
            scale_columns(group.kernel, self.scaled(workspace), self.dy, &self.scales, to)?;
        }
        group.launch(workspace + self.bytes() as Address, &architecture, to)
    }
}

impl LinearInputGradient {
    /// The product, and dY in front of it; `workspace` is where a scaled dY goes.
    fn group(
        &self,
        kernel: &'static str,
        places: Places<'_>,
        workspace: Address,
    ) -> Result<(OutputGradient, Group)> {
        let gradient = OutputGradient::new(kernel, &self.terms, self.dy, places)?;
        let (dy, dx) = (gradient.scaled(workspace), places.matrix(kernel, self.dx.to)?);
        let mut segments = Vec::new();
        for (columns, b) in weights_by_column(kernel, &self.base, &self.terms, places)? {
            segments.push(Segment { a: dy.columns_in(columns), b, columns: 0..dx.columns, scale: 1.0 });
        }
        if let Some(side) = self.low_rank.as_ref().filter(|side| side.dropout.is_none()) {
            segments.extend(side.segments(kernel, places)?);
        }
        let accumulate = self.dx.accumulates();
        let output = Output::Matrix { c: Some(dx), accumulate, finish: Finish::Store };
        let problem = Problem { segments, ..Problem::empty(dx.rows, dx.columns, output) };
        Ok((gradient, Group::plain(kernel, Layout::Nn, vec![problem])))
    }

    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("LinearInputGradient", Places::Planned(shapes), 0);
        group.map_or(0, |(gradient, group)| gradient.workspace_of(&group, architecture))
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (gradient, group) = self.group(kernel, Places::OnCard(operands), operands.workspace().0)?;
        gradient.launch_with(&group, operands, to)?;
        match self.after().filter(|after| after.dropout.is_some()) {
            Some(after) => after.launch_on_card(kernel, operands, to),
            None => Ok(()),
        }
    }
}

impl LinearWeightGradient {
    pub(super) fn group(&self, kernel: &'static str, places: Places<'_>) -> Result<Group> {
        let x = places.matrix(kernel, self.x)?;
        let dy = places.matrix(kernel, self.dy)?.columns_in(self.term.columns.clone());
        let sums = places.address(kernel, self.dw.to, DType::F32)?;
        let output = Output::Sums { sums, accumulate: self.dw.accumulates() };
        // Rows of dW are columns of Y.
        let scales = self.term.scales(kernel, places)?;
        let output_scales = scales.map(|scales| PerColumn { columns: 0..dy.columns, ..scales });
        let problem = Problem::plain(dy.columns, x.columns, dy, x, output);
        let output_scales = output_scales.into_iter().collect();
        Ok(Group::plain(kernel, Layout::Tn, vec![Problem { output_scales, ..problem }]))
    }
}

impl OutputScaleGradient {
    pub(super) fn group(&self, kernel: &'static str, places: Places<'_>) -> Result<Group> {
        let x = places.matrix(kernel, self.x)?;
        let columns = self.term.columns.clone();
        let n = columns.len();
        let weight = match self.term.change {
            Change::Effective { weight } => places.matrix(kernel, weight)?,
            Change::LowRank { .. } => self.base.on_card(kernel, places)?.rows_in(columns.clone()),
        };
        // The product has the columns of the term alone.
        let term = Term { columns: 0..n, ..self.term.clone() };
        let dout = places.matrix(kernel, self.dy)?.columns_in(columns);
        let sums = places.address(kernel, self.dscale.to, DType::F32)?;
        let output = Output::ColumnSums { dout, sums, accumulate: self.dscale.accumulates() };
        let scaled = low_rank_segments(kernel, &[term], self.hidden, places)?;
        let problem = Problem { scaled, ..Problem::plain(x.rows, n, x, weight, output) };
        let variant = Variant::ColumnDot;
        Ok(Group { kernel, layout: Layout::Nt, variant, mask: None, problems: vec![problem] })
    }
}
