//! Words of sm_90: tile copies, mbarriers, products of warpgroups.

use crate::bench::{Bench, Params, counting, says, values};
use half::bf16;
use sargent::device::cuda::DeviceMemory;
use sargent::device::cuda::emulated::Tensor;
use std::ops::Range;

const SEEDS: Range<u64> = 0..5;

/// A tensor of bf16, contiguous.
fn tensor(memory: &DeviceMemory, sizes: &[usize], tile: &[u32], swizzle: u32) -> Tensor {
    let mut tensor = Tensor {
        address: memory.address(),
        dimensions: sizes.len() as u32,
        element_bytes: 2,
        swizzle,
        ..Tensor::default()
    };
    let mut stride = 2;
    for (i, (&size, &tile)) in sizes.iter().zip(tile).enumerate() {
        tensor.sizes[i] = size as u64;
        tensor.tile[i] = tile;
        stride *= size as u64;
        if i + 1 < sizes.len() {
            tensor.strides[i] = stride;
        }
    }
    tensor
}

/// Copies a tensor by tiles of which the first start at -4 in all dimensions; what no tile reaches is left as it was.
fn copies_tiles(sizes: &[usize], tile: &[u32], swizzle: u32) {
    let bench = Bench::checked(0);
    let count = sizes.iter().product();
    let from = values(count, 37);
    let untouched = bf16::from_f32(99.0);
    let (x, y) = (bench.buffer(&from), bench.buffer(&vec![untouched; count]));
    let last = tile.len() - 1;
    let mut params = Params { n: sizes.len() as u32, step: tile[last], ..Params::new() };
    params.bytes = tile.iter().product::<u32>() * 2;
    params.maps[0] = tensor(&x, sizes, tile, swizzle).map().expect("a map");
    params.maps[1] = tensor(&y, sizes, tile, swizzle).map().expect("a map");
    let blocks = (sizes[last] as u32 + 4).div_ceil(tile[last]);
    bench.run("test_tile_copy", blocks, 32, params.bytes, &params).expect("it runs");
    let reached = |mut i: usize| {
        sizes.iter().enumerate().all(|(dimension, &size)| {
            let place = i % size;
            i /= size;
            dimension == last || place < tile[dimension] as usize - 4
        })
    };
    let expected: Vec<bf16> = (0..count).map(|i| if reached(i) { from[i] } else { untouched }).collect();
    assert_eq!(bench.read::<bf16>(&y), expected, "{sizes:?} by {tile:?}, swizzle {swizzle}");
}

#[test]
fn tiles_are_copied_and_cut_at_the_edges() {
    copies_tiles(&[1000], &[256], 0);
    copies_tiles(&[40, 70], &[64, 32], 0);
    for (swizzle, row) in [(0, 16), (1, 16), (2, 32), (3, 64)] {
        copies_tiles(&[40, 70], &[row, 8], swizzle);
        copies_tiles(&[24, 9, 10], &[row, 8, 4], swizzle);
        copies_tiles(&[24, 9, 6, 7], &[row, 8, 5, 3], swizzle);
    }
}

#[test]
fn tensors_that_have_no_map_are_reported() {
    let bench = Bench::plain(0);
    let memory = bench.empty::<bf16>(4096);
    let fine = tensor(&memory, &[64, 64], &[64, 8], 3);
    assert!(fine.map().is_ok());
    let wrong = [
        (Tensor { address: fine.address + 2, ..fine }, "starts at no multiple of sixteen"),
        (Tensor { strides: [24, 0, 0, 0], ..fine }, "strides are multiples of sixteen"),
        (Tensor { swizzle: 2, ..fine }, "longer than its swizzle"),
        (Tensor { tile: [12, 8, 0, 0, 0], ..fine }, "rows are multiples of sixteen"),
        (Tensor { tile: [64, 257, 0, 0, 0], ..fine }, "1 to 256 elements"),
    ];
    for (tensor, reason) in wrong {
        says(tensor.map().map(|_| ()).map_err(|error| error.to_string()), &[reason]);
    }
}

