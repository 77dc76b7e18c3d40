//! What a device makes of a recorded program before it is planned: fused launches, element types, and the
//! parameters' working copy.
//!
//! Programs are recorded in f32 and know no device. A device that computes in bf16 keeps every tensor in bf16 but
//! those that a kernel or whoever recorded them names as exact. Trained parameters that are kept in f32 are read
//! through their bf16 working copy, which the optimizer writes along, and what that leaves of them. The moving average
//! has no such copy: a program that reads it casts it first.

use crate::autograd::fuse::fuse;
use crate::autograd::halve::halve;
use crate::autograd::persistent::{Flat, Part, Place};
use crate::autograd::program::{Home, Node, Program, Queue, Work};
use crate::autograd::rest::add_rests;
use crate::device::{Limits, Precision};
use crate::kernels::Kernel;
use crate::kernels::adamw::{AdamW, Form};
use crate::kernels::cast::Cast;
use crate::tensor::{DType, Shape, TensorId};

/// Prepares `program` for a device.
pub fn lower(program: &mut Program, limits: &Limits) {
    if limits.precision() == Precision::Bf16 {
        fuse(program);
        add_rests(program);
        keep_states(program);
        halve(program);
        choose_dtypes(program);
        cast_averages(program);
    }
}

/// Gives the states of every optimizer node their element types, and makes it write the working copy and its rest.
fn keep_states(program: &mut Program) {
    for index in 0..program.nodes.len() {
        let Work::Launch(Kernel::AdamW(node)) = &program.nodes[index].work else { continue };
        let AdamW { settings, parameters, moment1, moment2, .. } = node.clone();
        for (moment, flat) in [(moment1, Flat::Moment1), (moment2, Flat::Moment2)] {
            let encoding = flat.encoding_under(settings.form);
            let tensor = &mut program.tensors[moment.to.index()];
            tensor.dtype = encoding.dtype();
            tensor.shape = [encoding.bytes(tensor.shape.elements()) / encoding.dtype().size()].into();
        }
        if settings.form == Form::Bf16 {
            continue;
        }
        let shape: Shape = program.tensors[parameters.to.index()].shape.clone();
        let mut copy = |flat: Flat| {
            let home = Home::Persistent(Place { part: Part::Flat(flat), element: 0 });
            program.add(format!("{flat:?}"), shape.clone(), DType::Bf16, home)
        };
        let working = copy(Flat::Working);
        let rest = (settings.form == Form::F32).then(|| copy(Flat::Rest));
        if let Work::Launch(Kernel::AdamW(node)) = &mut program.nodes[index].work {
            (node.working, node.rest) = (Some(working), rest);
        }
    }
}

fn choose_dtypes(program: &mut Program) {
    let mut exact = vec![false; program.tensors.len()];
    program.nodes.iter().flat_map(|node| node.work.exact()).for_each(|id| exact[id.index()] = true);
    let mut arrives = vec![false; program.tensors.len()];
    program.nodes.iter().filter_map(|node| node.work.arriving()).for_each(|id| arrives[id.index()] = true);
    for ((tensor, exact), arrives) in program.tensors.iter_mut().zip(exact).zip(arrives) {
        if exact || tensor.dtype != DType::F32 {
            continue;
        }
        match &mut tensor.home {
            Home::Arena | Home::Input if tensor.exact && !arrives => {}
            Home::Arena | Home::Input | Home::Weight(_) => tensor.dtype = DType::Bf16,
            Home::Persistent(place) if place.part == Part::Flat(Flat::Parameters) => {
                place.part = Part::Flat(Flat::Working);
                tensor.dtype = DType::Bf16;
            }
            Home::Persistent(_) => {}
        }
    }
}

/// Casts the parts of the moving average that matrix products read, before anything else runs.
fn cast_averages(program: &mut Program) {
    let exact: Vec<TensorId> = program.nodes.iter().flat_map(|node| node.work.exact()).collect();
    let mut casts = Vec::new();
    for index in 0..program.tensors.len() {
        let (id, tensor) = (TensorId(index as u32), &program.tensors[index]);
        let Home::Persistent(place) = &tensor.home else { continue };
        if place.part != Part::Flat(Flat::Average) || exact.contains(&id) {
            continue;
        }
        let (name, shape, home) =
            (format!("{} kept", tensor.name), tensor.shape.clone(), tensor.home.clone());
        let kept = program.add(name, shape, DType::F32, home);
        (program.tensors[index].home, program.tensors[index].dtype) = (Home::Arena, DType::Bf16);
        let work = Work::Launch(Cast { x: kept, y: id }.into());
        casts.push(Node { work, queue: Queue::Compute, block: 0 });
    }
    program.forward_nodes += casts.len();
    program.nodes.splice(0..0, casts);
}
