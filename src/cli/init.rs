//! `sargent init`: settings for a folder of pictures, that fit the card, with the reason for each.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{forecast, plan, terminal};
use crate::device::{self, Choice, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::run::init::{self, FILES, Reason, Setup, Wishes};
use std::path::{Path, PathBuf};

/// Write settings for a folder of pictures that fit the card, and say why each is as it is
///
/// Looks at the model, at the pictures and their captions and at the memory of the card, tries out what fits, and
/// writes config.json, multidatabackend.json and prompts.json into DIR. Nothing is overwritten unless asked for.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InitArgs {
    /// The folder to write the settings into; the run's output will be in it too
    pub dir: PathBuf,

    /// The model: a diffusers folder or a single file
    #[arg(long, value_name = "PATH")]
    pub model: String,

    /// The folder of pictures; without it, DIR/images, DIR/pictures, DIR/dataset, or DIR itself
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// Memory of the card, as 24GiB; without it, that of the card that is here
    #[arg(long, value_name = "SIZE", value_parser = vram)]
    pub vram: Option<u64>,

    /// The word that is to call up what is learnt; put before captions that lack it
    #[arg(long, value_name = "WORD")]
    pub trigger: Option<String>,

    /// Steps to train; without it, by the number of pictures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,

    /// A setting that wins over what would be chosen; may be given many times
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,

    /// Overwrite settings that are there
    #[arg(long)]
    pub force: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent init kasa --model models/stable-diffusion-3.5-medium --images pictures --trigger k4s4
  sargent init kasa --model models/stable-diffusion-3.5-large --images pictures --vram 24GiB
  sargent init kasa --model sd3.5_large.safetensors --images pictures \\
      --set text_encoder_path=clip_l.safetensors --set lora_rank=64";

/// The card that is planned for where there is none.
const ASSUMED: u64 = 24 << 30;
/// What the driver and a desktop keep of a card's memory.
const KEPT_BY_OTHERS: u64 = 1 << 30;
/// Where pictures are looked for.
const USUAL_FOLDERS: [&str; 4] = ["images", "pictures", "dataset", ""];
/// Columns of the text.
const COLUMNS: usize = 80;

fn vram(text: &str) -> std::result::Result<u64, String> {
    const SMALLEST: u64 = 64 << 20;
    match device::parse_size(text) {
        Ok(bytes) if bytes >= SMALLEST => Ok(bytes),
        Ok(_) => Err(format!("{text} bytes are no card; write {text}GiB")),
        Err(error) => Err(format!("{}; {}", error.cause, error.hint)),
    }
}

/// Makes a setup and writes it.
pub fn run(args: &InitArgs, device: Option<Choice>) -> std::result::Result<(), Failure> {
    let folder = absolute(&args.dir)?;
    if !args.force {
        refuse_overwriting(&folder)?;
    }
    let memory = Memory::of(args.vram, device)?;
    terminal::say(memory.told())?;
    let setup = init::set_up(&Wishes {
        model: place(&args.model)?,
        images: images(args, &folder)?,
        trigger: args.trigger.as_deref().map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned),
        steps: args.steps,
        limits: memory.limits,
        set: args.set.clone(),
        folder: folder.clone(),
    })?;
    setup.notes.iter().for_each(terminal::note);
    for (name, content) in &setup.files {
        files::replace_bytes(&folder.join(name), format!("{content:#}\n").as_bytes())?;
    }
    terminal::say(report(&setup, &memory, args))
}

fn refuse_overwriting(folder: &Path) -> Result<()> {
    match FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::new(ErrorKind::Usage, path.display().to_string(), "it is there already")
            .hint("choose another folder, or overwrite the settings with --force")),
    }
}

/// The memory that is planned for.
struct Memory {
    limits: Limits,
    /// Whose it is.
    whose: String,
    /// The device as `plan` is told it; none if it is here.
    planned: Option<String>,
}

impl Memory {
    fn of(vram: Option<u64>, device: Option<Choice>) -> Result<Self> {
        match (vram, device) {
            (Some(memory), _) | (None, Some(Choice::Cuda { memory: Some(memory) })) => {
                Ok(Self::of_card(memory, format!("a card of {}", gibibytes(memory))))
            }
            (None, Some(choice @ (Choice::Cpu | Choice::Emulator))) => {
                Ok(Self::here(plan::limits(choice), "this machine's"))
            }
            (None, Some(Choice::Cuda { memory: None })) => {
                let (card, name) = device::choose(Choice::Cuda { memory: None })?;
                Ok(Self::here(card.limits()?, &format!("what is free on {name}")))
            }
            (None, None | Some(Choice::Auto)) => match device::choose(Choice::Cuda { memory: None }) {
                Ok((card, name)) => Ok(Self::here(card.limits()?, &format!("what is free on {name}"))),
                Err(_) => {
                    let whose = format!("no card is here: {} assumed (--vram)", gibibytes(ASSUMED));
                    Ok(Self::of_card(ASSUMED, whose))
                }
            },
        }
    }

