//! The learning rate over the steps of a run, drawn in the terminal.

use crate::report::braille;

const COLUMNS: usize = 62;
const ROWS: usize = 5;
/// Columns before the curve.
const MARGIN: usize = 13;

/// The curve through `points`, each a step and its rate, with its highest rate and the first and last step.
pub fn learning_rate(points: &[(u64, f64)]) -> Vec<String> {
    let rates: Vec<f64> = points.iter().map(|point| point.1).collect();
    let top = rates.iter().copied().fold(0.0, f64::max);
    let mut lines = vec!["learning rate".to_owned()];
    for (row, text) in braille::curve(&rates, top, COLUMNS, ROWS).into_iter().enumerate() {
        let label = match row {
            0 => rate(top),
            row if row + 1 == ROWS => "0".to_owned(),
            _ => String::new(),
        };
        lines.push(format!("{label:>width$}  {text}", width = MARGIN - 2));
    }
    let last = points.last().map_or(0, |point| point.0).to_string();
    lines.push(format!("{:MARGIN$}{:<width$}{last}", "", "step 1", width = COLUMNS - last.len()));
    lines
}

/// A rate as people write it, with up to three digits.
fn rate(rate: f64) -> String {
    if rate == 0.0 {
        return "0".to_owned();
    }
    let text = format!("{rate:.2e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_fits_a_terminal_and_names_its_ends() {
        let points: Vec<(u64, f64)> =
            (0..100).map(|step| (1 + 240 * step, 1.5e-3 / (step + 1) as f64)).collect();
        let lines = learning_rate(&points);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
        assert!(lines[1].contains("1.5e-3"), "{lines:?}");
        assert!(lines[ROWS].trim_start().starts_with('0'));
        assert!(lines[ROWS + 1].contains("step 1") && lines[ROWS + 1].ends_with("23761"));
    }

    #[test]
    fn a_rate_of_nothing_can_be_drawn() {
        assert_eq!(learning_rate(&[(0, 0.0)]).len(), ROWS + 2);
        assert_eq!(learning_rate(&[]).len(), ROWS + 2);
    }
}
