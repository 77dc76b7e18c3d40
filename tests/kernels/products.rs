//! Matrix products beyond their cases: random shapes, several problems in one launch, and whether the cases reach every
//! kernel.

use crate::device;
use half::bf16;
use proptest::prelude::*;
use sargent::autograd::lower::lower;
use sargent::autograd::program::{Program, Work};
use sargent::device::Device;
use sargent::device::cuda::{DeviceMemory, Gpu, Launch, Launches, Located, Operands};
use sargent::doctor::{Case, Recorder, Scale, cases, check};
use sargent::error::Result;
use sargent::kernels::Update;
use sargent::kernels::gemm::{DeviceMatrix, Finish, Group, Layout, Output, Problem};
use sargent::kernels::linear::{Base, Change, Epilogue, Linear, LinearInputGradient, Term};
use sargent::kernels::low_rank::{
    Down, LowRankDown, LowRankDownGradient, LowRankHiddenGradient, LowRankSide, LowRankUpGradient,
};
use sargent::kernels::qk_norm::Part;
use sargent::random::{Purpose, Stream};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// A layer with one adapter over a part of its columns, forward and backward.
fn adapted_layer(rows: usize, outputs: usize, inputs: usize, rank: usize, columns: Range<usize>) -> Case {
    let name = format!("m {rows}, n {outputs}, k {inputs}, rank {rank} at {columns:?}");
    let record = move |recorder: &mut Recorder| {
        let deviation = 1.0 / (inputs as f32).sqrt();
        let (x, dy) =
            (recorder.normal("x", [rows, inputs], 1.0), recorder.normal("dy", [rows, outputs], 1.0));
        let weight = recorder.normal("w", [outputs, inputs], deviation);
        let bias = Some(recorder.normal("bias", [outputs], 1.0));
        let base = Base { weight, rows: 0..outputs, bias };
        let a = recorder.normal("a", [rank, inputs], deviation);
        let b = recorder.normal("b", [columns.len(), rank], 1.0 / (rank as f32).sqrt());
        let change = Change::LowRank { hidden: 0..rank, b, scale: 0.7 };
        let terms = vec![Term { columns: columns.clone(), change, output_scale: None }];
        let downs = vec![Down { a, hidden: 0..rank, adapter: 0 }];
        // Each kernel starts from inputs, so that no rounding in between is compared.
        let (h, dh) = (recorder.normal("h", [rows, rank], 1.0), recorder.normal("dh", [rows, rank], 1.0));
        let program = &mut recorder.program;
        let fresh = |to| Update { from: None, to };
        let hidden = program.activation("h", [rows, rank]);
        program.launch(LowRankDown { downs: downs.clone(), dropout: None, x, hidden })?;
        let y = program.activation("y", [rows, outputs]);
        let (base_of_y, terms_of_y, epilogue) = (base.clone(), terms.clone(), Epilogue::None);
        program.launch(Linear { base: base_of_y, terms: terms_of_y, x, hidden: Some(h), y, epilogue })?;
        let dhidden = program.activation("dh", [rows, rank]);
        program.launch(LowRankHiddenGradient { terms: terms.clone(), dy, dhidden })?;
        let da = program.activation("da", [rank, inputs]);
        let (of_a, da_all) = (downs.clone(), vec![fresh(da)]);
        program.launch(LowRankDownGradient { downs: of_a, dropout: None, x, dhidden: dh, da: da_all })?;
        let db = program.activation("db", [columns.len(), rank]);
        program.launch(LowRankUpGradient { terms: terms.clone(), hidden: h, dy, db: vec![fresh(db)] })?;
        let dx = program.activation("dx", [rows, inputs]);
        let low_rank = Some(LowRankSide { downs, dropout: None, dhidden: dh });
        program.launch(LinearInputGradient { base, terms, dy, low_rank, dx: fresh(dx) })?;
        [hidden, y, dhidden, da, db, dx].into_iter().for_each(|id| recorder.output(id));
        Ok(())
    };
    Case::small("linear", name, record)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_layers_match_the_definition(
        rows in 1usize..200,
        (outputs, first, last) in (1usize..200).prop_flat_map(|n| (Just(n), 0..n, 0..n)),
        inputs in 1usize..150,
        rank in 1usize..80,
    ) {
        let columns = first.min(last)..first.max(last) + 1;
        let case = adapted_layer(rows, outputs, inputs, rank, columns);
        let verdict = check(&case, &device()).unwrap();
        prop_assert!(verdict.passed, "{case:?}: {verdict:?}");
    }
}

