//! What PEFT says about rank and alpha: in the header under `lora_adapter_metadata`, or in an `adapter_config.json`
//! beside a file that PEFT saved itself.

use crate::error::{Error, Result};
use crate::export::weight_change;
use crate::models::adapter::Change;
use crate::weights::TensorFile;
use serde_json::Value;
use std::path::Path;

const HEADER_KEY: &str = "lora_adapter_metadata";
const CONFIG_FILE: &str = "adapter_config.json";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Stated {
    rank: Option<f64>,
    alpha: Option<f64>,
    /// In the order of the file: PEFT takes the first that fits.
    rank_pattern: Vec<(String, f64)>,
    alpha_pattern: Vec<(String, f64)>,
    by_root_of_rank: bool,
}

impl Stated {
    /// `None` where nothing is said about the transformer.
    pub fn of(file: &TensorFile) -> Result<Option<Self>> {
        let path = file.path();
        if let Some(text) = file.metadata().get(HEADER_KEY) {
            let json: Value = serde_json::from_str(text).map_err(|e| {
                Error::weights(path, format!("{HEADER_KEY} in its header is not JSON ({e})"))
                    .hint("download or export the LoRA again")
            })?;
            return Ok(Self::parse(|key| json.get(format!("transformer.{key}"))));
        }
        let beside = path.with_file_name(CONFIG_FILE);
        if !file.names().any(|name| name.starts_with("base_model.model.")) || !beside.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&beside).map_err(|e| Error::io(&beside, &e))?;
        let json: Value = serde_json::from_str(&text).map_err(|e| {
            Error::weights(&beside, format!("this is not JSON ({e})")).hint("save the LoRA again")
        })?;
        Ok(Self::parse(|key| json.get(key)))
    }

    fn parse<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Option<Self> {
        let number = |key: &str| get(key).and_then(Value::as_f64);
        let pattern = |key: &str| {
            let entries = get(key).and_then(Value::as_object).into_iter().flatten();
            entries.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        };
        get("r")?;
        Some(Self {
            rank: number("r"),
            // PEFT's LoHa and LoKr call it alpha.
            alpha: number("lora_alpha").or_else(|| number("alpha")),
            rank_pattern: pattern("rank_pattern"),
            alpha_pattern: pattern("alpha_pattern"),
            by_root_of_rank: get("use_rslora") == Some(&Value::Bool(true)),
        })
    }

    /// alpha over rank (or over its root, if the file says so) of the layer `modules`.
    ///
    /// # Errors
    /// A rank that is not that of the tensors.
    pub fn scale(&self, path: &Path, modules: &[String], change: &Change) -> Result<f64> {
        let module = modules.first().map_or("", String::as_str);
        let stated = first(&self.rank_pattern, module).or(self.rank);
        let Some(rank) = weight_change::rank(change) else {
            // PEFT scales Kronecker products of whole factors too.
            let alpha = first(&self.alpha_pattern, module).or(self.alpha).or(stated);
            return Ok(alpha.zip(stated).map_or(1.0, |(alpha, rank)| alpha / rank));
        };
        let actual = rank as f64;
        if let Some(stated) = stated
            && stated != actual
        {
            let cause =
                format!("its header says rank {stated} for `{module}`, whose tensors have rank {rank}");
            return Err(Error::weights(path, cause).hint("header and tensors belong to different runs"));
        }
        let alpha = first(&self.alpha_pattern, module).or(self.alpha).unwrap_or(actual);
        Ok(alpha / if self.by_root_of_rank { actual.sqrt() } else { actual })
    }
}

/// The first entry whose name is the module's, or its end after a dot; `^` asks for the whole name.
fn first(pattern: &[(String, f64)], module: &str) -> Option<f64> {
    let matches = |name: &str| match name.strip_prefix('^') {
        Some(whole) => whole == module,
        None => module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    };
    pattern.iter().find(|(name, _)| matches(name)).map(|(_, value)| *value)
}
