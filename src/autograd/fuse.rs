//! Fusing: launches that a device does better as one.
//!
//! A linear layer takes the activation, the gated residual or the QK norm that follows it as its epilogue, and its dX
//! takes the adapters' side of dX along. A fused node stands where the later of the two stood. Values do not change
//! but for roundings that are no longer made in between.

use crate::autograd::program::{Home, Node, Program, Work};
use crate::kernels::linear::{Epilogue, Linear, LinearInputGradient};
use crate::kernels::low_rank::{LowRankInputGradient, LowRankSide};
use crate::kernels::{Kernel, Shapes, Update};
use crate::tensor::TensorId;

/// Fuses what can be fused.
pub fn fuse(program: &mut Program) {
    let readers = readers(program);
    let mut nodes: Vec<Option<Node>> = program.nodes.iter().cloned().map(Some).collect();
    let mut removed_forward = 0;
    for first in 0..nodes.len() {
        let Some(made) = made_by(&nodes[first]) else { continue };
        // Whoever reads it first has it as a part of itself; those after that find it written.
        let Some(&second) = readers[made.index()].first() else { continue };
        let alone = readers[made.index()].len() == 1 && !program.outputs.contains(&made);
        if program.tensors[made.index()].home != Home::Arena {
            continue;
        }
        let fused = nodes[first].as_ref().zip(nodes[second].as_ref()).and_then(|(first, second)| {
            let kernel = fused(first, second, alone, program)?;
            Some(Node { work: Work::Launch(kernel), ..second.clone() })
        });
        if let Some(fused) = fused {
            nodes[second] = Some(fused);
            nodes[first] = None;
            removed_forward += usize::from(first < program.forward_nodes);
        }
    }
    program.nodes = nodes.into_iter().flatten().collect();
    program.forward_nodes -= removed_forward;
}

/// For every tensor, the nodes that read it, in order.
fn readers(program: &Program) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); program.tensors.len()];
    for (index, node) in program.nodes.iter().enumerate() {
        for id in node.work.reads() {
            if readers[id.index()].last() != Some(&index) {
                readers[id.index()].push(index);
            }
        }
    }
    readers
}

/// What a node makes that a later one might take over.
fn made_by(node: &Option<Node>) -> Option<TensorId> {
    match &node.as_ref()?.work {
        Work::Launch(Kernel::Linear(linear)) if matches!(linear.epilogue, Epilogue::None) => Some(linear.y),
        Work::Launch(Kernel::LinearInputGradient(gradient)) if gradient.low_rank.is_none() => {
            Some(gradient.dx.to)
        }
        _ => None,
    }
}

/// The two as one, if they can be.
fn fused(first: &Node, second: &Node, alone: bool, program: &Program) -> Option<Kernel> {
    let (Work::Launch(first), Work::Launch(second)) = (&first.work, &second.work) else { return None };
    match first {
        Kernel::Linear(linear) => {
            let epilogue = epilogue(linear, second, !alone, program)?;
            Some(Linear { epilogue, ..linear.clone() }.into())
        }
        Kernel::LinearInputGradient(gradient) if alone => with_low_rank(gradient, second),
        _ => None,
    }
}

fn epilogue(linear: &Linear, second: &Kernel, keeps_y: bool, program: &Program) -> Option<Epilogue> {
    let exact = program.tensors[linear.x.index()].exact;
    if exact && (keeps_y || !matches!(second, Kernel::Activate(_))) {
        // A layer of f32 activations takes nothing along but an activation.
        return None;
    }
    match second {
        Kernel::Activate(node) if node.x == linear.y => {
            Some(Epilogue::Activate { activation: node.activation, to: node.y, keeps_y })
        }
        Kernel::GatedResidual(node) if node.y == linear.y && node.x.from.is_some_and(|x| x != linear.y) => {
            Some(Epilogue::GatedResidual { gate: node.gate, x: node.x, keeps_y })
        }
        Kernel::QkNorm(node) if node.qkv.from == Some(linear.y) => {
            let fits = node
                .parts
                .iter()
                .all(|part| Epilogue::can_normalise(part.first, program.shape(part.weight).elements()));
            let (parts, heads, to) = (node.parts.clone(), node.heads, node.qkv.to);
            fits.then_some(Epilogue::QkNorm { parts, heads, to, keeps_y })
        }
        _ => None,
    }
}

