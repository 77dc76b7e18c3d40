//! `lycoris_config`: what SimpleTuner and LyCORIS call the description of an adapter, read into plain values.

use super::kind::{Kind, shown};
use super::nearest::nearest;
use super::read;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// The key that the description is the value of.
const KEY: &str = "lycoris_config";

/// What an adapter is asked to be.
#[derive(Debug, Clone, PartialEq)]
pub struct LycorisConfig {
    /// What holds for layers of which nothing else is said.
    pub overall: LycorisOptions,
    /// Classes of diffusers' modules whose linear layers get an adapter.
    pub classes: Vec<String>,
    /// Patterns of names of layers that get one too.
    pub names: Vec<String>,
    /// Patterns of names of layers that get none.
    pub excluded: Vec<String>,
    /// What holds for the layers of a class.
    pub by_class: Vec<(String, LycorisOptions)>,
    /// What holds for layers whose name a pattern matches; it goes before their class.
    pub by_name: Vec<(String, LycorisOptions)>,
    /// Whether patterns of names are those of files (`attn.*`), not regular expressions.
    pub file_patterns: bool,
}

/// What the adapter of a layer is asked to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LycorisOptions {
    /// Its kind.
    pub algo: LycorisAlgo,
    /// The rank; none: that of the run.
    pub dim: Option<usize>,
    /// Alpha; none: that of the run.
    pub alpha: Option<f64>,
    /// Multiplies its change.
    pub multiplier: f64,
    /// LoKr's divisor.
    pub factor: i64,
    /// Whether LoKr's factors are whole whatever the rank.
    pub full_matrix: bool,
    /// Whether LoKr's first factor may be a product too.
    pub decompose_both: bool,
    /// Whether it has magnitudes, as DoRA.
    pub weight_decompose: bool,
    /// Whether alpha is divided by the root of the rank.
    pub rs_lora: bool,
}

/// The kinds of adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LycorisAlgo {
    /// LoRA.
    Lora,
    /// LoHa.
    Loha,
    /// LoKr.
    Lokr,
}

/// Classes that are known, with the presets of LyCORIS' kohya front end that mean them.
const CLASSES: [&str; 3] = ["Attention", "FeedForward", "JointTransformerBlock"];
const PRESETS: [(&str, &[&str]); 6] = [
    ("full", &["JointTransformerBlock"]),
    ("full-lin", &["JointTransformerBlock"]),
    ("unet-only", &["JointTransformerBlock"]),
    ("unet-transformer-only", &["JointTransformerBlock"]),
    ("attn-mlp", &["Attention", "FeedForward"]),
    ("attn-only", &["Attention"]),
];

/// Options that say nothing about linear layers, or only how the same numbers are computed.
const WITHOUT_EFFECT: [&str; 13] = [
    "conv_dim",
    "conv_alpha",
    "use_tucker",
    "use_cp",
    "bypass_mode",
    "block_size",
    "constraint",
    "rescaled",
    "rank_dropout_scale",
    "disable_conv_cp",
    "enable_conv",
    "lora_prefix",
    "init_lokr_norm",
];
/// Options that are honoured only when they are off, and what they would do.
const ONLY_OFF: [(&str, &str); 8] = [
    ("dropout", "dropout in front of an adapter is lora_dropout, and there is none for LoHa and LoKr"),
    ("rank_dropout", "ranks are not dropped"),
    ("module_dropout", "adapters are not dropped"),
    ("use_scalar", "an adapter has no scalar of its own"),
    ("train_norm", "norms are not trained"),
    ("unbalanced_factorization", "the smaller factor of a dimension is always the first"),
    ("full_bf16", "parameters are as the optimizer keeps them"),
    ("train_t5xxl", "only the diffusion transformer gets adapters"),
];

impl Default for LycorisOptions {
    /// LyCORIS' own: LoRA of the run's rank and alpha.
    fn default() -> Self {
        Self {
            algo: LycorisAlgo::Lora,
            dim: None,
            alpha: None,
            multiplier: 1.0,
            factor: -1,
            full_matrix: false,
            decompose_both: false,
            weight_decompose: false,
            rs_lora: false,
        }
    }
}

/// The description that `value` is, or that is in the file that it names.
///
/// # Errors
/// A file that cannot be read.
pub fn document(value: &Value) -> Result<Value> {
    match value {
        Value::String(path) => read::json_file(Path::new(path)).map_err(|error| {
            error
                .hint("lycoris_config is the path of a JSON file, from here or from beside the settings file")
        }),
        other => Ok(other.clone()),
    }
}

