//! Doing what SimpleTuner really did, version by version, where its names say something else.
//!
//! Each fact was read in SimpleTuner's source at its tags (`helpers/configuration/cmd_args.py`,
//! `helpers/training/{custom_schedule,optimizer_param,trainer}.py`, later `simpletuner/helpers/...`).

use super::kind::shown;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::fmt;
use std::str::FromStr;

/// Whose behaviour is reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// Nobody's: settings do what their names say.
    #[default]
    None,
    /// SimpleTuner's, of this version.
    SimpleTuner(Version),
}

/// A version of SimpleTuner: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

/// The version that first trained SD3.5.
pub const FIRST: Version = Version(1, 1, 4);
/// Noise levels are shifted by 3 from here on; T5 gets 256 tokens.
pub const SHIFTED: Version = Version(1, 1, 5);
/// Gradients are clamped by value, and SD3's own limit is gone; T5 gets 154 tokens.
pub const CLAMPED: Version = Version(1, 2, 2);
/// Dropout reaches the adapters.
pub const DROPS: Version = Version(2, 0, 0);
/// Defaults were chosen anew.
pub const RENEWED: Version = Version(3, 0, 0);
/// A cosine without warm-up steps has a half period of its own.
pub const LENIENT: Version = Version(3, 0, 8);
/// `constant` warms up.
pub const WARMING: Version = Version(4, 0, 0);
/// The newest version whose source was read.
pub const NEWEST: Version = Version(4, 8, 0);

/// What SD3's gradients are clipped to before [`CLAMPED`], whatever is set.
pub const FORCED_NORM: f64 = 0.01;
/// Half a period of the cosine wave without warm-up steps, from [`LENIENT`] on.
const DEFAULT_HALF_PERIOD: u64 = 1000;

impl Compat {
    /// The version that is reproduced.
    pub fn version(self) -> Option<Version> {
        match self {
            Self::None => None,
            Self::SimpleTuner(version) => Some(version),
        }
    }
}

impl Version {
    /// The tokens of T5.
    pub fn t5_tokens(self) -> u64 {
        match self {
            version if version < SHIFTED => 77,
            version if version < CLAMPED => 256,
            _ => 154,
        }
    }

    /// What holds in this version where nothing is set.
    fn defaults(self) -> Vec<(&'static str, Value)> {
        let renewed = self >= RENEWED;
        vec![
            ("learning_rate", json!(4e-7)),
            ("lr_scheduler", json!(if renewed { "constant_with_warmup" } else { "sine" })),
            ("lr_warmup_steps", json!(if renewed { 0 } else { 500 })),
            ("lr_end", json!(4e-7)),
            ("lr_power", json!(0.8)),
            ("optimizer", json!("adamw_bf16")),
            ("adam_epsilon", json!(1e-6)),
            ("max_grad_norm", json!(2.0)),
            ("grad_clip_method", json!(if self >= CLAMPED { "value" } else { "norm" })),
            ("lora_dropout", json!(0.1)),
            ("caption_dropout_probability", json!(if renewed { 0.1 } else { 0.0 })),
            ("caption_strategy", json!("filename")),
            ("flow_schedule_shift", json!(if self >= SHIFTED { 3.0 } else { 1.0 })),
            ("tokenizer_max_length", json!(self.t5_tokens())),
            ("train_batch_size", json!(4)),
            ("checkpoints_total_limit", json!(if renewed { 5 } else { 0 })),
            ("validation_guidance", json!(7.5)),
            ("validation_num_inference_steps", json!(30)),
            ("validation_negative_prompt", json!("blurry, cropped, ugly")),
            ("validation_steps", json!(100)),
            ("validation_resolution", json!(["256x256"])),
        ]
    }
}

