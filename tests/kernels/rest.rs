//! What bf16 leaves of f32 adapters: where it is kept, and which forms of adapters have it.

use crate::device;
use sargent::autograd::lower::lower;
use sargent::autograd::persistent::Flat;
use sargent::autograd::program::Work;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::kernels::adamw::{AdamW, AdamWSettings, Form};
use sargent::kernels::linear::{Base, Change, Epilogue, Linear, Term};
use sargent::kernels::low_rank::{Down, LowRankDown};
use sargent::kernels::step_state;
use sargent::kernels::{Kernel, Update};
use sargent::random::{Purpose, Stream};

const ELEMENTS: usize = 300;

/// Asserts that the parameters are the sum of their working copy and its rest, as far as two of bf16 hold an f32.
fn assert_whole(engine: &Engine) {
    let flat = |flat: Flat| engine.flat(flat).unwrap().unwrap();
    let (parameters, working, rest) = (flat(Flat::Parameters), flat(Flat::Working), flat(Flat::Rest));
    assert!(rest.iter().any(|&rest| rest != 0.0));
    for ((parameter, working), rest) in parameters.iter().zip(working).zip(rest) {
        let off = (parameter - (working + rest)).abs();
        assert!(off <= parameter.abs() * 2f32.powi(-16), "{parameter} is not {working} + {rest}");
    }
}

#[test]
fn parameters_are_the_working_copy_and_its_rest() {
    let mut layout = Persistent::with_states(1, Form::F32, false);
    layout.add("parameter", [ELEMENTS]);
    let mut program = Program::new();
    let state = layout.step_state(&mut program, 1);
    let flat = |program: &mut Program, flat: Flat| layout.flat(program, flat).unwrap();
    let in_place = |id| Update { from: Some(id), to: id };
    let node = AdamW {
        settings: AdamWSettings {
            form: Form::F32,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
        },
        state,
        gradients: flat(&mut program, Flat::Gradients),
        parameters: in_place(flat(&mut program, Flat::Parameters)),
        moment1: in_place(flat(&mut program, Flat::Moment1)),
        moment2: in_place(flat(&mut program, Flat::Moment2)),
        working: None,
        rest: None,
    };
    program.launch(node).unwrap();

    let mut engine = Engine::new(device(), 0, layout).unwrap();
    let planned = engine.plan(program).unwrap();
    engine.reserve(&planned).unwrap();
    let mut values = vec![0.0; ELEMENTS];
    Stream::new(1, Purpose::Noise, 0, 0, 0).fill_normal(&mut values);
    engine.set_flat(Flat::Parameters, 0, &values).unwrap();
    engine.set_flat(Flat::Gradients, 0, &values).unwrap();
    assert_whole(&engine);

    let change = |state: &mut [f32]| {
        let header = step_state::header_mut(state);
        (header.learning_rate, header.clip_factor) = (1e-2, 1.0);
        (header.bias_correction1, header.bias_correction2) = (0.1, 1e-3);
    };
    engine.change_step_state(1, change).unwrap();
    engine.run(&planned).unwrap();
    assert_ne!(engine.parameter("parameter", Flat::Parameters).unwrap().unwrap(), values);
    assert_whole(&engine);
}

/// How many adapters the two kernels of a layer with one adapter have on a card.
fn addends(form: Form) -> [usize; 2] {
    let mut layout = Persistent::with_states(1, form, false);
    layout.add("A", [4, 64]);
    layout.add("B", [32, 4]);
    let mut program = Program::new();
    let (x, weight) = (program.input("x", [1, 8, 64]), program.input("w", [32, 64]));
    let (hidden, y) = (program.activation("h", [1, 8, 4]), program.activation("y", [1, 8, 32]));
    let [a, b] = ["A", "B"].map(|name| layout.tensor(&mut program, name, Flat::Parameters).unwrap());
    let downs = vec![Down { a, hidden: 0..4, adapter: 0 }];
    program.launch(LowRankDown { downs, dropout: None, x, hidden }).unwrap();
    let change = Change::LowRank { hidden: 0..4, b, scale: 0.5 };
    let terms = vec![Term { columns: 0..32, change, output_scale: None }];
    let base = Base { weight, rows: 0..32, bias: None };
    program.launch(Linear { base, terms, x, hidden: Some(hidden), y, epilogue: Epilogue::None }).unwrap();
    program.output(y);
    lower(&mut program, &device().limits().unwrap());
    let mut found = [0; 2];
    for node in &program.nodes {
        match &node.work {
            Work::Launch(Kernel::LowRankDown(node)) => found[0] += node.downs.len(),
            Work::Launch(Kernel::Linear(node)) => found[1] += node.terms.len(),
            _ => {}
        }
    }
    found
}

#[test]
fn adapters_in_f32_are_read_with_their_rest() {
    assert_eq!(addends(Form::F32), [2, 2]);
    assert_eq!(addends(Form::Bf16), [1, 1]);
    assert_eq!(addends(Form::Block8), [1, 1]);
}
