//! The persistent region: what outlives a step. Adapters, one flat gradient buffer, optimizer states, the
//! moving average and the step state lie side by side; programs refer to them by part and element, and where
//! and how a part is kept follows from the device's precision.

use crate::autograd::encoding::Encoding;
use crate::autograd::program::{Home, Program};
use crate::device::Precision;
use crate::device::cpu::ALIGNMENT;
use crate::kernels::adamw::Form;
use crate::kernels::adamw::block8::Map;
use crate::kernels::step_state;
use crate::tensor::{DType, Shape, TensorId};
use std::borrow::Cow;

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
    form: Form,
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
    /// The parameters as matrix products of a bf16 device read them; the parameters themselves where they are bf16.
    Working,
    /// What bf16 leaves of f32 parameters, in bf16: the parameters are nearly the sum of it and the working copy.
    Rest,
}

impl Flat {
    /// How a device that computes in bf16 keeps this buffer where the optimizer's states have the form `form`.
    pub fn encoding_under(self, form: Form) -> Encoding {
        match (form, self) {
            (_, Self::Working | Self::Rest) => Encoding::Bf16,
            (Form::Bf16, Self::Parameters | Self::Moment1 | Self::Moment2) => Encoding::Bf16,
            (Form::Block8, Self::Moment1) => Encoding::Block8(Map::Signed),
            (Form::Block8, Self::Moment2) => Encoding::Block8(Map::Unsigned),
            _ => Encoding::F32,
        }
    }
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
        let (parameters, form) = (Vec::new(), Form::F32);
        Self { parameters, elements: 0, form, with_states: false, with_average: false, samples }
    }

    /// A region for training, still without parameters: with optimizer states in the form `form`, and with the moving
    /// average if there is one.
    pub fn with_states(samples: usize, form: Form, with_average: bool) -> Self {
        Self { form, with_states: true, with_average, ..Self::new(samples) }
    }

    /// Adds a parameter; every one starts on a fresh cache line, and in a fresh block where states have blocks.
    pub fn add(&mut self, name: impl Into<String>, shape: impl Into<Shape>) {
        let (name, shape) = (name.into(), shape.into());
        let line = (ALIGNMENT / size_of::<f32>()).max(self.form_of(Flat::Moment1).alignment());
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
        let is_apart = precision == Precision::Bf16 && self.form_of(Flat::Parameters) != Encoding::Bf16;
        all.extend(is_apart.then_some(Flat::Working));
        all.extend((is_apart && self.has_rest()).then_some(Flat::Rest));
        all
    }

    /// Whether a device that computes in bf16 keeps what that leaves of the parameters.
    fn has_rest(&self) -> bool {
        self.form == Form::F32
    }

    /// How a device that computes in bf16 keeps a flat buffer: no device holds values that this cannot.
    fn form_of(&self, flat: Flat) -> Encoding {
        flat.encoding_under(self.form)
    }

    /// The buffer that holds `flat` on a device of `precision`, if there is one.
    fn buffer(&self, flat: Flat, precision: Precision) -> Option<Flat> {
        let is_working = flat == Flat::Working && precision == Precision::Bf16;
        let buffers = self.buffers(precision);
        let buffer = if is_working && !buffers.contains(&flat) { Flat::Parameters } else { flat };
        buffers.contains(&buffer).then_some(buffer)
    }

    /// How a flat buffer is kept; none if the region lacks it.
    pub fn encoding(&self, flat: Flat, precision: Precision) -> Option<Encoding> {
        let buffer = self.buffer(flat, precision)?;
        Some(if precision == Precision::F32 { Encoding::F32 } else { self.form_of(buffer) })
    }

    /// `values` rounded to what the form of a flat buffer can hold, from the beginning of a parameter on.
    pub fn rounded<'v>(&self, flat: Flat, values: &'v [f32]) -> Cow<'v, [f32]> {
        let form = self.form_of(flat);
        if form == Encoding::F32 {
            return values.into();
        }
        let (mut kept, mut rounded) = (vec![0; form.bytes(values.len())], vec![0.0; values.len()]);
        form.encode(values, &mut kept);
        form.decode(&kept, &mut rounded);
        rounded.into()
    }

    /// Bytes of a flat buffer, to a whole line; 0 if the region lacks it or another buffer holds it.
    pub fn flat_bytes(&self, flat: Flat, precision: Precision) -> usize {
        let own = self.buffer(flat, precision) == Some(flat);
        let bytes = if own { self.encoding(flat, precision) } else { None };
        bytes.map_or(0, |encoding| encoding.bytes(self.elements)).next_multiple_of(ALIGNMENT)
    }

    /// First byte of a part; one that the region lacks has none.
    pub fn start(&self, part: Part, precision: Precision) -> Option<usize> {
        let Part::Flat(flat) = part else { return Some(0) };
        let (buffers, holder) = (self.buffers(precision), self.buffer(flat, precision)?);
        let index = buffers.iter().position(|&buffer| buffer == holder)?;
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
        if let Some(known) = program.tensors.iter().position(|tensor| tensor.home == home) {
            return Some(TensorId(known as u32));
        }
        let id = program.add(parameter.name.clone(), parameter.shape.clone(), DType::F32, home);
        program.tensors[id.index()].exact = flat == Flat::Parameters && self.has_rest();
        Some(id)
    }

    /// A whole flat buffer as a tensor of `program`.
    pub fn flat(&self, program: &mut Program, flat: Flat) -> Option<TensorId> {
        self.encoding(flat, Precision::F32)?;
        let home = Home::Persistent(Place { part: Part::Flat(flat), element: 0 });
        Some(program.add(format!("{flat:?}"), [self.elements], DType::F32, home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(form: Form) -> Persistent {
        let mut region = Persistent::with_states(2, form, true);
        region.add("a", [3, 11]);
        region.add("b", [300]);
        region
    }

    #[test]
    fn on_the_processor_every_form_is_f32() {
        for form in [Form::F32, Form::Bf16, Form::Block8] {
            let region = region(form);
            for flat in [Flat::Parameters, Flat::Gradients, Flat::Moment1, Flat::Moment2, Flat::Average] {
                assert_eq!(region.flat_bytes(flat, Precision::F32), 4 * region.elements());
            }
            assert_eq!(region.start(Part::Flat(Flat::Working), Precision::F32), None);
            assert_eq!(region.bytes(Precision::F32), region.state_bytes() + 20 * region.elements());
        }
    }

    #[test]
    fn on_a_bf16_device_a_form_takes_what_it_says() {
        let bytes = |form, flat| region(form).flat_bytes(flat, Precision::Bf16);
        let (f32s, block8) = (region(Form::F32).elements(), region(Form::Block8).elements());
        assert_eq!((f32s, block8), (48 + 304, 256 + 512));
        assert_eq!(bytes(Form::F32, Flat::Moment1), 4 * f32s);
        assert_eq!(bytes(Form::F32, Flat::Working), 2 * f32s);
        assert_eq!(bytes(Form::F32, Flat::Rest), 2 * f32s);
        assert_eq!(bytes(Form::Bf16, Flat::Rest), 0);
        assert_eq!(bytes(Form::Block8, Flat::Rest), 0);
        assert_eq!(bytes(Form::Bf16, Flat::Moment1), 2 * f32s);
        assert_eq!(bytes(Form::Bf16, Flat::Parameters), 2 * f32s);
        assert_eq!(bytes(Form::Bf16, Flat::Average), 4 * f32s);
        assert_eq!(bytes(Form::Block8, Flat::Parameters), 4 * block8);
        assert_eq!(bytes(Form::Block8, Flat::Moment2), (block8 + block8 / 64).next_multiple_of(ALIGNMENT));
    }

    #[test]
    fn bf16_parameters_are_their_own_working_copy() {
        let place = |form, flat| {
            let region = region(form);
            region.byte(Place { part: Part::Flat(flat), element: 48 }, Precision::Bf16)
        };
        assert_eq!(place(Form::Bf16, Flat::Working), place(Form::Bf16, Flat::Parameters));
        assert_ne!(place(Form::F32, Flat::Working), place(Form::F32, Flat::Parameters));
        assert_eq!(region(Form::Bf16).flat_bytes(Flat::Working, Precision::Bf16), 0);
    }

    #[test]
    fn values_are_rounded_to_what_the_form_holds() {
        let values = [1.0, 1.0 + 1e-4, -3.0];
        assert_eq!(*region(Form::F32).rounded(Flat::Parameters, &values), values);
        assert_eq!(*region(Form::Bf16).rounded(Flat::Parameters, &values), [1.0, 1.0, -3.0]);
        assert_eq!(*region(Form::Bf16).rounded(Flat::Average, &values), values);
        assert_eq!(region(Form::Block8).rounded(Flat::Moment1, &values)[2], -3.0);
        assert_eq!(*region(Form::Block8).rounded(Flat::Parameters, &values), values);
    }
}
