//! `sargent demo`: writes the bundled miniature model and pictures to a folder and trains on them.

use super::failure::Failure;
use super::train::{self, TrainArgs};
use super::{device, terminal};
use crate::device::Choice;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::run::progress::Outcome;
use crate::settings::DeviceChoice;
use include_dir::{Dir, include_dir};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Train a LoRA on bundled pictures with a bundled miniature model
///
/// Writes a miniature of Stable Diffusion 3.5 and 24 pictures of one style, trains a LoRA on them as
/// `sargent train` does, and draws the same prompts before and after. Everything comes out of this program; a
/// second run in the same folder starts over.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DemoArgs {
    /// The folder for the model, the pictures, the settings and the results
    #[arg(long, value_name = "DIR", default_value = "sargent-demo")]
    pub out: PathBuf,

    /// Steps to train; with fewer, the style is weaker
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
}

const EXAMPLES: &str = "\
Examples:
  sargent demo                                                  a few minutes on two cores
  sargent demo --out small-demo --steps 400                    faster, and less of the style
  sargent train sargent-demo/config.json --set overwrite=true --set lora_rank=4
                                                                the same with a setting changed";

static MODEL: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/tiny-sd35");
static DATASET: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/style-dataset");

/// The word in all captions that calls up the style.
const TRIGGER: &str = "k4s4";
/// What is drawn before and after; no picture shows a fish or a moon.
const SUBJECTS: [&str; 8] = [
    "a red star",
    "a blue fish",
    "a green tree",
    "a yellow moon",
    "a purple heart",
    "a large orange circle",
    "a white house",
    "a pink cross",
];
/// Tells a folder that a demo has written from one that it must not touch.
const MARKER: &str = ".sargent-demo";

/// Writes the demo's files and trains.
pub fn run(args: &DemoArgs, device: Option<Choice>) -> std::result::Result<(), Failure> {
    crate::device::choose(device::wanted(device, DeviceChoice::Auto))?;
    let folder = absolute(&args.out)?;
    write_files(&folder, args.steps)?;
    terminal::note(format_args!("the demo's model, pictures and settings are in {}", args.out.display()));
    let begin_afresh = ("overwrite".to_owned(), "true".to_owned());
    let run = TrainArgs { config: args.out.join("config.json"), set: vec![begin_afresh], compat: None };
    match train::run(&run, device)? {
        Outcome::Stopped(_) | Outcome::StoppedByGuard(_) => Ok(()),
        Outcome::Finished | Outcome::NothingToDo => terminal::say(places(&args.out)),
    }
}

fn places(out: &Path) -> String {
    let out = out.display();
    format!(
        "\
the run, told:     {out}/output/report.html
before and after:  {out}/output/before_after.png
other strengths:   {out}/output/strengths.png
single images:     {out}/output/validation/
the LoRA:          {out}/output/pytorch_lora_weights.safetensors
loss and rates:    {out}/output/training.png, metrics.jsonl, tensorboard/
the settings:      {out}/config.json, multidatabackend.json, prompts.json
the pictures:      {out}/dataset/
the model:         {out}/model/"
    )
}

/// The settings name paths from the root, so that they hold in any current directory.
fn absolute(folder: &Path) -> Result<String> {
    let refused = |cause: &str| Error::new(ErrorKind::Usage, format!("--out {}", folder.display()), cause);
    let absolute = std::path::absolute(folder).map_err(|e| refused(&e.to_string()))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|_| refused("the path is not valid UTF-8").hint("choose another folder"))
}

/// Writes everything that the run needs into `folder`; files of an earlier demo are brought to their first state.
///
/// # Errors
/// A folder that holds other things than an earlier demo, or that cannot be written.
fn write_files(folder: &str, steps: u64) -> Result<()> {
    let place = Path::new(folder);
    refuse_foreign(place)?;
    files::replace_bytes(&place.join(MARKER), b"`sargent demo` wrote this folder and may write it again.\n")?;
    write_tree(&MODEL, &place.join("model"))?;
    write_tree(&DATASET, &place.join("dataset"))?;
    write_json(&place.join("prompts.json"), &prompts())?;
    write_json(&place.join("multidatabackend.json"), &data_backends(folder))?;
    write_json(&place.join("config.json"), &config(folder, steps))
}

fn refuse_foreign(folder: &Path) -> Result<()> {
    let refused = |cause: &str| {
        Err(Error::new(ErrorKind::Usage, format!("--out {}", folder.display()), cause)
            .hint("name a folder that is empty, new, or of an earlier demo"))
    };
    let mut entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => return refused("this is not a folder"),
        entries => entries.map_err(|e| Error::io(folder, &e))?,
    };
    if folder.join(MARKER).exists() || entries.next().is_none() {
        return Ok(());
    }
    refused("the folder holds other things")
}

