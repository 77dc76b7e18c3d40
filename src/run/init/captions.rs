//! Where the captions come from, and which prompts are drawn while training.

use super::{Reason, reason};
use crate::dataset::Surveyed;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Captions that are drawn as prompts.
const DRAWN: usize = 3;
/// What no picture is likely to show: whether what is learnt carries over to it is what a LoRA is for.
const NEW_SUBJECT: &str = "a lighthouse by the sea at dusk";
/// How often a caption is left out, so that guidance has something to guide away from.
const DROPOUT: f64 = 0.1;

/// How pictures are captioned.
pub struct Captioning {
    /// Settings of the data set.
    pub settings: Vec<(&'static str, Value)>,
    /// Prompts by their names.
    pub prompts: Map<String, Value>,
    why: String,
    trigger: Option<(String, String)>,
}

impl Captioning {
    /// By what lies beside the pictures.
    ///
    /// # Errors
    /// Some pictures without a caption, or all of them where no trigger word is given.
    pub fn of(pictures: &[Surveyed], trigger: Option<&str>, folder: &Path) -> Result<Self> {
        let captions: Vec<&str> = pictures.iter().filter_map(|picture| picture.caption.as_deref()).collect();
        match (captions.len(), trigger) {
            (0, None) => Err(Error::dataset(folder, "no picture has a caption").hint(
                "write a .txt file beside each picture, or name the word that all are to be called by: --trigger WORD",
            )),
            (0, Some(trigger)) => Ok(Self::one_for_all(trigger)),
            (some, _) if some < pictures.len() => Err(some_missing(pictures, some)),
            _ => Ok(Self::from_files(&captions, trigger)),
        }
    }

    fn one_for_all(trigger: &str) -> Self {
        let prompts = named_prompts([trigger.to_owned(), format!("{trigger}, {NEW_SUBJECT}")]);
        Self {
            settings: vec![
                ("caption_strategy", json!("instanceprompt")),
                ("instance_prompt", json!(trigger)),
            ],
            prompts,
            why: format!("no picture has a caption, so `{trigger}` is the caption of all"),
            trigger: None,
        }
    }

    fn from_files(captions: &[&str], trigger: Option<&str>) -> Self {
        let mut settings = vec![("caption_strategy", json!("textfile"))];
        let mut told = None;
        if let Some(trigger) = trigger {
            let having = captions.iter().filter(|caption| caption.contains(trigger)).count();
            if having < captions.len() {
                settings.push(("trigger_word", json!(trigger)));
            }
            let why = if having == captions.len() {
                "every caption has it already".to_owned()
            } else {
                format!("{having} of {} captions have it; it is put before the others", captions.len())
            };
            told = Some((trigger.to_owned(), why));
        }
        Self {
            settings,
            prompts: named_prompts(prompts(captions, trigger)),
            why: format!("each of the {} pictures has a caption beside it", captions.len()),
            trigger: told,
        }
    }

    /// Why.
    pub fn reasons(&self) -> Vec<Reason> {
        let strategy = self.settings.iter().find(|(key, _)| *key == "caption_strategy");
        let strategy = strategy.and_then(|(_, value)| value.as_str()).unwrap_or_default();
        let mut reasons = vec![reason("caption_strategy", strategy, &*self.why)];
        reasons.extend(self.trigger.iter().map(|(word, why)| reason("trigger_word", word, &**why)));
        reasons.push(reason(
            "caption_dropout_probability",
            DROPOUT,
            "guidance needs to know what the model draws without a caption",
        ));
        let why = format!("{} from the captions, and one of what they do not speak of", self.prompts.len() - 1);
        reasons.push(reason("user_prompt_library", format!("{} prompts", self.prompts.len()), why));
        reasons
    }

