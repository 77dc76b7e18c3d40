//! SimpleTuner's `config.env`: assignments in a shell's form, under names of their own.

use super::flags;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::foreign;
use crate::settings::keys::{RUN, Section};
use crate::settings::nearest::nearest;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Variables whose name is not that of their setting in capitals.
#[rustfmt::skip]
const NAMES: &[(&str, &str)] = &[
    ("RESUME_CHECKPOINT", "resume_from_checkpoint"),
    ("DATALOADER_CONFIG", "data_backend_config"),
    ("TRAINING_SEED", "seed"),
    ("USE_XFORMERS", "enable_xformers_memory_efficient_attention"),
    ("MINIMUM_RESOLUTION", "minimum_image_size"),
    ("PUSH_CHECKPOINTS", "push_checkpoints_to_hub"),
    ("MAX_NUM_STEPS", "max_train_steps"),
    ("NUM_EPOCHS", "num_train_epochs"),
    ("CHECKPOINTING_LIMIT", "checkpoints_total_limit"),
    ("HUB_MODEL_NAME", "hub_model_id"),
    ("MODEL_NAME", "pretrained_model_name_or_path"),
    ("USE_GRADIENT_CHECKPOINTING", "gradient_checkpointing"),
    ("LR_SCHEDULE", "lr_scheduler"),
    ("TRAINING_NUM_PROCESSES", "num_processes"),
    ("TRAINING_NUM_MACHINES", "num_machines"),
    ("TRAINER_DYNAMO_BACKEND", "dynamo_backend"),
    ("TRAINING_DYNAMO_BACKEND", "dynamo_backend"),
    ("ACCELERATE_CONFIG_PATH", "accelerate_config"),
];

/// The variable that holds flags.
const EXTRA: &str = "TRAINER_EXTRA_ARGS";
/// A switch that is another setting with a value.
const BITFIT: &str = "USE_BITFIT";

/// Settings by key, and variables that are none, each with the reason.
type Settings = (Map<String, Value>, Vec<(String, String)>);

/// The settings in a `config.env`, and the variables that are none, each with the reason.
///
/// # Errors
/// A file that cannot be read, a line that is no assignment, a quote without its end, an unset variable.
pub fn read(path: &Path) -> Result<Settings> {
    let text = super::text(path)?;
    let refused = |line: usize, cause: String| {
        let place = format!("{}, line {line}", path.display());
        Error::new(ErrorKind::Settings, place, cause).hint("write NAME=value or export NAME=\"value\"")
    };
    let variables = variables(&text).map_err(|(line, cause)| refused(line, cause))?;
    settings(&variables)
        .map_err(|cause| Error::new(ErrorKind::Settings, format!("{}, {EXTRA}", path.display()), cause))
}

fn settings(variables: &BTreeMap<String, String>) -> std::result::Result<Settings, String> {
    let (mut entries, mut ignored) = (Map::new(), Vec::new());
    for (name, value) in variables.iter().filter(|(name, _)| *name != EXTRA) {
        let on = value.eq_ignore_ascii_case("true");
        match key(name) {
            _ if value.is_empty() || value.eq_ignore_ascii_case("false") => {}
            _ if name == BITFIT => drop(entries.insert("layer_freeze_strategy".into(), "bitfit".into())),
            Some(key) => drop(entries.insert(key, if on { true.into() } else { value.as_str().into() })),
            None => {
                let known = NAMES.iter().map(|(variable, _)| *variable);
                let near = nearest(name, known).unwrap_or_default();
                ignored.push((
                    name.clone(),
                    format!("it is no variable of a config.env; the nearest is {near}"),
                ));
            }
        }
    }
    if let Some(extra) = variables.get(EXTRA) {
        entries.extend(flags::parse(extra)?);
    }
    Ok((entries, ignored))
}

/// The setting that a variable is: its name in small letters unless it has a name of its own.
fn key(variable: &str) -> Option<String> {
    let own = NAMES.iter().find(|(name, _)| *name == variable).map(|(_, key)| (*key).to_owned());
    let small = variable.to_ascii_lowercase();
    let known = Section::find(RUN, &small).is_some() || foreign::names().any(|name| name == small);
    own.or_else(|| known.then_some(small))
}

/// Variables in the order of the file, `+=` added to what there is with a space between.
fn variables(text: &str) -> std::result::Result<BTreeMap<String, String>, (usize, String)> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut line = line.trim().to_owned();
        while line.ends_with('\\') {
            line.pop();
            let (_, next) = lines.next().ok_or((index + 1, "the last line goes on".to_owned()))?;
            line.push_str(next.trim());
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = assignment(&line, &all).map_err(|cause| (index + 1, cause))?;
        match name.strip_suffix('+') {
            Some(name) => {
                let before = all.entry(name.trim().to_owned()).or_default();
                *before = format!("{before} {value}").trim().to_owned();
            }
            None => drop(all.insert(name, value)),
        }
    }
    Ok(all)
}

