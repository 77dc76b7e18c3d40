//! Where the captions come from.

use super::{Reason, reason};
use crate::dataset::{FoundPicture, has_metadata, has_trigger};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;

/// How often a caption is left out, so that guidance has something to guide away from.
const DROPOUT: f64 = 0.1;

/// How pictures are captioned.
pub struct Captioning {
    strategy: &'static str,
    why: String,
    /// The word that calls up what is learnt.
    pub trigger: Option<String>,
    why_trigger: String,
}

impl Captioning {
    /// By what lies beside the pictures, or as the user says.
    ///
    /// # Errors
    /// Some pictures without a caption, or all of them where no trigger word is given.
    pub fn of(pictures: &[FoundPicture], trigger: Option<&str>, folder: &Path) -> Result<Self> {
        let captions: Vec<&str> = pictures.iter().filter_map(|picture| picture.caption.as_deref()).collect();
        let (all, some) = (pictures.len(), captions.len());
        if some > 0 && some < all {
            return Err(some_missing(pictures, all - some));
        }
        let with = |strategy, why: String, why_trigger: String| {
            Ok(Self { strategy, why, trigger: trigger.map(set_apart), why_trigger })
        };
        match trigger {
            _ if some == all => {
                let why = format!("each of {all} pictures has a caption beside it");
                with("textfile", why, why_trigger(trigger, &captions))
            }
            _ if has_metadata(folder) => {
                with("metadata", "a table in the folder".into(), "put before captions that lack it".into())
            }
            Some(trigger) => Ok(Self {
                strategy: "instanceprompt",
                why: format!("no captions: `{trigger}` stands for all"),
                trigger: Some(trigger.to_owned()),
                why_trigger: String::new(),
            }),
            None => Err(Error::dataset(folder, "no picture has a caption")
                .hint("write a .txt file beside each, or name the word for all of them: --trigger WORD")),
        }
    }

    fn is_one_for_all(&self) -> bool {
        self.strategy == "instanceprompt"
    }

    /// Settings of the data set.
    pub fn of_data_set(&self) -> Vec<(&'static str, Value)> {
        let trigger = match self.is_one_for_all() {
            true => "instance_prompt",
            false => "trigger_word",
        };
        let word = self.trigger.iter().map(|word| (trigger, json!(word)));
        [("caption_strategy", json!(self.strategy))].into_iter().chain(word).collect()
    }

    /// Settings of the run.
    pub fn of_run(&self) -> Vec<(&'static str, Value)> {
        vec![("caption_dropout_probability", json!(DROPOUT))]
    }

    /// Why.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = vec![reason("caption_strategy", self.strategy, &*self.why)];
        let word = self.trigger.iter().filter(|_| !self.is_one_for_all());
        reasons.extend(word.map(|word| reason("trigger_word", word, &*self.why_trigger)));
        let why = "guidance needs drawing without a caption";
        reasons.push(reason("caption_dropout_probability", DROPOUT, why));
        reasons
    }
}

/// The word with a comma, by which it is set apart from the caption behind it.
fn set_apart(trigger: &str) -> String {
    let comma = if trigger.ends_with(|c: char| c.is_ascii_punctuation()) { "" } else { "," };
    format!("{trigger}{comma}")
}

fn why_trigger(trigger: Option<&str>, captions: &[&str]) -> String {
    let Some(trigger) = trigger else { return String::new() };
    match captions.iter().filter(|caption| has_trigger(trigger, caption)).count() {
        having if having == captions.len() => "every caption has it already".to_owned(),
        0 => "put before every caption, as none has it".to_owned(),
        having => format!("{having} of {} captions have it; put before the others", captions.len()),
    }
}

fn some_missing(pictures: &[FoundPicture], missing: usize) -> Error {
    let without = pictures.iter().find(|picture| picture.caption.is_none());
    let path = without.map_or(Path::new(""), |picture| picture.path.as_path());
    let cause = match missing {
        1 => "has no caption, while all others have one".to_owned(),
        _ => format!("has no caption, like {} more of {} pictures", missing - 1, pictures.len()),
    };
    Error::dataset(path, cause).hint("write a .txt file beside each of them, or move them elsewhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(name: &str, caption: Option<&str>) -> FoundPicture {
        FoundPicture { path: name.into(), size: (64, 64), caption: caption.map(str::to_owned) }
    }

    fn of(pictures: &[FoundPicture], trigger: Option<&str>) -> Result<Captioning> {
        Captioning::of(pictures, trigger, Path::new("pictures"))
    }

    fn setting(captioning: &Captioning, key: &str) -> Option<Value> {
        captioning.of_data_set().into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    #[test]
    fn captions_are_taken_from_files_beside_the_pictures() {
        let captioning = of(&[picture("x.png", Some("a star"))], Some("k4s4")).unwrap();
        assert_eq!(setting(&captioning, "caption_strategy").unwrap(), "textfile");
        assert_eq!(setting(&captioning, "trigger_word").unwrap(), "k4s4,");
        assert!(captioning.reasons()[1].why.contains("none has it"));
        let captioning = of(&[picture("x.png", Some("K4S4, a star"))], Some("k4s4")).unwrap();
        assert!(captioning.reasons()[1].why.contains("every caption"));
    }

    #[test]
    fn pictures_without_captions_need_a_trigger_word() {
        let none = [picture("x.png", None)];
        assert!(of(&none, None).err().unwrap().hint.contains("--trigger"));
        let captioning = of(&none, Some("k4s4 style")).unwrap();
        assert_eq!(setting(&captioning, "caption_strategy").unwrap(), "instanceprompt");
        assert_eq!(setting(&captioning, "instance_prompt").unwrap(), "k4s4 style");
    }

    #[test]
    fn a_table_in_the_folder_has_the_captions() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metadata.jsonl"), "").unwrap();
        let captioning = Captioning::of(&[picture("x.png", None)], None, folder.path()).unwrap();
        assert_eq!(setting(&captioning, "caption_strategy").unwrap(), "metadata");
    }

    #[test]
    fn pictures_of_which_some_have_no_caption_are_refused_by_name() {
        let pictures = [picture("a.png", Some("a")), picture("b.png", None), picture("c.png", None)];
        let error = of(&pictures, Some("k4s4")).err().unwrap();
        assert!(error.place.contains("b.png") && error.cause.contains("1 more of 3"), "{error}");
    }
}