/// bf16 values in device memory, and the same on the host.
struct Matrix {
    memory: DeviceMemory,
    values: Vec<f32>,
    columns: usize,
}

impl Matrix {
    fn new(gpu: &Arc<dyn Gpu>, lane: u32, rows: usize, columns: usize) -> Self {
        let mut values = vec![0.0; rows * columns];
        Stream::new(1, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
        let bits: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
        let memory = DeviceMemory::new(gpu, rows * columns * 2).unwrap();
        let stream = gpu.create_stream().unwrap();
        // SAFETY: both places live until the stream was waited for.
        unsafe { gpu.upload(memory.address(), bits.as_ptr().cast(), rows * columns * 2, stream) }.unwrap();
        gpu.synchronize(stream).unwrap();
        Self { memory, values: bits.into_iter().map(bf16::to_f32).collect(), columns }
    }

    fn on_card(&self) -> DeviceMatrix {
        let (rows, columns) = (self.values.len() / self.columns, self.columns);
        DeviceMatrix { address: self.memory.address(), rows, columns, stride: columns }
    }

    fn download(&self, gpu: &Arc<dyn Gpu>) -> Vec<f32> {
        let mut bits = vec![bf16::ZERO; self.values.len()];
        let stream = gpu.create_stream().unwrap();
        // SAFETY: both places live until the stream was waited for.
        unsafe { gpu.download(bits.as_mut_ptr().cast(), self.memory.address(), bits.len() * 2, stream) }
            .unwrap();
        gpu.synchronize(stream).unwrap();
        bits.into_iter().map(bf16::to_f32).collect()
    }
}

/// The image stream and the text stream of a block in one launch: different rows, weights, widths and depths.
#[test]
fn two_layers_are_computed_by_one_launch() {
    let Device::Cuda(gpu) = device() else { return };
    let extents = [(133, 70, 40), (61, 136, 72)];
    let layers: Vec<_> = extents
        .iter()
        .zip(0..)
        .map(|(&(m, n, k), lane)| {
            let lane = lane * 4;
            [(m, k), (n, k), (1, n), (m, n)].map({
                let mut next = lane;
                let gpu = &gpu;
                move |(rows, columns)| {
                    next += 1;
                    Matrix::new(gpu, next, rows, columns)
                }
            })
        })
        .collect();
    let problems = layers.iter().map(|[x, w, bias, y]| {
        let output = Output::Matrix { c: Some(y.on_card()), accumulate: false, finish: Finish::Store };
        let (x, w, bias) = (x.on_card(), w.on_card(), Some(bias.on_card().address));
        Problem { bias, ..Problem::plain(x.rows, w.rows, x, w, output) }
    });
    let group = Group::plain("Linear", Layout::Nt, problems.collect());
    let architecture = gpu.properties().architecture;
    assert_eq!(group.workspace(&architecture), 0);
    let mut launches = Launches::default();
    group.launch(0, &architecture, &mut launches).unwrap();
    let launches = launches.into_vec();
    assert_eq!(launches.len(), 1);
    let stream = gpu.create_stream().unwrap();
    // SAFETY: all matrices live until the stream was waited for.
    unsafe { gpu.launch(&launches[0], stream) }.unwrap();
    gpu.synchronize(stream).unwrap();
    for ([x, w, bias, y], (m, n, k)) in layers.iter().zip(extents) {
        let found = y.download(&gpu);
        let (mut errors, mut squares) = (0.0, 0.0);
        for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let products =
                (0..k).map(|i| f64::from(x.values[row * k + i]) * f64::from(w.values[column * k + i]));
            let expected = products.sum::<f64>() + f64::from(bias.values[column]);
            errors += (f64::from(found[row * n + column]) - expected).powi(2);
            squares += expected * expected;
        }
        assert!((errors / squares).sqrt() < 4e-3, "m {m}, n {n}, k {k}");
    }
}