impl LycorisConfig {
    /// Reads a description.
    ///
    /// # Errors
    /// An option that is unknown, that cannot be honoured, or that has a value which it cannot have.
    pub fn parse(value: &Value) -> Result<Self> {
        let mut config = Self {
            overall: LycorisOptions::default(),
            classes: vec!["Attention".to_owned()],
            names: Vec::new(),
            excluded: Vec::new(),
            by_class: Vec::new(),
            by_name: Vec::new(),
            file_patterns: false,
        };
        let object = object("it", value)?;
        let nested = |name: &str| matches!(name, "apply_preset" | "preset");
        let own = object.iter().filter(|(name, _)| !nested(name));
        config.overall = LycorisOptions::default().with(own)?;
        for (_, preset) in object.iter().filter(|(name, _)| nested(name)) {
            config.read_preset(preset)?;
        }
        Ok(config)
    }

    fn read_preset(&mut self, preset: &Value) -> Result<()> {
        if let Value::String(name) = preset {
            let known = PRESETS.iter().find(|(known, _)| known == name);
            let (_, classes) =
                known.ok_or_else(|| unknown("preset", name, PRESETS.iter().map(|(p, _)| *p)))?;
            self.classes = classes.iter().map(|class| (*class).to_owned()).collect();
            return Ok(());
        }
        let preset = object("apply_preset", preset)?;
        self.file_patterns =
            preset.get("use_fnmatch").is_some_and(|on| Kind::Switch.read(on) == Ok(true.into()));
        for (name, value) in preset {
            match name.as_str() {
                "target_module" | "unet_target_module" => {
                    self.classes = texts(name, value)?;
                    self.classes.iter().try_for_each(|class| known_class(class))?;
                }
                "target_name" | "unet_target_name" => self.names = texts(name, value)?,
                "exclude_name" => self.excluded = texts(name, value)?,
                "module_algo_map" => {
                    self.by_class = self.options(name, value)?;
                    self.by_class.iter().try_for_each(|(class, _)| known_class(class))?;
                }
                "name_algo_map" => self.by_name = self.options(name, value)?,
                "use_fnmatch" => {}
                other if other.starts_with("text_encoder_") || WITHOUT_EFFECT.contains(&other) => {}
                other => {
                    let known =
                        ["target_module", "target_name", "exclude_name", "module_algo_map", "name_algo_map"];
                    return Err(unknown("apply_preset", other, known));
                }
            }
        }
        Ok(())
    }

    /// The options of several names, each over those that hold overall.
    fn options(&self, name: &str, value: &Value) -> Result<Vec<(String, LycorisOptions)>> {
        let each = object(name, value)?.iter();
        each.map(|(name, options)| Ok((name.clone(), self.overall.with(object(name, options)?)?))).collect()
    }
}

impl LycorisOptions {
    /// These options with others over them.
    fn with<'v>(mut self, options: impl IntoIterator<Item = (&'v String, &'v Value)>) -> Result<Self> {
        for (name, value) in options {
            self.set(name, value)?;
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        let read = |kind: Kind| {
            let canonical = kind.read(value);
            canonical.map_err(|cause| Error::setting(KEY, format!("`{name}`: {cause}")))
        };
        let switch = || Ok::<_, Error>(read(Kind::Switch)?.as_bool().unwrap_or_default());
        match name {
            "algo" => {
                self.algo = match value.as_str().unwrap_or_default() {
                    "lora" | "locon" => LycorisAlgo::Lora,
                    "loha" => LycorisAlgo::Loha,
                    "lokr" => LycorisAlgo::Lokr,
                    _ => {
                        let cause = format!("the algo {} is not supported", shown(value));
                        return Err(Error::setting(KEY, cause).hint("these are: lora, locon, loha, lokr"));
                    }
                }
            }
            "dim" | "linear_dim" | "network_dim" => {
                self.dim = read(Kind::Whole(1, 1 << 20))?.as_u64().map(|dim| dim as usize);
            }
            "alpha" | "linear_alpha" | "network_alpha" => self.alpha = read(Kind::Real(0.0, 1e6))?.as_f64(),
            "multiplier" => self.multiplier = read(Kind::Real(0.0, 1e3))?.as_f64().unwrap_or(1.0),
            "factor" => self.factor = read(Kind::Whole(-1, 1 << 20))?.as_i64().unwrap_or(-1),
            "full_matrix" => self.full_matrix = switch()?,
            "decompose_both" => self.decompose_both = switch()?,
            "weight_decompose" | "dora_wd" => self.weight_decompose = switch()?,
            "rs_lora" => self.rs_lora = switch()?,
            "wd_on_output" | "wd_on_out" => {
                if !switch()? {
                    return Err(Error::setting(
                        KEY,
                        format!("`{name}` is off: magnitudes of inputs are not supported"),
                    )
                    .hint("remove it: magnitudes belong to outputs"));
                }
            }
            other if WITHOUT_EFFECT.contains(&other) => {}
            other => return only_off(other, value),
        }
        Ok(())
    }
}