fn assignment(line: &str, known: &BTreeMap<String, String>) -> std::result::Result<(String, String), String> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or_else(|| format!("`{line}` is no assignment"))?;
    let name = name.trim();
    let bare = name.strip_suffix('+').unwrap_or(name);
    if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{bare}` is no name of a variable"));
    }
    Ok((name.to_owned(), unquoted(value.trim(), bare, known)?))
}

/// The value as a shell reads it: quotes off, variables in, a comment away. Words without quotes stay together.
fn unquoted(value: &str, own: &str, known: &BTreeMap<String, String>) -> std::result::Result<String, String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        match first {
            '"' | '\'' => {
                let inner = &rest[1..];
                let (inside, after) =
                    inner.split_once(first).ok_or_else(|| format!("a quote ({first}) has no end"))?;
                // Quotes in the other kind of quotes are part of the value.
                out.push_str(&if first == '"' { expanded(inside, own, known)? } else { inside.to_owned() });
                rest = after;
            }
            _ => {
                let end = rest.find(['"', '\'']).unwrap_or(rest.len());
                let (plain, after) = rest.split_at(end);
                let comment = plain.find(" #").or((plain.starts_with('#')).then_some(0));
                let kept = comment.map_or(plain, |at| &plain[..at]);
                out.push_str(&expanded(kept, own, known)?);
                rest = if comment.is_some() { "" } else { after };
            }
        }
    }
    Ok(out.trim().to_owned())
}

/// `${NAME}` and `$NAME` replaced: by what the file has said before, else by the environment.
fn expanded(text: &str, own: &str, known: &BTreeMap<String, String>) -> std::result::Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').ok_or("`${` has no end")?,
            None => after.split_at(
                after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()),
            ),
        };
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        let value = known.get(name).cloned().or_else(|| is_name.then(|| std::env::var(name).ok()).flatten());
        match value {
            Some(value) => out.push_str(&value),
            // `X="${X} more"` begins with nothing, as in a shell.
            None if name == own => {}
            None if is_name => return Err(format!("the variable {name} is not set")),
            None => out.push('$'),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> (Value, Vec<String>) {
        let (entries, ignored) = settings(&variables(text).unwrap()).unwrap();
        (entries.into(), ignored.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn names_quotes_and_comments_are_those_of_a_shell() {
        let text = "# SimpleTuner\nexport MAX_NUM_STEPS=24000\nLR_SCHEDULE='cosine'   # a wave\n\
            export MODEL_NAME=\"stabilityai/stable-diffusion-3.5-large\"\nUSE_EMA=false\nUSE_DORA=\"\"\n\
            USE_GRADIENT_CHECKPOINTING=true\nexport LORA_RANK=16\nVALIDATION_PROMPT=a red star\nBASE_DIR=/x\n\
            export OUTPUT_DIR=\"${BASE_DIR}/out\"\n";
        let (entries, ignored) = read(text);
        let expected = json!({"max_train_steps": "24000", "lr_scheduler": "cosine", "lora_rank": "16",
            "pretrained_model_name_or_path": "stabilityai/stable-diffusion-3.5-large",
            "gradient_checkpointing": true, "validation_prompt": "a red star", "output_dir": "/x/out"});
        assert_eq!(entries, expected);
        assert_eq!(ignored, ["BASE_DIR"]);
    }

    #[test]
    fn extra_flags_add_up_in_both_ways() {
        let (entries, _) = read(
            "export TRAINER_EXTRA_ARGS=\"--lora_rank=8\"\nTRAINER_EXTRA_ARGS+=\"--use_ema\"\n\
             export TRAINER_EXTRA_ARGS=\"${TRAINER_EXTRA_ARGS} --validation_prompt='a b' \\\n --seed 1\"\n",
        );
        assert_eq!(
            entries,
            json!({"lora_rank": "8", "use_ema": true, "validation_prompt": "a b", "seed": "1"})
        );
        assert_eq!(read("TRAINER_EXTRA_ARGS=\"${TRAINER_EXTRA_ARGS} --seed=2\"").0, json!({"seed": "2"}));
        assert_eq!(read("SEED=1\nTRAINER_EXTRA_ARGS=\"--seed=2\"").0["seed"], "2");
    }

    #[test]
    fn lines_that_are_no_assignment_are_refused_with_their_number() {
        for (text, line, says) in [
            ("A=1\nif x; then\n", 2, "no assignment"),
            ("A=\"x\n", 1, "no end"),
            ("\n\nA B=1", 3, "no name"),
            ("A=${SARGENT_NO_SUCH_VARIABLE}/x", 1, "not set"),
            ("A=${B", 1, "no end"),
        ] {
            let (at, cause) = variables(text).unwrap_err();
            assert_eq!(at, line, "{cause}");
            assert!(cause.contains(says), "{cause}");
        }
    }
}
