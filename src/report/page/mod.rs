//! `report.html`: a run told in one page that needs nothing else, neither network nor other files.
//!
//! The page is its data as JSON inside a fixed template (`assets/report/`); the script in it draws the curves and
//! tables. Whatever a user wrote is set as text there, never as markup.

mod curves;
mod thumbnail;

pub use curves::Curves;
pub use thumbnail::{Thumbnail, Thumbnails};

use super::metrics::{EvaluationMetrics, Note};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::Path;

const TEMPLATE: &str = include_str!("../../../assets/report/page.html");
const STYLE: &str = include_str!("../../../assets/report/page.css");
const SCRIPT: &str = include_str!("../../../assets/report/page.js");

/// Everything that the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// The program's version.
    pub version: &'static str,
    /// `running`, `finished`, `stopped`, or that with a reason after it.
    pub state: String,
    /// Optimizer steps done.
    pub step: u64,
    /// Epoch of the last step, from 0.
    pub epoch: u64,
    /// Mean wall time of the latest steps.
    pub seconds_per_step: Option<f64>,
    /// When the page was written, in seconds since 1970.
    pub written: u64,
    /// What the run said, by step.
    pub notes: Vec<Note>,
    /// Loss, learning rate and gradient norm.
    pub curves: Curves,
    /// The evaluations of held-out pictures.
    pub held_out: Vec<EvaluationMetrics>,
    /// Validation pictures.
    pub pictures: Pictures,
    /// The first prompt at several strengths of the LoRA.
    pub strengths: Vec<StrengthPicture>,
    /// The pictures that training finds hardest.
    pub hardest: Vec<HardPicture>,
    /// Files of the folder that are worth opening.
    pub files: Vec<String>,
    /// What does not change while a run goes on.
    #[serde(flatten)]
    pub about: About,
}

/// What is known of a run before its first step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What the run is called: the name of its folder.
    pub title: String,
    /// Optimizer steps of the whole run.
    pub total: u64,
    /// The data.
    pub data: Data,
    /// The settings, by subject.
    pub settings: Vec<Section>,
    /// The memory plan.
    pub memory: Vec<MemoryPart>,
    /// Every prompt at every size.
    pub prompts: Vec<PromptPictures>,
    /// Picture and caption of every sample.
    pub samples: Vec<(String, String)>,
}

/// The data of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// What each bucket contributes to an epoch.
    pub buckets: Vec<BucketRow>,
    /// Optimizer steps of an epoch.
    pub steps_per_epoch: u64,
    /// Pictures that are never trained on.
    pub held_out: u64,
}

/// One bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The words are those of the plan.
pub struct BucketRow {
    pub data_set: String,
    pub width: u64,
    pub height: u64,
    pub pictures: u64,
    pub appearances: u64,
    pub batches: u64,
    pub last_batch: u64,
}

/// Settings of one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The subject.
    pub title: String,
    /// Its settings.
    pub rows: Vec<SettingRow>,
}

/// A setting as used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingRow {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it means.
    pub doc: String,
    /// Whether the value is not the default.
    pub changed: bool,
}

/// A part of the memory plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryPart {
    /// What it is for.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// A prompt at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptPictures {
    /// The prompt's short name.
    pub name: String,
    /// The prompt.
    pub text: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// Validation pictures: for every prompt one for every step, where it was drawn.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pictures {
    /// The steps, ascending.
    pub steps: Vec<u64>,
    /// The prompts.
    pub prompts: Vec<PromptRow>,
}

/// The pictures of one prompt.
#[derive(Debug, Clone, Serialize)]
pub struct PromptRow {
    /// The prompt's short name.
    pub name: String,
    /// The prompt.
    pub text: String,
    /// Width and height.
    pub size: String,
    /// By step; none where it was not drawn.
    pub pictures: Vec<Option<LinkedPicture>>,
}

/// A small picture, and where the whole one is.
#[derive(Debug, Clone, Serialize)]
pub struct LinkedPicture {
    /// The small one.
    #[serde(flatten)]
    pub thumbnail: Thumbnail,
    /// The whole one, relative to the page.
    pub file: String,
}

/// The first prompt at one strength of the LoRA.
#[derive(Debug, Clone, Serialize)]
pub struct StrengthPicture {
    /// The picture.
    #[serde(flatten)]
    pub picture: LinkedPicture,
    /// The strength.
    pub strength: f64,
    /// The prompt's short name.
    pub name: String,
}

/// A picture on which the loss is high.
#[derive(Debug, Clone, Serialize)]
pub struct HardPicture {
    /// The picture.
    #[serde(flatten)]
    pub picture: LinkedPicture,
    /// Its loss over the usual one at the same noise levels.
    pub relative_loss: f64,
    /// Its file's name and caption.
    pub name: String,
}

/// Writes the page.
///
/// # Errors
/// What the disk says.
pub fn write(path: &Path, page: &Page) -> Result<()> {
    let data = serde_json::to_string(page)
        .map_err(|e| Error::new(ErrorKind::Files, path.display().to_string(), e.to_string()))?;
    files::replace_bytes(path, render(&page.about.title, &data).as_bytes())
}

/// The template with title and data filled in.
fn render(title: &str, data: &str) -> String {
    // Inside a script element only `<` could end it; JSON may write it as an escape.
    let data = data.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = TEMPLATE;
    for (place, value) in [
        ("{{title}}", title.as_str()),
        ("{{style}}", STYLE),
        ("{{data}}", data.as_str()),
        ("{{script}}", SCRIPT),
    ] {
        let Some((before, after)) = rest.split_once(place) else { continue };
        page.push_str(before);
        page.push_str(value);
        rest = after;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_every_place_in_order() {
        let page = render("T", "D");
        for place in ["{{title}}", "{{style}}", "{{data}}", "{{script}}"] {
            assert!(!page.contains(place), "{place}");
        }
        assert!(page.contains("<title>T</title>") && page.contains(">D</script>"));
        assert!(page.contains(STYLE) && page.contains(SCRIPT));
    }

    #[test]
    fn nothing_that_a_user_wrote_can_end_the_data() {
        let prompt = "</script><script>alert(1)</script> \u{2028} {{script}} & \"quoted\" 猫";
        let data = serde_json::to_string(prompt).unwrap();
        let page = render("<b>&", &data);
        assert!(page.contains("&lt;b&gt;&amp;"));
        let inside = page.split("id=\"run\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<String>(inside).unwrap(), prompt);
        assert_eq!(page.matches("<script").count(), 2);
    }

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        for part in [TEMPLATE, STYLE, SCRIPT] {
            for word in ["https:", "src=\"", "@import", "fetch(", "XMLHttpRequest"] {
                assert!(!part.contains(word), "{word}");
            }
        }
    }
}
