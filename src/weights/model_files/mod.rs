//! A whole model: which files hold its parts, and the numbers that go with them.

use crate::error::{Error, ErrorKind, Result};
use crate::weights::fingerprint::fingerprint;
use crate::weights::parts::{self, TextEncoder};
use crate::weights::sources::{TensorSet, read_json};
use crate::weights::weight_map::WeightMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Parts to be taken from elsewhere, and parts that the model at hand lacks; each a file or a folder.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The VAE.
    pub vae: Option<PathBuf>,
    /// CLIP-L.
    pub clip_l: Option<PathBuf>,
    /// CLIP-G.
    pub clip_g: Option<PathBuf>,
    /// T5.
    pub t5: Option<PathBuf>,
    /// CLIP-L's tokenizer.
    pub clip_l_tokenizer: Option<PathBuf>,
    /// CLIP-G's tokenizer.
    pub clip_g_tokenizer: Option<PathBuf>,
    /// T5's tokenizer.
    pub t5_tokenizer: Option<PathBuf>,
}

/// The setting that names the VAE.
pub const VAE_SETTING: &str = "vae_path";

/// A model, mapped but not read.
#[derive(Debug)]
pub struct ModelFiles {
    /// The file or folder that was named.
    pub path: PathBuf,
    /// The MMDiT.
    pub mmdit: WeightMap,
    /// The MMDiT's `config.json`, where there is one.
    pub mmdit_config: Option<Value>,
    /// The VAE, where there is one.
    pub vae: Option<WeightMap>,
    /// The VAE's numbers.
    pub vae_constants: VaeConstants,
    /// CLIP-L.
    pub clip_l: TextEncoderFiles,
    /// CLIP-G.
    pub clip_g: TextEncoderFiles,
    /// T5.
    pub t5: TextEncoderFiles,
    /// The schedule's shift.
    pub scheduler_shift: f32,
}

/// What there is of one text encoder.
#[derive(Debug, Clone, Default)]
pub struct TextEncoderFiles {
    /// Its weights.
    pub weights: Option<WeightMap>,
    /// Its `config.json`.
    pub config: Option<Value>,
    /// Its tokenizer: a folder or a `tokenizer.json`.
    pub tokenizer: Option<PathBuf>,
}

/// Numbers that belong to a VAE.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VaeConstants {
    /// Latents are (z - shift_factor) * scaling_factor.
    pub scaling_factor: f32,
    /// See `scaling_factor`.
    pub shift_factor: f32,
    /// Groups of every GroupNorm.
    pub norm_num_groups: usize,
}

impl Default for VaeConstants {
    /// Those of Stable Diffusion 3.5.
    fn default() -> Self {
        Self { scaling_factor: 1.5305, shift_factor: 0.0609, norm_num_groups: 32 }
    }
}

/// The shift of Stable Diffusion 3.5's scheduler.
const DEFAULT_SHIFT: f32 = 3.0;

impl ModelFiles {
    /// Finds the parts of the model at `path`: a diffusers folder, or a single file with or without VAE and text
    /// encoders. `overrides` take precedence. Only headers and small JSON files are read.
    pub fn open(path: &Path, overrides: &Overrides) -> Result<Self> {
        let mut model =
            if path.is_dir() { Self::folder(path, overrides)? } else { Self::single_file(path, overrides)? };
        if let Some(vae) = &overrides.vae {
            let tensors = TensorSet::open(vae)?;
            model.vae = Some(parts::open_vae(vae)?);
            model.vae_constants = VaeConstants::of(config(vae)?.as_ref(), tensors.metadata(), vae)?;
        }
        for which in TextEncoder::ALL {
            let (weights, tokenizer) = overrides.of(which);
            let files = model.encoder_mut(which);
            if let Some(path) = weights {
                files.weights = Some(parts::open_text_encoder(path, which)?);
                files.config = config(path)?;
            }
            if let Some(path) = tokenizer {
                files.tokenizer = Some(existing(path, tokenizer_setting(which))?);
            }
        }
        Ok(model)
    }

