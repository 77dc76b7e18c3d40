//! The memory plan of random programs: nothing is overwritten while somebody needs it.

use super::values::normals;
use proptest::prelude::*;
use sargent::autograd::derive::derive;
use sargent::autograd::program::{Home, Work};
use sargent::autograd::recompute::{self, Recompute};
use sargent::autograd::run::Planned;
use sargent::autograd::{Engine, Persistent, Plan, Program, plan};
use sargent::device::Limits;
use sargent::device::cpu::{ALIGNMENT, Cpu};
use sargent::kernels::activation::Activation;
use sargent::kernels::attention::{Heads, Mask, Stream};
use sargent::kernels::gated_residual::Gate;
use sargent::kernels::linear::Base;
use sargent::ops;
use sargent::ops::linear::{Adapted, Layer, Lowered};
use sargent::tensor::TensorId;
use std::collections::HashMap;

const TOKENS: usize = 7;
const WIDTHS: [usize; 4] = [3, 12, 27, 48];
const RANK: usize = 4;

/// One op of a random program; operands are drawn from the tensors that there are.
#[derive(Debug, Clone, Copy)]
enum Step {
    Activate(usize),
    Add(usize, usize),
    Gate(usize, usize),
    Linear(usize, usize),
    Attention(usize),
    Output(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..1000usize;
    prop_oneof![
        any.clone().prop_map(Step::Activate),
        (any.clone(), any.clone()).prop_map(|(a, b)| Step::Add(a, b)),
        (any.clone(), any.clone()).prop_map(|(x, y)| Step::Gate(x, y)),
        (any.clone(), 0..WIDTHS.len()).prop_map(|(x, width)| Step::Linear(x, width)),
        any.clone().prop_map(Step::Attention),
        any.prop_map(Step::Output),
    ]
}

/// A random program in the making.
struct Growing {
    program: Program,
    made: Vec<TensorId>,
    inputs: Vec<TensorId>,
}

impl Growing {
    fn new() -> Self {
        let mut program = Program::new();
        let inputs: Vec<_> = WIDTHS.iter().map(|&width| program.input("input", [1, TOKENS, width])).collect();
        Self { program, made: inputs.clone(), inputs }
    }

    fn width(&self, id: TensorId) -> usize {
        self.program.tensors[id.index()].shape.columns()
    }

    /// The tensor that `draw` stands for, among those of `width` columns.
    fn pick(&self, draw: usize, width: Option<usize>) -> TensorId {
        let fitting: Vec<_> = self
            .made
            .iter()
            .copied()
            .filter(|&id| width.is_none_or(|width| self.width(id) == width))
            .collect();
        fitting[draw % fitting.len()]
    }

    fn input(&mut self, shape: &[usize]) -> TensorId {
        let id = self.program.input("input", shape);
        self.inputs.push(id);
        id
    }

    fn grow(&mut self, step: Step) {
        let made = match step {
            Step::Activate(x) => {
                let x = self.pick(x, None);
                ops::activation::activate(&mut self.program, "active", Activation::Silu, x).unwrap()
            }
            Step::Add(a, b) => {
                let a = self.pick(a, None);
                let b = self.pick(b, Some(self.width(a)));
                ops::activation::add(&mut self.program, "sum", a, b).unwrap()
            }
            Step::Gate(x, y) => {
                let x = self.pick(x, None);
                let y = self.pick(y, Some(self.width(x)));
                let gate = Gate { vectors: self.input(&[1, self.width(x)]), chunk: 0 };
                ops::modulation::gated_residual(&mut self.program, "gated", x, gate, y).unwrap()
            }
            Step::Linear(x, width) => self.linear(x, WIDTHS[width]),
            Step::Attention(x) => {
                let qkv = self.pick(x, None);
                let dim = self.width(qkv) / 3;
                let stream = Stream { qkv, q: Some(0), k: dim, v: 2 * dim };
                let heads = Heads { count: 1, dim, scale: 1.0 };
                ops::attention::attention(&mut self.program, "o", vec![stream], heads, Mask::None).unwrap()[0]
            }
            Step::Output(x) => {
                let x = self.pick(x, None);
                return self.program.output(x);
            }
        };
        // Heads of one column make widths that nothing else has.
        if WIDTHS.contains(&self.width(made)) {
            self.made.push(made);
        } else {
            self.program.output(made);
        }
        self.program.begin_block();
    }

    fn linear(&mut self, x: usize, outputs: usize) -> TensorId {
        let x = self.pick(x, None);
        let inputs = self.width(x);
        let weight = self.input(&[outputs, inputs]);
        let (a, b) = (self.input(&[RANK, inputs]), self.input(&[outputs, RANK]));
        let scale = self.input(&[outputs]);
        let lowered = Lowered::LowRank { a, b, scale: 0.5 };
        let adapted = vec![Adapted { columns: 0..outputs, index: 0, lowered, output_scale: Some(scale) }];
        let base = Base { weight, rows: 0..outputs, bias: None };
        let layer = Layer { base, adapted, dropout: None };
        ops::linear::linear(&mut self.program, "y", x, &layer).unwrap()
    }

    /// The derivative from the last tensor to all inputs, under a policy.
    fn backward(&mut self, policy: Recompute) {
        let Some(&end) = self.made.last() else { return };
        self.program.output(end);
        let seed = self.input(&[1, TOKENS, self.width(end)]);
        let wanted = self.inputs.clone();
        derive(&mut self.program, &[(end, seed)], &[], &wanted, ops::derivative).unwrap();
        recompute::apply(&mut self.program, policy);
    }
}

/// Who wrote each line of the arena last.
struct Shadow<'a> {
    program: &'a Program,
    plan: &'a Plan,
    owners: HashMap<usize, Option<TensorId>>,
}

