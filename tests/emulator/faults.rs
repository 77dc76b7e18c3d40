//! What goes wrong is found and reported.

use crate::bench::{Bench, Params, counting, says};
use std::ops::Range;

const SEEDS: Range<u64> = 0..5;

/// Runs `kernel` with 1024 floats in x and y; returns them and what the launch said.
fn run(
    bench: &Bench,
    kernel: &'static str,
    blocks: u32,
    threads: u32,
    shared: u32,
    fault: u32,
) -> (Vec<f32>, Result<(), String>) {
    let (x, y) = (bench.buffer(&counting(1024)), bench.empty::<f32>(1024));
    let params = Params { x: x.address(), y: y.address(), n: 1024, fault, ..Params::new() };
    let said = bench.run(kernel, blocks, threads, shared, &params);
    (bench.read(&y), said)
}

#[test]
fn a_missing_barrier_is_a_wrong_result_whatever_the_seed() {
    for (seed, fault) in SEEDS.flat_map(|seed| [(seed, 1), (seed, 2)]) {
        let (found, said) = run(&Bench::plain(seed), "test_reverse", 2, 256, 0, fault);
        let right = (0..512).all(|i| found[i] == (i / 256 * 256 + 255 - i % 256) as f32);
        assert!(said.is_err() || !right, "seed {seed}, fault {fault}");
    }
}

#[test]
fn a_missing_barrier_is_a_race_whatever_the_seed() {
    // Where in the source is told as well, by programs that have the debugger's information.
    let wanted =
        ["test_reverse, block 0,0,0", "a race: thread ", "of the shared array tile", "nothing orders"];
    for (seed, fault) in SEEDS.flat_map(|seed| [(seed, 1), (seed, 2)]) {
        says(run(&Bench::checked(seed), "test_reverse", 2, 256, 0, fault).1, &wanted);
    }
}

#[test]
fn a_missing_hand_over_is_found_whatever_the_seed() {
    for (seed, fault) in SEEDS.flat_map(|seed| [(seed, 1), (seed, 2)]) {
        let bench = Bench::checked(seed);
        says(run(&bench, "test_hand_over", 1, 256, 0, fault).1, &["a race", "the shared array buffer"]);
        says(run(&Bench::plain(seed), "test_hand_over", 1, 256, 0, fault).1, &["deadlock in test_hand_over"]);
    }
}

#[test]
fn a_missing_warp_barrier_is_a_race() {
    says(run(&Bench::checked(0), "test_neighbours", 1, 32, 0, 1).1, &["a race", "thread "]);
    assert!(run(&Bench::checked(0), "test_neighbours", 1, 32, 0, 0).1.is_ok());
    let bench = Bench::checked(0);
    let (a, b) = (bench.buffer(&[0u16; 256]), bench.empty::<u16>(1024));
    let params = Params { a: a.address(), b: b.address(), fault: 1, ..Params::new() };
    says(bench.run("test_matrices", 1, 32, 0, &params), &["a race", "the shared array from", "warps.cu"]);
}

#[test]
fn blocks_are_ordered_by_nothing() {
    says(
        run(&Bench::checked(0), "test_accesses", 2, 32, 0, 9).1,
        &["a race", "writes 4 bytes", "byte 0 of the device"],
    );
    says(
        run(&Bench::checked(0), "test_accesses", 2, 32, 0, 10).1,
        &["block 1,0,0", "thread 0 of block 0,0,0 wrote"],
    );
}

#[test]
fn a_deadlock_says_where_everybody_waits() {
    let bench = Bench::plain(0);
    let said = run(&bench, "test_reverse", 2, 256, 0, 3).1;
    says(
        said,
        &[
            "deadlock in test_reverse, block 0,0,0\n  warps 0-1: waits in block::sync at ",
            "barriers.cu:",
            "\n  warp 2: waits in named_barrier::sync at ",
            "\n  warps 3-7: waits in block::sync at ",
        ],
    );
    says(
        run(&bench, "test_reverse", 2, 256, 0, 6).1,
        &["deadlock", "warps 0-7: waits in named_barrier::sync"],
    );
}