    fn folder(path: &Path, overrides: &Overrides) -> Result<Self> {
        let transformer = path.join("transformer");
        if !transformer.is_dir() {
            return Err(not_a_model_folder(path));
        }
        let vae = path.join("vae");
        let (mut vae_weights, mut vae_constants) = (None, VaeConstants::default());
        if vae.is_dir() && overrides.vae.is_none() {
            vae_weights = Some(parts::open_vae(&vae)?);
            vae_constants = VaeConstants::of(config(&vae)?.as_ref(), &BTreeMap::new(), &vae)?;
        }
        let encoder = |which: TextEncoder, suffix: &str| -> Result<TextEncoderFiles> {
            let (weights, tokenizer) =
                (path.join(format!("text_encoder{suffix}")), path.join(format!("tokenizer{suffix}")));
            let wanted = weights.is_dir() && overrides.of(which).0.is_none();
            Ok(TextEncoderFiles {
                weights: if wanted { Some(parts::open_text_encoder(&weights, which)?) } else { None },
                config: if wanted { config(&weights)? } else { None },
                tokenizer: tokenizer.is_dir().then_some(tokenizer),
            })
        };
        Ok(Self {
            path: path.to_owned(),
            mmdit: parts::open_mmdit(&transformer)?,
            mmdit_config: config(&transformer)?,
            vae: vae_weights,
            vae_constants,
            clip_l: encoder(TextEncoder::ClipL, "")?,
            clip_g: encoder(TextEncoder::ClipG, "_2")?,
            t5: encoder(TextEncoder::T5, "_3")?,
            scheduler_shift: scheduler_shift(path)?,
        })
    }

    fn single_file(path: &Path, overrides: &Overrides) -> Result<Self> {
        let tensors = TensorSet::open(path)?;
        let encoder = |which: TextEncoder| -> Result<TextEncoderFiles> {
            let wanted = overrides.of(which).0.is_none();
            let weights = if wanted { parts::text_encoder(&tensors, which)? } else { None };
            Ok(TextEncoderFiles { weights, ..TextEncoderFiles::default() })
        };
        Ok(Self {
            path: path.to_owned(),
            mmdit: parts::mmdit(&tensors)?,
            mmdit_config: None,
            vae: if overrides.vae.is_none() { parts::vae(&tensors)? } else { None },
            vae_constants: VaeConstants::of(None, tensors.metadata(), path)?,
            clip_l: encoder(TextEncoder::ClipL)?,
            clip_g: encoder(TextEncoder::ClipG)?,
            t5: encoder(TextEncoder::T5)?,
            scheduler_shift: DEFAULT_SHIFT,
        })
    }

    /// The VAE; the error names the setting that can supply it.
    pub fn vae(&self) -> Result<&WeightMap> {
        self.vae.as_ref().ok_or_else(|| self.lacks("VAE", VAE_SETTING))
    }

    /// What there is of a text encoder.
    pub fn encoder(&self, which: TextEncoder) -> &TextEncoderFiles {
        match which {
            TextEncoder::ClipL => &self.clip_l,
            TextEncoder::ClipG => &self.clip_g,
            TextEncoder::T5 => &self.t5,
        }
    }

    fn encoder_mut(&mut self, which: TextEncoder) -> &mut TextEncoderFiles {
        match which {
            TextEncoder::ClipL => &mut self.clip_l,
            TextEncoder::ClipG => &mut self.clip_g,
            TextEncoder::T5 => &mut self.t5,
        }
    }

    /// The weights of a text encoder; the error names the setting that can supply them.
    pub fn text_encoder(&self, which: TextEncoder) -> Result<&WeightMap> {
        let weights = self.encoder(which).weights.as_ref();
        weights.ok_or_else(|| self.lacks(which.title(), encoder_setting(which)))
    }

    /// The tokenizer of a text encoder; the error names the setting that can supply it.
    pub fn tokenizer(&self, which: TextEncoder) -> Result<&Path> {
        let tokenizer = self.encoder(which).tokenizer.as_deref();
        tokenizer.ok_or_else(|| {
            self.lacks(&format!("tokenizer of the {}", which.title()), tokenizer_setting(which))
        })
    }

    /// The VAE's fingerprint, its numbers included: what cached latents depend on.
    pub fn vae_fingerprint(&self) -> Result<String> {
        let VaeConstants { scaling_factor, shift_factor, norm_num_groups } = self.vae_constants;
        Ok(format!("{} {scaling_factor} {shift_factor} {norm_num_groups}", fingerprint(self.vae()?)?))
    }

    /// The fingerprint of a text encoder.
    pub fn text_encoder_fingerprint(&self, which: TextEncoder) -> Result<String> {
        fingerprint(self.text_encoder(which)?)
    }