/// Turns what was given into what the version made of it, and fills in its defaults.
///
/// # Errors
/// What the version refuses as well, or does in a way that cannot be done here.
pub fn apply(given: &mut Map<String, Value>, version: Version) -> Result<()> {
    fixed_shift_wins(given, version);
    let explicit_epsilon = says_epsilon(given);
    for (name, value) in version.defaults() {
        let is_said = given.contains_key(name) || name == "adam_epsilon" && explicit_epsilon;
        if !is_said {
            given.insert(name.to_owned(), value);
        }
    }
    length(given);
    learning_rate(given, version)?;
    clipping(given, version);
    if version < DROPS {
        given.insert("lora_dropout".to_owned(), json!(0.0));
    }
    tokens(given, version);
    Ok(())
}

/// A fixed shift, the default one included, makes the automatic one ineffective.
fn fixed_shift_wins(given: &mut Map<String, Value>, version: Version) {
    let fixed = given.get("flow_schedule_shift").and_then(Value::as_f64);
    if fixed.unwrap_or(if version >= SHIFTED { 3.0 } else { 0.0 }) > 0.0 {
        given.remove("flow_schedule_auto_shift");
    }
}

/// Whether `optimizer_config` has the epsilon.
fn says_epsilon(given: &Map<String, Value>) -> bool {
    let pairs = given.get("optimizer_config").and_then(Value::as_object);
    pairs.is_some_and(|pairs| pairs.contains_key("eps") || pairs.contains_key("epsilon"))
}

/// One epoch is trained where no length is given.
fn length(given: &mut Map<String, Value>) {
    let is_set = |name: &str| given.get(name).and_then(Value::as_u64) > Some(0);
    if !is_set("max_train_steps") && !given.contains_key("num_train_epochs") {
        given.insert("num_train_epochs".to_owned(), json!(1));
    }
}

/// The waves. The warm-up steps are their half period.
fn learning_rate(given: &mut Map<String, Value>, version: Version) -> Result<()> {
    let warmup = given.get("lr_warmup_steps").and_then(Value::as_u64).unwrap_or_default();
    let scheduler = given.get("lr_scheduler").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut set = |name: &str, value: Value| drop(given.insert(name.to_owned(), value));
    match scheduler.as_str() {
        "cosine" if warmup == 0 && version >= LENIENT => {
            set("lr_scheduler", json!("cosine_wave"));
            set("lr_warmup_steps", json!(DEFAULT_HALF_PERIOD));
        }
        "cosine" | "sine" | "cosine_with_restarts" if warmup == 0 => {
            let cause = format!("0, which SimpleTuner {version} refuses with lr_scheduler `{scheduler}`");
            return Err(Error::setting("lr_warmup_steps", cause)
                .hint("set it to the half period of the wave, or leave out --compat"));
        }
        "cosine" => set("lr_scheduler", json!("cosine_wave")),
        // Its step within a period is taken modulo -1, which is always 0: it stays at the top.
        "cosine_with_restarts" => {
            set("lr_scheduler", json!("constant"));
            set("lr_warmup_steps", json!(0));
        }
        "constant" if version < WARMING => set("lr_warmup_steps", json!(0)),
        _ => {}
    }
    Ok(())
}

fn clipping(given: &mut Map<String, Value>, version: Version) {
    if version >= CLAMPED || knows(given) {
        return;
    }
    if given.get("max_grad_norm").and_then(Value::as_f64) > Some(FORCED_NORM) {
        given.insert("max_grad_norm".to_owned(), json!(FORCED_NORM));
    }
}

fn tokens(given: &mut Map<String, Value>, version: Version) {
    let most = version.t5_tokens();
    if !knows(given) && given.get("tokenizer_max_length").and_then(Value::as_u64) > Some(most) {
        given.insert("tokenizer_max_length".to_owned(), json!(most));
    }
}

/// Whether the user insists on what SimpleTuner would correct.
fn knows(given: &Map<String, Value>) -> bool {
    given.get("i_know_what_i_am_doing") == Some(&true.into())
}

