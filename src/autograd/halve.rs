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
        let readers = readers_of_half(&program.nodes[forward..], id);
        if readers.is_empty() {
            continue;
        }
        let made_by = program.nodes[..forward].iter().rposition(|node| node.work.writes().contains(&id));
        if made_by.is_none() && program.tensors[id.index()].home != Home::Input {
            continue;
        }
        let tensor = &program.tensors[id.index()];
        let (name, shape) = (format!("{} kept", tensor.name), tensor.shape.clone());
        let copy = program.add(name, shape, DType::F32, Home::Arena);
        let renamed = |read| if read == id { copy } else { read };
        for reader in readers {
            rename_reads(&mut program.nodes[forward + reader].work, renamed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::derive::derive;
    use crate::autograd::recompute::{self, Recompute};
    use crate::autograd::{Engine, Persistent, Retention};
    use crate::device::cpu::Cpu;
    use crate::kernels::Kernel;
    use crate::kernels::gated_residual::Gate;
    use crate::kernels::layer_norm::Modulation;
    use crate::ops;
    use crate::ops::modulation::{gated_residual, layer_norm_modulate};
    use crate::random::{Purpose, Stream};

    /// A stream that a norm is added to, with the gradient back to where it began.
    fn program(policy: Recompute) -> (Program, [TensorId; 2]) {
        let mut program = Program::new();
        let begin = program.input("begin", [2, 3, 8]);
        program.mark_exact(begin);
        let (vectors, seed) = (program.input("vectors", [2, 24]), program.input("seed", [2, 3, 8]));
        let mut stream = begin;
        for block in 0..2 {
            program.begin_block();
            program.retain(stream, Retention::Always);
            let modulation = Modulation { vectors, shift: 0, scale: 1 };
            let y = layer_norm_modulate(&mut program, &format!("norm {block}"), stream, modulation).unwrap();
            let gate = Gate { vectors, chunk: 2 };
            stream = gated_residual(&mut program, &format!("stream {block}"), stream, gate, y).unwrap();
        }
        program.output(stream);
        let gradients = derive(&mut program, &[(stream, seed)], &[], &[begin], ops::derivative).unwrap();
        recompute::apply(&mut program, policy);
        (program, [stream, gradients[0].unwrap()])
    }

    fn run(program: Program, outputs: [TensorId; 2]) -> [Vec<f32>; 2] {
        let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
        let planned = engine.plan(program).unwrap();
        engine.reserve(&planned).unwrap();
        for (index, tensor) in planned.program.tensors.iter().enumerate() {
            if tensor.home == Home::Input {
                let mut values = vec![0.0; tensor.shape.elements()];
                Stream::new(1, Purpose::Noise, index as u32, 0, 0).fill_normal(&mut values);
                engine.write(&planned, TensorId(index as u32), &values).unwrap();
            }
        }
        engine.run(&planned).unwrap();
        outputs.map(|id| engine.read(&planned, id).unwrap())
    }

    #[test]
    fn only_what_waits_for_the_backward_pass_is_halved() {
        for policy in Recompute::ALL {
            let (mut program, outputs) = program(policy);
            let whole = program.clone();
            halve(&mut program);
            let casts =
                program.nodes.iter().filter(|node| matches!(&node.work, Work::Launch(Kernel::Cast(_))));
            assert_eq!(casts.count(), 2, "{policy:?}: the input of each block");
            for (index, node) in program.nodes.iter().enumerate() {
                let is_cast = matches!(&node.work, Work::Launch(Kernel::Cast(_)));
                let exact = node.work.reads().into_iter().filter(|id| program.tensors[id.index()].exact);
                let in_forward = index < program.forward_nodes;
                assert!(in_forward || exact.count() == 0, "{policy:?}: node {index} reads f32");
                assert!(in_forward || !is_cast);
            }
            assert_eq!(
                run(program, outputs),
                run(whole, outputs),
                "{policy:?}: f32 is halved without a loss"
            );
        }
    }
}