    fn lacks(&self, part: &str, setting: &str) -> Error {
        Error::weights(&self.path, format!("there is no {part} in this model"))
            .hint(format!("name one with the setting `{setting}`"))
    }
}

impl Overrides {
    /// Weights and tokenizer of a text encoder.
    fn of(&self, which: TextEncoder) -> (Option<&PathBuf>, Option<&PathBuf>) {
        match which {
            TextEncoder::ClipL => (self.clip_l.as_ref(), self.clip_l_tokenizer.as_ref()),
            TextEncoder::ClipG => (self.clip_g.as_ref(), self.clip_g_tokenizer.as_ref()),
            TextEncoder::T5 => (self.t5.as_ref(), self.t5_tokenizer.as_ref()),
        }
    }
}

/// The setting that names the weights of a text encoder.
pub const fn encoder_setting(which: TextEncoder) -> &'static str {
    match which {
        TextEncoder::ClipL => "text_encoder_path",
        TextEncoder::ClipG => "text_encoder_2_path",
        TextEncoder::T5 => "text_encoder_3_path",
    }
}

/// The setting that names the tokenizer of a text encoder.
pub const fn tokenizer_setting(which: TextEncoder) -> &'static str {
    match which {
        TextEncoder::ClipL => "tokenizer_path",
        TextEncoder::ClipG => "tokenizer_2_path",
        TextEncoder::T5 => "tokenizer_3_path",
    }
}

impl VaeConstants {
    /// From a `config.json`, else from a single file's metadata, else Stable Diffusion 3.5's own.
    fn of(config: Option<&Value>, metadata: &BTreeMap<String, String>, place: &Path) -> Result<Self> {
        let number = |key: &str, default: f64| -> Result<f64> {
            let value = match config.and_then(|config| config.get(key)) {
                Some(Value::Null) | None => match metadata.get(&format!("vae.{key}")) {
                    Some(text) => text.trim().parse().ok(),
                    None => Some(default),
                },
                Some(value) => value.as_f64(),
            };
            value.filter(|v: &f64| v.is_finite()).ok_or_else(|| {
                Error::weights(place, format!("the VAE's {key} is not a number"))
                    .hint("correct its config.json")
            })
        };
        let own = Self::default();
        let constants = Self {
            scaling_factor: number("scaling_factor", f64::from(own.scaling_factor))? as f32,
            shift_factor: number("shift_factor", f64::from(own.shift_factor))? as f32,
            norm_num_groups: number("norm_num_groups", own.norm_num_groups as f64)? as usize,
        };
        if constants.scaling_factor == 0.0 || constants.norm_num_groups == 0 {
            return Err(Error::weights(place, "the VAE's scaling_factor or norm_num_groups is zero")
                .hint("correct its config.json"));
        }
        Ok(constants)
    }
}

/// The `config.json` in a folder, if there is one; a file has none.
fn config(folder: &Path) -> Result<Option<Value>> {
    let path = folder.join("config.json");
    if path.is_file() { read_json(&path).map(Some) } else { Ok(None) }
}

fn scheduler_shift(folder: &Path) -> Result<f32> {
    let path = folder.join("scheduler/scheduler_config.json");
    if !path.is_file() {
        return Ok(DEFAULT_SHIFT);
    }
    match read_json(&path)?.get("shift") {
        None => Ok(DEFAULT_SHIFT),
        Some(value) => match value.as_f64().filter(|shift| *shift > 0.0) {
            Some(shift) => Ok(shift as f32),
            None => Err(Error::weights(&path, "`shift` is not a positive number").hint("3.0 is usual")),
        },
    }
}

fn existing(path: &Path, setting: &str) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    Err(Error::new(ErrorKind::Weights, path.display().to_string(), "no such file or folder")
        .hint(format!("the setting `{setting}` names it")))
}

/// Why a folder without `transformer` cannot be used.
fn not_a_model_folder(path: &Path) -> Error {
    let needed = "name a diffusers folder of Stable Diffusion 3.5, or its single .safetensors file";
    let cause = if path.join("unet").is_dir() {
        match path.join("text_encoder_2").is_dir() {
            true => "this folder holds a Stable Diffusion XL model",
            false => "this folder holds a Stable Diffusion 1 or 2 model",
        }
    } else {
        "there is no `transformer` folder in this folder"
    };
    Error::weights(path, cause).hint(needed)
}

#[cfg(test)]
mod tests;