impl Shadow<'_> {
    fn lines(&self, offset: usize, bytes: usize) -> std::ops::Range<usize> {
        offset / ALIGNMENT..(offset + bytes).div_ceil(ALIGNMENT)
    }

    fn lines_of(&self, id: TensorId) -> Option<std::ops::Range<usize>> {
        let offset = self.plan.offsets[id.index()]?;
        assert_eq!(offset % ALIGNMENT, 0, "tensors start on a line");
        assert!(offset + self.program.bytes(id) <= self.plan.bytes, "tensors end within the arena");
        Some(self.lines(offset, self.program.bytes(id)))
    }

    fn write(&mut self, id: TensorId) {
        let lines = self.lines_of(id).into_iter().flatten();
        self.owners.extend(lines.map(|line| (line, Some(id))));
    }

    fn expect(&self, id: TensorId, node: usize) {
        for line in self.lines_of(id).into_iter().flatten() {
            let owner = self.owners.get(&line).copied().flatten();
            assert_eq!(
                owner,
                Some(id),
                "node {node} finds something else in {}",
                self.program.tensors[id.index()].name
            );
        }
    }

    /// Walks the program as the engine does.
    fn walk(mut self) {
        let inputs = |program: &Program| -> Vec<TensorId> {
            let ids = (0..program.tensors.len() as u32).map(TensorId);
            ids.filter(|id| program.tensors[id.index()].home == Home::Input).collect()
        };
        inputs(self.program).into_iter().for_each(|id| self.write(id));
        for (index, node) in self.program.nodes.iter().enumerate() {
            let Work::Launch(kernel) = &node.work else { continue };
            let reads = node.work.reads();
            reads.iter().for_each(|&id| self.expect(id, index));
            let (offset, bytes) = self.plan.workspaces[index];
            assert!(offset + bytes <= self.plan.bytes, "scratch memory ends within the arena");
            let scratch = self.lines(offset, bytes);
            self.owners.extend(scratch.map(|line| (line, None)));
            reads.iter().for_each(|&id| self.expect(id, index));
            node.work.writes().into_iter().for_each(|id| self.write(id));
            // Only the base of an update may be gone, where the update took its place.
            let replaced = |id: TensorId| {
                let place = self.plan.offsets[id.index()];
                kernel
                    .updates()
                    .iter()
                    .any(|u| u.from == Some(id) && self.plan.offsets[u.to.index()] == place)
            };
            reads.iter().filter(|&&id| !replaced(id)).for_each(|&id| self.expect(id, index));
            node.work.writes().into_iter().for_each(|id| self.expect(id, index));
        }
        let end = self.program.nodes.len();
        inputs(self.program)
            .into_iter()
            .chain(self.program.outputs.iter().copied())
            .for_each(|id| self.expect(id, end));
    }
}

/// A plan in which nothing shares anything.
fn apart(program: &Program, planned: &Plan) -> Plan {
    let mut end = 0;
    let mut take = |bytes: usize| {
        let start = end;
        end += bytes.next_multiple_of(ALIGNMENT);
        start
    };
    let ids = (0..program.tensors.len() as u32).map(TensorId);
    let offsets = ids.map(|id| program.in_arena(id).then(|| take(program.bytes(id)))).collect();
    let workspaces = planned.workspaces.iter().map(|&(_, bytes)| (take(bytes), bytes)).collect();
    Plan { offsets, workspaces, bytes: end, ..planned.clone() }
}

/// The bits of all outputs after a run.
fn outputs(planned: &Planned) -> Vec<u32> {
    let mut engine = Engine::new(Cpu::new(), planned.plan.bytes, Persistent::new(1)).unwrap();
    for (index, tensor) in planned.program.tensors.iter().enumerate() {
        if tensor.home == Home::Input {
            let values = normals(&format!("input {index}"), tensor.shape.elements());
            engine.write(planned, TensorId(index as u32), &values).unwrap();
        }
    }
    engine.run(planned).unwrap();
    let outputs = planned.program.outputs.iter();
    outputs
        .flat_map(|&id| engine.read(planned, id).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        .collect()
}

/// The end of what is used.
fn used_end(program: &Program, plan: &Plan) -> usize {
    let ids = (0..program.tensors.len() as u32).map(TensorId);
    let tensors = ids.filter_map(|id| Some(plan.offsets[id.index()]? + program.bytes(id)));
    let scratch =
        plan.workspaces.iter().filter(|(_, bytes)| *bytes > 0).map(|(offset, bytes)| offset + bytes);
    tensors.chain(scratch).map(|end| end.next_multiple_of(ALIGNMENT)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_overwritten_while_somebody_needs_it(
        steps in prop::collection::vec(step(), 1..24),
        policy in prop::sample::select(Recompute::ALL.to_vec()),
        backward in any::<bool>(),
    ) {
        let mut growing = Growing::new();
        steps.into_iter().for_each(|step| growing.grow(step));
        if backward {
            growing.backward(policy);
        }
        let program = growing.program;
        let limits: Limits = Cpu::new().limits();
        let plan = plan(&program, &limits);
        prop_assert_eq!(used_end(&program, &plan), plan.bytes);
        prop_assert!(plan.tensor_peak <= plan.bytes && plan.workspace_peak <= plan.bytes);
        Shadow { program: &program, plan: &plan, owners: HashMap::new() }.walk();
        let apart = apart(&program, &plan);
        let shared = outputs(&Planned::with_plan(program.clone(), plan));
        prop_assert!(shared == outputs(&Planned::with_plan(program, apart)), "sharing memory changes results");
    }
}