/// Runs the copy of bytes; returns y and what the launch said.
fn copy_bytes(bench: &Bench, fault: u32) -> (Vec<f32>, Result<(), String>) {
    let (x, y) = (bench.buffer(&counting(1024)), bench.empty::<f32>(1024));
    let params = Params { x: x.address(), y: y.address(), fault, ..Params::new() };
    let said = bench.run("test_bytes", 1, 128, 4096, &params);
    (bench.read(&y), said)
}

#[test]
fn bytes_land_when_the_phase_ends() {
    for bench in [Bench::plain(0), Bench::checked(0)] {
        assert_eq!(copy_bytes(&bench, 0), (counting(1024), Ok(())));
    }
}

#[test]
fn mistakes_with_mbarriers_are_reported() {
    let bench = Bench::plain(0);
    let (found, said) = copy_bytes(&bench, 1);
    says(said, &["copies of tiles were never waited for"]);
    assert!(found.iter().all(|value| value.is_nan()), "nothing has landed");
    says(copy_bytes(&bench, 2).1, &["nobody has initialised this mbarrier", "the shared array landed"]);
    says(copy_bytes(&bench, 3).1, &["before fence::barrier_init"]);
    says(copy_bytes(&bench, 4).1, &["mbarrier::arrive", "one arrival more than the 1 of the phase"]);
    says(
        copy_bytes(&bench, 5).1,
        &[
            "deadlock",
            "mbarrier::wait",
            "(phase 0: 1 of 1 arrivals have come, 8192 bytes are expected, copies bring 4096)",
        ],
    );
    for seed in SEEDS {
        says(copy_bytes(&Bench::checked(seed), 6).1, &["a race", "a copy of a tile"]);
        assert!(copy_bytes(&Bench::checked(seed), 7).1.is_err(), "the barrier is used before it is there");
    }
}

/// Multiplies 128 x 256 by 64 x 256 transposed; returns the relative error and what the launch said.
fn product(bench: &Bench, fault: u32) -> (f64, Result<(), String>) {
    let depth = 256;
    let (left, right) = (values(128 * depth, 37), values(64 * depth, 53));
    let (a, b, c) = (bench.buffer(&left), bench.buffer(&right), bench.empty::<bf16>(128 * 64));
    let mut params = Params { n: depth as u32, fault, ..Params::new() };
    params.maps = [(&a, [depth, 128]), (&b, [depth, 64]), (&c, [64, 128])]
        .map(|(memory, sizes)| tensor(memory, &sizes, &[64, 64], 3).map().expect("a map"));
    let said = bench.run("test_product", 1, 384, 8 * 8192, &params);
    let expected = |i: usize| -> f64 {
        let row = |values: &[bf16], row: usize, k: usize| values[row * depth + k].to_f64();
        (0..depth).map(|k| row(&left, i / 64, k) * row(&right, i % 64, k)).sum()
    };
    let (mut wrong, mut all) = (0.0, 0.0);
    for (i, found) in bench.read::<bf16>(&c).iter().enumerate() {
        wrong += (found.to_f64() - expected(i)).powi(2);
        all += expected(i).powi(2);
    }
    ((wrong / all).sqrt(), said)
}

#[test]
fn warpgroups_multiply_what_a_producer_loads() {
    for seed in SEEDS {
        for bench in [Bench::plain(seed), Bench::checked(seed)] {
            let (error, said) = product(&bench, 0);
            assert!(said.is_ok() && error < 4e-3, "seed {seed}: {error}, {said:?}");
        }
    }
}

#[test]
fn every_missing_word_of_a_product_is_found() {
    for (seed, fault) in SEEDS.flat_map(|seed| (1..=8).map(move |fault| (seed, fault))) {
        let (error, said) = product(&Bench::checked(seed), fault);
        // Whatever is no race shows in the result, which must not be right, or is NaN.
        assert!(said.is_err() || error.is_nan() || error > 4e-3, "seed {seed}, fault {fault}: {error}");
    }
    says(product(&Bench::plain(0), 4).1, &["without wgmma::fence"]);
    says(product(&Bench::checked(0), 3).1, &["a race: a copy of a tile writes", "the tensor cores for warp"]);
    says(product(&Bench::checked(0), 5).1, &["a race: a copy of a tile reads", "dynamic shared memory"]);
    says(product(&Bench::plain(0), 8).1, &["deadlock", "of 256 arrivals have come"]);
    assert!(product(&Bench::plain(0), 6).0.is_nan(), "sums under way are NaN");
}

