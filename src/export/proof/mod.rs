//! Whether a file does what it should in the programs that it is meant for: each program's rules of reading, written
//! from its own source and sharing nothing with our writers, and the comparison of what comes out.
//!
//! One file a reader. All of them say what they would add to which rows of which weight ([`Patch`]) of the single-file
//! layout; `comparison` puts that beside the adapter, and `ability` says what a reader can do at all.

mod ability;
mod comfyui;
mod comparison;
mod diffusers;
mod implied;
mod kohya;
mod lycoris;
mod peft;
mod stable_diffusion_cpp;
mod tensors;

pub(super) use ability::reads_header;

use super::base::Base;
use super::read;
use super::weight_change::RowNorm;
use super::write::{Form, SaveDtype};
use crate::error::Result;
use crate::models::adapter::{AdapterModule, Change, Module};
use serde::Serialize;
use std::ops::Range;
use std::path::Path;

/// What a reader does to some rows of a weight.
struct Patch {
    /// The weight's name in the single-file layout, without `.weight`.
    weight: String,
    /// Its rows.
    rows: Range<usize>,
    /// What is added to them.
    change: Change,
    /// Whether the second half of the change's rows goes to the first half of these, and the other way round.
    swapped: bool,
    /// What they are scaled to afterwards, in the order of the weight.
    magnitude: Option<(Vec<f32>, RowNorm)>,
}

/// A file as a reader takes it.
struct Loaded {
    /// In the order in which they apply.
    patches: Vec<Patch>,
    /// Keys that have no effect.
    ignored: Vec<String>,
}

/// How a reader takes a file, or why it does not.
type Reading = std::result::Result<Loaded, String>;

/// A program that reads adapters.
struct Reader {
    name: &'static str,
    /// The forms that are meant for it.
    forms: &'static [Form],
    read: fn(&tensors::Tensors<'_>, &[Module]) -> Reading,
}

const READERS: [Reader; 6] = [
    Reader { name: "diffusers", forms: &[Form::Peft], read: diffusers::read },
    Reader { name: "PEFT", forms: &[Form::Peft], read: peft::read },
    Reader {
        name: "ComfyUI",
        forms: &[Form::Peft, Form::Kohya, Form::Comfyui, Form::Lycoris],
        read: comfyui::read,
    },
    Reader { name: "kohya", forms: &[Form::Kohya], read: kohya::read },
    Reader { name: "LyCORIS", forms: &[Form::Lycoris], read: lycoris::read },
    Reader {
        name: "stable-diffusion.cpp",
        forms: &[Form::Peft, Form::Comfyui, Form::Lycoris],
        read: stable_diffusion_cpp::read,
    },
];

/// What became of a file in one reader.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The reader.
    pub reader: &'static str,
    /// Whether the file is meant for it.
    pub meant: bool,
    /// Modules of the adapter that have an effect.
    pub matched: usize,
    /// Modules of the adapter.
    pub modules: usize,
    /// Keys that have no effect.
    pub ignored: Vec<String>,
    /// The largest difference of any module's change, over the largest value of that change.
    pub worst_difference: f64,
    /// The module where it is.
    pub worst_module: String,
    /// How strong the weakest and the strongest module are; 1 is as trained.
    pub strength: [f64; 2],
    /// Modules whose magnitudes could not be checked, because the model is not at hand.
    pub unchecked: usize,
    /// Why it does not load, if it does not.
    pub refusal: Option<String>,
    /// Whether the reader does to the weights what the adapter does, but for rounding.
    pub holds: bool,
}

/// Reads `file` as every reader would and compares with `modules`.
///
/// `dtype` says how much rounding is allowed. Without `base`, layers and their sizes are those of the release whose
/// width the adapter has, else of the adapter's own names; magnitudes are then compared as numbers.
///
/// # Errors
/// A file that cannot be read at all; a model whose weights cannot.
pub fn prove(
    path: &Path,
    modules: &[AdapterModule],
    form: Form,
    dtype: SaveDtype,
    base: Option<&Base>,
) -> Result<Vec<Verdict>> {
    let verdicts = verdicts(path, modules, base, tolerance(dtype))?;
    let meant = |verdict: Verdict| {
        let reader = READERS.iter().find(|reader| reader.name == verdict.reader);
        let is_able = ability::is_able(verdict.reader, form, modules);
        Verdict { meant: is_able && reader.is_some_and(|reader| reader.forms.contains(&form)), ..verdict }
    };
    Ok(verdicts.into_iter().map(meant).collect())
}

/// How every reader would take `file`, which holds `modules`.
///
/// # Errors
/// As [`prove`].
pub fn verdicts(
    path: &Path,
    modules: &[AdapterModule],
    base: Option<&Base>,
    tolerance: f64,
) -> Result<Vec<Verdict>> {
    let file = read::open(path)?;
    let layers = base.map_or_else(|| implied::implied_layers(modules), |base| base.layers.clone());
    let judge = |reader: &Reader| {
        let reading = (reader.read)(&tensors::Tensors::new(&file), &layers);
        comparison::judge(reader.name, reading, modules, &layers, base, tolerance)
    };
    READERS.iter().map(judge).collect()
}

/// One line for the readers that a file is meant for.
pub fn summary(verdicts: &[Verdict]) -> String {
    let meant: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.meant).collect();
    let names = |holds: bool| -> Vec<&str> {
        meant.iter().filter(|verdict| verdict.holds == holds).map(|verdict| verdict.reader).collect()
    };
    let worst = meant.iter().filter(|v| v.holds).map(|v| v.worst_difference).fold(0.0, f64::max);
    let modules = meant.first().map_or(0, |verdict| verdict.modules);
    let mut line = format!("the LoRA's {modules} modules were read back");
    if !names(true).is_empty() {
        line += &format!("; as trained (within {worst:.1e}) in {}", names(true).join(", "));
    }
    if !names(false).is_empty() {
        line += &format!("; NOT as trained in {} (`sargent inspect` says more)", names(false).join(", "));
    }
    line
}

/// The difference that rounding explains: factors of f32 are good to 2^-24, those of f16 to 2^-11, bf16 to 2^-8, and
/// sums of their products lose some more.
pub const fn tolerance(dtype: SaveDtype) -> f64 {
    match dtype {
        SaveDtype::F32 => 1e-6,
        SaveDtype::F16 => 4e-3,
        SaveDtype::Bf16 => 3e-2,
    }
}

#[cfg(test)]
mod tests;
