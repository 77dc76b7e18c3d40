//! Programs: kernel launches over named tensors, recorded once and run many times.

use crate::autograd::persistent::Place;
use crate::error::Result;
use crate::kernels::{Kernel, Shapes};
use crate::tensor::{DType, Shape, TensorId};
use std::fmt;

/// Where a tensor's memory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// In the arena, for as long as the plan says.
    Arena,
    /// In the arena, written from outside before the program runs.
    Input,
    /// A frozen weight that stays on the device, by its canonical name.
    Weight(String),
    /// In the persistent region.
    Persistent(Place),
}

/// From which recompute policy on a forward tensor is kept for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retention {
    /// Never: memory bounds the kernel that makes it, so making it again costs little.
    Never,
    /// By `store` alone.
    Store,
    /// By `store` and `selective`.
    Selective,
    /// By every policy: a block's input.
    Always,
}

/// One tensor of a program.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Its name in listings and for tests.
    pub name: String,
    /// Its extents.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
    /// Where its memory is.
    pub home: Home,
    /// When it is kept.
    pub retention: Retention,
    /// Whether it is f32 on every device.
    pub exact: bool,
}

/// The queue that a node runs on; nodes on different queues are ordered only by the tensors that they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Queue {
    /// Kernels.
    #[default]
    Compute,
    /// Weights on their way to the device.
    Transfer,
}

/// One step of a program.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub work: Work,
    /// Where it runs.
    pub queue: Queue,
    /// The model block it belongs to; blocks are the unit of full recomputation.
    pub block: u32,
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum Work {
    /// Launches a kernel.
    Launch(Kernel),
    /// Brings a streamed weight, by its canonical name, into an arena tensor.
    WeightArrival {
        /// Canonical name.
        weight: String,
        /// Where it goes.
        to: TensorId,
    },
}

impl Work {
    /// Tensors that it reads.
    pub fn reads(&self) -> Vec<TensorId> {
        match self {
            Self::Launch(kernel) => kernel.reads(),
            Self::WeightArrival { .. } => Vec::new(),
        }
    }

    /// The place of a streamed weight that arrives.
    pub fn arriving(&self) -> Option<TensorId> {
        match self {
            Self::WeightArrival { to, .. } => Some(*to),
            Self::Launch(_) => None,
        }
    }

    /// Tensors that are f32 on every device.
    pub fn exact(&self) -> Vec<TensorId> {
        match self {
            Self::Launch(kernel) => kernel.exact(),
            Self::WeightArrival { .. } => Vec::new(),
        }
    }

    /// Tensors that it writes.
    pub fn writes(&self) -> Vec<TensorId> {
        match self {
            Self::Launch(kernel) => kernel.writes(),
            Self::WeightArrival { to, .. } => vec![*to],
        }
    }
}

/// A recorded program.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// All tensors; a [`TensorId`] is an index into them.
    pub tensors: Vec<Tensor>,
    /// All nodes, in an order that can be run.
    pub nodes: Vec<Node>,
    /// Tensors that are read from outside after the run.
    pub outputs: Vec<TensorId>,
    /// Nodes of the forward pass: the first so many.
    pub forward_nodes: usize,
    /// Whether activations and inputs that are added now are f32 on every device.
    pub exact: bool,
    block: u32,
}

impl Shapes for Program {
    fn shape(&self, id: TensorId) -> &Shape {
        &self.tensors[id.index()].shape
    }
}

impl Program {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps activations and inputs that are added from now on in f32 on every device, until [`Program::exact`] is
    /// taken back: for what is made once and used often. Products take such operands apart into two of bf16, so nothing
    /// but weights is rounded.
    pub fn keep_exact(&mut self) {
        self.exact = true;
    }

    /// Keeps one activation or input in f32 on every device.
    pub fn mark_exact(&mut self, id: TensorId) {
        self.tensors[id.index()].exact = true;
    }

