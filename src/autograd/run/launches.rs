//! A program's launches on a card, made from where everything is.

use super::Planned;
use crate::autograd::program::{Program, Tensor, Work};
use crate::device::cuda::{Address, Architecture, Launch, Located, Operands};
use crate::error::Result;
use crate::tensor::TensorId;
use std::ops::Range;

/// What one node becomes.
#[derive(Debug)]
pub(super) struct NodeLaunches {
    /// Copies of updates' bases: to, from, bytes.
    pub(super) copies: Vec<(Address, Address, usize)>,
    /// Kernels, in order.
    pub(super) kernels: Vec<Launch>,
    /// For a weight that arrives: its place in the arena.
    pub(super) arrival: Option<Range<usize>>,
}

/// The launches of every node; `locate` knows the addresses of tensors outside the arena.
pub(super) fn launches(
    planned: &Planned,
    arena: Address,
    architecture: Architecture,
    locate: impl Fn(&Tensor) -> Result<Address>,
) -> Result<Vec<NodeLaunches>> {
    let program = &planned.program;
    let place = |(tensor, offset): (&Tensor, &Option<usize>)| {
        let address = match offset {
            Some(offset) => arena + *offset as Address,
            None => locate(tensor)?,
        };
        Ok(Located { address, shape: tensor.shape.clone(), dtype: tensor.dtype })
    };
    let located: Vec<Located> =
        program.tensors.iter().zip(&planned.plan.offsets).map(place).collect::<Result<_>>()?;
    let node = |index: usize| node_launches(planned, index, &located, (arena, architecture));
    (0..program.nodes.len()).map(node).collect()
}

fn node_launches(
    planned: &Planned,
    index: usize,
    located: &[Located],
    (arena, architecture): (Address, Architecture),
) -> Result<NodeLaunches> {
    let program: &Program = &planned.program;
    let address = |id: TensorId| located[id.index()].address;
    let copies =
        planned.copies[index].iter().map(|&(from, to)| (address(to), address(from), program.bytes(to)));
    let (scratch, scratch_bytes) = planned.plan.workspaces[index];
    let workspace = (arena + scratch as Address, scratch_bytes);
    let (kernels, arrival) = match &program.nodes[index].work {
        Work::Launch(kernel) => (kernel.launches(&Operands::new(located, workspace, architecture))?, None),
        Work::WeightArrival { to, .. } => {
            let place = planned.place_of(*to)?;
            (Vec::new(), Some(place..place + program.bytes(*to)))
        }
    };
    Ok(NodeLaunches { copies: copies.collect(), kernels, arrival })
}
