//! Every kernel, at the doctor's cases: at the shapes of SD3.5 on a card, by the card's own events; on a machine
//! without one the processor's definitions at the small cases.
//!
//! `cargo bench --bench kernels -- attention` measures one family; `SARGENT_DEVICE` chooses the device.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sargent::device::{self, Choice, Device};
use sargent::doctor::check::Ready;
use sargent::doctor::{Scale, cases};
use std::time::Duration;

#[expect(clippy::print_stderr, reason = "a bench speaks to whoever runs it")]
fn kernels(criterion: &mut Criterion) {
    let wanted = std::env::var("SARGENT_DEVICE").unwrap_or_else(|_| "auto".to_owned());
    let wanted = wanted.parse::<Choice>().expect("SARGENT_DEVICE names a device");
    let (device, description) = device::choose(wanted).expect("the device is there");
    eprintln!("device: {description}");
    let scale = if matches!(device, Device::Cpu(_)) { Scale::Small } else { Scale::Real };
    for case in cases::all().into_iter().filter(|case| case.scale == scale) {
        let Ready { mut engine, planned, .. } = Ready::new(&case, &device).expect("the case can be run");
        let mut group = criterion.benchmark_group(case.kernel);
        let flops = planned.program.flops();
        group.throughput(Throughput::Elements(flops.max(1)));
        group.bench_function(&case.name, |bencher| {
            bencher.iter_custom(|runs| {
                let seconds = engine.time(&planned, runs as u32).expect("the case runs");
                Duration::from_secs_f64(seconds)
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = kernels
}
criterion_main!(benches);