    /// Adds a tensor.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Shape>,
        dtype: DType,
        home: Home,
    ) -> TensorId {
        let (name, shape) = (name.into(), shape.into());
        let (retention, exact) = (Retention::Never, self.exact);
        self.tensors.push(Tensor { name, shape, dtype, home, retention, exact });
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// Adds an f32 tensor of the arena.
    pub fn activation(&mut self, name: impl Into<String>, shape: impl Into<Shape>) -> TensorId {
        self.add(name, shape, DType::F32, Home::Arena)
    }

    /// Adds an f32 input.
    pub fn input(&mut self, name: impl Into<String>, shape: impl Into<Shape>) -> TensorId {
        self.add(name, shape, DType::F32, Home::Input)
    }

    /// The tensor of a resident weight; asking again gives the same one.
    pub fn weight(&mut self, name: &str, shape: &Shape) -> TensorId {
        let is_it = |tensor: &Tensor| matches!(&tensor.home, Home::Weight(known) if known == name);
        match self.tensors.iter().position(is_it) {
            Some(index) => TensorId(index as u32),
            None => self.add(name, shape.clone(), DType::F32, Home::Weight(name.to_owned())),
        }
    }

    /// Adds a launch, after checking its shapes. What a compute-bound kernel writes is kept by `store`.
    pub fn launch(&mut self, kernel: impl Into<Kernel>) -> Result<()> {
        let kernel = kernel.into();
        kernel.check(self)?;
        if kernel.flops(self) > 0 {
            kernel.writes().into_iter().for_each(|id| self.retain(id, Retention::Store));
        }
        self.push(Work::Launch(kernel), Queue::Compute);
        Ok(())
    }

    /// Adds the arrival of a streamed weight.
    pub fn arrival(&mut self, weight: &str, shape: &Shape) -> TensorId {
        let to = self.activation(weight, shape.clone());
        self.push(Work::WeightArrival { weight: weight.to_owned(), to }, Queue::Transfer);
        to
    }

    fn push(&mut self, work: Work, queue: Queue) {
        self.nodes.push(Node { work, queue, block: self.block });
        self.forward_nodes = self.nodes.len();
    }

    /// Marks where the next model block begins.
    pub fn begin_block(&mut self) {
        self.block += 1;
    }

    /// Raises the policy level from which `id` is kept.
    pub fn retain(&mut self, id: TensorId, retention: Retention) {
        let tensor = &mut self.tensors[id.index()];
        tensor.retention = tensor.retention.max(retention);
    }

    /// Lets `id` be made again under every policy: it is larger than it is costly.
    pub fn forget(&mut self, id: TensorId) {
        self.tensors[id.index()].retention = Retention::Never;
    }

    /// Marks a tensor as read from outside after the run.
    pub fn output(&mut self, id: TensorId) {
        if !self.outputs.contains(&id) {
            self.outputs.push(id);
        }
    }

    /// The last tensor of that name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().rposition(|tensor| tensor.name == name).map(|index| TensorId(index as u32))
    }

    /// Bytes of a tensor.
    pub fn bytes(&self, id: TensorId) -> usize {
        let tensor = &self.tensors[id.index()];
        tensor.shape.elements() * tensor.dtype.size()
    }

    /// Whether the tensor lies in the arena.
    pub fn in_arena(&self, id: TensorId) -> bool {
        matches!(self.tensors[id.index()].home, Home::Arena | Home::Input)
    }

    /// Floating-point operations of all matrix products of one run.
    pub fn flops(&self) -> u64 {
        let launches = self.nodes.iter().filter_map(|node| match &node.work {
            Work::Launch(kernel) => Some(kernel.flops(self)),
            Work::WeightArrival { .. } => None,
        });
        launches.sum()
    }
}

impl fmt::Display for Program {
    /// One line a node: what it writes, what it does, what it reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |ids: Vec<TensorId>| {
            let names: Vec<_> = ids.iter().map(|id| self.tensors[id.index()].name.as_str()).collect();
            names.join(", ")
        };
        for (index, node) in self.nodes.iter().enumerate() {
            let what = match &node.work {
                Work::Launch(kernel) => kernel.name(),
                Work::WeightArrival { .. } => "WeightArrival",
            };
            writeln!(f, "{index:5} {} = {what}({})", names(node.work.writes()), names(node.work.reads()))?;
        }
        Ok(())
    }
}
