//! `sargent export`: an adapter in the form that another program reads, or merged into a model.

use super::failure::Failure;
use super::readers;
use super::terminal;
use crate::error::{Error, ErrorKind, Result};
use crate::export::{self, AdapterFile, Alpha, Base, Conversion, Converted, Form, Merged, SaveDtype};
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Write a LoRA in the form that another program reads, or merge it into a model
///
/// Reads LoRA, DoRA, LoHa and LoKr files of kohya, OneTrainer, ai-toolkit, SimpleTuner, diffusers, PEFT and LyCORIS.
/// What is written is read back by the rules of every program that it is meant for, and the change of every weight is
/// compared; the table says how each takes it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExportArgs {
    /// The adapter's file
    pub lora: PathBuf,

    /// The form to write
    #[arg(long, value_name = "FORM", value_enum, required_unless_present = "merge_into")]
    pub to: Option<FormName>,

    /// The model to merge it into: a diffusers folder or a single file
    #[arg(long, value_name = "MODEL")]
    pub merge_into: Option<PathBuf>,

    /// What to write: for a merged model a new file or folder, else a file, which lies beside the source if not said
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,

    /// Element type; that of the source if nothing is lost by it, else fp32
    #[arg(long, value_name = "TYPE", value_enum)]
    pub dtype: Option<DtypeName>,

    /// Where alpha goes: into the weights, into PEFT's metadata, or into a tensor of its own
    #[arg(long, value_name = "PLACE", value_enum)]
    pub alpha: Option<AlphaPlace>,

    /// The nearest low-rank pairs of this rank at most, for readers that know no other kind
    #[arg(long, value_name = "RANK", value_parser = clap::value_parser!(u32).range(1..))]
    pub resize: Option<u32>,

    /// The model that the adapter is for: checks its sizes, and lets magnitudes be compared
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,

    /// How strongly it is merged; 1 is as trained
    #[arg(
        long,
        value_name = "S",
        default_value_t = 1.0,
        allow_negative_numbers = true,
        requires = "merge_into"
    )]
    pub strength: f64,

    /// Undo kohya's split_qkv, whose files apply a third of what was trained
    #[arg(long)]
    pub as_trained: bool,

    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent export lora.safetensors --to peft          diffusers, ComfyUI, stable-diffusion.cpp
  sargent export lora.safetensors --to kohya --out for_forge.safetensors
  sargent export lokr.safetensors --to peft --resize 64
  sargent export lora.safetensors --merge-into sd3.5_large.safetensors --strength 0.8 \\
      --out sd3.5_large_fish.safetensors";

/// See [`Form`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormName {
    /// diffusers' names with alpha folded in: loads at full strength everywhere but in kohya's scripts
    Peft,
    /// kohya's names, q, k and v as one: sd-scripts, Forge, ComfyUI
    Kohya,
    /// diffusers' names with alpha tensors; magnitudes as ComfyUI reads them
    Comfyui,
    /// LyCORIS' names, for every kind: SimpleTuner, ComfyUI
    Lycoris,
}

/// See [`SaveDtype`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeName {
    /// bfloat16
    Bf16,
    /// IEEE half
    #[value(alias = "f16")]
    Fp16,
    /// 32-bit float
    #[value(alias = "f32")]
    Fp32,
}

/// See [`Alpha`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlphaPlace {
    /// Into the weights
    Folded,
    /// Into the header, for diffusers and PEFT alone
    Metadata,
    /// Into alpha tensors
    Tensor,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Converted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged: Option<MergedReport>,
}

#[derive(Debug, Serialize)]
struct MergedReport {
    path: PathBuf,
    modules: usize,
    tensors: usize,
}