    /// Settings of the run.
    pub fn run_settings(&self) -> Vec<(&'static str, Value)> {
        vec![("caption_dropout_probability", json!(DROPOUT))]
    }
}

fn some_missing(pictures: &[Surveyed], some: usize) -> Error {
    let without = pictures.iter().find(|picture| picture.caption.is_none());
    let path = without.map(|picture| picture.path.as_path()).unwrap_or(Path::new(""));
    let missing = pictures.len() - some;
    let cause = if missing == 1 {
        "has no caption, while all others have one".to_owned()
    } else {
        format!("has no caption, as {} others of {} pictures", missing - 1, pictures.len())
    };
    Error::dataset(path, cause).hint("write the .txt file beside each, or move these pictures elsewhere")
}

/// A few of the captions, far from each other in the alphabet, and a subject of their own.
fn prompts(captions: &[&str], trigger: Option<&str>) -> Vec<String> {
    let mut lines: Vec<&str> = captions.iter().filter_map(|caption| caption.lines().next()).collect();
    lines.retain(|line| !line.is_empty());
    lines.sort_unstable();
    lines.dedup();
    let count = lines.len().min(DRAWN);
    let chosen = (0..count).filter_map(|at| lines.get((2 * at + 1) * lines.len() / (2 * count)));
    let called = |text: &str| match trigger {
        Some(trigger) if !text.contains(trigger) => format!("{trigger}, {text}"),
        _ => text.to_owned(),
    };
    chosen.copied().chain([NEW_SUBJECT]).map(called).collect()
}

/// Names that do as file names, made of the prompts' first words.
fn named_prompts(prompts: impl IntoIterator<Item = String>) -> Map<String, Value> {
    let mut named = Map::new();
    for prompt in prompts {
        let words = prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.take(5).collect();
        let mut name: String = words.join("_").to_lowercase().chars().take(40).collect();
        if name.is_empty() || named.contains_key(&name) {
            name = format!("{name}_{}", named.len() + 1);
        }
        named.insert(name, prompt.into());
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str, caption: Option<&str>) -> Surveyed {
        Surveyed { path: name.into(), size: (64, 64), caption: caption.map(str::to_owned) }
    }

    fn setting<'a>(captioning: &'a Captioning, key: &str) -> Option<&'a Value> {
        captioning.settings.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    #[test]
    fn captions_are_taken_from_files_and_drawn_as_prompts() {
        let names = ["a red star", "a blue fish", "a green tree", "a white house", "a black cat"];
        let pictures = names.map(|name| picture("x.png", Some(name)));
        let captioning = Captioning::of(&pictures, None, Path::new("")).unwrap();
        assert_eq!(setting(&captioning, "caption_strategy").unwrap(), "textfile");
        assert_eq!(captioning.prompts.len(), 4);
        let drawn = captioning.prompts.values().filter(|prompt| names.contains(&prompt.as_str().unwrap()));
        assert_eq!(drawn.count(), 3);
    }

    #[test]
    fn a_trigger_word_is_put_where_it_is_missing() {
        let with = [picture("x.png", Some("k4s4, a star"))];
        assert!(setting(&Captioning::of(&with, Some("k4s4"), Path::new("")).unwrap(), "trigger_word").is_none());
        let without = [picture("x.png", Some("a star"))];
        let captioning = Captioning::of(&without, Some("k4s4"), Path::new("")).unwrap();
        assert_eq!(setting(&captioning, "trigger_word").unwrap(), "k4s4");
        assert!(captioning.prompts.values().all(|prompt| prompt.as_str().unwrap().starts_with("k4s4, ")));
    }

    #[test]
    fn pictures_without_captions_need_a_trigger_word() {
        let none = [picture("x.png", None)];
        let error = Captioning::of(&none, None, Path::new("pictures")).err().unwrap();
        assert!(error.hint.contains("--trigger"));
        let captioning = Captioning::of(&none, Some("k4s4 style"), Path::new("")).unwrap();
        assert_eq!(setting(&captioning, "instance_prompt").unwrap(), "k4s4 style");
        assert_eq!(captioning.prompts.len(), 2);
    }

    #[test]
    fn pictures_of_which_some_have_no_caption_are_refused_by_name() {
        let pictures = [picture("a.png", Some("a")), picture("b.png", None), picture("c.png", None)];
        let error = Captioning::of(&pictures, Some("k4s4"), Path::new("")).err().unwrap();
        assert!(error.place.contains("b.png") && error.cause.contains("1 others of 3"), "{error}");
    }

    #[test]
    fn names_of_prompts_do_as_file_names_and_differ() {
        let named = named_prompts(["A star: red!".to_owned(), "a star, red".to_owned(), "…".to_owned()]);
        assert_eq!(named.keys().map(String::as_str).collect::<Vec<_>>(), ["a_star_red", "a_star_red_2", "_3"]);
    }
}
