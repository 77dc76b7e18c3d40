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

`sargent train PATH` and `sargent plan PATH` take a settings file, or a folder that holds one. `--set key=value` on
the command line wins over the file, and `--compat` is one of these settings.

**Files.** A JSON object of these keys, the same as TOML, or SimpleTuner's `config.env` (its names, `export`, quotes,
`+=`, `${NAME}`, and flags in `TRAINER_EXTRA_ARGS`). In a folder, and in `config` in it, `config.json` is looked for,
then `config.toml`, then `config.env`. As with SimpleTuner, `SIMPLETUNER_ENVIRONMENT`, `SIMPLETUNER_ENV` or `ENV` may
name a folder of `config` to look in first, and `SIMPLETUNER_CONFIG_BACKEND`, `CONFIG_BACKEND` or `CONFIG_TYPE` the
form (`json`, `toml` or `env`). `CONFIG_PATH` is not read: the command names the path.

**Keys.** Names may have leading dashes (`--lora_rank`). An unknown key is an error. A key of data sets in this file
holds for all data sets that do not say it themselves.

**Values.** Numbers, `true` and `false` may be strings. `null` and `\"\"` mean not set: the default holds; so does
`false` where the value is no switch. `{env:NAME}` in a text is replaced by that environment variable.

**Paths.** What is written lies below the current directory. What is read is looked for in the current directory, then
in the folder of the file that names it, then, where that file lies in a folder called `config`, in the folder above
that. A model may be the id of one in the Hugging Face cache (`HF_HUB_CACHE`, `HF_HOME/hub` or
`~/.cache/huggingface/hub`); nothing is downloaded.

**kohya's configs.** A TOML file with the keys of sd-scripts' `sd3_train_network.py` is read where keys correspond,
with kohya's defaults for what it does not say; its data sets are those of `dataset_config`, or the folders
`REPEATS_words` of `train_data_dir`. What has no counterpart is listed, or refused when it would change the result.

**Whose meaning.** Settings do what their names say. `--compat simpletuner=1.1.4` does what that version of SimpleTuner
really did: its defaults, `cosine` as a wave, the gradient clip that it forces, its tokens. `sargent plan` says where
the two differ.

**What was used.** The output folder has `settings.json`, `multidatabackend.json` and `user_prompt_library.json` with
every value; `sargent train OUTPUT/settings.json` repeats the run.

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
    // A bar would end the table's cell.
    let mut meaning = key.doc.replace('|', "\\|");
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
