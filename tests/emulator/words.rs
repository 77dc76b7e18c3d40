//! What words do, in both variants.

use crate::bench::{Bench, Params, counting, values};
use half::bf16;
use sargent::device::cuda::emulated::bank_conflicts;

#[test]
fn barriers_order_threads() {
    for bench in [Bench::plain(3), Bench::checked(3)] {
        let (x, y) = (bench.buffer(&counting(512)), bench.empty::<f32>(512));
        let params = Params { x: x.address(), y: y.address(), ..Params::new() };
        bench.run("test_reverse", 2, 256, 0, &params).expect("it runs");
        let reversed = |i: usize| (i / 256 * 256 + 255 - i % 256) as f32;
        assert_eq!(bench.read::<f32>(&y), (0..512).map(reversed).collect::<Vec<_>>());
    }
}

#[test]
fn named_barriers_hand_buffers_over() {
    for seed in 0..5 {
        for bench in [Bench::plain(seed), Bench::checked(seed)] {
            let (x, y) = (bench.buffer(&counting(1024)), bench.empty::<f32>(1024));
            let params = Params { x: x.address(), y: y.address(), ..Params::new() };
            bench.run("test_hand_over", 1, 256, 0, &params).expect("it runs");
            let reversed = |i: usize| (i / 128 * 128 + 127 - i % 128) as f32;
            assert_eq!(bench.read::<f32>(&y), (0..1024).map(reversed).collect::<Vec<_>>());
        }
    }
}

#[test]
fn lanes_exchange_values() {
    let bench = Bench::checked(0);
    let (x, y) = (bench.buffer(&counting(32)), bench.empty::<f32>(11 * 32));
    let params = Params { x: x.address(), y: y.address(), ..Params::new() };
    bench.run("test_exchange", 1, 32, 0, &params).expect("it runs");
    let found = bench.read::<f32>(&y);
    let expected: [fn(usize) -> usize; 11] = [
        |lane| lane ^ 5,
        |_| 7,
        |lane| if lane + 3 < 32 { lane + 3 } else { lane },
        |lane| if lane >= 3 { lane - 3 } else { lane },
        |lane| usize::from(lane % 3 == 0),
        |_| 1,
        |_| 496,
        |lane| lane / 8 * 8 + 7,
        |_| 496,
        |_| 31,
        |lane| usize::from(lane == 0),
    ];
    for (word, expected) in expected.iter().enumerate() {
        let row: Vec<usize> = found[word * 32..][..32].iter().map(|&value| value as usize).collect();
        assert_eq!(row, (0..32).map(expected).collect::<Vec<_>>(), "word {word}");
    }
}

#[test]
fn matrices_go_to_registers_and_back() {
    let bench = Bench::checked(0);
    let from = values(256, 37);
    let (a, b) = (bench.buffer(&from), bench.empty::<bf16>(1024));
    let params = Params { a: a.address(), b: b.address(), ..Params::new() };
    bench.run("test_matrices", 1, 32, 0, &params).expect("it runs");
    assert_eq!(bench.read::<bf16>(&b), from.repeat(4));
}

#[test]
fn mma_multiplies() {
    let bench = Bench::checked(0);
    let (left, right) = (values(256, 37), values(128, 53));
    let (a, b, y) = (bench.buffer(&left), bench.buffer(&right), bench.empty::<f32>(128));
    let params = Params { a: a.address(), b: b.address(), y: y.address(), ..Params::new() };
    bench.run("test_mma", 1, 32, 0, &params).expect("it runs");
    let product =
        |i: usize| (0..16).map(|k| left[i / 8 * 16 + k].to_f32() * right[i % 8 * 16 + k].to_f32()).sum();
    assert_eq!(bench.read::<f32>(&y), (0..128).map(product).collect::<Vec<f32>>());
}

#[test]
fn asynchronous_copies_land() {
    for bench in [Bench::plain(1), Bench::checked(1)] {
        let (x, y) = (bench.buffer(&counting(1024)), bench.empty::<f32>(1024));
        let params = Params { x: x.address(), y: y.address(), n: 300, ..Params::new() };
        bench.run("test_copies", 1, 128, 4096, &params).expect("it runs");
        let expected = |i: usize| if (300..512).contains(&i) { 0.0 } else { i as f32 };
        assert_eq!(bench.read::<f32>(&y), (0..1024).map(expected).collect::<Vec<_>>());
    }
}

#[test]
fn bank_conflicts_are_counted() {
    let bench = Bench::plain(0);
    let (a, y) = (bench.buffer(&values(1024, 3)), bench.empty::<f32>(32));
    let params = Params { a: a.address(), y: y.address(), n: 5, ..Params::new() };
    bench.run("test_banks", 1, 32, 2048, &params).expect("it runs");
    // Eight rows in the same banks take eight cycles instead of one, four matrices a load.
    assert_eq!(bank_conflicts(), 5 * 4 * 7);
    bench.run("test_banks", 1, 32, 2048, &Params { fault: 1, ..params }).expect("it runs");
    assert_eq!(bank_conflicts(), 0);
}