#[test]
fn lanes_that_part_are_reported() {
    let bench = Bench::plain(0);
    says(run(&bench, "test_reverse", 2, 256, 0, 4).1, &["lanes of one warp have come to different words"]);
    says(run(&bench, "test_reverse", 2, 256, 0, 5).1, &["lanes of the warp have left the kernel"]);
}

#[test]
fn threads_beyond_what_a_kernel_takes_are_reported() {
    says(run(&Bench::plain(0), "test_neighbours", 1, 64, 0, 0).1, &["64 threads a block", "at most 32"]);
    says(run(&Bench::plain(0), "test_nothing", 1, 64, 0, 0).1, &["there is no kernel test_nothing"]);
}

#[test]
fn accesses_out_of_bounds_end_the_launch() {
    for bench in [Bench::plain(0), Bench::checked(0)] {
        let missing = "access to memory that is not there: ";
        let behind = [missing, " bytes behind the end of the device buffer of 4096 bytes"];
        says(run(&bench, "test_accesses", 1, 32, 0, 1).1, &behind);
        let before = [missing, " bytes before the device buffer of 4096 bytes"];
        says(run(&bench, "test_accesses", 1, 32, 0, 2).1, &before);
        says(run(&bench, "test_accesses", 1, 32, 0, 7).1, &["more stack than there is"]);
        // The card is as good as before.
        assert!(run(&bench, "test_accesses", 1, 32, 0, 0).1.is_ok());
    }
}

#[test]
fn misaligned_accesses_are_reported() {
    says(run(&Bench::plain(0), "test_accesses", 1, 32, 0, 3).1, &["16 bytes at a misaligned address"]);
    says(run(&Bench::plain(0), "test_copies", 1, 128, 4160, 4).1, &["cp_async", "misaligned", "warps.cu:"]);
}

#[test]
fn shared_memory_that_nobody_has_written_is_nan() {
    let (found, said) = run(&Bench::plain(0), "test_accesses", 1, 32, 0, 4);
    assert!(said.is_ok() && found[..32].iter().all(|value| value.is_nan()), "{said:?}");
}

#[test]
fn what_the_language_leaves_undefined_is_reported() {
    let bench = Bench::checked(0);
    says(
        run(&bench, "test_accesses", 1, 32, 0, 6).1,
        &["an index out of its array's bounds at ", "barriers.cu:"],
    );
    let params = |fault, n| Params { fault, n, ..Params::new() };
    let y = bench.empty::<f32>(32);
    let run = |fault, n| bench.run("test_accesses", 1, 32, 0, &Params { y: y.address(), ..params(fault, n) });
    says(run(5, 64), &["a shift by more bits"]);
    says(run(8, 1), &["a signed sum that overflows"]);
}

#[test]
fn copies_that_nobody_waits_for_are_reported() {
    says(
        run(&Bench::plain(0), "test_copies", 1, 128, 4096, 1).1,
        &["copies were never waited for", "warps.cu:"],
    );
    says(run(&Bench::plain(0), "test_copies", 1, 128, 4096, 3).1, &["copies were never waited for"]);
    let (found, _) = run(&Bench::plain(0), "test_copies", 1, 128, 4096, 3);
    assert!(found.iter().all(|value| value.is_nan()), "nothing has landed");
}

#[test]
fn copies_race_with_whom_does_not_wait() {
    says(
        run(&Bench::checked(0), "test_copies", 1, 128, 4096, 2).1,
        &["a race", "byte ", "dynamic shared memory"],
    );
    says(run(&Bench::checked(0), "test_copies", 1, 128, 4096, 5).1, &["a race", "dynamic shared memory"]);
}
