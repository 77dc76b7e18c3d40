//! The table of settings for people: `SETTINGS.md` and the help text.

use super::backends::BACKEND;
use super::captions::CAPTION_TABLE;
use super::foreign::{IGNORED, RESTRICTED};
use super::keys::{Effect, Key, RUN, Section};
use std::fmt::Write;

/// The text of `SETTINGS.md`.
pub fn document() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in RUN {
        let _ = write!(out, "\n## {}\n\n{}", section.title, rows(section));
    }
    for section in BACKEND {
        let _ = write!(out, "\n## {}\n\n{ABOUT_DATA_SETS}\n{}", section.title, rows(section));
    }
    for section in CAPTION_TABLE {
        let _ = write!(out, "\n## {}\n\n{ABOUT_CAPTION_TABLES}\n{}", section.title, rows(section));
    }
    let _ = write!(out, "\n## Keys of SimpleTuner that are not settings here\n\n{}", foreign());
    out
}

/// The settings of a run for a terminal: a name, its values and default, and what it means.
pub fn help() -> String {
    let mut out = String::new();
    for section in RUN {
        let _ = writeln!(out, "{}:", section.title);
        for key in section.keys {
            let _ = writeln!(
                out,
                "  {}  [{}{}]",
                key.name,
                key.kind.describe(),
                default_in_words(key, "; default ")
            );
            let _ = writeln!(out, "      {}", key.doc);
        }
    }
    out.replace('`', "")
}

const INTRODUCTION: &str = "\
# Settings

Generated from the table in `src/settings/keys.rs`; when the two differ, the test that compares them writes what
this page should be and says where.

A settings file is a JSON object of these keys. `--set key=value` on the command line wins over the file.

- Names may have leading dashes (`--lora_rank`). Numbers and `true`/`false` may be strings.
- `null` and `\"\"` mean not set: the default holds.
- `{env:NAME}` in a text is replaced by that environment variable.
- Relative paths: what is written lies below the current directory. What is read is looked for in the current
  directory, and if it is not there, in the folder of the file that names it.
- An unknown key is an error.

The column *resume* says whether a resumed run may have another value than the one it began with. It is empty for
keys that stand for others, which alone are kept.
";

const ABOUT_DATA_SETS: &str = "\
`data_backend_config` names a JSON list of entries, each with these keys.
";

const ABOUT_CAPTION_TABLES: &str = "\
A data set's block `parquet` (also called `csv`) says which table holds its captions; `csv_file`, `csv_caption_column`
and `metadata_file` in the data set itself are its `path` and `caption_column`.
";

fn rows(section: &Section) -> String {
    let mut out = String::from("| key | value | default | resume | meaning |\n|---|---|---|---|---|\n");
    for key in section.keys {
        let resume = match key.effect {
            Effect::Weights | Effect::Pinned => "fixed",
            Effect::Length | Effect::Free => "free",
            Effect::Reading => "",
        };
        let (value, default) = (key.kind.describe(), default_in_words(key, ""));
        let _ = writeln!(out, "| `{}` | {value} | {default} | {resume} | {} |", key.name, meaning(key));
    }
    out
}

fn meaning(key: &Key) -> String {
    let mut meaning = key.doc.to_owned();
    if !key.synonyms.is_empty() {
        let names: Vec<_> = key.synonyms.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(meaning, " Also {}.", names.join(", "));
    }
    meaning
}

fn default_in_words(key: &Key, before: &str) -> String {
    match key.default {
        "" => String::new(),
        default => format!("{before}{}", default.trim_start_matches('=')),
    }
}

fn foreign() -> String {
    let mut out = String::from("Accepted, without effect:\n\n");
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    for keys in IGNORED {
        let _ = writeln!(out, "- {}: {}.", keys.why, list(keys.names));
    }
    out.push_str("\nAccepted with these values only, any other being an error:\n\n");
    for keys in RESTRICTED {
        let _ = writeln!(out, "- {}: {} ({}).", list(keys.names), list(keys.accepted), keys.why);
    }
    out
}