impl FromStr for Compat {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let (name, version) = text.split_once(['=', ':', '@']).unwrap_or((&text, ""));
        match name {
            "none" | "" => Ok(Self::None),
            "simpletuner" => Ok(Self::SimpleTuner(version.parse()?)),
            _ => Err(format!(
                "{} is not offered; `simpletuner`, `simpletuner=1.1.4` and the like are",
                shown(&name.into())
            )),
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let bare = lower.trim_start_matches('v');
        if matches!(bare, "" | "head" | "main" | "latest" | "release") {
            return Ok(NEWEST);
        }
        let part = |part: &str| part.parse::<u16>().ok();
        let parts: Option<Vec<u16>> = bare.split('.').map(part).collect();
        let version = match parts.as_deref() {
            Some([major]) => Self(*major, 0, 0),
            Some([major, minor]) => Self(*major, *minor, 0),
            Some([major, minor, patch]) => Self(*major, *minor, *patch),
            _ => return Err(format!("{} is no version like 1.1.4", shown(&text.into()))),
        };
        // 1.1 is the series, of which SD3.5 has only the end.
        if version.0 == FIRST.0 && version.1 == FIRST.1 && bare.matches('.').count() == 1 || bare == "1" {
            return Ok(FIRST);
        }
        if version < FIRST {
            return Err(format!("SimpleTuner {version} has no SD3.5; {FIRST} was the first that has"));
        }
        Ok(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::SimpleTuner(version) => write!(f, "simpletuner={version}"),
        }
    }
}

impl Serialize for Compat {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Compat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(version: &str, given: Value) -> Map<String, Value> {
        let mut given = given.as_object().unwrap().clone();
        apply(&mut given, version.parse().unwrap()).unwrap();
        given
    }