/// Exports.
pub fn run(args: &ExportArgs) -> std::result::Result<(), Failure> {
    refuse_without_place(args)?;
    let mut file = AdapterFile::read(&args.lora)?.require_whole()?;
    if args.as_trained {
        if !file.is_split_qkv() {
            return Err(Error::usage(
                "--as-trained: the file does not say that kohya trained it with split_qkv",
            )
            .hint("its header has to hold ss_network_args with split_qkv")
            .into());
        }
        file.restore_split_qkv();
    }
    let base = args.model.as_deref().or(args.merge_into.as_deref()).map(Base::open).transpose()?;
    if !args.json {
        left_out(&file);
    }
    let written = args.to.map(|form| written(args, form.into(), &file, base.as_ref())).transpose()?;
    let merged = args.merge_into.as_deref().map(|model| merged(args, model, &file)).transpose()?;
    let broken: Vec<String> =
        written.iter().flat_map(Converted::broken).map(|verdict| verdict.reader.to_owned()).collect();
    if args.json {
        let report = Report { written, merged };
        let json = serde_json::to_string_pretty(&report)
            .map_err(|e| Error::new(ErrorKind::Usage, "--json", e.to_string()))?;
        terminal::say(json)?;
    } else {
        written.iter().try_for_each(say_written)?;
        merged.iter().try_for_each(|merged| {
            let MergedReport { path, modules, tensors } = merged;
            terminal::say(format!("{}: {modules} layers merged, {tensors} tensors changed", path.display()))
        })?;
    }
    if broken.is_empty() {
        return Ok(());
    }
    let cause = format!("{} would not do with this file what the adapter does", broken.join(", "));
    Err(Failure::while_running(
        Error::new(ErrorKind::Weights, "the proof", cause).hint("see the table; --dtype fp32 rounds least"),
    ))
}

fn refuse_without_place(args: &ExportArgs) -> Result<()> {
    if args.merge_into.is_some() && args.out.is_none() {
        return Err(Error::usage("a merged model needs a place").hint("name one with --out"));
    }
    if !args.strength.is_finite() {
        return Err(Error::usage("--strength is not a number").hint("1 is as trained"));
    }
    Ok(())
}

fn written(args: &ExportArgs, form: Form, file: &AdapterFile, base: Option<&Base>) -> Result<Converted> {
    let beside = beside(&args.lora, form);
    let named = args.out.as_deref().filter(|_| args.merge_into.is_none());
    let out = match named {
        Some(folder) if folder.is_dir() => &folder.join(form.file_name()),
        Some(file) => file,
        None => &beside,
    };
    let conversion = Conversion {
        form,
        dtype: args.dtype.map(SaveDtype::from),
        alpha: args.alpha.map(Alpha::from),
        resize: args.resize.map(|rank| rank as usize),
        base,
    };
    export::convert(file, out, &conversion)
}

fn merged(args: &ExportArgs, model: &Path, file: &AdapterFile) -> Result<MergedReport> {
    let out = args.out.clone().unwrap_or_default();
    let base = Base::open(model)?;
    let Merged { modules, tensors } = export::merge(&base, &args.lora, &file.modules, args.strength, &out)?;
    Ok(MergedReport { path: out, modules, tensors })
}

/// `lora.safetensors` as `lora.kohya.safetensors`.
fn beside(lora: &Path, form: Form) -> PathBuf {
    let stem = lora.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    lora.with_file_name(format!("{stem}.{}.safetensors", form.name()))
}

/// Says what of the source has no place in the result.
fn left_out(file: &AdapterFile) {
    for (encoder, keys) in &file.text_encoders {
        terminal::note(format_args!("left out: {} tensors that change {encoder}", keys.len()));
    }
    if file.is_split_qkv() {
        terminal::note(
            "kohya trained q, k and v apart here and wrote their alpha unchanged: every reader applies a third of \
             what was trained (--as-trained restores it)",
        );
    }
}

fn say_written(written: &Converted) -> std::result::Result<(), Failure> {
    let Converted { path, form, dtype, modules, resized, readers, .. } = written;
    let mut lines = vec![format!("{}: {modules} modules, {form}, {dtype}", path.display())];
    if let Some((off, module)) = resized {
        lines
            .push(format!("resized: at most {:.3} % of a module's change is lost (`{module}`)", 100.0 * off));
    }
    lines.push(readers::table(readers));
    terminal::say(lines.join("\n"))
}

impl From<FormName> for Form {
    fn from(name: FormName) -> Self {
        match name {
            FormName::Peft => Self::Peft,
            FormName::Kohya => Self::Kohya,
            FormName::Comfyui => Self::Comfyui,
            FormName::Lycoris => Self::Lycoris,
        }
    }
}

impl From<DtypeName> for SaveDtype {
    fn from(name: DtypeName) -> Self {
        match name {
            DtypeName::Bf16 => Self::Bf16,
            DtypeName::Fp16 => Self::F16,
            DtypeName::Fp32 => Self::F32,
        }
    }
}

impl From<AlphaPlace> for Alpha {
    fn from(place: AlphaPlace) -> Self {
        match place {
            AlphaPlace::Folded => Self::Folded,
            AlphaPlace::Metadata => Self::Metadata,
            AlphaPlace::Tensor => Self::Tensor,
        }
    }
}
