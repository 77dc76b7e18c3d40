//! `sargent inspect`: what an adapter file is.

use super::failure::Failure;
use super::readers;
use super::terminal;
use crate::error::{Error, ErrorKind};
use crate::export::{self, Base, Inspection, ModuleReport};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Say what is in a LoRA file, and how each program would take it
///
/// Who made it, its modules with rank, alpha and norms, its metadata, and what to know before it is used: keys that
/// readers ignore, the strength at which each loads it, values that are not finite.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InspectArgs {
    /// The adapter's file
    pub lora: PathBuf,

    /// The model that it is for: checks its sizes and says how large the change is beside the weights
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,

    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent inspect lora.safetensors
  sargent inspect lora.safetensors --model sd3.5_medium.safetensors
  sargent inspect lora.safetensors --json | jq '.modules[] | {module, rank, alpha}'";

/// Characters of a metadata value that are shown.
const SHOWN: usize = 400;

/// Inspects.
pub fn run(args: &InspectArgs) -> Result<(), Failure> {
    let base = args.model.as_deref().map(Base::open).transpose()?;
    let inspection = export::inspect(&args.lora, base.as_ref())?;
    if args.json {
        let json = serde_json::to_string_pretty(&inspection)
            .map_err(|e| Error::new(ErrorKind::Usage, "--json", e.to_string()))?;
        return terminal::say(json);
    }
    terminal::say(report(&inspection))
}

fn report(inspection: &Inspection) -> String {
    let mut lines = vec![
        format!("file         {} ({} bytes)", inspection.path, inspection.bytes),
        format!("made by      {}", inspection.made_by),
        format!("names        {}", inspection.naming),
        format!("kinds        {}", inspection.kinds.join(", ")),
        format!("model        {}", inspection.model.unwrap_or("none of the releases' sizes")),
        format!("modules      {}, {} parameters", inspection.modules.len(), inspection.parameters),
    ];
    lines.extend(
        inspection
            .text_encoders
            .iter()
            .map(|(encoder, keys)| format!("besides      {keys} tensors for {encoder}")),
    );
    lines.push(String::new());
    lines.extend(modules(&inspection.modules));
    lines.push(String::new());
    lines.extend(types(&inspection.modules));
    if !inspection.readers.is_empty() {
        lines.push(String::new());
        lines.push(readers::table(&inspection.readers));
    }
    if !inspection.metadata.is_empty() {
        lines.push(String::new());
        lines.push("metadata".to_owned());
        lines.extend(inspection.metadata.iter().map(|(key, value)| format!("  {key:<24}{}", shown(value))));
    }
    if !inspection.warnings.is_empty() {
        lines.push(String::new());
        lines.extend(inspection.warnings.iter().map(|warning| format!("warning: {warning}")));
    }
    lines.join("\n")
}

/// A line a module. Norms are of the factors in the file's order: A and B of a low-rank pair.
fn modules(modules: &[ModuleReport]) -> Vec<String> {
    let width = modules.iter().map(|module| module.module.len()).max().unwrap_or(0).max(6);
    let has_relative = modules.iter().any(|module| module.relative.is_some());
    let last = if has_relative { "  of weight" } else { "" };
    let mut lines = vec![format!(
        "{:<width$}  {:<5}{:>12}{:>6}{:>9}{:>9}{:>11}{:>8}{last}  factors",
        "module", "kind", "out x in", "rank", "alpha", "scale", "change", "share"
    )];
    for module in modules {
        let rank = module.rank.map_or("-".to_owned(), |rank| rank.to_string());
        let size = format!("{} x {}", module.shape[0], module.shape[1]);
        let relative = module.relative.map_or(String::new(), |part| format!("{:>9.3} %", 100.0 * part));
        let norms: Vec<String> = module.norms.iter().map(|(_, norm)| format!("{norm:.3}")).collect();
        lines.push(format!(
            "{:<width$}  {:<5}{size:>12}{rank:>6}{:>9}{:>9}{:>11.4}{:>6.2} %{relative}  {}",
            module.module,
            module.kind,
            short(module.alpha),
            short(module.scale),
            module.delta_norm,
            100.0 * module.share,
            norms.join(" ")
        ));
    }
    lines
}

/// A line a type of layer: how many there are, and their part of the whole change.
fn types(modules: &[ModuleReport]) -> Vec<String> {
    let mut totals: BTreeMap<&str, (usize, usize, f64)> = BTreeMap::new();
    for module in modules {
        let in_block =
            module.module.strip_prefix("transformer_blocks.").and_then(|rest| rest.split_once('.'));
        let layer = in_block.map_or(module.module.as_str(), |(_, layer)| layer);
        let (count, parameters, share) = totals.entry(layer).or_default();
        *count += 1;
        *parameters += module.parameters;
        *share += module.share;
    }
    let line = |(layer, (count, parameters, share)): (&str, (usize, usize, f64))| {
        format!(
            "{layer:<22}{count:>4} modules  {parameters:>12} parameters  {:>6.2} % of the change",
            100.0 * share
        )
    };
    totals.into_iter().map(line).collect()
}

fn short(value: f64) -> String {
    let rounded = format!("{value:.4}");
    rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value on one line: JSON without its quotes' escapes, cut where it gets long.
fn shown(value: &str) -> String {
    let json = serde_json::from_str::<Value>(value).ok().filter(|json| json.is_object() || json.is_array());
    let text = json.map_or_else(|| value.replace(['\n', '\r'], " "), |json| json.to_string());
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}... ({} characters)", &text[..at], text.chars().count()),
        None => text,
    }
}
