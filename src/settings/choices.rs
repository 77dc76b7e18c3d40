//! The types of settings that are chosen from a list, and of those with a spelling of their own.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The words of a choice: each inner list is a name followed by the other spellings that are accepted.
pub type Words = &'static [&'static [&'static str]];

/// Declares an enum together with its words, so that a choice is spelt in one place.
macro_rules! choices {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The words of this choice, for the table of keys.
            pub const WORDS: Words = &[$(&[$word $(, $alias)*],)+];

            /// The name as written in a settings file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

choices! {
    /// Where the numbers are computed.
    DeviceChoice {
        /// The best device that is there.
        Auto = "auto",
        /// The processor.
        Cpu = "cpu",
        /// A CUDA GPU.
        Cuda = "cuda",
    }
}

choices! {
    /// What is done when a run goes wrong.
    GuardAction {
        /// Nothing; the run is not watched.
        Off = "off",
        /// A line says so.
        Warn = "warn",
        /// The run ends.
        Stop = "stop",
        /// The run goes back to its last good checkpoint and on with a lower learning rate.
        RollBack = "roll_back" | "rollback" | "roll-back",
    }
}

choices! {
    /// A named set of linear layers that get an adapter.
    LoraPreset {
        /// Image-stream attention (`to_q`, `to_k`, `to_v`, `to_out.0`), the second attention included.
        Simpletuner = "simpletuner",
        /// All eight projections of the joint attention, both streams.
        Diffusers = "diffusers",
        /// Every linear in the blocks but adaLN.
        AllLinear = "all-linear" | "all_linear",
    }
}

choices! {
    /// What adapters are made of.
    LoraType {
        /// Low-rank pairs.
        Standard = "standard",
        /// What `lycoris_config` describes.
        Lycoris = "lycoris",
    }
}

choices! {
    /// How the adapters begin; B is zero in both.
    LoraInit {
        /// A uniform in ±1/sqrt(in).
        Default = "default" | "true",
        /// A normal with deviation 1/r.
        Gaussian = "gaussian",
    }
}

choices! {
    /// The optimizer.
    OptimizerKind {
        /// AdamW with decoupled weight decay, adapters and states in fp32.
        AdamW = "adamw",
        /// The same with adapters and states in bf16, rounded stochastically.
        AdamWBf16 = "adamw_bf16" | "adam_bfloat16",
        /// The same with adapters in fp32 and states in 8 bits, in blocks.
        AdamW8bit = "adamw_8bit" | "adamw8bit" | "bnb-adamw8bit",
    }
}

choices! {
    /// What `max_grad_norm` limits.
    GradClipMethod {
        /// The norm of all gradients together.
        Norm = "norm",
        /// Every element by itself.
        Value = "value",
    }
}

choices! {
    /// The course of the learning rate.
    LrScheduler {
        /// The same at every step.
        Constant = "constant",
        /// A linear warm-up, then the same at every step.
        ConstantWithWarmup = "constant_with_warmup",
        /// A linear warm-up, then a straight line to zero.
        Linear = "linear",
        /// A linear warm-up, then half a cosine to zero.
        Cosine = "cosine" | "cosine_with_warmup",
        /// A linear warm-up, then `lr_num_cycles` half cosines.
        CosineWithRestarts = "cosine_with_restarts",
        /// A linear warm-up, then a power of the remaining part down to `lr_end`.
        Polynomial = "polynomial",
        /// A sine wave that starts half-way; the warm-up steps are its half period.
        Sine = "sine",
        /// A cosine wave that starts at the top; the warm-up steps are its half period.
        CosineWave = "cosine_wave",
    }
}

choices! {
    /// How the noise level sigma is drawn, before the shift.
    SigmaDensity {
        /// sigmoid(`logit_mean` + `logit_std`·n), n normal.
        LogitNormal = "logit_normal",
        /// 1 - u - `mode_scale`·(cos²(pi·u/2) - 1 + u), u uniform.
        Mode = "mode",
        /// Uniform between 0 and 1.
        Uniform = "uniform",
    }
}

choices! {
    /// The weight of a sample's loss as a function of sigma.
    LossWeighting {
        /// 1.
        None = "none",
        /// 1 / sigma².
        SigmaSqrt = "sigma_sqrt",
        /// 2 / (pi·(1 - 2·sigma + 2·sigma²)).
        Cosmap = "cosmap",
    }
}

choices! {
    /// What the backward pass computes again instead of keeping it.
    Recompute {
        /// The fastest policy that fits the device.
        Auto = "auto",
        /// Keep everything.
        Store = "store",
        /// Recompute what is cheap.
        Selective = "selective",
        /// Keep little more than each block's input and its attention output.
        Lean = "lean",
        /// Keep each block's input only.
        Full = "full",
    }
}

choices! {
    /// The number format of the exported LoRA.
    SaveDtype {
        /// bfloat16.
        Bf16 = "bf16" | "bfloat16",
        /// 32-bit floating point.
        Fp32 = "fp32" | "float32",
    }
}

choices! {
    /// Where a picture's caption comes from.
    CaptionStrategy {
        /// The `.txt` or `.caption` file beside the picture.
        Textfile = "textfile" | "txt",
        /// The file's name, `_` read as a space.
        Filename = "filename",
        /// `instance_prompt`, for every picture.
        InstancePrompt = "instanceprompt" | "instance_prompt",
        /// The table that the block `parquet` names, also in CSV or JSON lines.
        Parquet = "parquet" | "csv" | "jsonl" | "table",
        /// `metadata_file`, or the file `metadata` in the folder: Hugging Face's ImageFolder, or sd-scripts' metadata.
        Metadata = "metadata" | "huggingface" | "imagefolder" | "kohya",
    }
}

choices! {
    /// What the lines of a caption's text file are.
    CaptionLines {
        /// Each is a variant.
        Variants = "variants",
        /// The first is the caption.
        First = "first",
        /// All of them together are the caption.
        Whole = "whole",
    }
}

choices! {
    /// What a resolution and the limits of picture sizes measure.
    ResolutionType {
        /// The edge of a square of the same area, in pixels.
        PixelArea = "pixel_area",
        /// Megapixels.
        Area = "area",
        /// The shorter edge, in pixels.
        Pixel = "pixel",
    }
}

choices! {
    /// How data sets share an epoch.
    DataSampling {
        /// By their batches times their probability.
        AutoWeighting = "auto-weighting" | "auto_weighting",
        /// By their probability alone.
        Uniform = "uniform",
    }
}

choices! {
    /// Which part of a picture is kept when it has to be cropped.
    CropStyle {
        /// The middle.
        Center = "center" | "centre",
        /// Any part, another in each view.
        Random = "random",
        /// The lower right corner.
        Corner = "corner",
        /// A face.
        Face = "face",
    }
}

choices! {
    /// The shape that pictures are cropped to when `crop` is on.
    CropAspect {
        /// A square.
        Square = "square",
        /// The bucket nearest to the picture's own shape.
        Preserve = "preserve",
        /// The nearest of `crop_aspect_buckets`.
        Closest = "closest",
        /// One of `crop_aspect_buckets`, by chance.
        Random = "random",
    }
}

/// Which linear layers get an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LoraTargets {
    /// A named set.
    Preset(LoraPreset),
    /// Module names; a layer is meant when its path equals one or ends with "." and one.
    Modules(Vec<String>),
}

/// The size of a picture in pixels, written `WxH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once(['x', 'X', '×']).unwrap_or((text, text));
        let edge =
            |part: &str| part.trim().parse().map_err(|_| format!("`{text}` is not a size like 1024x768"));
        Ok(Self { width: edge(width)?, height: edge(height)? })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
