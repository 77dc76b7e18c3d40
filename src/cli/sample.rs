//! `sargent sample`: one picture, drawn by a model with any number of LoRAs.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{device, terminal};
use crate::device::Choice;
use crate::error::{Error, ErrorKind, Result};
use crate::export;
use crate::run::sampling::{self, Request};
use crate::settings::{RunSettings, Size};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Draw a picture with a model and any number of LoRAs
///
/// The same seed, prompt and settings draw the same picture as diffusers does with its CPU generator. The picture
/// carries them in its PNG text.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SampleArgs {
    /// The model: a diffusers folder, or one safetensors file in the Stability or ComfyUI layout
    #[arg(long, value_name = "PATH")]
    pub model: PathBuf,

    /// A LoRA file and how strongly it applies, 1 if not said; may be given many times
    #[arg(long = "lora", value_name = "FILE[:WEIGHT]")]
    pub loras: Vec<LoraFile>,

    /// What to draw
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,

    /// What not to draw; nothing by default
    #[arg(long, value_name = "TEXT")]
    pub negative: Option<String>,

    /// Sampling steps; 28 by default
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,

    /// Classifier-free guidance; 4.5 by default, up to 1 is off
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub guidance: Option<f64>,

    /// Width in pixels; 1024 by default
    #[arg(long, value_name = "W")]
    pub width: Option<u32>,

    /// Height in pixels; 1024 by default
    #[arg(long, value_name = "H")]
    pub height: Option<u32>,

    /// Seed of the first noise; 42 by default
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// Any other setting of `train` that bears on drawing; may be given many times
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,

    /// The picture to write
    #[arg(long, value_name = "FILE.png")]
    pub out: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  sargent sample --model sargent-demo/model --prompt \"k4s4, a red star\" \\
      --width 128 --height 128 --out before.png
  sargent sample --model sargent-demo/model --prompt \"k4s4, a red star\" \\
      --lora sargent-demo/output/pytorch_lora_weights.safetensors:0.8 \\
      --width 128 --height 128 --guidance 2.5 --seed 100 --out after.png
  sargent sample --model sd3.5_medium.safetensors --set tokenizer_path=clip_l \\
      --set tokenizer_2_path=clip_g --set tokenizer_3_path=t5 \\
      --prompt \"a lighthouse\" --out lighthouse.png";

/// A LoRA and how strongly it applies.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// The file.
    pub path: PathBuf,
    /// The factor on its change; 1 is as trained.
    pub weight: f64,
}

impl FromStr for LoraFile {
    type Err = Infallible;

    /// `FILE` or `FILE:WEIGHT`; what follows the last colon is a weight if it is a number.
    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        let weighted = text.rsplit_once(':').and_then(|(path, weight)| {
            let weight = weight.parse::<f64>().ok().filter(|weight| weight.is_finite())?;
            (!path.is_empty()).then(|| Self { path: path.into(), weight })
        });
        Ok(weighted.unwrap_or_else(|| Self { path: text.into(), weight: 1.0 }))
    }
}

/// Draws.
pub fn run(args: &SampleArgs, device: Option<Choice>) -> std::result::Result<(), Failure> {
    refuse_other_than_png(&args.out)?;
    let settings = settings(args)?;
    args.loras.iter().try_for_each(refuse_missing)?;
    args.loras.iter().try_for_each(say_what_is_left_out)?;
    terminal::ignored_settings(&settings.ignored);
    let device = device::announced(device, settings.device)?;
    let request = Request {
        loras: args.loras.iter().map(|lora| (lora.path.clone(), lora.weight)).collect(),
        prompt: args.prompt.clone(),
        negative: settings.validation_negative_prompt.clone(),
        steps: settings.validation_num_inference_steps,
        guidance: settings.validation_guidance,
        size: settings.validation_resolution[0],
        seed: settings.validation_seed,
        out: args.out.clone(),
    };
    sampling::sample(&settings, &request, &device)?;
    terminal::say(args.out.display())
}

/// The settings of the picture: the options are those of the same meaning for validation images.
fn settings(args: &SampleArgs) -> Result<RunSettings> {
    let mut overrides = args.set.clone();
    let mut option = |key: &str, value: Option<String>| {
        overrides.extend(value.map(|value| (key.to_owned(), value)));
    };
    option("validation_num_inference_steps", args.steps.map(|steps| steps.to_string()));
    option("validation_guidance", args.guidance.map(|guidance| guidance.to_string()));
    option("validation_seed", args.seed.map(|seed| seed.to_string()));
    let mut settings = load(&args.model, &overrides)?;
    if args.width.is_some() || args.height.is_some() {
        let usual = settings.validation_resolution.first();
        let usual =
            usual.copied().unwrap_or(Size { width: settings.resolution, height: settings.resolution });
        let size =
            Size { width: args.width.unwrap_or(usual.width), height: args.height.unwrap_or(usual.height) };
        overrides.push(("validation_resolution".to_owned(), size.to_string()));
        settings = load(&args.model, &overrides)?;
    }
    if settings.validation_resolution.is_empty() {
        let side = settings.resolution;
        settings.validation_resolution.push(Size { width: side, height: side });
    }
    settings.validation_resolution.truncate(1);
    if let Some(negative) = &args.negative {
        settings.validation_negative_prompt.clone_from(negative);
    }
    Ok(settings)
}

