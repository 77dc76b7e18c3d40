//! The before/after grid: a row for each prompt, a column for each step, labelled.

use super::canvas::{Canvas, text_height, text_width};
use super::{font, png};
use crate::error::{Error, Result};
use image::imageops::FilterType;
use image::{Rgb, RgbImage};
use std::path::Path;

/// A prompt and its pictures, one for each column.
#[derive(Debug, Clone)]
pub struct GridRow {
    /// What stands at the left.
    pub label: String,
    /// From the first column to the last.
    pub pictures: Vec<RgbImage>,
}

/// Longest side of a cell: small pictures are enlarged, large ones reduced.
const SMALLEST_CELL: u32 = 256;
const LARGEST_CELL: u32 = 512;
const GAP: u32 = 12;
const LABEL_WIDTH: u32 = 250;
const TEXT: u32 = 2;
const LINE: u32 = 22;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([52, 58, 70]);

/// Writes the grid of `rows` under the labels `columns` to `path`.
///
/// # Errors
/// As [`draw`], and what the disk says.
pub fn write(path: &Path, columns: &[String], rows: &[GridRow]) -> Result<()> {
    png::write(path, &draw(columns, rows)?, &[])
}

/// Draws the grid.
///
/// # Errors
/// No pictures, or a row with another number of pictures than there are columns.
pub fn draw(columns: &[String], rows: &[GridRow]) -> Result<RgbImage> {
    if columns.is_empty() || rows.is_empty() {
        return Err(Error::shape("picture grid", "there are no pictures to show"));
    }
    if let Some(row) = rows.iter().find(|row| row.pictures.len() != columns.len()) {
        let cause = format!("{} pictures in the row `{}`", row.pictures.len(), row.label);
        return Err(Error::shape("picture grid", format!("{cause} of {} columns", columns.len())));
    }
    let pictures: Vec<Vec<RgbImage>> =
        rows.iter().map(|row| row.pictures.iter().map(fitted).collect()).collect();
    let all = || pictures.iter().flatten();
    let cell_width = all().map(RgbImage::width).max().unwrap_or(1);
    let heights: Vec<u32> =
        pictures.iter().map(|row| row.iter().map(RgbImage::height).max().unwrap_or(1)).collect();

    let header = GAP + text_height(TEXT) + GAP;
    let left = |column: usize| GAP + LABEL_WIDTH + GAP + column as u32 * (cell_width + GAP);
    let height = header + heights.iter().map(|height| height + GAP).sum::<u32>();
    let mut canvas = Canvas::new(left(columns.len()), height, PAPER);
    for (column, label) in columns.iter().enumerate() {
        let label = shortened(label, cell_width);
        let indent = (cell_width.saturating_sub(text_width(&label, TEXT))) / 2;
        canvas.text(left(column) + indent, GAP, TEXT, INK, &label);
    }
    let mut top = header;
    for ((row, pictures), height) in rows.iter().zip(&pictures).zip(heights) {
        draw_label(&mut canvas, &row.label, top, height);
        for (column, picture) in pictures.iter().enumerate() {
            let indent = (cell_width - picture.width()) / 2;
            canvas.paste(picture, left(column) + indent, top);
        }
        top += height + GAP;
    }
    Ok(canvas.into_picture())
}

/// The label in lines, in the middle of its row's height.
fn draw_label(canvas: &mut Canvas, label: &str, top: u32, height: u32) {
    let mut lines = wrapped(label, (LABEL_WIDTH / (font::ADVANCE * TEXT)) as usize);
    let fitting = (height / LINE).max(1) as usize;
    if lines.len() > fitting {
        lines.truncate(fitting);
        if let Some(last) = lines.last_mut() {
            *last = shortened(&format!("{last}..."), LABEL_WIDTH);
        }
    }
    let first = top + height.saturating_sub(lines.len() as u32 * LINE) / 2;
    for (index, line) in lines.iter().enumerate() {
        canvas.text(GAP, first + index as u32 * LINE, TEXT, INK, line);
    }
}

/// Breaks `text` at spaces, and inside a word only if the word alone is longer than a line.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let characters: Vec<char> = word.chars().collect();
        for piece in characters.chunks(columns) {
            let piece: String = piece.iter().collect();
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + piece.chars().count() <= columns => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
        }
    }
    lines
}

/// `text`, or its beginning and three dots, within `width` pixels.
fn shortened(text: &str, width: u32) -> String {
    if text_width(text, TEXT) <= width {
        return text.to_owned();
    }
    let fitting = (width / (font::ADVANCE * TEXT)) as usize;
    text.chars().take(fitting.saturating_sub(3)).chain("...".chars()).collect()
}

/// The picture with its longest side within a cell's bounds.
fn fitted(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height).max(1);
    let target = longest.clamp(SMALLEST_CELL, LARGEST_CELL);
    if target == longest {
        return picture.clone();
    }
    let scaled = |side: u32| (u64::from(side) * u64::from(target) / u64::from(longest)).max(1) as u32;
    image::imageops::resize(picture, scaled(width), scaled(height), FilterType::CatmullRom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, sizes: &[(u32, u32)]) -> GridRow {
        let picture = |&(width, height): &(u32, u32)| RgbImage::from_pixel(width, height, Rgb([200, 30, 40]));
        GridRow { label: label.into(), pictures: sizes.iter().map(picture).collect() }
    }

    #[test]
    fn every_picture_has_its_place() {
        let columns = ["before".to_owned(), "step 1000".to_owned()];
        let grid = draw(&columns, &[row("a cat", &[(256, 256); 2]), row("a dog", &[(300, 260); 2])]).unwrap();
        let first = (2 * GAP + LABEL_WIDTH, 2 * GAP + text_height(TEXT));
        assert_eq!(grid.dimensions(), (first.0 + 2 * (300 + GAP), first.1 + 256 + GAP + 260 + GAP));
        for (x, y) in [(22, 0), (277, 255), (22 + 300 + GAP, 0), (0, 256 + GAP), (299, 256 + GAP + 259)] {
            assert_eq!(grid.get_pixel(first.0 + x, first.1 + y), &Rgb([200, 30, 40]), "{x},{y}");
        }
        assert_eq!(grid.get_pixel(first.0 + 21, first.1), &PAPER);
    }

    #[test]
    fn pictures_are_brought_to_a_readable_size() {
        assert_eq!(fitted(&RgbImage::new(128, 64)).dimensions(), (256, 128));
        assert_eq!(fitted(&RgbImage::new(1024, 1024)).dimensions(), (512, 512));
        assert_eq!(fitted(&RgbImage::new(1, 5000)).dimensions(), (1, 512));
    }

    #[test]
    fn long_labels_are_broken_and_cut() {
        assert_eq!(wrapped("a red heart on a table", 8), ["a red", "heart on", "a table"]);
        assert_eq!(wrapped("incomprehensible", 6), ["incomp", "rehens", "ible"]);
        assert!(wrapped("  ", 6).is_empty());
        let label = "very long label ".repeat(40);
        assert!(draw(std::slice::from_ref(&label), &[row(&label, &[(64, 8)])]).is_ok());
    }

    #[test]
    fn a_grid_with_holes_is_refused() {
        let columns = ["a".to_owned(), "b".to_owned()];
        assert!(draw(&columns, &[]).is_err());
        assert!(draw(&[], &[row("x", &[])]).is_err());
        assert!(draw(&columns, &[row("x", &[(9, 9)])]).unwrap_err().cause.contains("`x`"));
    }
}