/// Accepts options that are honoured only when they are off.
fn only_off(name: &str, value: &Value) -> Result<()> {
    let Some((_, why)) = ONLY_OFF.iter().find(|(known, _)| *known == name) else {
        let known =
            ["algo", "linear_dim", "linear_alpha", "multiplier", "factor", "full_matrix", "decompose_both"];
        let more = ["weight_decompose", "rs_lora", "apply_preset", "use_tucker"];
        return Err(unknown("the description", name, known.into_iter().chain(more)));
    };
    let off = value.is_null()
        || Kind::Switch.read(value) == Ok(false.into())
        || Kind::Real(0.0, 0.0).read(value).is_ok();
    if off {
        return Ok(());
    }
    Err(Error::setting(KEY, format!("`{name}` {}: {why}", shown(value))).hint(format!("remove `{name}`")))
}

fn known_class(class: &str) -> Result<()> {
    if CLASSES.contains(&class) { Ok(()) } else { Err(unknown("the model's classes", class, CLASSES)) }
}

fn unknown<'n>(of: &str, name: &str, known: impl IntoIterator<Item = &'n str>) -> Error {
    let near = nearest(name, known.into_iter()).unwrap_or_default();
    Error::setting(KEY, format!("{} is unknown to {of}", shown(&name.into())))
        .hint(format!("the nearest known one is `{near}`"))
}

fn object<'v>(name: &str, value: &'v Value) -> Result<&'v Map<String, Value>> {
    value.as_object().ok_or_else(|| {
        Error::setting(KEY, format!("{name} is {}, not a JSON object", shown(value)))
            .hint("such as { \"algo\": \"lokr\", \"linear_dim\": 16, \"linear_alpha\": 16, \"factor\": 16 }")
    })
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>> {
    let list =
        value.as_array().ok_or_else(|| Error::setting(KEY, format!("`{name}` is not a list of names")))?;
    let text = |item: &Value| {
        item.as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::setting(KEY, format!("`{name}` holds {}, which is no name", shown(item))))
    };
    list.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn simpletuners_default_for_lokr_is_read() {
        let config = LycorisConfig::parse(&json!({
            "algo": "lokr", "multiplier": 1.0, "linear_dim": 10000, "linear_alpha": 1, "factor": 12,
            "apply_preset": {
                "target_module": ["Attention", "FeedForward"],
                "module_algo_map": { "Attention": { "factor": 12 }, "FeedForward": { "factor": 6 } }
            }
        }));
        let config = config.unwrap();
        let overall = LycorisOptions {
            algo: LycorisAlgo::Lokr,
            dim: Some(10_000),
            alpha: Some(1.0),
            factor: 12,
            ..LycorisOptions::default()
        };
        assert_eq!(config.overall, overall);
        assert_eq!(config.classes, ["Attention", "FeedForward"]);
        let factors: Vec<_> =
            config.by_class.iter().map(|(class, options)| (&class[..], options.factor)).collect();
        assert_eq!(factors, [("Attention", 12), ("FeedForward", 6)]);
        assert_eq!(config.by_class[1].1.dim, Some(10_000), "what a class does not say holds overall");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (wrong, part) in [
            (json!({ "algo": "boft" }), "boft"),
            (json!({ "algo": "lokr", "facto": 8 }), "facto"),
            (json!({ "algo": "loha", "dropout": 0.1 }), "dropout"),
            (json!({ "algo": "lokr", "factor": "many" }), "factor"),
            (json!({ "algo": "lokr", "apply_preset": { "target_module": ["UNet"] } }), "UNet"),
            (json!({ "preset": "attn" }), "attn"),
            (json!("lokr"), "lokr"),
            (json!([1]), "[1]"),
        ] {
            let error = LycorisConfig::parse(&wrong).unwrap_err();
            assert!(error.place.contains(KEY) && error.cause.contains(part), "{error}");
        }
        assert!(LycorisConfig::parse(&json!({ "algo": "loha", "dropout": 0.0, "use_tucker": true })).is_ok());
    }
}
