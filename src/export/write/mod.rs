//! Writes adapters in the forms that other programs read: one file a form, each with the names it uses and what it
//! cannot express. The bytes depend on the weights and the request alone.

mod comfyui;
mod contents;
mod encode;
mod kohya;
mod lycoris;
mod peft;

pub use encode::SaveDtype;
pub(super) use encode::encode;

use super::base::Base;
use super::weight_change::matrices;
use crate::error::{Error, Result};
use crate::models::adapter::AdapterModule;
use crate::weights::write_tensors;
use contents::Contents;
use serde_json::Value;
use std::path::Path;

/// A form of file, named after the program whose way it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// diffusers' and PEFT's names, which all readers but kohya's know.
    Peft,
    /// kohya's names of the single-file layout, with q, k and v as one.
    Kohya,
    /// diffusers' names with ComfyUI's alpha tensors and magnitudes.
    Comfyui,
    /// LyCORIS' names, for all kinds.
    Lycoris,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 4] = [Self::Peft, Self::Kohya, Self::Comfyui, Self::Lycoris];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Kohya => "kohya",
            Self::Comfyui => "comfyui",
            Self::Lycoris => "lycoris",
        }
    }

    /// Where alpha goes if nothing else is asked for.
    pub const fn usual_alpha(self) -> Alpha {
        match self {
            Self::Peft => Alpha::Folded,
            _ => Alpha::Tensor,
        }
    }

    /// What the file is called where only a folder is named.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Peft => "pytorch_lora_weights.safetensors",
            Self::Kohya => "lora_kohya.safetensors",
            Self::Comfyui => "lora_comfyui.safetensors",
            Self::Lycoris => "lycoris.safetensors",
        }
    }
}

/// Where the scale of a module goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// Into the weights: alpha is the rank, whoever reads it.
    Folded,
    /// Into the header, where diffusers and PEFT find it and others do not.
    Metadata,
    /// Into an `.alpha` tensor beside the weights.
    Tensor,
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The form.
    pub form: Form,
    /// Element type of the weights.
    pub dtype: SaveDtype,
    /// Where alpha goes; the form's usual place if `None`.
    pub alpha: Option<Alpha>,
    /// What made the adapter; becomes one JSON string in the header under `sargent`.
    pub about: &'a Value,
    /// The model that the adapter was trained for.
    pub base: Option<&'a Base>,
}

/// The header's key that tells magnitudes for ComfyUI from the adapter's own, whose tensors have the same name.
pub(super) const MAGNITUDES_FOR_COMFYUI: &str = "sargent_magnitudes";

/// Writes `modules` to `path`, whole or not at all.
///
/// # Errors
/// What the form cannot express, with the reason and the cure; a weight that is not finite or too large for the
/// element type; sizes that contradict each other; what the disk says.
pub fn write(path: &Path, modules: &[AdapterModule], request: &Request<'_>) -> Result<()> {
    modules.iter().try_for_each(check_sizes)?;
    let alpha = request.alpha.unwrap_or(request.form.usual_alpha());
    if alpha == Alpha::Metadata && request.form != Form::Peft {
        let cause = format!("{} files say nothing about alpha in their header", request.form.name());
        return Err(Error::usage(cause).hint("alpha can be `tensor` or `folded` there"));
    }
    let mut contents = Contents::new(request.dtype);
    contents.note("format", "pt");
    contents.note("sargent", &request.about.to_string());
    match request.form {
        Form::Peft => peft::fill(&mut contents, modules, alpha)?,
        Form::Kohya => kohya::fill(&mut contents, modules, alpha)?,
        Form::Comfyui => comfyui::fill(&mut contents, modules, alpha, request.base)?,
        Form::Lycoris => lycoris::fill(&mut contents, modules, alpha)?,
    }
    write_tensors(path, &contents.tensors, &contents.metadata)
}

/// Every matrix has as many values as its sides say, and none is empty.
fn check_sizes(module: &AdapterModule) -> Result<()> {
    let wrong = |cause: String| Err(Error::shape(&module.module, cause));
    for (name, matrix) in matrices(&module.change) {
        if matrix.values.is_empty() || matrix.values.len() != matrix.rows * matrix.columns {
            let (rows, columns, values) = (matrix.rows, matrix.columns, matrix.values.len());
            return wrong(format!("{name} of {values} values is not [{rows}, {columns}]"));
        }
    }
    Ok(())
}

/// An adapter that a form has no way to say.
fn cannot(form: &str, module: &AdapterModule, why: &str, hint: &str) -> Error {
    let kind = super::weight_change::kind(module);
    Error::usage(format!("{form} cannot hold a {kind} (`{}`): {why}", module.module)).hint(hint)
}