/// Kernels of matrix products by their sources.
fn symbols() -> BTreeSet<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut symbols = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("gemm_") && name.ends_with(".cu") {
            let text = std::fs::read_to_string(path).unwrap();
            let defined = text.lines().filter_map(|line| line.strip_prefix("KERNEL(")?.split(',').next());
            symbols.extend(defined.map(str::to_owned));
        }
    }
    symbols
}

/// The launches of a program on the device's card, its tensors in no memory.
fn launches(mut program: Program, device: &Device) -> Result<Vec<Launch>> {
    let limits = device.limits()?;
    let Some(architecture) = limits.cuda else { return Ok(Vec::new()) };
    lower(&mut program, &limits);
    let located: Vec<_> = (program.tensors.iter())
        .map(|tensor| Located { address: 4096, shape: tensor.shape.clone(), dtype: tensor.dtype })
        .collect();
    let mut all = Vec::new();
    for node in &program.nodes {
        if let Work::Launch(kernel) = &node.work {
            all.extend(kernel.launches(&Operands::new(&located, (4096, usize::MAX), architecture))?);
        }
    }
    Ok(all)
}

#[test]
fn the_small_cases_reach_every_kernel() {
    let device = device();
    let mut missing = symbols();
    let products = |case: &Case| matches!(case.kernel, "linear" | "low_rank") && case.scale == Scale::Small;
    for case in cases::all().into_iter().filter(products) {
        let mut recorder = Recorder::default();
        (case.record)(&mut recorder).unwrap();
        let launches = launches(recorder.program, &device).unwrap();
        missing.retain(|symbol| launches.iter().all(|launch| launch.kernel != symbol));
    }
    assert!(missing.is_empty(), "no case reaches {missing:?}");
}

/// A layer of 64 columns with this many adapters and this epilogue.
fn layer(adapters: usize, head_dim: Option<usize>) -> Program {
    let mut program = Program::new();
    let (x, weight) = (program.input("x", [5, 8]), program.input("w", [64, 8]));
    let hidden = Some(program.input("h", [5, adapters]));
    let (y, to) = (program.activation("y", [5, 64]), program.activation("normalised", [5, 64]));
    let terms = (0..adapters).map(|index| {
        let b = program.input("b", [1, 1]);
        let change = Change::LowRank { hidden: index..index + 1, b, scale: 1.0 };
        Term { columns: index..index + 1, change, output_scale: None }
    });
    let terms = terms.collect();
    let epilogue = head_dim.map_or(Epilogue::None, |head_dim| {
        let parts = vec![Part { first: 0, weight: program.input("gain", [head_dim]) }];
        Epilogue::QkNorm { parts, heads: 1, to, keeps_y: false }
    });
    let base = Base { weight, rows: 0..64, bias: None };
    program.launch(Linear { base, terms, x, hidden, y, epilogue }).unwrap();
    program
}

#[test]
fn what_no_kernel_computes_is_refused_in_words() {
    let device = device();
    assert_eq!(launches(layer(31, Some(64)), &device).unwrap().len(), 1);
    let error = launches(layer(60, None), &device).unwrap_err();
    assert!(error.cause.contains("does not take so many segments"), "{error}");
    let error = launches(layer(1, Some(32)), &device).unwrap_err();
    assert!(error.cause.contains("heads of 32 from column 0 cannot be normalised"), "{error}");
}

/// Several orders of warps, with every access of memory watched.
#[cfg(emulator)]
#[test]
fn products_have_no_races() {
    use sargent::device::cuda::Architecture;
    use sargent::device::cuda::emulated::Emulated;
    let architecture = Architecture { compute: 80, multiprocessors: 4, shared_memory: 99 << 10 };
    let products = |case: &Case| matches!(case.kernel, "linear" | "low_rank") && case.scale == Scale::Small;
    let few = cases::all().into_iter().filter(products).step_by(11);
    for (case, seed) in few.zip((0..5).cycle()) {
        let device = Device::Cuda(Emulated::checked(architecture, seed));
        let verdict = check(&case, &device).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert!(verdict.passed, "{case:?}: {verdict:?}");
    }
}
