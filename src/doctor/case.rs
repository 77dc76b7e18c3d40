//! One case: a small recorded program with the values that go in.

use crate::autograd::persistent::Flat;
use crate::autograd::run::WeightSource;
use crate::autograd::{Home, Persistent, Program};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::step_state::{SampleState, StepHeader};
use crate::random::{Purpose, Stream};
use crate::tensor::{DType, Shape, TensorId};
use half::bf16;
use std::collections::HashMap;

/// How large a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Edges of tiles, odd shapes: runs on the emulator.
    Small,
    /// A shape of SD3.5 at 1024x1024: runs on cards.
    Real,
}

/// Records a case's program.
pub type Record = Box<dyn Fn(&mut Recorder) -> Result<()> + Send + Sync>;

/// A kernel, or a few that belong together, at one shape.
pub struct Case {
    /// The kernel or its family, such as `linear`.
    pub kernel: &'static str,
    /// What is special about this case, such as `large.qkv.b1` or `m 63, n 65, k 127`.
    pub name: String,
    /// How large it is.
    pub scale: Scale,
    /// The largest relative L2 error that passes, for every output.
    pub tolerance: f64,
    /// Records the program.
    pub record: Record,
}

/// A case in the making: its program and the values of its inputs, drawn by counter and, unless they are
/// exact, rounded to bf16.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The program.
    pub program: Program,
    /// The persistent region, for kernels that work on flat buffers.
    pub layout: Option<Persistent>,
    pub(super) inputs: Vec<(TensorId, Vec<f32>)>,
    pub(super) weights: Drawn,
    pub(super) ids: Vec<(TensorId, Vec<i32>)>,
    pub(super) flats: Vec<(Flat, Vec<f32>)>,
    pub(super) state: Option<(StepHeader, Vec<SampleState>)>,
    pub(super) outputs: Vec<Output>,
}

/// The values of weights by name.
#[derive(Debug, Default)]
pub(super) struct Drawn(HashMap<String, Vec<f32>>);

impl WeightSource for Drawn {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let Some(values) = self.0.get(name) else {
            return Err(Error::new(ErrorKind::Kernel, name, "the case has no such weight"));
        };
        out.copy_from_slice(values);
        Ok(())
    }
}

/// What is compared after a run.
#[derive(Debug, Clone)]
pub(super) enum Output {
    Tensor(TensorId),
    Flat(Flat),
    StepState,
}

impl Case {
    /// A small case with the tolerance of one rounding to bf16 and a little more.
    pub fn small(
        kernel: &'static str,
        name: impl Into<String>,
        record: impl Fn(&mut Recorder) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (name, record) = (name.into(), Box::new(record));
        Self { kernel, name, scale: Scale::Small, tolerance: 4e-3, record }
    }

    /// The same at a shape of SD3.5.
    pub fn real(
        kernel: &'static str,
        name: impl Into<String>,
        record: impl Fn(&mut Recorder) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { scale: Scale::Real, ..Self::small(kernel, name, record) }
    }

    /// The same with activations kept in f32 and the tolerance of products of two parts of bf16.
    pub fn exactly(self) -> Self {
        let record = self.record;
        let exact = move |recorder: &mut Recorder| {
            recorder.program.keep_exact();
            record(recorder)
        };
        Self { name: format!("exact, {}", self.name), tolerance: 2e-5, record: Box::new(exact), ..self }
    }

    /// The same with another tolerance.
    pub fn within(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kernel, self.name)
    }
}

impl Recorder {
    /// An input of normals with deviation `deviation`, rounded to bf16.
    pub fn normal(&mut self, name: &str, shape: impl Into<Shape>, deviation: f32) -> TensorId {
        self.input(name, shape, |draw| draw * deviation)
    }

