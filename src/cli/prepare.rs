//! `sargent prepare`: from a folder of pictures to one of crops.

use super::failure::Failure;
use super::{signals, terminal};
use crate::dataset::{Bucket, Filter};
use crate::error::{Error, ErrorKind};
use crate::prepare::{
    self, Entry, FocusMode, Format, LeftOut, Limits, Observer, Options, State, Summary, parse_sizes,
};
use crate::report::progress::Progress;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// Crop a folder of pictures to the sizes that training wants
///
/// For every picture: of the sizes, the one nearest in shape that can hold what the picture is about (faces, else
/// what catches the eye, else the middle), and of that shape the largest window. Nothing is distorted, originals
/// are only read, and running again does only what has changed.
///
/// DST gets the pictures and their captions under their names, prepare.json with the focus and box of each, and
/// review.html: a page with every crop, doubtful ones first, in which crops can be moved. It saves overrides.json;
/// put that into DST and run again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PrepareArgs {
    /// The folder of the originals, with the folders in it
    #[arg(value_name = "SRC")]
    pub source: PathBuf,

    /// The folder for the crops; it may not lie in SRC
    #[arg(value_name = "DST")]
    pub target: PathBuf,

    /// Sizes to choose from; a number alone stands for eight shapes of that resolution [default: 1024]
    #[arg(long, value_name = "LIST", value_parser = sizes)]
    pub sizes: Option<Sizes>,

    /// What to keep: auto (faces, else what catches the eye), face, saliency or centre
    #[arg(long, value_name = "WHAT", default_value = "auto", value_parser = focus)]
    pub focus: FocusMode,

    /// The score from which something is a face; lower finds more, and more that is none
    #[arg(long, value_name = "SCORE", default_value_t = prepare::THRESHOLD, value_parser = positive)]
    pub face_threshold: f64,

    /// Crop closer: the head, or the region, is to fill this share of the height (0 to 1)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub tight: Option<f64>,

    /// How far a picture may be enlarged; a smaller one is left out
    #[arg(long, value_name = "TIMES", default_value_t = Limits::default().largest_enlargement, value_parser = positive)]
    pub max_enlarge: f64,

    /// What is written: png (without loss) or jpeg
    #[arg(long, value_name = "FORMAT", default_value = "png", value_parser = ["png", "jpeg", "jpg"])]
    pub format: String,

    /// The quality of JPEG files
    #[arg(long, value_name = "1..100", default_value_t = 95, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,

    /// How pictures are reduced: lanczos (sharp) or area (soft)
    #[arg(long, value_name = "FILTER", default_value = "lanczos", value_parser = filter)]
    pub filter: Filter,

    /// What lies under transparent pixels: white, black, grey or #rrggbb
    #[arg(long, value_name = "COLOUR", default_value = "white", value_parser = colour)]
    pub background: [u8; 3],

    /// Pictures worked on at a time [default: one per core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,

    /// Also print a line per picture: its size, box, scale, focus and doubts
    #[arg(long)]
    pub report: bool,

    /// Write nothing: say what would be made, a line per picture
    #[arg(long)]
    pub dry_run: bool,

    /// Also print where the time went
    #[arg(long)]
    pub timings: bool,

    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent prepare photos dataset
  sargent prepare photos dataset --sizes 1024x1024,832x1216 --format jpeg
  sargent prepare photos dataset --sizes 512 --focus saliency
  sargent prepare portraits dataset --focus face --tight 0.4
  sargent prepare photos dataset --dry-run          what would be made, with nothing written

Exit codes: 0 every picture is prepared, 1 some were left out (each is named with the cure) or the run was
stopped, 2 a mistake found before the first picture.";

/// The sizes of `--sizes`.
#[derive(Debug, Clone)]
pub struct Sizes(Vec<Bucket>);

fn sizes(text: &str) -> Result<Sizes, String> {
    parse_sizes(text).map(Sizes).map_err(|e| format!("{}; {}", e.cause, e.hint))
}

