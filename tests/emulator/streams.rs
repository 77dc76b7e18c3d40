//! Streams are ordered by events alone; graphs do what was captured.

use crate::bench::{Bench, Params, counting};
use sargent::device::cuda::{Address, DeviceMemory, Gpu, Launch, Parameters, Stream};

/// Reverses x into y on one stream, copies y to z on another, with or without an event between; z is right?
fn second_stream_sees_the_first(seed: u64, with_event: bool) -> bool {
    let bench = Bench::plain(seed);
    let (x, y, z) = (bench.buffer(&counting(256)), bench.buffer(&[0f32; 256]), bench.buffer(&[0f32; 256]));
    let other = bench.gpu.create_stream().expect("a stream");
    reverse(&*bench.gpu, bench.stream, &x, &y);
    if with_event {
        let event = bench.gpu.create_event().expect("an event");
        bench.gpu.record(event, bench.stream).expect("it is recorded");
        bench.gpu.wait(other, event).expect("it is waited for");
    }
    // SAFETY: both buffers live until `read` has synchronised.
    unsafe { bench.gpu.copy(z.address(), y.address(), 1024, other) }.expect("a copy");
    bench.gpu.synchronize(other).expect("the copy is done");
    bench.read::<f32>(&z) == counting(256).into_iter().rev().collect::<Vec<_>>()
}

fn reverse(gpu: &dyn Gpu, stream: Stream, x: &DeviceMemory, y: &DeviceMemory) {
    let addresses: (Address, Address) = (x.address(), y.address());
    let params = Params { x: addresses.0, y: addresses.1, ..Params::new() };
    let parameters = Parameters::new(&params);
    let launch =
        Launch { kernel: "test_reverse", grid: [1, 1, 1], threads: 256, shared_bytes: 0, parameters };
    // SAFETY: the tests keep both buffers until they have synchronised.
    unsafe { gpu.launch(&launch, stream) }.expect("a launch");
}

#[test]
fn a_missing_event_shows_on_some_seed() {
    let right = (0..16).filter(|&seed| second_stream_sees_the_first(seed, false)).count();
    assert!(right < 16, "every seed hides it");
    assert!(right > 0, "streams are drawn");
}

#[test]
fn an_event_orders_streams_on_every_seed() {
    assert!((0..16).all(|seed| second_stream_sees_the_first(seed, true)));
}

#[test]
fn a_graph_does_what_was_captured_when_it_is_replayed() {
    let bench = Bench::plain(0);
    let (x, y) = (bench.buffer(&counting(256)), bench.buffer(&[0f32; 256]));
    bench.gpu.begin_capture(bench.stream).expect("a capture");
    reverse(&*bench.gpu, bench.stream, &x, &y);
    // SAFETY: both buffers live to the end of the test.
    unsafe { bench.gpu.copy(x.address(), y.address(), 1024, bench.stream) }.expect("a copy");
    let graph = bench.gpu.end_capture(bench.stream).expect("a graph");
    assert_eq!(bench.read::<f32>(&y), [0.0; 256], "nothing was done yet");
    let descending: Vec<f32> = counting(256).into_iter().rev().collect();
    for expected in [descending.clone(), counting(256), descending] {
        // SAFETY: as above.
        unsafe { bench.gpu.replay(graph, bench.stream) }.expect("a replay");
        assert_eq!(bench.read::<f32>(&x), expected);
    }
}