    /// An input made from standard normals by `make`, rounded to bf16.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>, make: impl Fn(f32) -> f32) -> TensorId {
        self.made(name, shape.into(), |draw| bf16::from_f32(make(draw)).to_f32())
    }

    /// An input of normals with deviation `deviation` as they are, f32 on every device.
    pub fn exact(&mut self, name: &str, shape: impl Into<Shape>, deviation: f32) -> TensorId {
        self.exact_input(name, shape, |draw| draw * deviation)
    }

    /// An input made from standard normals by `make`, f32 on every device.
    pub fn exact_input(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        make: impl Fn(f32) -> f32,
    ) -> TensorId {
        let id = self.made(name, shape.into(), make);
        self.program.mark_exact(id);
        id
    }

    /// An input of normals, f32 on every device or rounded to bf16.
    pub fn either(&mut self, name: &str, shape: impl Into<Shape>, exact: bool) -> TensorId {
        if exact { self.exact(name, shape, 1.0) } else { self.normal(name, shape, 1.0) }
    }

    /// An activation, f32 on every device or in what the device computes in.
    pub fn activation(&mut self, name: &str, shape: impl Into<Shape>, exact: bool) -> TensorId {
        let id = self.program.activation(name, shape);
        if exact {
            self.program.mark_exact(id);
        }
        id
    }

    fn made(&mut self, name: &str, shape: Shape, make: impl Fn(f32) -> f32) -> TensorId {
        let values = self.draw(&shape, make);
        let id = self.program.input(name, shape);
        self.inputs.push((id, values));
        id
    }

    /// A frozen weight of normals with deviation `deviation`, rounded to bf16; in a program that keeps activations in
    /// f32 it is bf16 nevertheless.
    pub fn weight(&mut self, name: &str, shape: impl Into<Shape>, deviation: f32) -> TensorId {
        let shape = shape.into();
        let values = self.draw(&shape, |draw| bf16::from_f32(draw * deviation).to_f32());
        self.weights.0.insert(name.to_owned(), values);
        self.program.weight(name, &shape)
    }

    /// As many draws as the shape has elements, from a stream that no other input has.
    fn draw(&self, shape: &Shape, make: impl Fn(f32) -> f32) -> Vec<f32> {
        let mut values = vec![0.0; shape.elements()];
        let lane = self.inputs.len() + self.weights.0.len() + 1;
        Stream::new(1, Purpose::Noise, lane as u32, 0, 0).fill_normal(&mut values);
        values.iter_mut().for_each(|value| *value = make(*value));
        values
    }

    /// An input that repeats the same million normals: for measurements, where drawing more would take longer than
    /// what is measured.
    pub fn repeated(&mut self, name: &str, shape: impl Into<Shape>) -> TensorId {
        let shape = shape.into();
        let mut values = vec![0.0; shape.elements().min(1 << 20)];
        Stream::new(1, Purpose::Noise, 0, 0, 0).fill_normal(&mut values);
        let values = values.iter().copied().cycle().take(shape.elements()).collect();
        let id = self.program.input(name, shape);
        self.inputs.push((id, values));
        id
    }

    /// An input of ids.
    pub fn ids(&mut self, name: &str, shape: impl Into<Shape>, values: Vec<i32>) -> TensorId {
        let id = self.program.add(name, shape, DType::I32, Home::Input);
        self.ids.push((id, values));
        id
    }

    /// The step state with this header and these samples.
    pub fn step_state(&mut self, header: StepHeader, samples: Vec<SampleState>) -> TensorId {
        let layout = self.layout.get_or_insert_with(|| Persistent::new(samples.len()));
        let id = layout.step_state(&mut self.program, samples.len());
        self.state = Some((header, samples));
        id
    }

    /// A flat buffer that starts as `values`; [`Recorder::layout`] must have it.
    pub fn flat(&mut self, flat: Flat, values: Vec<f32>) -> Option<TensorId> {
        let id = self.layout.as_ref()?.flat(&mut self.program, flat)?;
        self.flats.push((flat, values));
        Some(id)
    }

    /// Compares a tensor after the run.
    pub fn output(&mut self, id: TensorId) {
        self.program.output(id);
        self.outputs.push(Output::Tensor(id));
    }

    /// Compares a flat buffer after the run.
    pub fn output_flat(&mut self, flat: Flat) {
        self.outputs.push(Output::Flat(flat));
    }

    /// Compares losses, gradient norm and clip factor after the run.
    pub fn output_step_state(&mut self) {
        self.outputs.push(Output::StepState);
    }
}
