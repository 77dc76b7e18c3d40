//! The low-rank side on a card: skinny products, a problem for each adapter, and masks made inside them.

use super::{
    Down, Dropout, LowRankDown, LowRankDownGradient, LowRankHiddenGradient, LowRankInputGradient,
    LowRankSide, LowRankUpGradient,
};
use crate::device::cuda::{Address, Architecture, Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Shapes, Update};
use crate::kernels::gemm::{
    DeviceMatrix, Finish, Group, Layout, Mask, Output, PerColumn, Places, Problem, Segment,
};
use crate::kernels::linear::{Change, OutputGradient, Term};
use crate::tensor::{DType, TensorId};

/// The mask over a matrix of `columns` columns, if there is dropout.
fn mask(
    kernel: &'static str,
    dropout: Option<&Dropout>,
    columns: usize,
    places: Places<'_>,
) -> Result<Option<Mask>> {
    let Some(dropout) = dropout else { return Ok(None) };
    let state = places.address(kernel, dropout.state, DType::F32)?;
    Ok(Some(Mask { dropout: dropout.clone(), state, columns }))
}

/// What kept elements are multiplied by.
fn kept(dropout: Option<&Dropout>) -> f32 {
    dropout.map_or(1.0, |dropout| 1.0 / (1.0 - dropout.probability))
}

/// Columns of H that an adapter has.
fn hidden_of(
    kernel: &'static str,
    down: &Down,
    hidden: TensorId,
    places: Places<'_>,
) -> Result<DeviceMatrix> {
    Ok(places.matrix(kernel, hidden)?.columns_in(down.hidden.clone()))
}

/// To a bf16 matrix.
fn to_matrix(c: DeviceMatrix, accumulate: bool) -> Output {
    Output::Matrix { c: Some(c), accumulate, finish: Finish::Store }
}

/// To an f32 gradient.
fn to_sums(kernel: &'static str, update: &Update, places: Places<'_>) -> Result<Output> {
    let sums = places.address(kernel, update.to, DType::F32)?;
    Ok(Output::Sums { sums, accumulate: update.accumulates() })
}

impl LowRankSide {
    /// dH A of every adapter as segments of the sum of dX; without the masks.
    pub(in crate::kernels) fn segments(
        &self,
        kernel: &'static str,
        places: Places<'_>,
    ) -> Result<Vec<Segment>> {
        let segment = |down: &Down| {
            let a = hidden_of(kernel, down, self.dhidden, places)?;
            let b = places.matrix(kernel, down.a)?;
            Ok(Segment { a, b, columns: 0..b.columns, scale: 1.0 })
        };
        self.downs.iter().map(segment).collect()
    }
}

impl LowRankDown {
    pub(super) fn group(&self, kernel: &'static str, places: Places<'_>) -> Result<Group> {
        let x = places.matrix(kernel, self.x)?;
        let segment = |down: &Down| {
            let b = places.matrix(kernel, down.a)?;
            Ok(Segment { a: x, b, columns: 0..b.rows, scale: 1.0 })
        };
        let problem = |down: &Down| {
            let h = hidden_of(kernel, down, self.hidden, places)?;
            let (factor, adapter) = (kept(self.dropout.as_ref()), down.adapter);
            let addends = self.downs.iter().filter(|other| other.hidden == down.hidden);
            let segments = addends.map(segment).collect::<Result<_>>()?;
            let problem = Problem::empty(x.rows, h.columns, to_matrix(h, false));
            Ok(Problem { segments, factor, adapter, ..problem })
        };
        let sums = self.downs.iter().enumerate().filter(|(index, _)| self.begins_a_sum(*index));
        let problems = sums.map(|(_, down)| problem(down)).collect::<Result<_>>()?;
        let mask = mask(kernel, self.dropout.as_ref(), x.columns, places)?;
        Ok(Group::masked(kernel, Layout::Nt, mask, problems))
    }
}