    /// What the tags of SimpleTuner have.
    #[test]
    fn each_version_has_its_own_defaults() {
        for (version, tokens, clip, method, scheduler, warmup, shift, dropout, captions) in [
            ("1.1.4", 77, 0.01, "norm", "sine", 500, 1.0, 0.0, 0.0),
            ("v1.1.5", 256, 0.01, "norm", "sine", 500, 3.0, 0.0, 0.0),
            ("v1.2.1", 256, 0.01, "norm", "sine", 500, 3.0, 0.0, 0.0),
            ("v1.2.2", 154, 2.0, "value", "sine", 500, 3.0, 0.0, 0.0),
            ("1.3.0", 154, 2.0, "value", "sine", 500, 3.0, 0.0, 0.0),
            ("v2", 154, 2.0, "value", "sine", 500, 3.0, 0.1, 0.0),
            ("3.0.0", 154, 2.0, "value", "constant_with_warmup", 0, 3.0, 0.1, 0.1),
            ("HEAD", 154, 2.0, "value", "constant_with_warmup", 0, 3.0, 0.1, 0.1),
        ] {
            let all = applied(version, json!({}));
            let expected = json!({"tokenizer_max_length": tokens, "max_grad_norm": clip, "grad_clip_method": method,
                "lr_scheduler": scheduler, "lr_warmup_steps": warmup, "flow_schedule_shift": shift,
                "lora_dropout": dropout, "caption_dropout_probability": captions, "learning_rate": 4e-7,
                "lr_end": 4e-7, "adam_epsilon": 1e-6, "optimizer": "adamw_bf16", "num_train_epochs": 1});
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(all[name], *value, "{name} in {version}");
            }
        }
    }

    #[test]
    fn what_is_given_is_kept_but_for_what_is_forced() {
        let given = json!({"max_grad_norm": 1.5, "tokenizer_max_length": 512, "lora_dropout": 0.2, "lr_end": 0.0,
            "max_train_steps": 10, "optimizer_config": {"eps": "1e-8"}});
        let old = applied("1.1.4", given.clone());
        assert_eq!((&old["max_grad_norm"], &old["tokenizer_max_length"]), (&json!(0.01), &json!(77)));
        assert_eq!(
            (&old["lora_dropout"], &old["lr_end"], old.get("num_train_epochs")),
            (&json!(0.0), &json!(0.0), None)
        );
        assert_eq!(old.get("adam_epsilon"), None);
        let mut knowing = given.clone();
        knowing["i_know_what_i_am_doing"] = json!(true);
        let knowing = applied("1.1.4", knowing);
        assert_eq!((&knowing["max_grad_norm"], &knowing["tokenizer_max_length"]), (&json!(1.5), &json!(512)));
        let new = applied("4", given);
        assert_eq!((&new["max_grad_norm"], &new["lora_dropout"]), (&json!(1.5), &json!(0.2)));
        assert_eq!(applied("1.1.4", json!({"max_grad_norm": 0.005}))["max_grad_norm"], 0.005);
    }

    #[test]
    fn schedules_are_what_they_really_were() {
        let rate = |version: &str, scheduler: &str, warmup: u64| {
            let all = applied(version, json!({"lr_scheduler": scheduler, "lr_warmup_steps": warmup}));
            (all["lr_scheduler"].as_str().unwrap().to_owned(), all["lr_warmup_steps"].as_u64().unwrap())
        };
        assert_eq!(rate("1.1.4", "cosine", 2400), ("cosine_wave".into(), 2400));
        assert_eq!(rate("4.8", "cosine", 0), ("cosine_wave".into(), 1000));
        assert_eq!(rate("1.2", "cosine_with_restarts", 100), ("constant".into(), 0));
        assert_eq!(rate("3.3", "constant", 100), ("constant".into(), 0));
        assert_eq!(rate("4.0", "constant", 100), ("constant".into(), 100));
        assert_eq!(rate("1.1.4", "polynomial", 100), ("polynomial".into(), 100));
        for scheduler in ["cosine", "sine", "cosine_with_restarts"] {
            let mut given = Map::new();
            given.insert("lr_scheduler".into(), scheduler.into());
            given.insert("lr_warmup_steps".into(), 0.into());
            let error = apply(&mut given, FIRST).unwrap_err();
            assert!(error.place.contains("lr_warmup_steps"), "{error}");
        }
    }

    #[test]
    fn a_fixed_shift_wins_over_the_automatic_one() {
        let auto = |version: &str, given: Value| {
            let mut all = json!({"flow_schedule_auto_shift": true});
            all.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
            applied(version, all).contains_key("flow_schedule_auto_shift")
        };
        assert!(auto("1.1.4", json!({})));
        assert!(!auto("1.1.5", json!({})));
        assert!(auto("1.1.5", json!({"flow_schedule_shift": 0.0})));
        assert!(!auto("4.8", json!({"flow_schedule_shift": 1.0})));
    }

    #[test]
    fn doing_it_twice_is_doing_it_once() {
        for version in ["1.1.4", "1.2.2", "2.0", "3.0.0", "4.8.0"] {
            let once = applied(
                version,
                json!({"lr_scheduler": "cosine", "lr_warmup_steps": 10, "lora_dropout": 0.3}),
            );
            let mut twice = once.clone();
            apply(&mut twice, version.parse().unwrap()).unwrap();
            assert_eq!(once, twice, "{version}");
        }
    }

    #[test]
    fn versions_are_written_in_many_ways() {
        for (text, version) in [
            ("simpletuner", NEWEST),
            ("SimpleTuner=v1.1.4", FIRST),
            ("simpletuner=1.1", FIRST),
            ("simpletuner:2", Version(2, 0, 0)),
            ("simpletuner@head", NEWEST),
            ("simpletuner=1.3", Version(1, 3, 0)),
        ] {
            assert_eq!(text.parse(), Ok(Compat::SimpleTuner(version)), "{text}");
        }
        assert_eq!("none".parse(), Ok(Compat::None));
        for wrong in ["kohya", "simpletuner=x", "simpletuner=1.0.9", "simpletuner=1.2.3.4", "simpletuner=-1"]
        {
            assert!(wrong.parse::<Compat>().is_err(), "{wrong}");
        }
    }
}
