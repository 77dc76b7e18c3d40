//! A curve in characters, for terminals: Braille patterns, two dots wide and four high.

/// The first of the Braille patterns, that without dots.
const EMPTY: u32 = 0x2800;
/// The bits of the dots, from the top; left, right.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// `values` from left to right in `columns` characters and `rows` lines, which show 0 to `top`.
pub fn curve(values: &[f64], top: f64, columns: usize, rows: usize) -> Vec<String> {
    let (width, height) = (2 * columns, 4 * rows);
    let mut dots = vec![vec![0u32; columns]; rows];
    let mut before = None;
    for x in 0..width {
        let Some(&value) = values.get(nearest(x, width, values.len())) else { continue };
        let y = dot(value, top, height);
        let from = before.unwrap_or(y);
        // A steep curve stays a line: the dots between two heights are set.
        for y in from.min(y)..=from.max(y) {
            let cell = dots.get_mut(y / 4).and_then(|row| row.get_mut(x / 2));
            cell.into_iter().for_each(|cell| *cell |= DOTS[y % 4][x % 2]);
        }
        before = Some(y);
    }
    let line = |row: Vec<u32>| row.into_iter().filter_map(|bits| char::from_u32(EMPTY + bits)).collect();
    dots.into_iter().map(line).collect()
}

/// The place in `count` values of the dot at `x` of `width`.
fn nearest(x: usize, width: usize, count: usize) -> usize {
    let share = x as f64 / width.saturating_sub(1).max(1) as f64;
    (share * count.saturating_sub(1) as f64).round() as usize
}

/// The row of `value`, from the top.
fn dot(value: f64, top: f64, height: usize) -> usize {
    let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
    ((1.0 - share) * height.saturating_sub(1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_dots_and_steep_curves_are_lines() {
        // All dots of the lowest row, of the highest, and both columns of a jump from the one to the other.
        assert_eq!(curve(&[0.0, 0.0], 1.0, 2, 1), ["⣀⣀"]);
        assert_eq!(curve(&[1.0], 1.0, 2, 1), ["⠉⠉"]);
        assert_eq!(curve(&[0.0, 1.0], 1.0, 1, 1), ["⣸"]);
        assert_eq!(curve(&[1.0, 1.0, 0.0, 0.0], 1.0, 2, 2), ["⠉⡇", "⠀⣇"]);
    }

    #[test]
    fn anything_can_be_drawn() {
        for values in [&[][..], &[f64::NAN, 3.0, -1.0], &[0.0]] {
            let lines = curve(values, 0.0, 5, 3);
            assert!(lines.len() == 3 && lines.iter().all(|line| line.chars().count() == 5));
        }
    }
}
