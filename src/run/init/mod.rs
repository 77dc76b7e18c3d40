//! A setup for a folder of pictures: settings, data sets and prompts that fit a card, and why each is as it is.
//!
//! `captions` says how the pictures are captioned, `prompts` what is drawn meanwhile, `learning` how much there is to
//! learn from so many pictures, `fitting` what the card can hold; `draft` is the setup as files.

mod captions;
mod draft;
mod fitting;
mod learning;
mod prompts;

use crate::dataset::{self, FoundPicture};
use crate::device::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::models::mmdit::MmditConfig;
use crate::run::Opened;
use crate::run::forecast::{self, Forecast};
use crate::run::opening;
use captions::Captioning;
use draft::Draft;
use learning::Learning;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub use draft::FILES;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Where the setup will lie; from the root, as are all paths here.
    pub folder: PathBuf,
    /// The model: a path, or what else the settings take.
    pub model: String,
    /// The pictures.
    pub images: PathBuf,
    /// The word that calls up what is learnt.
    pub trigger: Option<String>,
    /// Steps to train; none: by the number of pictures.
    pub steps: Option<u64>,
    /// The device, with the memory that training may use.
    pub limits: Limits,
    /// Settings that win over what would be chosen.
    pub set: Vec<(String, String)>,
}

/// Why a setting is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The setting.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// Why.
    pub why: String,
}

/// A setup, not yet written.
#[derive(Debug)]
pub struct Setup {
    /// Its files, each a name and its content, in the order of [`FILES`].
    pub files: Vec<(&'static str, Value)>,
    /// Why each setting is as it is.
    pub reasons: Vec<Reason>,
    /// What training would do.
    pub forecast: Forecast,
    /// Remarks on the pictures.
    pub notes: Vec<String>,
}

/// Whether there is a picture in `folder` or the folders in it.
pub fn holds_pictures(folder: &Path) -> bool {
    dataset::has_pictures(folder)
}

/// Makes a setup.
///
/// # Errors
/// A model or pictures that cannot be used, captions that are missing, and a card that nothing fits, with what the
/// smallest setup would need.
pub fn set_up(wishes: &Wishes) -> Result<Setup> {
    let (pictures, notes) = dataset::pictures_in(&wishes.images)?;
    let captioning = Captioning::of(&pictures, wishes.trigger.as_deref(), &wishes.images)?;
    let learning = Learning::from_pictures(pictures.len(), wishes.steps);
    let mut draft = Draft::new(wishes, &captioning)?;
    let model = opening::open_model(&draft.settings()?)?;
    let config = MmditConfig::from_weights(&model.mmdit)?;
    draft.set_all(learning.settings());
    draft.set_all(captioning.of_run());
    let (skipped, why_skipped) = learning::skipped_blocks(&config);
    draft.set_all(skipped);
    let (mut opened, sizing) =
        fitted(&mut draft, &config, &pictures, &learning, &captioning, &wishes.limits)?;
    let mut reasons = vec![reason("model", config.release(), "by the shapes of its weights")];
    reasons.extend(sizing);
    reasons.extend(learning.reasons());
    reasons.extend(captioning.reasons());
    reasons.extend(draft.why_prompts());
    reasons.extend(why_skipped);
    reasons.retain(|reason| !draft.is_given(reason.key));
    let forecast = forecast::forecast(&opened, &wishes.limits, Some(wishes.limits.memory))?;
    let mut all_notes = notes;
    all_notes.append(&mut opened.dataset.notes);
    Ok(Setup { files: draft.files(&wishes.folder)?, reasons, forecast, notes: all_notes })
}

fn reason(key: &'static str, value: impl ToString, why: impl Into<String>) -> Reason {
    Reason { key, value: value.to_string(), why: why.into() }
}

/// The run at the largest useful resolution that fits the card, which the draft then says.
fn fitted(
    draft: &mut Draft,
    config: &MmditConfig,
    pictures: &[FoundPicture],
    learning: &Learning,
    captioning: &Captioning,
    limits: &Limits,
) -> Result<(Opened, Vec<Reason>)> {
    let mut smallest = usize::MAX;
    let candidates = fitting::resolutions(config, pictures);
    let wanted = candidates.first().map_or(0, |first| first.0);
    for (resolution, why) in candidates {
        draft.set("resolution", json!(resolution));
        let mut opened = draft.open()?;
        draft.draw(&mut opened, captioning.trigger.as_deref())?;
        match fitting::best(&mut opened, draft, learning.batch, limits)? {
            Ok(fit) => {
                draft.set_all(fit.settings());
                let why = if resolution == wanted { why } else { format!("{wanted} does not fit the card") };
                let mut reasons = vec![reason("resolution", resolution, why)];
                reasons.extend(fit.reasons(limits));
                return Ok((draft.open()?, reasons));
            }
            Err(needed) => smallest = smallest.min(needed),
        }
        if draft.is_given("resolution") {
            break;
        }
    }
    let gibibytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let cause = format!(
        "the smallest setup needs {:.2} GiB, and training may use {:.2} GiB",
        gibibytes(smallest as u64),
        gibibytes(limits.memory)
    );
    Err(Error::new(ErrorKind::Device, "memory", cause)
        .hint("use a larger card (--vram), or a smaller model: SD3.5 Medium"))
}
