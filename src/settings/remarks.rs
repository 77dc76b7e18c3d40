//! Surprises in settings, said before they cost a night: what a name means here, what it meant where the file comes
//! from, with the numbers of this very run.

mod schedule;
mod words;

use super::backends::DataBackends;
use super::choices::GradClipMethod;
use super::compat::{self, Compat};
use super::run::RunSettings;
use super::source::Dialect;
use serde::Serialize;
use serde_json::Value;
use words::rate;

/// One surprise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The setting, or settings, that it is about.
    pub about: String,
    /// What is said, a sentence or two.
    pub text: String,
    /// How much it matters.
    pub severity: Severity,
}

/// How much a remark matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The run may well not do what its author believes.
    Warning,
}

/// Every surprise in the settings and data sets of a run of `total_steps`.
pub fn remarks(settings: &RunSettings, data: &DataBackends, total_steps: u64) -> Vec<Remark> {
    let facts = Facts { settings, data, total_steps };
    let mut all = Vec::new();
    facts.whose(&mut all);
    facts.learning_rate(&mut all);
    facts.clipping(&mut all);
    facts.repeats(&mut all);
    facts.tokens(&mut all);
    facts.noise_levels(&mut all);
    facts.drawing(&mut all);
    facts.captions(&mut all);
    facts.adapters(&mut all);
    facts.loss(&mut all);
    facts.defaults(&mut all);
    all
}

/// The shift that SD3.5's scheduler config has.
const SD35_SHIFT: f64 = 3.0;

/// What remarks are made from.
struct Facts<'a> {
    settings: &'a RunSettings,
    data: &'a DataBackends,
    total_steps: u64,
}

