//! The backward pass, derived from the forward pass: reverse-mode differentiation over the recorded nodes.
//!
//! Only what leads from a wanted tensor to the seeded outputs is differentiated: no gradient of a frozen
//! weight, none below the first adapter. Contributions to one gradient are summed where they arise: the next
//! kernel adds to what the last one wrote.

use crate::autograd::program::{Home, Program, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::add::Add;
use crate::kernels::{Kernel, Update};
use crate::tensor::TensorId;
use std::collections::HashMap;

/// Adds a kernel's backward launches, given the gradients of what it wrote.
pub type Rule = fn(&Kernel, &mut Derivation<'_>) -> Result<()>;

/// A backward pass in the making.
#[derive(Debug)]
pub struct Derivation<'p> {
    program: &'p mut Program,
    leads_to_wanted: Vec<bool>,
    gradients: HashMap<TensorId, TensorId>,
    sinks: HashMap<TensorId, TensorId>,
    block: u32,
}

/// Differentiates `program`: `seeds` are outputs with their gradients, `sinks` are parameters with the
/// persistent tensors that their gradients are added to, `wanted` are other tensors whose gradients become
/// outputs of the program. Returns the gradients of `wanted`; none where nothing depends on it.
pub fn derive(
    program: &mut Program,
    seeds: &[(TensorId, TensorId)],
    sinks: &[(TensorId, TensorId)],
    wanted: &[TensorId],
    rule: Rule,
) -> Result<Vec<Option<TensorId>>> {
    let forward = program.nodes.clone();
    let forward_nodes = program.forward_nodes;
    let roots = sinks.iter().map(|(parameter, _)| *parameter).chain(wanted.iter().copied());
    let mut derivation = Derivation {
        leads_to_wanted: dependents(program, roots),
        gradients: seeds.iter().copied().collect(),
        sinks: sinks.iter().copied().collect(),
        block: 0,
        program,
    };
    for node in forward.iter().rev() {
        let written = node.work.writes();
        let has_gradient = written.iter().any(|id| derivation.gradients.contains_key(id));
        let Work::Launch(kernel) = &node.work else { continue };
        if has_gradient && written.iter().any(|&id| derivation.needs(id)) {
            derivation.block = node.block;
            rule(kernel, &mut derivation)?;
        }
    }
    let gradients = wanted.iter().map(|id| derivation.gradients.get(id).copied()).collect::<Vec<_>>();
    gradients.iter().flatten().for_each(|&id| program.output(id));
    program.forward_nodes = forward_nodes;
    Ok(gradients)
}

/// For every tensor, whether it depends on one of `roots`.
fn dependents(program: &Program, roots: impl Iterator<Item = TensorId>) -> Vec<bool> {
    let mut depends = vec![false; program.tensors.len()];
    roots.for_each(|id| depends[id.index()] = true);
    for node in &program.nodes {
        if node.work.reads().iter().any(|id| depends[id.index()]) {
            node.work.writes().iter().for_each(|id| depends[id.index()] = true);
        }
    }
    depends
}

impl Derivation<'_> {
    /// Whether a gradient of `id` leads to something wanted.
    pub fn needs(&self, id: TensorId) -> bool {
        self.leads_to_wanted.get(id.index()).copied().unwrap_or(false)
    }

    /// The gradient of a tensor that the forward pass wrote, if anything came back to it.
    pub fn gradient(&self, id: TensorId) -> Option<TensorId> {
        self.gradients.get(&id).copied()
    }

    /// The gradient of a tensor whose gradient must have come.
    pub fn expect_gradient(&self, id: TensorId) -> Result<TensorId> {
        self.gradient(id).ok_or_else(|| {
            let name = &self.program.tensors[id.index()].name;
            Error::new(ErrorKind::Kernel, "derivative", format!("nothing came back to `{name}`"))
        })
    }

    /// Where the next contribution to the gradient of `id` goes: on top of the earlier ones.
    pub fn accumulate(&mut self, id: TensorId) -> Update {
        if let Some(&sink) = self.sinks.get(&id) {
            return Update { from: Some(sink), to: sink };
        }
        let from = self.gradient(id);
        let to = self.like(id);
        self.gradients.insert(id, to);
        Update { from, to }
    }

    /// Passes a whole gradient on: that of `id` is `gradient` (and what came before).
    pub fn pass(&mut self, id: TensorId, gradient: TensorId) -> Result<()> {
        if self.gradient(id).is_none() {
            self.gradients.insert(id, gradient);
            return Ok(());
        }
        let a = self.accumulate(id);
        self.launch(Add { a, b: gradient })
    }

    /// A new arena tensor with the shape of `id`, for its gradient.
    pub fn like(&mut self, id: TensorId) -> TensorId {
        let tensor = &self.program.tensors[id.index()];
        let (name, shape, dtype) = (format!("d {}", tensor.name), tensor.shape.clone(), tensor.dtype);
        self.program.add(name, shape, dtype, Home::Arena)
    }

    /// Adds a backward launch.
    pub fn launch(&mut self, kernel: impl Into<Kernel>) -> Result<()> {
        self.program.launch(kernel)?;
        if let Some(node) = self.program.nodes.last_mut() {
            node.block = self.block;
        }
        Ok(())
    }
}
