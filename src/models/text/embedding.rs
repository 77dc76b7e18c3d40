//! The embedding layers: a look-up in the mapped file, on the host.
//!
//! The ids of a prompt are known before its program runs, and a prompt needs a few hundred rows of a table that has
//! up to 32128 of 4096 values. So the rows are read straight from the file into the program's input, and neither
//! the table nor a kernel over it exists on a device.

use crate::error::{Error, Result};
use crate::weights::Weight;

/// The rows of `table` that `ids` name, one after another.
///
/// Fails if the table has no such row: then the tokenizer belongs to another model.
pub(super) fn token_rows(table: &Weight, ids: &[i32]) -> Result<Vec<f32>> {
    let width = table.shape.columns();
    let mut rows = vec![0.0; ids.len() * width];
    for (&id, out) in ids.iter().zip(rows.chunks_exact_mut(width)) {
        let row = usize::try_from(id).ok().filter(|row| *row < table.row_count());
        let row = row.ok_or_else(|| no_such_token(table, id))?;
        table.read_rows_f32(row..row + 1, out)?;
    }
    Ok(rows)
}

/// Adds the first rows of `positions` to `rows`, from the first again for each text of `tokens` rows.
pub(super) fn add_positions(rows: &mut [f32], positions: &Weight, tokens: usize) -> Result<()> {
    let mut table = vec![0.0; tokens * positions.shape.columns()];
    positions.read_rows_f32(0..tokens, &mut table)?;
    for text in rows.chunks_exact_mut(table.len()) {
        text.iter_mut().zip(&table).for_each(|(value, position)| *value += position);
    }
    Ok(())
}

fn no_such_token(table: &Weight, id: i32) -> Error {
    let place =
        table.rows.first().map_or_else(String::new, |source| source.file.path().display().to_string());
    let cause = format!("the tokenizer gives the id {id}, the vocabulary has {} words", table.row_count());
    Error::new(crate::error::ErrorKind::Weights, place, cause)
        .hint("tokenizer and text encoder do not belong together")
}