    fn here(limits: Limits, whose: &str) -> Self {
        Self { limits, whose: whose.to_owned(), planned: None }
    }

    fn of_card(memory: u64, whose: String) -> Self {
        let kept = if memory >= 4 * KEPT_BY_OTHERS { KEPT_BY_OTHERS } else { memory / 8 };
        let limits = plan::limits(Choice::Cuda { memory: Some(memory) });
        let limits = Limits { memory: memory - kept, ..limits };
        let card = match memory % (1 << 30) {
            0 => format!("cuda:{}GiB", memory >> 30),
            _ => format!("cuda:{}MiB", memory >> 20),
        };
        Self { limits, whose, planned: Some(card) }
    }

    fn told(&self) -> String {
        format!("memory  {}; training may use {}", self.whose, gibibytes(self.limits.memory))
    }
}

fn gibibytes(bytes: u64) -> String {
    let gibibytes = bytes as f64 / (1u64 << 30) as f64;
    if gibibytes.fract() == 0.0 { format!("{gibibytes} GiB") } else { format!("{gibibytes:.1} GiB") }
}

/// The folder of pictures.
fn images(args: &InitArgs, folder: &Path) -> Result<PathBuf> {
    if let Some(images) = &args.images {
        return absolute(images);
    }
    let usual = USUAL_FOLDERS.iter().map(|name| folder.join(name));
    let mut usual = usual.filter(|place| init::holds_pictures(place));
    usual.next().ok_or_else(|| {
        let cause = "there are no pictures in it, nor in its folders images, pictures and dataset";
        Error::new(ErrorKind::Usage, args.dir.display().to_string(), cause)
            .hint("name the folder of pictures: --images DIR")
    })
}

/// A model that is here, from the root; what is not here may be a name that the settings know to look up.
fn place(model: &str) -> Result<String> {
    let path = Path::new(model);
    if !path.exists() {
        return Ok(model.to_owned());
    }
    Ok(absolute(path)?.display().to_string())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let refused = |cause: &str| Error::new(ErrorKind::Usage, path.display().to_string(), cause);
    let absolute = std::path::absolute(path).map_err(|e| refused(&e.to_string()))?;
    match absolute.to_str() {
        Some(_) => Ok(absolute.components().collect()),
        None => Err(refused("the path is not valid UTF-8").hint("choose another folder")),
    }
}

/// What was written, why, and what comes next.
fn report(setup: &Setup, memory: &Memory, args: &InitArgs) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    lines.extend(setup.reasons.iter().map(row));
    if !args.set.is_empty() {
        let given = args.set.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ");
        lines.push(row(&Reason { key: "as asked for", value: String::new(), why: given }));
    }
    let planned = &setup.forecast;
    lines.push(String::new());
    lines.push(format!(
        "{} steps, {} an epoch; {} of memory, {} of disk",
        planned.total_steps,
        planned.steps_per_epoch,
        forecast::size(planned.memory.training_peak as u64).trim(),
        forecast::size(planned.disk.caches + planned.disk.checkpoints).trim()
    ));
    lines.push(format!("written  {}", FILES.join(", ")));
    let config = args.dir.join("config.json");
    let config = config.display();
    let card = memory.planned.iter().map(|card| format!(" --device {card}")).collect::<String>();
    lines.push(format!("next     sargent plan {config}{card}"));
    lines.push(format!("         sargent captions {config}"));
    lines.push(format!("         sargent train {config}"));
    lines.join("\n")
}

/// A setting, its value, and why, the latter in lines of its own column.
fn row(reason: &Reason) -> String {
    const MARGIN: usize = 32;
    let head = format!("{} {}", reason.key, reason.value);
    let mut lines = Vec::new();
    let mut line = format!("{head:<MARGIN$}");
    if head.chars().count() >= MARGIN {
        lines.push(std::mem::replace(&mut line, " ".repeat(MARGIN)));
    }
    for word in reason.why.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS && line.trim_end().len() > MARGIN {
            lines.push(std::mem::replace(&mut line, " ".repeat(MARGIN)));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_given_by_its_memory() {
        assert_eq!(vram("24GiB"), Ok(24 << 30));
        assert_eq!(vram("8GB"), Ok(8_000_000_000));
        assert!(vram("24").unwrap_err().contains("24GiB"));
        assert!(vram("much").is_err());
    }

    #[test]
    fn a_row_fits_a_terminal_and_says_everything() {
        let why = "a reason that is so long that it does not fit into what is left of a line of a terminal";
        for key in ["lora_rank", "validation_guidance_skip_layers_that_is_long"] {
            let text = row(&Reason { key, value: "16".into(), why: why.into() });
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
            assert!(text.starts_with(&format!("{key} 16")));
            assert!(text.split_whitespace().skip(2).eq(why.split_whitespace()));
        }
    }
}
