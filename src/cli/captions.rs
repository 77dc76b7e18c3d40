//! `sargent captions`: what will be trained, as text.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::terminal;
use crate::dataset::{Alike, Oddity, Survey, Trigger};
use crate::error::{Error, ErrorKind};
use crate::run::captions::{self, CaptionReport, EncoderReport, Tokenizers};
use crate::settings::{DataBackends, RunSettings};
use std::path::PathBuf;

/// Say what the captions of a folder or a run are like
///
/// Pictures, captions and variants; captions that are missing or empty; tokens over each encoder's limit and the
/// words that are cut; captions without the trigger word; duplicates; the commonest words and tags and those that
/// stand once; signs that are hardly meant. Nothing is changed. The exit code is 2 if a run would stop on them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CaptionsArgs {
    /// A folder of pictures, or a settings file
    #[arg(value_name = "DIR|CONFIG")]
    pub path: PathBuf,

    /// The word that every caption should have; with a settings file, its trigger_word by default
    #[arg(long, value_name = "WORD")]
    pub trigger: Option<String>,

    /// The model whose tokenizers count; with a settings file, its model by default
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,

    /// Where the captions of a folder are: textfile (default), filename, metadata, ...
    #[arg(long, value_name = "STRATEGY")]
    pub strategy: Option<String>,

    /// A setting that wins over the file, such as tokenizer_max_length=154
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,

    /// List everything, instead of the first of each
    #[arg(long)]
    pub all: bool,

    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent captions pictures
  sargent captions pictures --trigger k4s4 --model models/stable-diffusion-3.5-medium
  sargent captions pictures --strategy metadata     metadata.jsonl, .csv, .parquet, .json
  sargent captions config.json --json | jq '.[0].encoders'";

/// Reports.
pub fn run(args: &CaptionsArgs) -> Result<(), Failure> {
    let (settings, data) = opened(args)?;
    let tokenizers = tokenizers(args, &settings)?;
    let trigger = args.trigger.as_deref().filter(|word| !word.trim().is_empty());
    let sets = data.images.iter();
    let reports = sets
        .map(|set| captions::report(set, trigger, tokenizers.as_ref()))
        .collect::<Result<Vec<_>, Error>>()?;
    if args.json {
        let json = serde_json::to_string_pretty(&reports)
            .map_err(|e| Error::new(ErrorKind::Usage, "--json", e.to_string()))?;
        terminal::say(json)?;
    } else {
        let most = if args.all { usize::MAX } else { FIRST };
        let texts: Vec<String> = reports.iter().map(|report| text(report, most)).collect();
        terminal::say(texts.join("\n\n"))?;
    }
    refuse_broken(&reports, settings.skip_broken_images)
}

/// Items of a list that are shown, unless all are.
const FIRST: usize = 5;

fn opened(args: &CaptionsArgs) -> Result<(RunSettings, DataBackends), Error> {
    let mut set = args.set.clone();
    if let Some(strategy) = &args.strategy {
        set.push(("caption_strategy".into(), strategy.clone()));
    }
    if !args.path.exists() {
        return Err(Error::new(ErrorKind::Files, args.path.display().to_string(), "no such file or folder")
            .hint("name a folder of pictures, or a settings file"));
    }
    if args.path.is_dir() {
        return RunSettings::for_captions(&args.path, args.model.as_deref(), &set);
    }
    if let Some(model) = &args.model {
        set.push(("pretrained_model_name_or_path".into(), model.to_string_lossy().into_owned()));
    }
    let settings = RunSettings::load(&args.path, &set)?;
    let data = settings.data_backends()?;
    Ok((settings, data))
}

/// The tokenizers of the model that is named. That of a settings file need not be there yet.
fn tokenizers(args: &CaptionsArgs, settings: &RunSettings) -> Result<Option<Tokenizers>, Error> {
    if args.path.is_dir() && args.model.is_none() {
        return Ok(None);
    }
    match Tokenizers::open(settings) {
        Ok(tokenizers) => Ok(Some(tokenizers)),
        Err(error) if args.model.is_some() => Err(error),
        Err(error) => {
            terminal::note(format_args!("tokens are not counted: {error}"));
            Ok(None)
        }
    }
}

/// An error if a run would stop on these captions.
fn refuse_broken(reports: &[CaptionReport], may_skip: bool) -> Result<(), Failure> {
    let broken: Vec<&Error> = reports.iter().flat_map(|report| &report.survey.broken).collect();
    let usable = reports.iter().all(|report| report.survey.captions > 0);
    match broken.first() {
        Some(first) if !may_skip || !usable => {
            let pictures = count(broken.len(), "picture has", "pictures have");
            let cause = format!(
                "a run would stop, since {pictures} no usable caption; {}: {}",
                first.place, first.cause
            );
            Err(Error::new(ErrorKind::Dataset, "captions", cause).hint(first.hint.clone()).into())
        }
        _ => Ok(()),
    }
}

