//! A whole training step of the bundled miniature model: batch 4, 128 x 128, rank 16 on the eight attention
//! projections, T5 length 77, as in the demo.

use criterion::{Criterion, criterion_group, criterion_main};
use sargent::autograd::recompute::Recompute;
use sargent::autograd::{Engine, Persistent};
use sargent::device::cpu::Cpu;
use sargent::kernels::adamw::{AdamWSettings, Form};
use sargent::kernels::step_state;
use sargent::models::adapter::{Adapters, Targets, select};
use sargent::models::mmdit::MmditConfig;
use sargent::models::weight_source::ModelWeights;
use sargent::random::{Purpose, Stream};
use sargent::train::optimize;
use sargent::train::step::{self, StepModel, StepShape};
use sargent::weights::open_mmdit;
use std::hint::black_box;
use std::path::Path;

const BATCH: usize = 4;
const RANK: usize = 16;

fn normals(lane: u32, elements: usize) -> Vec<f32> {
    let mut values = vec![0.0; elements];
    Stream::new(1, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
    values
}

#[expect(clippy::print_stderr, reason = "a bench speaks to whoever runs it")]
fn miniature(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35/transformer");
    let weights = open_mmdit(&folder).expect("the bundled model opens");
    let config = MmditConfig::from_weights(&weights).expect("the bundled model is an MMDiT");
    let modules = select(&config, &Targets::Diffusers).expect("it has attention");
    let adapters = Adapters::new(modules, RANK, RANK as f64, 0.0);
    let mut persistent = Persistent::with_states(BATCH, Form::F32, false);
    adapters.declare(&mut persistent);
    let model = StepModel {
        config: &config,
        adapters: &adapters,
        persistent: &persistent,
        latent_scaling: (0.0, 1.0),
    };
    let shape = StepShape { batch: BATCH, width: 128, height: 128, text_tokens: 154, keeps_the_model: false };
    for policy in Recompute::ALL {
        let (program, inputs) = step::record(&model, &shape, policy).expect("a step is recorded");
        let flops = program.flops();
        let mut engine = Engine::new(Cpu::new(), 0, persistent.clone()).expect("there is memory");
        let planned = engine.plan(program).expect("it can be planned");
        let settings =
            AdamWSettings { form: Form::F32, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0 };
        let update = engine
            .plan(optimize::record(&persistent, settings, false).expect("an update is recorded"))
            .expect("it can be planned");
        engine.reserve(&planned).expect("there is memory");
        engine.load_weights(&planned.program, &ModelWeights(&weights)).expect("weights are read");
        let all = [inputs.mean, inputs.logvar, inputs.prompt_embeds, inputs.positions];
        for (lane, id) in (0..).zip(all.into_iter().chain(inputs.modulation.all())) {
            let elements = planned.program.tensors[id.index()].shape.elements();
            engine.write(&planned, id, &normals(lane, elements)).expect("inputs are written");
        }
        let even = |state: &mut [f32]| {
            step_state::header_mut(state).sample_weight = 0.25;
            step_state::samples_mut(state).iter_mut().for_each(|s| (s.sigma, s.loss_weight) = (0.5, 1.0));
        };
        engine.change_step_state(BATCH, even).expect("the step state is written");
        let name = format!("step/miniature.b{BATCH}/{}", policy.name());
        let gigaflop = flops as f64 / 1e9;
        eprintln!("{name}: {gigaflop:.2} GFLOP, {} bytes of arena", planned.plan.bytes);
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| {
                engine.run(black_box(&planned)).expect("the step runs");
                engine.run(&update).expect("the update runs");
            });
        });
    }
}

criterion_group! {
    name = steps;
    config = Criterion::default().sample_size(20);
    targets = miniature
}
criterion_main!(steps);