fn with_low_rank(gradient: &LinearInputGradient, second: &Kernel) -> Option<Kernel> {
    let Kernel::LowRankInputGradient(LowRankInputGradient { downs, dropout: None, dhidden, dx }) = second
    else {
        return None;
    };
    if dx.from != Some(gradient.dx.to) {
        return None;
    }
    let side = LowRankSide { downs: downs.clone(), dropout: None, dhidden: *dhidden };
    let dx = Update { from: gradient.dx.from, to: dx.to };
    Some(LinearInputGradient { low_rank: Some(side), dx, ..gradient.clone() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::recompute::{self, Recompute};
    use crate::autograd::{Engine, Persistent};
    use crate::device::cpu::Cpu;
    use crate::kernels::activation::Activation;
    use crate::ops;
    use crate::ops::linear::{Adapted, Layer, Lowered};
    use crate::random::{Purpose, Stream};

    fn count(program: &Program, name: &str) -> usize {
        let is_it = |node: &&Node| matches!(&node.work, Work::Launch(kernel) if kernel.name() == name);
        program.nodes.iter().filter(is_it).count()
    }

    /// An adapted layer, an activation, a second layer, and the backward pass to the adapter and the input.
    fn program(policy: Recompute) -> (Program, Vec<TensorId>) {
        let mut program = Program::new();
        let x = program.input("x", [2, 5, 8]);
        let seed = program.input("seed", [2, 5, 8]);
        let layer = |program: &mut Program, outputs: usize, inputs: usize, index: u32| Layer {
            base: crate::kernels::linear::Base {
                weight: program.input("w", [outputs, inputs]),
                rows: 0..outputs,
                bias: Some(program.input("b", [outputs])),
            },
            adapted: vec![Adapted {
                columns: 0..outputs,
                index,
                lowered: Lowered::LowRank {
                    a: program.input("A", [3, inputs]),
                    b: program.input("B", [outputs, 3]),
                    scale: 0.5,
                },
                output_scale: None,
            }],
            dropout: None,
        };
        let (up, down) = (layer(&mut program, 12, 8, 0), layer(&mut program, 8, 12, 1));
        let hidden = ops::linear::linear(&mut program, "up", x, &up).unwrap();
        let active = ops::activation::activate(&mut program, "gelu", Activation::GeluTanh, hidden).unwrap();
        let y = ops::linear::linear(&mut program, "down", active, &down).unwrap();
        program.output(y);
        let Lowered::LowRank { a, .. } = up.adapted[0].lowered else { unreachable!() };
        let gradients =
            crate::autograd::derive::derive(&mut program, &[(y, seed)], &[], &[x, a], ops::derivative);
        let outputs = gradients.unwrap().into_iter().flatten().chain([y]).collect();
        recompute::apply(&mut program, policy);
        (program, outputs)
    }

    fn run(program: Program, outputs: &[TensorId]) -> Vec<Vec<f32>> {
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
        outputs.iter().map(|&id| engine.read(&planned, id).unwrap()).collect()
    }

    #[test]
    fn a_fused_program_is_shorter_and_computes_the_same() {
        for policy in Recompute::ALL {
            let (program, outputs) = program(policy);
            let mut fused = program.clone();
            fuse(&mut fused);
            assert!(fused.nodes.len() < program.nodes.len());
            assert_eq!(count(&fused, "Activate"), 0, "{policy:?}: a layer takes its activation along");
            assert_eq!(count(&fused, "LowRankInputGradient"), 0, "{policy:?}");
            for (fused, apart) in run(fused, &outputs).iter().zip(run(program, &outputs)) {
                for (fused, apart) in fused.iter().zip(apart) {
                    assert!((fused - apart).abs() <= 1e-5 * apart.abs().max(1.0), "{policy:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_read_from_outside_is_written() {
        let mut program = Program::new();
        let (x, weight) = (program.input("x", [1, 4, 8]), program.input("w", [8, 8]));
        let base = crate::kernels::linear::Base { weight, rows: 0..8, bias: None };
        let layer = Layer { base, adapted: Vec::new(), dropout: None };
        let y = ops::linear::linear(&mut program, "y", x, &layer).unwrap();
        let z = ops::activation::activate(&mut program, "z", Activation::Silu, y).unwrap();
        program.output(y);
        program.output(z);
        let apart = run(program.clone(), &[y, z]);
        fuse(&mut program);
        assert_eq!(program.nodes.len(), 1);
        assert_eq!(run(program, &[y, z]), apart);
    }
}