fn focus(text: &str) -> Result<FocusMode, String> {
    match text {
        "auto" => Ok(FocusMode::Auto),
        "face" => Ok(FocusMode::Face),
        "saliency" => Ok(FocusMode::Saliency),
        "centre" | "center" => Ok(FocusMode::Centre),
        _ => Err("there are auto, face, saliency and centre".to_owned()),
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    match text {
        "lanczos" => Ok(Filter::Lanczos),
        "area" => Ok(Filter::Area),
        _ => Err("there are lanczos and area".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "it must be a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|&share| share <= 1.0)
        .ok_or_else(|| "it must be above 0 and at most 1".to_owned())
}

fn colour(text: &str) -> Result<[u8; 3], String> {
    match text {
        "white" => return Ok([255; 3]),
        "black" => return Ok([0; 3]),
        "grey" | "gray" => return Ok([128; 3]),
        _ => {}
    }
    let digits = text.trim_start_matches('#');
    let value = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 6 && digits.is_ascii());
    let [_, red, green, blue] =
        value.ok_or_else(|| "write white, black, grey or #rrggbb".to_owned())?.to_be_bytes();
    Ok([red, green, blue])
}

/// Prepares.
pub fn run(args: &PrepareArgs) -> Result<(), Failure> {
    let options = options(args);
    let stop = signals::stop()?;
    let watch = Watch::default();
    let work = if args.dry_run { prepare::foresee } else { prepare::prepare };
    let summary =
        work(&args.source, &args.target, &options, &watch, &stop).map_err(|error| watch.failure(error))?;
    watch.finish();
    if args.json {
        terminal::say(json(args, &summary)?)?;
    } else {
        summary.notes.iter().for_each(terminal::note);
        summary.left_out.iter().for_each(|left_out| terminal::note(line(left_out)));
        terminal::say(told(args, &summary))?;
    }
    if summary.stopped {
        return Err(incomplete("stopped before the end", "run again to go on where it stopped"));
    }
    match summary.left_out.len() {
        0 => Ok(()),
        1 => Err(incomplete("1 picture was left out", "cure it and run again")),
        count => Err(incomplete(&format!("{count} pictures were left out"), "cure them and run again")),
    }
}

fn incomplete(cause: &str, hint: &str) -> Failure {
    Failure::while_running(Error::new(ErrorKind::Dataset, "", cause).hint(hint))
}

fn options(args: &PrepareArgs) -> Options {
    let default = Options::default();
    Options {
        sizes: args.sizes.as_ref().map_or(default.sizes, |Sizes(sizes)| sizes.clone()),
        mode: args.focus,
        face_threshold: args.face_threshold,
        limits: Limits { largest_enlargement: args.max_enlarge, tight: args.tight },
        format: if args.format == "png" { Format::Png } else { Format::Jpeg(args.quality) },
        filter: args.filter,
        background: args.background,
        threads: args.threads,
    }
}

/// A picture that was left out, in one line with the cure.
fn line(left_out: &LeftOut) -> String {
    let LeftOut { file, cause, cure } = left_out;
    format!("left out: {file}: {cause}; {cure}")
}

fn json(args: &PrepareArgs, summary: &Summary) -> Result<String, Failure> {
    let failed = |e: serde_json::Error| Error::new(ErrorKind::Usage, "--json", e.to_string());
    let mut json = serde_json::to_value(summary).map_err(failed)?;
    if args.report || args.dry_run {
        json["pictures"] = json!(summary.pictures);
    }
    Ok(serde_json::to_string_pretty(&json).map_err(failed)?)
}

/// The report for people.
fn told(args: &PrepareArgs, summary: &Summary) -> String {
    let mut lines = Vec::new();
    if args.report || args.dry_run {
        lines.extend(table(&summary.pictures));
    }
    lines.extend(by_size(&summary.pictures));
    let done = if args.dry_run { "would be prepared" } else { "prepared" };
    let mut counts = vec![format!("{} {done}", summary.written)];
    for (count, what) in [
        (summary.unchanged, "unchanged"),
        (summary.excluded, "excluded"),
        (summary.left_out.len(), "left out"),
        (summary.captions, "captions copied"),
    ] {
        if count > 0 {
            counts.push(format!("{count} {what}"));
        }
    }
    lines.push(format!("pictures     {}", counts.join(", ")));
    if args.timings {
        lines.extend(timings(summary));
    }
    if !args.dry_run {
        let doubtful = made(&summary.pictures).filter(|entry| !entry.doubts.is_empty()).count();
        let sheet = args.target.join("review.html");
        lines.push(format!("review       {doubtful} with doubts: open {}", sheet.display()));
    }
    lines.join("\n")
}

fn made(pictures: &[Entry]) -> impl Iterator<Item = &Entry> {
    pictures.iter().filter(|entry| entry.state == State::Made)
}

/// A line per size.
fn by_size(pictures: &[Entry]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for size in made(pictures).filter_map(|entry| entry.size) {
        *counts.entry((size.width, size.height)).or_insert(0usize) += 1;
    }
    let line = |((width, height), count)| format!("size         {width}x{height}: {count}");
    counts.into_iter().map(line).collect()
}

/// A line per picture.
fn table(pictures: &[Entry]) -> Vec<String> {
    let longest = pictures.iter().map(|entry| entry.source.chars().count()).max().unwrap_or(0).clamp(7, 60);
    let row = |entry: &Entry| {
        let doubts: Vec<&str> = entry.doubts.iter().map(|doubt| doubt.text.as_str()).collect();
        let size = entry.size.map_or("-".to_owned(), |size| format!("{}x{}", size.width, size.height));
        let window = entry
            .window
            .map_or("-".to_owned(), |w| format!("{:.0}x{:.0}+{:.0}+{:.0}", w.width, w.height, w.x, w.y));
        let scale = entry.scale.map_or("-".to_owned(), |scale| format!("{scale:.3}"));
        let why = if entry.state == State::Excluded { "excluded" } else { entry.reason.as_str() };
        let remarks = if doubts.is_empty() { String::new() } else { format!(" ({})", doubts.join("; ")) };
        format!("{:<longest$}  {size:<10}  {window:<20}  {scale:<6}  {why}{remarks}", entry.source)
    };
    let head = format!("{:<longest$}  {:<10}  {:<20}  {:<6}  {}", "picture", "size", "box", "scale", "why");
    std::iter::once(head).chain(pictures.iter().map(row)).collect()
}

fn timings(summary: &Summary) -> Vec<String> {
    let timings = &summary.timings;
    let stages = timings.seconds().into_iter().map(|(name, seconds)| format!("  {name:<24}{seconds:8.2} s"));
    let rate = format!(
        "time         {:.1} megapixels, {:.1} a second and core without the search for the focus",
        timings.megapixels(),
        timings.rate()
    );
    std::iter::once(rate).chain(stages).collect()
}

/// Shows the progress on stderr.
#[derive(Default)]
struct Watch(Mutex<Option<Progress>>);

impl Watch {
    fn bar(&self) -> std::sync::MutexGuard<'_, Option<Progress>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn finish(&self) {
        self.bar().take().into_iter().for_each(Progress::finish);
    }

    /// An error that ended the work: one while running once a picture was done.
    fn failure(&self, error: Error) -> Failure {
        if self.bar().take().is_some() { Failure::while_running(error) } else { error.into() }
    }
}

impl Observer for Watch {
    fn progress(&self, done: usize, total: usize) {
        let mut bar = self.bar();
        let bar = bar.get_or_insert_with(|| Progress::on_stderr("preparing", 0, total as u64));
        bar.update(done as u64, "");
    }
}