/// Loads the settings; an error about one that an option stands for names the option.
fn load(model: &Path, overrides: &[Override]) -> Result<RunSettings> {
    const OPTIONS: [(&str, &str); 4] = [
        ("validation_num_inference_steps", "--steps"),
        ("validation_guidance", "--guidance"),
        ("validation_seed", "--seed"),
        ("validation_resolution", "--width, --height"),
    ];
    RunSettings::for_sampling(model, overrides).map_err(|error| {
        let option = OPTIONS.iter().find(|(key, _)| error.place == format!("setting `{key}`"));
        option.map_or(error.clone(), |(_, option)| Error { place: (*option).to_owned(), ..error })
    })
}

fn refuse_other_than_png(path: &Path) -> Result<()> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        return Ok(());
    }
    let place = format!("--out {}", path.display());
    Err(Error::new(ErrorKind::Usage, place, "only PNG files are written").hint("let the name end in .png"))
}

/// A LoRA's changes of text encoders have no effect here.
fn say_what_is_left_out(lora: &LoraFile) -> Result<()> {
    for (encoder, tensors) in export::text_encoders(&lora.path)? {
        let path = lora.path.display();
        terminal::note(format_args!("left out: {tensors} tensors of {path} that change {encoder}"));
    }
    Ok(())
}

fn refuse_missing(lora: &LoraFile) -> Result<()> {
    if lora.path.is_file() {
        return Ok(());
    }
    Err(Error::weights(&lora.path, "no such file")
        .hint("--lora names a .safetensors file, with a weight after a colon if need be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(text: &str) -> (String, f64) {
        let Ok(LoraFile { path, weight }) = text.parse();
        (path.display().to_string(), weight)
    }

    #[test]
    fn a_number_after_the_last_colon_is_the_weight() {
        assert_eq!(lora("a.safetensors"), ("a.safetensors".into(), 1.0));
        assert_eq!(lora("a.safetensors:0.5"), ("a.safetensors".into(), 0.5));
        assert_eq!(lora("a:b.safetensors:-1"), ("a:b.safetensors".into(), -1.0));
        assert_eq!(lora("a:b.safetensors"), ("a:b.safetensors".into(), 1.0));
        assert_eq!(lora("a:inf"), ("a:inf".into(), 1.0));
    }

    fn args() -> SampleArgs {
        SampleArgs {
            model: "model".into(),
            loras: Vec::new(),
            prompt: "a fish".into(),
            negative: None,
            steps: None,
            guidance: None,
            width: None,
            height: None,
            seed: None,
            set: Vec::new(),
            out: "a.png".into(),
        }
    }

    #[test]
    fn options_win_over_settings_and_the_rest_is_default() {
        let set = vec![("validation_resolution".to_owned(), "512x256".to_owned())];
        let all = settings(&SampleArgs {
            steps: Some(3),
            guidance: Some(2.5),
            seed: Some(100),
            negative: Some("blur".into()),
            set: set.clone(),
            ..args()
        })
        .unwrap();
        assert_eq!((all.validation_num_inference_steps, all.validation_guidance), (3, 2.5));
        assert_eq!((all.validation_seed, all.validation_negative_prompt.as_str()), (100, "blur"));
        assert_eq!(all.validation_resolution, [Size { width: 512, height: 256 }]);
        let wide = settings(&SampleArgs { width: Some(768), set, ..args() }).unwrap();
        assert_eq!(wide.validation_resolution, [Size { width: 768, height: 256 }]);
        let usual = settings(&args()).unwrap();
        assert_eq!((usual.validation_num_inference_steps, usual.validation_guidance), (28, 4.5));
        assert_eq!((usual.validation_seed, usual.validation_negative_prompt.as_str()), (42, ""));
        assert_eq!(usual.validation_resolution, [Size { width: 1024, height: 1024 }]);
    }

    #[test]
    fn a_wrong_value_is_told_by_the_option_it_was_given_with() {
        let place = |args: SampleArgs| settings(&args).unwrap_err().place;
        assert_eq!(place(SampleArgs { steps: Some(0), ..args() }), "--steps");
        assert_eq!(place(SampleArgs { guidance: Some(-1.0), ..args() }), "--guidance");
        assert_eq!(place(SampleArgs { width: Some(0), ..args() }), "--width, --height");
    }

    #[test]
    fn only_png_files_are_written() {
        assert!(refuse_other_than_png(Path::new("a.PNG")).is_ok());
        for wrong in ["a.jpg", "a", ".png", "png"] {
            assert_eq!(refuse_other_than_png(Path::new(wrong)).unwrap_err().kind, ErrorKind::Usage);
        }
    }
}