impl LowRankHiddenGradient {
    /// The products, and dY in front of them; `workspace` is where a scaled dY goes.
    fn group(
        &self,
        kernel: &'static str,
        places: Places<'_>,
        workspace: Address,
    ) -> Result<(OutputGradient, Group)> {
        let gradient = OutputGradient::new(kernel, &self.terms, self.dy, places)?;
        let (dy, dhidden) = (gradient.scaled(workspace), places.matrix(kernel, self.dhidden)?);
        let mut problems = Vec::new();
        for term in &self.terms {
            let Change::LowRank { hidden, b, scale } = &term.change else { continue };
            let c = dhidden.columns_in(hidden.clone());
            let (a, b) = (dy.columns_in(term.columns.clone()), places.matrix(kernel, *b)?);
            let problem = Problem::plain(c.rows, c.columns, a, b, to_matrix(c, false));
            problems.push(Problem { factor: *scale, ..problem });
        }
        Ok((gradient, Group::plain(kernel, Layout::Nn, problems)))
    }

    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("LowRankHiddenGradient", Places::Planned(shapes), 0);
        group.map_or(0, |(gradient, group)| gradient.workspace_of(&group, architecture))
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (gradient, group) = self.group(kernel, Places::OnCard(operands), operands.workspace().0)?;
        gradient.launch_with(&group, operands, to)
    }
}

impl LowRankInputGradient {
    /// One product, or with dropout one for each adapter: every one has a mask of its own, and adds to the former.
    pub(super) fn groups(&self, kernel: &'static str, places: Places<'_>) -> Result<Vec<Group>> {
        let dx = places.matrix(kernel, self.dx.to)?;
        let (downs, dropout, dhidden) = (self.downs.clone(), self.dropout.clone(), self.dhidden);
        let segments = LowRankSide { downs, dropout, dhidden }.segments(kernel, places)?;
        let problem = |accumulate| Problem::empty(dx.rows, dx.columns, to_matrix(dx, accumulate));
        if self.dropout.is_none() {
            let problem = Problem { segments, ..problem(self.dx.accumulates()) };
            return Ok(vec![Group::plain(kernel, Layout::Nn, vec![problem])]);
        }
        let mask = mask(kernel, self.dropout.as_ref(), dx.columns, places)?;
        let group = |(index, segment): (usize, Segment)| {
            let problem = Problem {
                segments: vec![segment],
                factor: kept(self.dropout.as_ref()),
                adapter: self.downs[index].adapter,
                ..problem(self.dx.accumulates() || index > 0)
            };
            Group::masked(kernel, Layout::Nn, mask.clone(), vec![problem])
        };
        Ok(segments.into_iter().enumerate().map(group).collect())
    }

    /// Adds the launches, which need no scratch memory.
    pub(in crate::kernels) fn launch_on_card(
        &self,
        kernel: &'static str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (groups, architecture) =
            (self.groups(kernel, Places::OnCard(operands))?, operands.architecture());
        groups.iter().try_for_each(|group| group.launch(operands.workspace().0, &architecture, to))
    }
}

impl LowRankDownGradient {
    pub(super) fn group(&self, kernel: &'static str, places: Places<'_>) -> Result<Group> {
        let x = places.matrix(kernel, self.x)?;
        let problem = |(down, da): (&Down, &Update)| {
            let dh = hidden_of(kernel, down, self.dhidden, places)?;
            let problem = Problem::plain(dh.columns, x.columns, dh, x, to_sums(kernel, da, places)?);
            Ok(Problem { factor: kept(self.dropout.as_ref()), adapter: down.adapter, ..problem })
        };
        let problems = self.downs.iter().zip(&self.da).map(problem).collect::<Result<_>>()?;
        let mask = mask(kernel, self.dropout.as_ref(), x.columns, places)?;
        Ok(Group::masked(kernel, Layout::Tn, mask, problems))
    }
}

impl LowRankUpGradient {
    pub(super) fn group(&self, kernel: &'static str, places: Places<'_>) -> Result<Group> {
        let (hidden, dy) = (places.matrix(kernel, self.hidden)?, places.matrix(kernel, self.dy)?);
        let problem = |(term, db): (&Term, &Update)| {
            let Change::LowRank { hidden: ranks, scale, .. } = &term.change else { return Ok(None) };
            let (h, dy) = (hidden.columns_in(ranks.clone()), dy.columns_in(term.columns.clone()));
            let problem = Problem::plain(dy.columns, h.columns, dy, h, to_sums(kernel, db, places)?);
            // Rows of dB are columns of Y.
            let scales = term.scales(kernel, places)?;
            let output_scales = scales.map(|scales| PerColumn { columns: 0..dy.columns, ..scales });
            Ok(Some(Problem {
                factor: *scale,
                output_scales: output_scales.into_iter().collect(),
                ..problem
            }))
        };
        let problems = self.terms.iter().zip(&self.db).filter_map(|pair| problem(pair).transpose());
        Ok(Group::plain(kernel, Layout::Tn, problems.collect::<Result<_>>()?))
    }
}