/// Writes the files in `tree` that are not there as they are in it.
fn write_tree(tree: &Dir<'_>, folder: &Path) -> Result<()> {
    for file in tree.files() {
        let path = folder.join(file.path().file_name().unwrap_or_default());
        if std::fs::read(&path).ok().as_deref() != Some(file.contents()) {
            files::replace_bytes(&path, file.contents())?;
        }
    }
    for tree in tree.dirs() {
        write_tree(tree, &folder.join(tree.path().file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn write_json(path: &Path, json: &Value) -> Result<()> {
    files::replace_bytes(path, format!("{json:#}\n").as_bytes())
}

fn prompts() -> Value {
    let named = |subject: &&str| {
        let name = subject.trim_start_matches("a ").replace(' ', "_");
        (name, json!(format!("{TRIGGER}, {subject}")))
    };
    SUBJECTS.iter().map(named).collect::<Map<_, _>>().into()
}

fn data_backends(folder: &str) -> Value {
    json!([{
        "id": "style",
        "type": "local",
        "instance_data_dir": format!("{folder}/dataset"),
        "caption_strategy": "textfile",
        "repeats": 0,
    }])
}

/// The settings under which the miniature learns the style well.
fn config(folder: &str, steps: u64) -> Value {
    json!({
        "pretrained_model_name_or_path": format!("{folder}/model"),
        "data_backend_config": format!("{folder}/multidatabackend.json"),
        "output_dir": format!("{folder}/output"),
        "seed": 11,
        "max_train_steps": steps,
        "train_batch_size": 4,
        "resolution": 128,
        "tokenizer_max_length": 77,
        "caption_dropout_probability": 0.1,
        "lora_rank": 16,
        "lora_alpha": 16,
        "lora_targets": "diffusers",
        "lora_init_type": "gaussian",
        "flow_schedule_shift": 0,
        "optimizer": "adamw",
        "learning_rate": 4e-3,
        "lr_scheduler": "cosine",
        "lr_warmup_steps": warmup(steps),
        "adam_beta1": 0.9,
        "adam_beta2": 0.99,
        "adam_weight_decay": 0,
        "max_grad_norm": 1.0,
        "checkpointing_steps": 500,
        "user_prompt_library": format!("{folder}/prompts.json"),
        "validation_resolution": "128x128",
        "validation_num_inference_steps": 28,
        "validation_guidance": 2.5,
        "validation_seed": 100,
        "validation_steps": 0,
    })
}

/// 20 steps, or a tenth of a short run, so that most of it is at a high rate.
fn warmup(steps: u64) -> u64 {
    (steps / 10).min(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{LoraPreset, LoraTargets, LrScheduler, RunSettings, Size};

    fn folder_in(root: &tempfile::TempDir) -> String {
        root.path().join("demo").to_str().unwrap().to_owned()
    }

    fn written(steps: u64) -> (tempfile::TempDir, String) {
        let root = tempfile::tempdir().unwrap();
        let folder = folder_in(&root);
        write_files(&folder, steps).unwrap();
        (root, folder)
    }

    #[test]
    fn the_files_are_a_run_that_can_be_trained() {
        let (_root, folder) = written(1000);
        let place = Path::new(&folder);
        let settings = RunSettings::load(&place.join("config.json"), &[]).unwrap();
        assert_eq!((settings.max_train_steps, settings.train_batch_size, settings.seed), (1000, 4, 11));
        assert_eq!((settings.lora_rank, settings.lora_alpha, settings.learning_rate), (16, 16.0, 4e-3));
        assert_eq!(settings.lora_targets, LoraTargets::Preset(LoraPreset::Diffusers));
        assert_eq!((settings.lr_scheduler, settings.lr_warmup_steps), (LrScheduler::Cosine, 20));
        assert_eq!((settings.flow_schedule_shift, settings.tokenizer_max_length), (1.0, 77));
        assert_eq!(settings.validation_resolution, [Size { width: 128, height: 128 }]);
        assert_eq!(settings.validation_prompts.len(), 8);
        assert_eq!(settings.validation_prompts[0].name, "red_star");
        assert_eq!(settings.validation_prompts[0].text, "k4s4, a red star");
        assert!(settings.ignored.is_empty());
        let data = settings.data_backends().unwrap();
        assert_eq!(data.images[0].instance_data_dir, place.join("dataset"));
        assert_eq!(std::fs::read_dir(place.join("dataset")).unwrap().count(), 48);
        assert!(place.join("model/transformer/diffusion_pytorch_model.safetensors").exists());
    }

    #[test]
    fn captions_have_the_word_that_the_prompts_have() {
        for caption in DATASET.files().filter(|file| file.path().extension().is_some_and(|e| e == "txt")) {
            assert!(caption.contents_utf8().unwrap().starts_with(TRIGGER), "{:?}", caption.path());
        }
    }

    #[test]
    fn any_number_of_steps_gives_valid_settings() {
        for steps in [1, 9, 10, 19, 400] {
            let (_root, folder) = written(steps);
            let config = Path::new(&folder).join("config.json");
            let settings = RunSettings::load(&config, &[("overwrite".into(), "true".into())]).unwrap();
            assert!(settings.overwrite && settings.lr_warmup_steps < steps);
        }
    }

    #[test]
    fn a_second_demo_restores_its_files_and_leaves_others() {
        let (_root, folder) = written(10);
        let place = Path::new(&folder);
        let (changed, mine) = (place.join("model/vae/config.json"), place.join("notes.txt"));
        std::fs::write(&changed, "{}").unwrap();
        std::fs::write(&mine, "mine").unwrap();
        write_files(&folder, 20).unwrap();
        assert_eq!(std::fs::read(&changed).unwrap(), MODEL.get_file("vae/config.json").unwrap().contents());
        assert_eq!(RunSettings::load(&place.join("config.json"), &[]).unwrap().max_train_steps, 20);
        assert!(mine.exists());
    }

    #[test]
    fn a_folder_with_other_things_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder_in(&root);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(Path::new(&folder).join("thesis.tex"), "x").unwrap();
        for place in [folder.clone(), format!("{folder}/thesis.tex")] {
            let error = write_files(&place, 1).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage);
            assert!(error.hint.contains("empty"), "{error}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_folder_will_do() {
        let root = tempfile::tempdir().unwrap();
        write_files(root.path().to_str().unwrap(), 1).unwrap();
    }
}
