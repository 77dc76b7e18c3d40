//! How each reader takes an adapter file, as a table.

use crate::export::proof::Verdict;

/// A line a reader; those that the file is meant for first. Where it is meant for none, nothing is said of that.
pub fn table(readers: &[Verdict]) -> String {
    let mut lines = vec![format!(
        "{:<22}{:>9}  {:>9}  {:>10}  {:>8}  result",
        "reader", "modules", "ignored", "worst", "strength"
    )];
    let (meant, others): (Vec<_>, Vec<_>) = readers.iter().partition(|verdict| verdict.meant);
    let has_purpose = !meant.is_empty();
    lines.extend(meant.into_iter().chain(others).map(|verdict| line(verdict, has_purpose)));
    lines.join("\n")
}

fn line(verdict: &Verdict, has_purpose: bool) -> String {
    let Verdict { reader, matched, modules, worst_difference, strength: [least, most], .. } = verdict;
    let purpose = if has_purpose && !verdict.meant { "not for it: " } else { "" };
    if let Some(refusal) = &verdict.refusal {
        let fails = if verdict.meant { "DOES NOT LOAD: " } else { "" };
        return format!(
            "{reader:<22}{:>9}  {:>9}  {:>10}  {:>8}  {purpose}{fails}{refusal}",
            "-", "-", "-", "-"
        );
    }
    let strength =
        if (most - least).abs() < 5e-4 { format!("{least:.3}") } else { format!("{least:.2}-{most:.2}") };
    let (counts, ignored) = (format!("{matched}/{modules}"), format!("{} keys", verdict.ignored.len()));
    format!(
        "{reader:<22}{counts:>9}  {ignored:>9}  {worst_difference:>10.1e}  {strength:>8}  {purpose}{}",
        result(verdict)
    )
}

fn result(verdict: &Verdict) -> String {
    if verdict.unchecked > 0 {
        format!("{} modules need the model to be checked (--model)", verdict.unchecked)
    } else if verdict.holds {
        "the same change".to_owned()
    } else if verdict.meant {
        format!("NOT THE SAME CHANGE (`{}`)", verdict.worst_module)
    } else {
        "another change".to_owned()
    }
}
