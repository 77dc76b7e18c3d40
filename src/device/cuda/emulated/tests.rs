use super::*;
use crate::device::cuda::{DeviceMemory, Parameters};

const MIB: u64 = 1 << 20;

fn card(seed: u64) -> Arc<dyn Gpu> {
    let architecture = Architecture { compute: 80, multiprocessors: 4, shared_memory: 99 << 10 };
    Emulated::with_memory(architecture, MIB, seed)
}

fn launch(threads: u32, grid: [u32; 3], shared_bytes: u32) -> Launch {
    Launch { kernel: "no_such_kernel", grid, threads, shared_bytes, parameters: Parameters::new(&0u32) }
}

#[test]
fn nothing_is_done_before_somebody_waits() {
    let gpu = card(0);
    let (stream, memory) = (gpu.create_stream().unwrap(), DeviceMemory::new(&gpu, 4).unwrap());
    let mut seen = [0u8; 4];
    // SAFETY: all memory lives until the stream was waited for.
    unsafe {
        gpu.fill(memory.address(), 7, 4, stream).unwrap();
        gpu.download(seen.as_mut_ptr(), memory.address(), 4, stream).unwrap();
    }
    assert_eq!(seen, [0; 4]);
    gpu.synchronize(stream).unwrap();
    assert_eq!(seen, [7; 4]);
}

#[test]
fn fresh_memory_is_not_a_number() {
    let gpu = card(0);
    let (stream, memory) = (gpu.create_stream().unwrap(), DeviceMemory::new(&gpu, 64).unwrap());
    let mut seen = [0f32; 16];
    // SAFETY: as above.
    unsafe { gpu.download(seen.as_mut_ptr().cast(), memory.address(), 64, stream).unwrap() };
    gpu.synchronize(stream).unwrap();
    assert!(seen.iter().all(|value| value.is_nan()));
}

/// What a copy on one stream finds of a fill on another one, with or without an event between them.
fn found_across_streams(seed: u64, ordered: bool) -> u8 {
    let gpu = card(seed);
    let [fill, read] = [(); 2].map(|()| gpu.create_stream().unwrap());
    let (memory, event) = (DeviceMemory::new(&gpu, 1).unwrap(), gpu.create_event().unwrap());
    let mut found = 0;
    // SAFETY: as above.
    unsafe {
        gpu.fill(memory.address(), 7, 1, fill).unwrap();
        if ordered {
            gpu.record(event, fill).unwrap();
            gpu.wait(read, event).unwrap();
        }
        gpu.download(&mut found, memory.address(), 1, read).unwrap();
    }
    gpu.synchronize(read).unwrap();
    gpu.synchronize(fill).unwrap();
    found
}

#[test]
fn a_missing_event_shows() {
    assert!((0..16).all(|seed| found_across_streams(seed, true) == 7));
    assert!((0..16).any(|seed| found_across_streams(seed, false) != 7));
}

#[test]
fn a_graph_is_done_when_it_is_replayed_as_often_as_it_is_replayed() {
    let gpu = card(1);
    let stream = gpu.create_stream().unwrap();
    let [from, to] = [(); 2].map(|()| DeviceMemory::new(&gpu, 1).unwrap());
    let mut found = 0;
    // SAFETY: as above.
    unsafe {
        gpu.fill(to.address(), 0, 1, stream).unwrap();
        gpu.begin_capture(stream).unwrap();
        gpu.copy(to.address(), from.address(), 1, stream).unwrap();
        assert!(gpu.synchronize(stream).is_err(), "a captured stream cannot be waited for");
        let graph = gpu.end_capture(stream).unwrap();
        for (value, replays) in [(5, false), (6, true), (7, true)] {
            gpu.fill(from.address(), value, 1, stream).unwrap();
            if replays {
                gpu.replay(graph, stream).unwrap();
            }
            gpu.download(&mut found, to.address(), 1, stream).unwrap();
            gpu.synchronize(stream).unwrap();
            assert_eq!(found, if replays { value } else { 0 });
        }
    }
}

#[test]
fn elapsed_waits_for_both_events() {
    let gpu = card(0);
    let stream = gpu.create_stream().unwrap();
    let [start, end] = [(); 2].map(|()| gpu.create_event().unwrap());
    assert!(gpu.elapsed(start, end).is_err(), "never recorded");
    gpu.record(start, stream).unwrap();
    gpu.record(end, stream).unwrap();
    assert!(gpu.elapsed(start, end).unwrap() >= 0.0);
}

#[test]
fn memory_runs_out_and_comes_back() {
    let gpu = card(0);
    let all = DeviceMemory::new(&gpu, MIB as usize - 300).unwrap();
    assert_eq!(gpu.free_memory().unwrap(), 256);
    let error = DeviceMemory::new(&gpu, 257).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Device);
    assert_eq!(error.cause, "257 bytes were asked for, 256 are free");
    drop(all);
    assert_eq!(gpu.free_memory().unwrap(), MIB);
    DeviceMemory::new(&gpu, 257).unwrap();
    assert!(DeviceMemory::new(&gpu, usize::MAX).is_err());
}

#[test]
fn launches_that_no_card_would_take_are_refused() {
    let gpu = card(0);
    let stream = gpu.create_stream().unwrap();
    for (launch, what) in [
        (launch(0, [1; 3], 0), "0 threads"),
        (launch(1025, [1; 3], 0), "1025 threads"),
        (launch(32, [1, 0, 1], 0), "grid"),
        (launch(32, [1, 65_536, 1], 0), "grid"),
        (launch(32, [1; 3], 100 << 10), "shared memory"),
    ] {
        // SAFETY: it is not run.
        let error = unsafe { gpu.launch(&launch, stream) }.unwrap_err();
        assert!(error.cause.contains(what), "{error}");
    }
}

#[test]
fn a_kernel_that_is_not_there_is_named() {
    let gpu = card(0);
    let stream = gpu.create_stream().unwrap();
    // SAFETY: it is not run.
    unsafe { gpu.launch(&launch(32, [1; 3], 0), stream) }.unwrap();
    let error = gpu.synchronize(stream).unwrap_err();
    assert_eq!((error.kind, &*error.place), (ErrorKind::Kernel, "no_such_kernel"));
    gpu.synchronize(stream).unwrap();
}
