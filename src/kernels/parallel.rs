//! Work cut into parts and spread over the threads.
//!
//! Where a result depends on how work is cut, the parts do not depend on the number of threads.

use crate::device::Limits;
use rayon::prelude::*;

/// Elements that one part of an elementwise kernel covers, about.
const ELEMENTS_A_PART: usize = 16 * 1024;

/// Rows of `columns` elements that make up one part.
pub fn rows_a_part(columns: usize) -> usize {
    (ELEMENTS_A_PART / columns.max(1)).max(1)
}

/// Rows that one part of a matrix product covers: an equal share for each lane, so that the other operand is
/// packed as seldom as can be, up to what a lane's scratch may hold.
///
/// A row has the same bits in any part ([`crate::kernels::matrix::multiply`]), so here the parts may depend on
/// the number of lanes.
pub fn rows_a_product(rows: usize, limits: &Limits) -> usize {
    const UNIT: usize = 16;
    const MOST: usize = 512;
    rows.div_ceil(limits.lanes).next_multiple_of(UNIT).clamp(UNIT, MOST)
}

/// Runs `work` on every task, each lane with its own scratch.
pub fn over_lanes<T: Send>(tasks: Vec<T>, scratch: Vec<&mut [f32]>, work: impl Fn(T, &mut [f32]) + Sync) {
    let lanes = scratch.len().max(1);
    let mut hands: Vec<Vec<T>> = (0..lanes).map(|_| Vec::new()).collect();
    for (index, task) in tasks.into_iter().enumerate() {
        hands[index % lanes].push(task);
    }
    hands.into_par_iter().zip(scratch).for_each(|(hand, scratch)| {
        for task in hand {
            work(task, scratch);
        }
    });
}

/// Runs `work(first_row, rows of out)` over parts of `out`, a matrix of `columns` columns.
pub fn over_rows(out: &mut [f32], columns: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = rows_a_part(columns);
    out.par_chunks_mut(rows * columns.max(1)).enumerate().for_each(|(part, chunk)| work(part * rows, chunk));
}
