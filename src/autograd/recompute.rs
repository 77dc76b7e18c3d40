//! Recompute policies: which activations wait for the backward pass, and which are made again.
//!
//! A policy never changes a number: what is made again is made by the same kernels from the same inputs.

use crate::autograd::program::{Home, Node, Program, Queue, Retention, Work};
use crate::kernels::{Kernel, Operand};
use crate::tensor::TensorId;
use serde::Serialize;
use std::collections::HashMap;

/// What is kept from the forward pass for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// What matrix products made; norms and activations are made again.
    Store,
    /// Block inputs, attention outputs and the residual stream between attention and MLP.
    Selective,
    /// Block inputs; of the rest only what the backward pass asks for is made again (fc2 never is).
    Lean,
    /// Block inputs; every block is run again as a whole.
    Full,
}

impl Recompute {
    /// All policies, from the fastest to the one with the least to remember.
    pub const ALL: [Self; 4] = [Self::Store, Self::Selective, Self::Lean, Self::Full];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Selective => "selective",
            Self::Lean => "lean",
            Self::Full => "full",
        }
    }

    /// The lowest retention that is kept.
    fn threshold(self) -> Retention {
        match self {
            Self::Store => Retention::Store,
            Self::Selective => Retention::Selective,
            Self::Lean | Self::Full => Retention::Always,
        }
    }
}

/// Rewrites the backward pass so that it reads only what `policy` keeps.
pub fn apply(program: &mut Program, policy: Recompute) {
    let backward = program.nodes.split_off(program.forward_nodes);
    let mut rewriting = Rewriting::new(program, policy);
    for mut node in backward {
        if policy == Recompute::Full {
            rewriting.repeat_block(node.block, &node);
        }
        rewriting.redirect_reads(&mut node);
        rewriting.program.nodes.push(node);
    }
}

struct Rewriting<'p> {
    program: &'p mut Program,
    /// Forward nodes by the tensors that they write.
    producers: HashMap<TensorId, usize>,
    /// Forward tensors that the policy drops.
    dropped: Vec<bool>,
    /// What was made again, by what it stands for.
    copies: HashMap<TensorId, TensorId>,
    repeated_blocks: Vec<u32>,
}

impl<'p> Rewriting<'p> {
    fn new(program: &'p mut Program, policy: Recompute) -> Self {
        let mut producers = HashMap::new();
        for (index, node) in program.nodes.iter().enumerate() {
            for id in node.work.writes() {
                producers.insert(id, index);
            }
        }
        let dropped = (0..program.tensors.len())
            .map(|index| {
                let (id, tensor) = (TensorId(index as u32), &program.tensors[index]);
                let made = producers.contains_key(&id) && tensor.home == Home::Arena;
                made && tensor.retention < policy.threshold() && !program.outputs.contains(&id)
            })
            .collect();
        Self { program, producers, dropped, copies: HashMap::new(), repeated_blocks: Vec::new() }
    }

    fn is_dropped(&self, id: TensorId) -> bool {
        self.dropped.get(id.index()).copied().unwrap_or(false)
    }

    /// Makes `node` read what was made again in place of what was dropped.
    fn redirect_reads(&mut self, node: &mut Node) {
        for id in node.work.reads() {
            if self.is_dropped(id) {
                self.make_again(id);
            }
        }
        let copies = &self.copies;
        rename_reads(&mut node.work, |id| copies.get(&id).copied().unwrap_or(id));
    }

    /// Appends what makes `id`, and what that needs, once.
    fn make_again(&mut self, id: TensorId) {
        if self.copies.contains_key(&id) {
            return;
        }
        let mut node = self.program.nodes[self.producers[&id]].clone();
        self.redirect_reads(&mut node);
        self.append_copy(node);
    }

    /// Appends all nodes of a block when `node` is the first that needs any of its dropped tensors.
    fn repeat_block(&mut self, block: u32, node: &Node) {
        let needs_any = node.work.reads().iter().any(|&id| self.is_dropped(id));
        if !needs_any || self.repeated_blocks.contains(&block) {
            return;
        }
        self.repeated_blocks.push(block);
        for index in 0..self.program.forward_nodes {
            let mut node = self.program.nodes[index].clone();
            let again = node.work.writes().iter().all(|id| !self.copies.contains_key(id));
            if node.block == block && node.queue == Queue::Compute && again && !self.has_effects(&node) {
                self.redirect_reads(&mut node);
                self.append_copy(node);
            }
        }
    }

    /// Whether a node writes outside the arena (losses): it must not be repeated.
    fn has_effects(&self, node: &Node) -> bool {
        node.work.writes().iter().any(|&id| !self.program.in_arena(id))
    }

    /// Appends `node` with new tensors for what it writes.
    fn append_copy(&mut self, mut node: Node) {
        for id in node.work.writes() {
            let tensor = self.program.tensors[id.index()].clone();
            let copy =
                self.program.add(format!("{} again", tensor.name), tensor.shape, tensor.dtype, Home::Arena);
            self.copies.insert(id, copy);
        }
        let copies = &self.copies;
        rename_writes(&mut node.work, |id| copies.get(&id).copied().unwrap_or(id));
        self.program.nodes.push(node);
    }
}

/// Gives every tensor that `work` reads the name that `name` says.
pub(super) fn rename_reads(work: &mut Work, name: impl Fn(TensorId) -> TensorId) {
    let Work::Launch(kernel) = work else { return };
    for operand in Kernel::operands(kernel) {
        match operand {
            Operand::Read(id) => *id = name(*id),
            Operand::Update(update) => update.from = update.from.map(&name),
            Operand::Write(_) => {}
        }
    }
}

fn rename_writes(work: &mut Work, name: impl Fn(TensorId) -> TensorId) {
    match work {
        Work::WeightArrival { to, .. } => *to = name(*to),
        Work::Launch(kernel) => {
            for operand in kernel.operands() {
                match operand {
                    Operand::Write(id) => *id = name(*id),
                    Operand::Update(update) => update.to = name(update.to),
                    Operand::Read(_) => {}
                }
            }
        }
    }
}
