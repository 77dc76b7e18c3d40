//! A program that is ready to run on the device that it was planned for.

use crate::autograd::lower::lower;
use crate::autograd::plan::{Plan, plan};
use crate::autograd::program::{Program, Work};
use crate::autograd::run::launches::launches;
use crate::device::Limits;
use crate::device::cuda::{Address, Architecture};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::TensorId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A program with its plan.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What to run.
    pub program: Arc<Program>,
    /// Where everything lies.
    pub plan: Plan,
    /// For every node, the updates whose base must be copied to the result's place first.
    pub copies: Vec<Vec<(TensorId, TensorId)>>,
}

impl Planned {
    /// Lowers and plans `program` for a device with `limits`.
    ///
    /// # Errors
    /// The device lacks a kernel, or a form of it; the error names it.
    pub fn new(mut program: Program, limits: &Limits) -> Result<Self> {
        lower(&mut program, limits);
        let plan = plan(&program, limits);
        let planned = Self::with_plan(program, plan);
        if let Some(architecture) = limits.cuda {
            planned.kernels(architecture)?;
        }
        Ok(planned)
    }

    /// The symbols of the kernels that it launches on a card.
    ///
    /// # Errors
    /// Such a card lacks a kernel, or a form of it; the error names it.
    pub fn kernels(&self, architecture: Architecture) -> Result<BTreeSet<&'static str>> {
        // Any place will do to see which they are.
        const SOMEWHERE: Address = 1 << 32;
        let nodes = launches(self, SOMEWHERE, architecture, |_| Ok(SOMEWHERE))?;
        Ok(nodes.iter().flat_map(|node| &node.kernels).map(|launch| launch.kernel).collect())
    }

    /// `program` under a plan that was made for it.
    pub fn with_plan(program: Program, plan: Plan) -> Self {
        let copies = program.nodes.iter().map(|node| copies(&node.work, &program, &plan)).collect();
        Self { program: Arc::new(program), plan, copies }
    }

    /// The arena byte of a tensor.
    pub fn place_of(&self, id: TensorId) -> Result<usize> {
        self.plan.offsets[id.index()].ok_or_else(|| {
            let name = &self.program.tensors[id.index()].name;
            Error::new(ErrorKind::Device, "run", format!("`{name}` is not in the arena"))
        })
    }
}

/// The updates of a node whose result does not share its base's place.
fn copies(work: &Work, program: &Program, plan: &Plan) -> Vec<(TensorId, TensorId)> {
    let Work::Launch(kernel) = work else { return Vec::new() };
    let place = |id: TensorId| (&program.tensors[id.index()].home, plan.offsets[id.index()]);
    let in_arena = |id: TensorId| program.in_arena(id);
    let apart = |from: TensorId, to: TensorId| match (in_arena(from), in_arena(to)) {
        (true, true) => place(from).1 != place(to).1,
        _ => place(from).0 != place(to).0,
    };
    let bases = kernel.updates().into_iter().filter_map(|update| Some((update.from?, update.to)));
    bases.filter(|&(from, to)| apart(from, to)).collect()
}
