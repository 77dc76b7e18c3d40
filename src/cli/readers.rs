//! How each reader takes an adapter file, as a table.

use crate::export::proof::Verdict;

/// A line a reader; those that the file is meant for first.
pub fn table(readers: &[Verdict]) -> String {
    let mut lines = vec![format!(
        "{:<22}{:>9}  {:>9}  {:>10}  {:>8}  result",
        "reader", "modules", "ignored", "worst", "strength"
    )];
    let is_last = |verdict: &&Verdict| !verdict.meant;
    let meant = readers.iter().filter(|verdict| verdict.meant);
    for verdict in meant.chain(readers.iter().filter(is_last)) {
        lines.push(line(verdict));
    }
    lines.join("\n")
}

fn line(verdict: &Verdict) -> String {
    let Verdict { reader, matched, modules, worst_difference, strength: [least, most], .. } = verdict;
    if let Some(refusal) = &verdict.refusal {
        return format!(
            "{reader:<22}{:>9}  {:>9}  {:>10}  {:>8}  {}: {refusal}",
            "-",
            "-",
            "-",
            "-",
            refused(verdict)
        );
    }
    let strength =
        if (most - least).abs() < 5e-4 { format!("{least:.3}") } else { format!("{least:.2}-{most:.2}") };
    let counts = format!("{matched}/{modules}");
    let ignored = format!("{} keys", verdict.ignored.len());
    format!(
        "{reader:<22}{counts:>9}  {ignored:>9}  {worst_difference:>10.1e}  {strength:>8}  {}",
        result(verdict)
    )
}

fn refused(verdict: &Verdict) -> &'static str {
    if verdict.meant { "DOES NOT LOAD" } else { "not for it" }
}

fn result(verdict: &Verdict) -> String {
    if verdict.unchecked > 0 {
        format!("{} modules need the model to be checked (--model)", verdict.unchecked)
    } else if verdict.holds {
        "the same change".to_owned()
    } else if verdict.meant {
        format!("NOT THE SAME CHANGE (`{}`)", verdict.worst_module)
    } else {
        "not for it: another change".to_owned()
    }
}