/// The report of one data set for people.
fn text(report: &CaptionReport, most: usize) -> String {
    let survey = &report.survey;
    let mut page = Page { lines: Vec::new(), most };
    page.line(&report.id, format!("{} (caption_strategy {})", report.folder.display(), report.strategy));
    page.line("pictures", survey.pictures.to_string());
    page.line("captions", variants(survey));
    page.list("unusable", &report.problems, Clone::clone);
    page.list("remarks", &survey.notes, Clone::clone);
    if let Some(trigger) = &survey.trigger {
        page.trigger(trigger, survey.captions);
    }
    match &report.encoders {
        Some(encoders) => encoders.iter().for_each(|encoder| page.encoder(encoder)),
        None => {
            page.line("tokens", "not counted; --model PATH names the model whose tokenizers do it".into())
        }
    }
    for (label, length) in [("shortest", &survey.shortest), ("longest", &survey.longest)] {
        if let Some(length) = length {
            let words = count(length.words, "word", "words");
            page.line(label, format!("{words}, {}: {}", length.picture, quoted(&length.caption)));
        }
    }
    page.list("equal", &survey.equal, |group| {
        format!("{}x {}: {}", group.pictures.len(), quoted(&group.captions[0]), some(&group.pictures))
    });
    page.list("alike", &survey.alike, alike);
    page.vocabulary(survey);
    // Of these there are few sorts, and each says something else.
    page.most = usize::MAX;
    page.list("odd", &survey.oddities, oddity);
    page.lines.join("\n")
}

fn variants(survey: &Survey) -> String {
    match survey.with_variants {
        0 => survey.captions.to_string(),
        several => format!(
            "{}; {} with several, {} at most",
            survey.captions,
            count(several, "picture", "pictures"),
            survey.most_variants
        ),
    }
}

fn alike(group: &Alike) -> String {
    let captions: Vec<String> = group.captions.iter().take(2).map(|caption| quoted(caption)).collect();
    let more = match group.captions.len() - captions.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}: {}", captions.join(" and "), some(&group.pictures))
}

fn oddity(oddity: &Oddity) -> String {
    let example = if oddity.example.is_empty() { String::new() } else { format!(": {}", oddity.example) };
    format!("{}: {} (first {}{example})", oddity.what, oddity.count, oddity.picture)
}

/// The lines of a report.
struct Page {
    lines: Vec<String>,
    most: usize,
}

impl Page {
    fn line(&mut self, label: &str, text: String) {
        self.lines.push(format!("{label:<12} {text}"));
    }

    /// The first of `items` under a label, and how many more there are; nothing if there are none.
    fn list<T>(&mut self, label: &str, items: &[T], shown: impl Fn(&T) -> String) {
        for (index, item) in items.iter().take(self.most).enumerate() {
            self.line(if index == 0 { label } else { "" }, shown(item));
        }
        if items.len() > self.most {
            self.line("", format!("and {} more; --all lists them", items.len() - self.most));
        }
    }

    fn trigger(&mut self, trigger: &Trigger, captions: usize) {
        let added = if trigger.added { "; it is put before the others" } else { "" };
        let present = format!("`{}` is in {} of {captions} captions{added}", trigger.word, trigger.present);
        self.line("trigger", present);
        if !trigger.added {
            self.list("", &trigger.missing, |picture| format!("  missing: {picture}"));
        }
    }

    fn encoder(&mut self, encoder: &EncoderReport) {
        let EncoderReport { encoder, limit, least, most, cut } = encoder;
        let cuts = match cut.len() {
            0 => "none is cut".to_owned(),
            _ => format!("{} cut", count(cut.len(), "caption is", "captions are")),
        };
        self.line(encoder, format!("{least} to {most} tokens of {limit}; {cuts}"));
        self.list("", cut, |cut| {
            format!("  {}, {} tokens, loses {}", cut.picture, cut.tokens, quoted(&cut.lost))
        });
    }

    fn vocabulary(&mut self, survey: &Survey) {
        let (label, counts) = match survey.tag_lists {
            true => ("tags", &survey.vocabulary.tags),
            false => ("words", &survey.vocabulary.words),
        };
        let once: Vec<&str> = counts.iter().filter(|(_, n)| *n == 1).map(|(word, _)| &word[..]).collect();
        let often: Vec<String> =
            counts.iter().filter(|(_, n)| *n > 1).map(|(word, n)| format!("{word} {n}")).collect();
        if !counts.is_empty() {
            self.line(
                label,
                format!("{} different{}", counts.len(), listed(": ", &often, 4 * self.most.min(COMMON))),
            );
            self.line(
                "once only",
                format!("{}{}", once.len(), listed(": ", &once, 3 * self.most.min(COMMON))),
            );
        }
    }
}

/// However much is listed, nobody reads more words than a few times these.
const COMMON: usize = 250;

/// The first `most` of `items` with commas, and how many more there are.
fn listed<T: AsRef<str>>(before: &str, items: &[T], most: usize) -> String {
    if items.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    let more = if items.len() > most { ", …" } else { "" };
    format!("{before}{}{more}", shown.join(", "))
}

/// Some names of a list.
fn some(names: &[String]) -> String {
    listed("", names, 4)
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// A caption on one line, its middle left out if it is long.
fn quoted(text: &str) -> String {
    const END: usize = 60;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let letters: Vec<char> = text.chars().collect();
    match letters.len() {
        short if short <= 2 * END + 10 => format!("\"{text}\""),
        long => {
            let (start, end): (String, String) =
                (letters[..END].iter().collect(), letters[long - END..].iter().collect());
            format!("\"{start} … {end}\"")
        }
    }
}
