//! The persistent region: what outlives a step. Adapters, one flat gradient buffer, optimizer states, the
//! moving average and the step state lie side by side; programs refer to them by part and element, and where
//! and how a part is kept follows from the device's precision.

use crate::autograd::encoding::Encoding;
use crate::autograd::program::{Home, Program};
use crate::device::Precision;
use crate::device::cpu::ALIGNMENT;
use crate::kernels::step_state;
use crate::tensor::{DType, Shape, TensorId};

/// One trained tensor's place in the flat buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Shape,
    /// Its first element in each flat buffer.
    pub offset: usize,
}

/// The layout of the persistent region.
#[derive(Debug, Clone)]
pub struct Persistent {
    parameters: Vec<Parameter>,
    elements: usize,
    with_states: bool,
    with_average: bool,
    samples: usize,
}

/// A flat buffer of the persistent region, as long as all parameters together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat {
    /// The parameters.
    Parameters,
    /// Their gradients.
    Gradients,
    /// First moments.
    Moment1,
    /// Second moments.
    Moment2,
    /// Moving average.
    Average,
    /// The parameters as matrix products of a bf16 device read them.
    Working,
}

/// A part of the persistent region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The step state.
    StepState,
    /// A flat buffer.
    Flat(Flat),
}

/// Where a tensor of the persistent region begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which part.
    pub part: Part,
    /// Its first element there.
    pub element: usize,
}

impl Persistent {
    /// A region for inference or for looking at gradients: parameters and gradients, without states.
    pub fn new(samples: usize) -> Self {
        Self { parameters: Vec::new(), elements: 0, with_states: false, with_average: false, samples }
    }

    /// Adds optimizer states, and the moving average if there is one.
    pub fn with_states(mut self, with_average: bool) -> Self {
        (self.with_states, self.with_average) = (true, with_average);
        self
    }

    /// Adds a parameter; every one starts on a fresh cache line.
    pub fn add(&mut self, name: impl Into<String>, shape: impl Into<Shape>) {
        let (name, shape) = (name.into(), shape.into());
        let line = ALIGNMENT / size_of::<f32>();
        let offset = self.elements;
        self.elements += shape.elements().next_multiple_of(line);
        self.parameters.push(Parameter { name, shape, offset });
    }

    /// All parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Trainable elements, without the space between parameters.
    pub fn trainable(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.shape.elements()).sum()
    }

    /// Elements of a flat buffer.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The flat buffers that there are on a device of `precision`, in order.
    fn buffers(&self, precision: Precision) -> Vec<Flat> {
        let mut all = vec![Flat::Parameters, Flat::Gradients];
        all.extend(self.with_states.then_some([Flat::Moment1, Flat::Moment2]).into_iter().flatten());
        all.extend(self.with_average.then_some(Flat::Average));
        all.extend((precision == Precision::Bf16).then_some(Flat::Working));
        all
    }

    /// How a flat buffer is kept; none if the region lacks it.
    pub fn encoding(&self, flat: Flat, precision: Precision) -> Option<Encoding> {
        let there = self.buffers(precision).contains(&flat);
        there.then_some(if flat == Flat::Working { Encoding::Bf16 } else { Encoding::F32 })
    }

    /// Bytes of a flat buffer, to a whole line; 0 if the region lacks it.
    pub fn flat_bytes(&self, flat: Flat, precision: Precision) -> usize {
        let bytes = self.encoding(flat, precision).map_or(0, |encoding| encoding.bytes(self.elements));
        bytes.next_multiple_of(ALIGNMENT)
    }

    /// First byte of a part; one that the region lacks has none.
    pub fn start(&self, part: Part, precision: Precision) -> Option<usize> {
        let Part::Flat(flat) = part else { return Some(0) };
        let buffers = self.buffers(precision);
        let index = buffers.iter().position(|&buffer| buffer == flat)?;
        let before = buffers[..index].iter().map(|&buffer| self.flat_bytes(buffer, precision));
        Some(self.state_bytes() + before.sum::<usize>())
    }

    /// Byte of a place.
    pub fn byte(&self, place: Place, precision: Precision) -> Option<usize> {
        let within = match place.part {
            Part::StepState => place.element * size_of::<f32>(),
            Part::Flat(flat) => self.encoding(flat, precision)?.bytes(place.element),
        };
        Some(self.start(place.part, precision)? + within)
    }

    /// Bytes of the step state, to a whole line.
    pub fn state_bytes(&self) -> usize {
        (step_state::words(self.samples) * size_of::<f32>()).next_multiple_of(ALIGNMENT)
    }

    /// 32-bit words of the step state.
    pub fn state_words(&self) -> usize {
        step_state::words(self.samples)
    }

    /// Bytes of the whole region.
    pub fn bytes(&self, precision: Precision) -> usize {
        let buffers = self.buffers(precision).into_iter();
        self.state_bytes() + buffers.map(|flat| self.flat_bytes(flat, precision)).sum::<usize>()
    }

    /// The step state of a program whose batch is `samples`.
    pub fn step_state(&self, program: &mut Program, samples: usize) -> TensorId {
        let home = Home::Persistent(Place { part: Part::StepState, element: 0 });
        match program.find("step state") {
            Some(known) => known,
            None => program.add("step state", [step_state::words(samples)], DType::F32, home),
        }
    }

    /// A parameter, or its place in another flat buffer, as a tensor of `program`.
    pub fn tensor(&self, program: &mut Program, name: &str, flat: Flat) -> Option<TensorId> {
        let parameter = self.parameter(name)?;
        self.encoding(flat, Precision::F32)?;
        let home = Home::Persistent(Place { part: Part::Flat(flat), element: parameter.offset });
        let known = program.tensors.iter().position(|tensor| tensor.home == home);
        Some(known.map_or_else(
            || program.add(parameter.name.clone(), parameter.shape.clone(), DType::F32, home.clone()),
            |index| TensorId(index as u32),
        ))
    }

    /// A whole flat buffer as a tensor of `program`.
    pub fn flat(&self, program: &mut Program, flat: Flat) -> Option<TensorId> {
        self.encoding(flat, Precision::F32)?;
        let home = Home::Persistent(Place { part: Part::Flat(flat), element: 0 });
        Some(program.add(format!("{flat:?}"), [self.elements], DType::F32, home))
    }
}
