//! The persistent region: what outlives a step. Adapters, one flat gradient buffer, optimizer states, the
//! moving average and the step state lie side by side; programs refer to them by their byte.

use crate::autograd::program::{Home, Program};
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

/// The layout of the persistent region. All its tensors are f32.
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

    /// Trainable elements, without the space between parameters.
    pub fn trainable(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.shape.elements()).sum()
    }

    /// Bytes of one flat buffer.
    pub fn flat_bytes(&self) -> usize {
        self.elements * size_of::<f32>()
    }

    /// The flat buffers that there are, in order.
    fn buffers(&self) -> Vec<Flat> {
        let mut all = vec![Flat::Parameters, Flat::Gradients];
        all.extend(self.with_states.then_some([Flat::Moment1, Flat::Moment2]).into_iter().flatten());
        all.extend(self.with_average.then_some(Flat::Average));
        all
    }

    /// First byte of a flat buffer; one that the region lacks has none.
    pub fn start(&self, flat: Flat) -> Option<usize> {
        let index = self.buffers().iter().position(|&buffer| buffer == flat)?;
        Some(self.state_bytes() + index * self.flat_bytes())
    }

    /// Bytes of the step state, to a whole line.
    fn state_bytes(&self) -> usize {
        (step_state::words(self.samples) * size_of::<f32>()).next_multiple_of(ALIGNMENT)
    }

    /// Bytes of the whole region.
    pub fn bytes(&self) -> usize {
        self.state_bytes() + self.buffers().len() * self.flat_bytes()
    }

    /// The step state of a program whose batch is `samples`.
    pub fn step_state(&self, program: &mut Program, samples: usize) -> TensorId {
        match program.find("step state") {
            Some(known) => known,
            None => program.add("step state", [step_state::words(samples)], DType::F32, Home::Persistent(0)),
        }
    }

    /// A parameter, or its place in another flat buffer, as a tensor of `program`.
    pub fn tensor(&self, program: &mut Program, name: &str, flat: Flat) -> Option<TensorId> {
        let parameter = self.parameters.iter().find(|parameter| parameter.name == name)?;
        let home = Home::Persistent(self.start(flat)? + parameter.offset * size_of::<f32>());
        let known = program.tensors.iter().position(|tensor| tensor.home == home);
        Some(known.map_or_else(
            || program.add(parameter.name.clone(), parameter.shape.clone(), DType::F32, home.clone()),
            |index| TensorId(index as u32),
        ))
    }

    /// A whole flat buffer as a tensor of `program`.
    pub fn flat(&self, program: &mut Program, flat: Flat) -> Option<TensorId> {
        let home = Home::Persistent(self.start(flat)?);
        Some(program.add(format!("{flat:?}"), [self.elements], DType::F32, home))
    }
}
