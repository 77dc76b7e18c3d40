//! The prompts of the validation images: a library file, and one given directly.

use super::kind::shown;
use super::read;
use super::run::RunSettings;
use crate::error::{Error, ErrorKind, Result};
use serde_json::Value;
use std::path::Path;

/// A prompt and the name that its images bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationPrompt {
    /// Part of a file name.
    pub name: String,
    /// The prompt.
    pub text: String,
}

/// The name of the prompt that is given directly.
const DIRECT: &str = "validation";

/// The library's prompts in its order, then `validation_prompt`.
pub fn all(settings: &RunSettings) -> Result<Vec<ValidationPrompt>> {
    let mut prompts = match &settings.user_prompt_library {
        Some(path) => library(path, &read::json_file(path)?)?,
        None => Vec::new(),
    };
    if let Some(text) = &settings.validation_prompt {
        if prompts.iter().any(|prompt| prompt.name == DIRECT) {
            return Err(Error::setting(
                "validation_prompt",
                format!("the library has a prompt named `{DIRECT}` too"),
            )
            .hint("rename that one"));
        }
        prompts.push(ValidationPrompt { name: DIRECT.into(), text: text.clone() });
    }
    Ok(prompts)
}

fn library(path: &Path, json: &Value) -> Result<Vec<ValidationPrompt>> {
    let refused = |cause: String| Error::new(ErrorKind::Settings, path.display().to_string(), cause);
    let prompt = |name: String, text: &Value| {
        check_name(&name).map_err(refused)?;
        let text = text.as_str().ok_or_else(|| refused(format!("the prompt {} is not text", shown(text))))?;
        Ok(ValidationPrompt { name, text: text.to_owned() })
    };
    match json {
        Value::Object(named) => named.iter().map(|(name, text)| prompt(name.clone(), text)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(i, text)| prompt(format!("prompt_{}", i + 1), text)).collect()
        }
        _ => Err(refused("the prompt library is neither an object of named prompts nor a list".into())),
    }
}

/// A name becomes part of a file's, on any file system.
fn check_name(name: &str) -> std::result::Result<(), String> {
    const LONGEST: usize = 64;
    let fits = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    if name.is_empty() || name.chars().count() > LONGEST || name.starts_with('.') || !name.chars().all(fits) {
        let shown = shown(&name.into());
        return Err(format!(
            "the prompt's name {shown} does not do as a file name: up to {LONGEST} letters, digits, - _ ."
        ));
    }
    Ok(())
}
