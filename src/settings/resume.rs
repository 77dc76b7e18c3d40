//! What a resumed run may not change.

use super::keys::{Key, Section};
use super::kind::shown;
use crate::error::{Error, Result};
use serde_json::Value;

/// Refuses rows of `table` that are fixed on resume and differ between `before` and `now`, both complete.
pub fn refuse_change(table: &'static [Section], before: &Value, now: &Value) -> Result<()> {
    let change = |key: &'static Key| {
        // The version that began the run may not have had this setting.
        let (before, now) = (before.get(key.name)?, &now[key.name]);
        (!same(before, now)).then(|| (key.name, format!("was {} and is now {}", shown(before), shown(now))))
    };
    let changes: Vec<_> =
        Section::all(table).filter(|key| key.effect.fixed_on_resume()).filter_map(change).collect();
    let Some(((first, change), others)) = changes.split_first() else { return Ok(()) };
    let others: String = others.iter().map(|(name, change)| format!("; `{name}` {change}")).collect();
    Err(Error::setting(first, format!("{change}{others}"))
        .hint("a resumed run keeps what it began with; take the old values, or another output_dir"))
}

/// Whether two values are the same setting. Numbers that went through a file may differ in the last bit.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) if a.is_f64() => (x - y).abs() <= 4.0 * f64::EPSILON * x.abs(),
        _ => a == b,
    }
}