impl Facts<'_> {
    fn is_from(&self, dialect: Dialect) -> bool {
        self.settings.origin.dialect == dialect
    }

    /// Whether the file was written for SimpleTuner and is read by the names' own meanings.
    fn is_simpletuners(&self) -> bool {
        self.is_from(Dialect::SimpleTuner) && self.settings.compat == Compat::None
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.settings.origin.given.get(name)
    }

    fn given_number(&self, name: &str) -> Option<f64> {
        self.given(name).and_then(Value::as_f64)
    }

    fn whose(&self, all: &mut Vec<Remark>) {
        match (self.settings.compat, self.settings.origin.dialect) {
            (Compat::SimpleTuner(version), _) => all.push(note(
                "compat",
                format!(
                    "what SimpleTuner {version} really did is reproduced; name another version with \
                     --compat simpletuner=VERSION"
                ),
            )),
            (Compat::None, Dialect::SimpleTuner) => all.push(note(
                "compat",
                "settings do what their names say; --compat simpletuner=VERSION does what SimpleTuner did"
                    .into(),
            )),
            (Compat::None, Dialect::Kohya) => all.push(note(
                "compat",
                "this is a config of kohya's scripts; where it sets nothing, their defaults hold".into(),
            )),
            (Compat::None, Dialect::Sargent) => {}
        }
    }

    fn clipping(&self, all: &mut Vec<Remark>) {
        let s = self.settings;
        let given = self.given_number("max_grad_norm");
        if let Some(version) = s.compat.version() {
            if version < compat::CLAMPED && s.max_grad_norm == compat::FORCED_NORM {
                let whatever =
                    given.map_or_else(|| "whatever is set".to_owned(), |set| format!("though {set} is set"));
                all.push(warning(
                    "max_grad_norm",
                    format!(
                        "gradients are clipped to the norm 0.01, as SimpleTuner {version} does for SD3 {whatever}; \
                         i_know_what_i_am_doing=true lets it be"
                    ),
                ));
            } else if version >= compat::CLAMPED && self.given("grad_clip_method").is_none() {
                all.push(note(
                    "grad_clip_method",
                    format!(
                        "each element is clamped to {}, SimpleTuner's default since 1.2.2",
                        s.max_grad_norm
                    ),
                ));
            }
            return;
        }
        if self.is_simpletuners() && s.max_grad_norm != compat::FORCED_NORM {
            let here = match s.grad_clip_method {
                GradClipMethod::Norm => format!("gradients are clipped here to the norm {}", s.max_grad_norm),
                GradClipMethod::Value => format!("each element is clamped here to {}", s.max_grad_norm),
            };
            all.push(warning(
                "max_grad_norm",
                format!(
                    "{here}; SimpleTuner 1.1.4 to 1.2.1 forced the norm 0.01 for SD3 whatever was set, and since \
                     1.2.2 clamps each element to max_grad_norm unless grad_clip_method is `norm`. A learning rate \
                     found there may be far too high here"
                ),
            ));
        }
    }

    fn repeats(&self, all: &mut Vec<Remark>) {
        for set in self.data.images.iter().filter(|set| set.repeats > 0) {
            let (repeats, passes) = (set.repeats, set.passes());
            let text = if self.is_from(Dialect::Kohya) {
                format!(
                    "num_repeats {passes} is {passes} passes an epoch; SimpleTuner calls that repeats {repeats}"
                )
            } else {
                format!(
                    "{repeats} repeats = {passes} passes over `{}` an epoch, as in SimpleTuner; {repeats} in kohya's \
                     scripts, which is repeats {} here",
                    set.id,
                    repeats - 1
                )
            };
            all.push(note("repeats", text));
        }
    }

    fn tokens(&self, all: &mut Vec<Remark>) {
        let here = self.settings.tokenizer_max_length;
        let text = match (self.settings.compat.version(), self.settings.origin.dialect) {
            (Some(version), _) => {
                format!("T5 reads {here} tokens of a caption, as in SimpleTuner {version}; CLIP 77")
            }
            (None, Dialect::SimpleTuner) => format!(
                "T5 reads {here} tokens of a caption and CLIP 77; T5 read 77 in SimpleTuner 1.1.4, 256 from 1.1.5 to \
                 1.2.1, and reads 154 since 1.2.2"
            ),
            (None, Dialect::Kohya) => return,
            (None, Dialect::Sargent) => return,
        };
        all.push(note("tokenizer_max_length", text));
    }

    fn noise_levels(&self, all: &mut Vec<Remark>) {
        let s = self.settings;
        if s.flow_schedule_auto_shift && self.is_simpletuners() {
            all.push(warning(
                "flow_schedule_auto_shift",
                "the shift follows the picture's size here; in SimpleTuner since 1.1.5 the default \
                 flow_schedule_shift 3 wins over it unless that is set to 0"
                    .into(),
            ));
        } else if s.compat != Compat::None && self.given("flow_schedule_auto_shift") == Some(&true.into()) {
            all.push(warning(
                "flow_schedule_auto_shift",
                format!(
                    "it has no effect, because flow_schedule_shift {} wins over it",
                    s.flow_schedule_shift
                ),
            ));
        } else if self.is_simpletuners() && self.given("flow_schedule_shift").is_none() {
            all.push(note(
                "flow_schedule_shift",
                format!(
                    "noise levels are shifted by {}; SimpleTuner 1.1.4 did not shift",
                    s.flow_schedule_shift
                ),
            ));
        }
    }

    /// Pictures are drawn with the model's shift, whatever the run is trained with.
    fn drawing(&self, all: &mut Vec<Remark>) {
        let s = self.settings;
        let draws = !s.validation_prompts.is_empty();
        if draws && !s.flow_schedule_auto_shift && s.flow_schedule_shift != SD35_SHIFT {
            all.push(note(
                "validation_prompt",
                format!(
                    "images are drawn with the model's own shift, {SD35_SHIFT} in SD3.5, while noise levels are \
                     trained with {}",
                    s.flow_schedule_shift
                ),
            ));
        }
    }

    fn captions(&self, all: &mut Vec<Remark>) {
        let s = self.settings;
        if !self.is_simpletuners() {
            return;
        }
        if self.given("caption_dropout_probability").is_none() {
            all.push(note(
                "caption_dropout_probability",
                format!(
                    "not set, so {}; SimpleTuner drops 0.1 of the captions by default since 3.0",
                    s.caption_dropout_probability
                ),
            ));
        }
    }

    fn adapters(&self, all: &mut Vec<Remark>) {
        let s = self.settings;
        let (rank, alpha) = (s.lora_rank, s.lora_alpha);
        let dropout = self.given_number("lora_dropout").filter(|&dropout| dropout > 0.0);
        if let Some(version) = s.compat.version().filter(|&version| version < compat::DROPS) {
            if let Some(dropout) = dropout {
                all.push(note(
                    "lora_dropout",
                    format!("{dropout} is set; SimpleTuner {version} never applied it to SD3, so it is 0"),
                ));
            }
        } else if let Some(dropout) = dropout.filter(|_| self.is_simpletuners()) {
            all.push(note(
                "lora_dropout",
                format!(
                    "{dropout} of the adapters' input is dropped here; SimpleTuner 1.x never did so for SD3"
                ),
            ));
        }
        if self.is_from(Dialect::Kohya) && self.given("lora_alpha").is_none() && rank > 1 {
            all.push(warning(
                "network_alpha",
                format!("not set, so kohya's default 1 holds: the adapters' output is scaled by 1/{rank}"),
            ));
        } else if (alpha / rank as f64 - 1.0).abs() > 1e-9 {
            all.push(note(
                "lora_alpha",
                format!("{alpha} at rank {rank}: the adapters' output is scaled by {}", alpha / rank as f64),
            ));
        }
        if self.is_from(Dialect::Kohya) && self.given("lora_targets").is_none() {
            all.push(note(
                "network_module",
                "every linear in the blocks gets an adapter, but for adaLN, which kohya adapts too; its text encoders' \
                 adapters are left out"
                    .into(),
            ));
        }
    }

    fn loss(&self, all: &mut Vec<Remark>) {
        if self.is_from(Dialect::Kohya) {
            all.push(warning(
                "loss",
                "the loss is that of the velocity; kohya's is that of the picture, sigma² times it, which at sigma 0.1 \
                 counts 1 %. The same learning rate moves more here, most of all at low noise"
                    .into(),
            ));
        } else if self.is_simpletuners() {
            all.push(note(
                "loss",
                "the loss is that of the velocity, as in SimpleTuner; kohya's and diffusers' scripts weigh it by \
                 sigma², so learning rates do not carry over from there"
                    .into(),
            ));
        }
    }

    /// Defaults that differ, of keys that were not given.
    fn defaults(&self, all: &mut Vec<Remark>) {
        let s = self.settings;
        let unset = |name: &str| self.given(name).is_none();
        if let Some(version) = s.compat.version() {
            if unset("learning_rate") {
                let default = rate(s.learning_rate);
                let text = format!(
                    "not set, so {default}, SimpleTuner's default, at which a LoRA learns next to nothing"
                );
                all.push(warning("learning_rate", text));
            }
            if unset("lr_scheduler") {
                let text = format!("not set, so `{}`, the default of SimpleTuner {version}", s.lr_scheduler);
                all.push(note("lr_scheduler", text));
            }
        }
        if !self.is_simpletuners() {
            return;
        }
        let mut say = |name: &str, here: String, there: &str| {
            if unset(name) {
                all.push(note(name, format!("not set, so {here}; SimpleTuner's default is {there}")));
            }
        };
        say("learning_rate", rate(s.learning_rate), "4e-7");
        say(
            "lr_scheduler",
            format!("`{}`", s.lr_scheduler),
            "`sine` before 3.0, `constant_with_warmup` since",
        );
        say("optimizer", format!("`{}`", s.optimizer), "`adamw_bf16` since 3.0; before, none");
    }
}

fn note(about: &str, text: String) -> Remark {
    Remark { about: about.to_owned(), text, severity: Severity::Note }
}

fn warning(about: &str, text: String) -> Remark {
    Remark { about: about.to_owned(), text, severity: Severity::Warning }
}

#[cfg(test)]
mod tests;
