//! What the backward pass keeps of f32 activations: copies in bf16.
//!
//! The residual stream is f32 while the forward pass adds to it, since every rounding of it would stay in it to the
//! end. What waits for the backward pass, and for what is made again there, waits as a bf16 copy: half the memory, and
//! the stream itself can be added to in place.

use crate::autograd::program::{Home, Node, Program, Queue, Work};
use crate::autograd::recompute::rename_reads;
use crate::kernels::cast::Cast;
use crate::tensor::{DType, TensorId};

/// Gives every f32 tensor of the forward pass a bf16 copy where the backward pass reads it, but for those of its
/// kernels that name it as exact.
pub fn halve(program: &mut Program) {
    let forward = program.forward_nodes;
    let mut casts = Vec::new();
    for id in (0..program.tensors.len()).map(|index| TensorId(index as u32)) {
        if !program.tensors[id.index()].exact || !program.in_arena(id) {
            continue;
        }
        let made_by = program.nodes[..forward].iter().rposition(|node| node.work.writes().contains(&id));
        let is_input = program.tensors[id.index()].home == Home::Input;
        let readers = readers_of_half(&program.nodes[forward..], id);
        if readers.is_empty() || (made_by.is_none() && !is_input) {
            continue;
        }
        let tensor = &program.tensors[id.index()];
        let (name, shape) = (format!("{} kept", tensor.name), tensor.shape.clone());
        let copy = program.add(name, shape, DType::F32, Home::Arena);
        for reader in readers {
            rename_reads(&mut program.nodes[forward + reader].work, |read| if read == id { copy } else { read });
        }
        let block = made_by.map_or(0, |node| program.nodes[node].block);
        let work = Work::Launch(Cast { x: id, y: copy }.into());
        casts.push((made_by.map_or(0, |node| node + 1), Node { work, queue: Queue::Compute, block }));
    }
    insert(program, casts);
}

/// The nodes that read `id` and can read it in bf16.
fn readers_of_half(nodes: &[Node], id: TensorId) -> Vec<usize> {
    let reads = |node: &Node| node.work.reads().contains(&id) && !node.work.exact().contains(&id);
    (0..nodes.len()).filter(|&index| reads(&nodes[index])).collect()
}

/// Inserts nodes of the forward pass, each before the node whose number stands with it.
fn insert(program: &mut Program, mut nodes: Vec<(usize, Node)>) {
    program.forward_nodes += nodes.len();
    nodes.sort_by_key(|(at, _)| *at);
    for (at, node) in nodes.into_iter().rev() {
        program.nodes.insert(at, node);
    }
}