#[test]
fn operands_lie_in_every_layout() {
    let cases = [
        ("test_wgmma_k_k_128", 64, false, false, 3),
        ("test_wgmma_k_k_64", 96, false, false, 2),
        ("test_wgmma_k_k_32", 8, false, false, 1),
        ("test_wgmma_m_n_128", 256, true, true, 3),
        ("test_wgmma_m_n_64", 64, true, true, 2),
        ("test_wgmma_m_n_32", 16, true, true, 1),
        ("test_wgmma_k_n_128", 128, false, true, 3),
    ];
    for (kernel, n, a_is_transposed, b_is_transposed, swizzle) in cases {
        let bench = Bench::checked(0);
        let (left, right) = (values(64 * 64, 37), values(64 * n, 53));
        let (a, b, y) = (bench.buffer(&left), bench.buffer(&right), bench.empty::<f32>(64 * n));
        let row = 8 << swizzle;
        let b_sizes = if b_is_transposed { [n, 64] } else { [64, n] };
        let mut params = Params { y: y.address(), ..Params::new() };
        params.maps[0] = tensor(&a, &[64, 64], &[row, 64], swizzle).map().expect("a map");
        params.maps[1] = tensor(&b, &b_sizes, &[row, b_sizes[1] as u32], swizzle).map().expect("a map");
        bench.run(kernel, 1, 128, (8192 + 128 * n) as u32, &params).expect("it runs");
        let expected = |i: usize| -> f32 {
            let (m, column) = (i / n, i % n);
            let a = |k: usize| if a_is_transposed { left[k * 64 + m] } else { left[m * 64 + k] };
            let b = |k: usize| if b_is_transposed { right[k * n + column] } else { right[column * 64 + k] };
            (0..64).map(|k| a(k).to_f32() * b(k).to_f32()).sum()
        };
        // The values and their sums are exact in f32.
        assert_eq!(bench.read::<f32>(&y), (0..64 * n).map(expected).collect::<Vec<_>>(), "{kernel}");
    }
}

/// Multiplies 64 x 64, of which the kernel has the first in registers; returns y, what it should be, and what the launch
/// said.
fn product_from_registers(b_is_transposed: bool, fault: u32) -> (Vec<f32>, Vec<f32>, Result<(), String>) {
    let bench = Bench::checked(0);
    let (left, right) = (values(64 * 64, 37), values(64 * 64, 53));
    let (a, b, y) = (bench.buffer(&left), bench.buffer(&right), bench.empty::<f32>(64 * 64));
    let mut params = Params { a: a.address(), y: y.address(), fault, ..Params::new() };
    params.maps[1] = tensor(&b, &[64, 64], &[64, 64], 3).map().expect("a map");
    let kernel = if b_is_transposed { "test_wgmma_registers_n" } else { "test_wgmma_registers_k" };
    let said = bench.run(kernel, 1, 128, 8192, &params);
    let expected = |i: usize| -> f32 {
        let (m, n) = (i / 64, i % 64);
        let b = |k: usize| if b_is_transposed { right[k * 64 + n] } else { right[n * 64 + k] };
        (0..64).map(|k| left[m * 64 + k].to_f32() * b(k).to_f32()).sum()
    };
    (bench.read(&y), (0..64 * 64).map(expected).collect(), said)
}

#[test]
fn the_first_operand_may_lie_in_registers() {
    for b_is_transposed in [false, true] {
        let (found, expected, said) = product_from_registers(b_is_transposed, 0);
        assert_eq!(said, Ok(()));
        assert_eq!(found, expected);
        says(product_from_registers(b_is_transposed, 1).2, &["without wgmma::fence"]);
    }
}
