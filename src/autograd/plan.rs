//! The memory plan: every arena tensor's place, by its lifetime.
//!
//! Tensors that live at the same time never overlap. An update shares its base's place when nobody needs the
//! base afterwards. Places are given from the largest tensor to the smallest, each the lowest that is free.

use crate::autograd::program::{Home, Program, Work};
use crate::device::Limits;
use crate::device::cpu::ALIGNMENT;
use crate::tensor::TensorId;

/// Where everything lies while a program runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The arena byte of every tensor that lies there.
    pub offsets: Vec<Option<usize>>,
    /// The arena byte and length of every node's scratch memory.
    pub workspaces: Vec<(usize, usize)>,
    /// Bytes of the arena.
    pub bytes: usize,
    /// The most bytes that tensors need at one time.
    pub tensor_peak: usize,
    /// The most bytes that one node's scratch memory needs.
    pub workspace_peak: usize,
}

/// One place in the arena: one tensor, or several that take over from each other.
#[derive(Debug, Clone)]
struct Lot {
    bytes: usize,
    first: usize,
    last: usize,
    offset: usize,
}

/// The first and last node that a tensor must survive.
#[derive(Debug, Clone, Copy)]
struct Lifetime {
    first: usize,
    last: usize,
}

/// Plans `program`.
pub fn plan(program: &Program, limits: &Limits) -> Plan {
    let lifetimes = lifetimes(program);
    let (mut lots, lot_of) = lots(program, &lifetimes);
    let tensor_lots = lots.len();
    let scratch: Vec<usize> =
        program.nodes.iter().map(|node| scratch_bytes(&node.work, program, limits)).collect();
    let mut scratch_lot = vec![None; scratch.len()];
    for (index, &bytes) in scratch.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
        scratch_lot[index] = Some(lots.len());
        lots.push(Lot { bytes: bytes.next_multiple_of(ALIGNMENT), first: index, last: index, offset: 0 });
    }
    let tensor_peak = peak(&lots[..tensor_lots], program.nodes.len());
    let bytes = place(&mut lots);
    let offsets = lot_of.iter().map(|lot| lot.map(|lot| lots[lot].offset)).collect();
    let workspaces = scratch_lot
        .iter()
        .zip(&scratch)
        .map(|(lot, &n)| (lot.map_or(0, |lot| lots[lot].offset), n))
        .collect();
    let workspace_peak = scratch.iter().copied().max().unwrap_or(0);
    Plan { offsets, workspaces, bytes, tensor_peak, workspace_peak }
}

fn scratch_bytes(work: &Work, program: &Program, limits: &Limits) -> usize {
    match work {
        Work::Launch(kernel) => kernel.workspace(program, limits),
        Work::WeightArrival { .. } => 0,
    }
}

/// Lifetimes of arena tensors; none for those elsewhere or never touched.
fn lifetimes(program: &Program) -> Vec<Option<Lifetime>> {
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; program.tensors.len()];
    let mut touch = |id: TensorId, node: usize| {
        let lifetime = lifetimes[id.index()].get_or_insert(Lifetime { first: node, last: node });
        lifetime.last = lifetime.last.max(node);
    };
    // Inputs are written before the first node, and again before the next run: they live throughout, so that
    // what does not change between runs need not be written again.
    for (index, tensor) in program.tensors.iter().enumerate() {
        if tensor.home == Home::Input {
            touch(TensorId(index as u32), 0);
            touch(TensorId(index as u32), program.nodes.len());
        }
    }
    for (index, node) in program.nodes.iter().enumerate() {
        let work = &node.work;
        work.reads().into_iter().chain(work.writes()).for_each(|id| touch(id, index));
    }
    program.outputs.iter().for_each(|&id| touch(id, program.nodes.len()));
    for (index, lifetime) in lifetimes.iter_mut().enumerate() {
        if !program.in_arena(TensorId(index as u32)) {
            *lifetime = None;
        }
    }
    lifetimes
}

/// Gathers tensors into lots: an update joins its base's lot if the base ends there.
fn lots(program: &Program, lifetimes: &[Option<Lifetime>]) -> (Vec<Lot>, Vec<Option<usize>>) {
    let mut lot_of: Vec<Option<usize>> = vec![None; program.tensors.len()];
    let mut lots: Vec<Lot> = Vec::new();
    let mut bases: Vec<Option<TensorId>> = vec![None; program.tensors.len()];
    for (index, node) in program.nodes.iter().enumerate() {
        let Work::Launch(kernel) = &node.work else { continue };
        for update in kernel.updates() {
            let Some(from) = update.from else { continue };
            let ends = lifetimes[from.index()].is_some_and(|lifetime| lifetime.last == index);
            let read_once = kernel.reads().iter().filter(|id| **id == from).count() == 1;
            if ends && read_once && program.tensors[from.index()].home == Home::Arena {
                bases[update.to.index()] = Some(from);
            }
        }
    }
    let mut order: Vec<usize> = (0..program.tensors.len()).filter(|&i| lifetimes[i].is_some()).collect();
    order.sort_by_key(|&i| lifetimes[i].map(|lifetime| lifetime.first));
    for index in order {
        let Some(Lifetime { first, last }) = lifetimes[index] else { continue };
        let inherited = bases[index].and_then(|base| lot_of[base.index()]);
        let lot = inherited.unwrap_or_else(|| {
            let bytes = program.bytes(TensorId(index as u32)).next_multiple_of(ALIGNMENT);
            lots.push(Lot { bytes, first, last, offset: 0 });
            lots.len() - 1
        });
        lots[lot].last = lots[lot].last.max(last);
        lot_of[index] = Some(lot);
    }
    (lots, lot_of)
}

/// The most bytes alive at one node.
fn peak(lots: &[Lot], nodes: usize) -> usize {
    let mut change = vec![0isize; nodes + 2];
    for lot in lots {
        change[lot.first] += lot.bytes as isize;
        change[lot.last + 1] -= lot.bytes as isize;
    }
    let mut alive = 0;
    change
        .iter()
        .map(|delta| {
            alive += delta;
            alive as usize
        })
        .max()
        .unwrap_or(0)
}

/// Gives every lot the lowest offset at which it overlaps no lot alive at the same time; returns the end.
fn place(lots: &mut [Lot]) -> usize {
    let mut order: Vec<usize> = (0..lots.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lots[i].bytes), lots[i].first));
    let mut placed: Vec<usize> = Vec::new();
    let mut end = 0;
    for index in order {
        let lot = lots[index].clone();
        let mut neighbours: Vec<(usize, usize)> = placed
            .iter()
            .map(|&other| &lots[other])
            .filter(|other| other.first <= lot.last && lot.first <= other.last)
            .map(|other| (other.offset, other.offset + other.bytes))
            .collect();
        neighbours.sort_unstable();
        let mut offset = 0;
        for (start, stop) in neighbours {
            if offset + lot.bytes <= start {
                break;
            }
            offset = offset.max(stop);
        }
        lots[index].offset = offset;
        end = end.max(offset + lot.bytes);
        placed.push(index);
    }
    end
}
