//! f32 adapters on a device whose products take bf16: what bf16 leaves of them, their rest, goes into the forward
//! pass as a second adapter over the same columns.
//!
//! An adapter of low rank is a sum in each factor, H = X (A + A')^T and Y = .. + s H (B + B')^T, so a rest is one more
//! segment of a sum whose length is small beside that of the frozen weight.

use crate::autograd::persistent::{Flat, Part, Place};
use crate::autograd::program::{Home, Program, Work};
use crate::kernels::Kernel;
use crate::kernels::linear::{Change, Term};
use crate::kernels::low_rank::Down;
use crate::tensor::{DType, TensorId};

/// Adds the rest of every adapter that is kept in f32 to the layers that read it.
pub fn add_rests(program: &mut Program) {
    for index in 0..program.nodes.len() {
        let Work::Launch(mut kernel) = program.nodes[index].work.clone() else { continue };
        match &mut kernel {
            Kernel::LowRankDown(node) => {
                let rests: Vec<_> =
                    node.downs.iter().filter_map(|down| rest_of_down(program, down)).collect();
                node.downs.extend(rests);
            }
            Kernel::Linear(node) => {
                let rests = node.terms.iter().filter_map(|term| rest_of_term(program, term));
                // Before the adapters, whose output scales go over the sums of both.
                node.terms = rests.collect::<Vec<_>>().into_iter().chain(node.terms.clone()).collect();
            }
            _ => continue,
        }
        program.nodes[index].work = Work::Launch(kernel);
    }
}

fn rest_of_down(program: &mut Program, down: &Down) -> Option<Down> {
    Some(Down { a: rest(program, down.a)?, ..down.clone() })
}

fn rest_of_term(program: &mut Program, term: &Term) -> Option<Term> {
    let Change::LowRank { hidden, b, scale } = &term.change else { return None };
    let change = Change::LowRank { hidden: hidden.clone(), b: rest(program, *b)?, scale: *scale };
    Some(Term { columns: term.columns.clone(), change, output_scale: None })
}

/// The rest of a parameter, if it has one.
fn rest(program: &mut Program, parameter: TensorId) -> Option<TensorId> {
    let tensor = &program.tensors[parameter.index()];
    let Home::Persistent(Place { part: Part::Flat(Flat::Parameters), element }) = tensor.home else {
        return None;
    };
    if !tensor.exact {
        return None;
    }
    let home = Home::Persistent(Place { part: Part::Flat(Flat::Rest), element });
    if let Some(known) = program.tensors.iter().position(|tensor| tensor.home == home) {
        return Some(TensorId(known as u32));
    }
    let (name, shape) = (format!("{} rest", tensor.name), tensor.shape.clone());
    Some(program.add(name, shape, DType::Bf16, home))
}
