//! Which layers of a model a run adapts, and how: what the settings say, and a file to train on from.

use crate::error::{Error, ErrorKind, Result};
use crate::export;
use crate::models::adapter::lokr::LokrOptions;
use crate::models::adapter::patterns::Pattern;
use crate::models::adapter::{
    Adapter, AdapterModule, Adapters, Form, Module, Targets, load, modules, select,
};
use crate::models::mmdit::MmditConfig;
use crate::settings::{LoraPreset, LoraTargets, LycorisAlgo, LycorisConfig, LycorisOptions, RunSettings};
use serde_json::{Map, Value};
use std::path::Path;

/// The adapters that `settings` ask for, in the model's order.
///
/// # Errors
/// A target, pattern or block that means no layer, a layer that cannot be trained, a file that does not fit.
pub fn adapters(settings: &RunSettings, config: &MmditConfig) -> Result<Adapters> {
    let known = modules(config);
    let plan = Plan::new(settings, config)?;
    let blocks = Blocks::new(&settings.lora_blocks, config.depth)?;
    let from_file = match &settings.init_lora {
        Some(path) => of_file(path, config, &blocks)?,
        None => Vec::new(),
    };
    let mut all = Vec::new();
    for module in known {
        let continued = from_file.iter().find(|adapter| adapter.module == module);
        match continued {
            Some(adapter) => all.push(adapter.clone()),
            None if blocks.hold(&module) => all.extend(plan.adapter(&module)),
            None => {}
        }
    }
    if all.is_empty() {
        return Err(Error::setting("lora_blocks", "none of the target layers lies in these blocks")
            .hint("lora_targets chooses layers inside the blocks"));
    }
    plan.refuse_unused(&all)?;
    // LoHa and LoKr change a weight, in front of which nothing can be dropped.
    let dropout = if plan.lycoris.is_some() { 0.0 } else { settings.lora_dropout as f32 };
    Ok(Adapters { all, dropout, ..Adapters::default() })
}

/// The values of the file that a run trains on from, in the order of the adapters that are in it.
///
/// # Errors
/// Those of reading it.
pub fn values_to_continue(path: &Path) -> Result<Vec<AdapterModule>> {
    let with_hint = |error: Error| match error.hint.is_empty() {
        true => error.hint("init_lora is the file of an adapter to train on from"),
        false => error,
    };
    export::read_adapters(path).map_err(with_hint)
}

/// The adapters of a file to train on from.
fn of_file(path: &Path, config: &MmditConfig, blocks: &Blocks) -> Result<Vec<Adapter>> {
    let all = load::adapters(config, path, "", &values_to_continue(path)?, 1.0)?;
    let refused = |module: &Module, cause: &str, hint: &str| {
        let cause = format!("it changes `{}`, {cause}", module.path);
        Error::new(ErrorKind::Settings, format!("setting `init_lora` {}", path.display()), cause).hint(hint)
    };
    for module in all.iter().map(|adapter| &adapter.module) {
        if !module.trainable {
            let hint = "a LoRA of attention and MLP layers alone can be trained on";
            return Err(refused(module, "which cannot be trained", hint));
        }
        if !blocks.hold(module) {
            let hint = "leave lora_blocks unset, or name all blocks of the file";
            return Err(refused(module, "which lies outside lora_blocks", hint));
        }
    }
    Ok(all)
}

/// Blocks whose layers get an adapter.
struct Blocks<'s>(&'s [usize]);

impl<'s> Blocks<'s> {
    fn new(wanted: &'s [usize], depth: usize) -> Result<Self> {
        if let Some(beyond) = wanted.iter().find(|&&block| block >= depth) {
            let cause = format!("the model has no block {beyond}");
            return Err(Error::setting("lora_blocks", cause)
                .hint(format!("its blocks are 0 to {}", depth.saturating_sub(1))));
        }
        Ok(Self(wanted))
    }

    fn hold(&self, module: &Module) -> bool {
        self.0.is_empty() || module.block().is_some_and(|block| self.0.contains(&block))
    }
}

/// What a layer's adapter is, by the settings.
struct Plan<'s> {
    settings: &'s RunSettings,
    /// Where adapters are low-rank pairs, the layers that get one.
    standard: Vec<Module>,
    lycoris: Option<Lycoris>,
    ranks: Numbers,
    alphas: Numbers,
}

impl<'s> Plan<'s> {
    fn new(settings: &'s RunSettings, config: &MmditConfig) -> Result<Self> {
        let lycoris = settings.lycoris()?.map(|config| Lycoris::new(&config)).transpose()?;
        let standard = match lycoris {
            Some(_) => Vec::new(),
            None => select(config, &targets(&settings.lora_targets))?,
        };
        let ranks = Numbers::new("rank_pattern", &settings.rank_pattern)?;
        ranks.refuse_fractions()?;
        let alphas = Numbers::new("alpha_pattern", &settings.alpha_pattern)?;
        Ok(Self { settings, standard, lycoris, ranks, alphas })
    }

    /// A new adapter for `module`, if it gets one.
    fn adapter(&self, module: &Module) -> Option<Adapter> {
        let settings = self.settings;
        let options = match &self.lycoris {
            Some(lycoris) => lycoris.options(module)?,
            None if self.standard.contains(module) => LycorisOptions {
                rs_lora: settings.use_rslora,
                weight_decompose: settings.use_dora,
                ..LycorisOptions::default()
            },
            None => return None,
        };
        let path = &module.path;
        let rank = self.ranks.of(path).map(|rank| rank as usize);
        let rank = rank.unwrap_or_else(|| options.dim.unwrap_or(settings.lora_rank));
        let alpha = self.alphas.of(path).unwrap_or_else(|| options.alpha.unwrap_or(settings.lora_alpha));
        let (outputs, inputs) = (module.rows.len(), module.inputs);
        let form = match options.algo {
            LycorisAlgo::Lora => Form::LowRank { rank },
            LycorisAlgo::Loha => Form::Hadamard { rank },
            LycorisAlgo::Lokr => {
                let LycorisOptions { factor, decompose_both, full_matrix, .. } = options;
                LokrOptions { rank, factor, decompose_both, full_matrix }.form(outputs, inputs)
            }
        };
        let divisor = if options.rs_lora || settings.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
        // Without a product inside there is no rank, and alpha means nothing.
        let scale = if form.rank().is_some() { alpha / divisor } else { 1.0 };
        Some(Adapter {
            prefix: String::new(),
            module: module.clone(),
            form,
            scale: scale * options.multiplier,
            with_magnitude: options.weight_decompose,
        })
    }

    /// Fails if a pattern means no layer that is trained.
    fn refuse_unused(&self, all: &[Adapter]) -> Result<()> {
        self.ranks.refuse_unused(all)?;
        self.alphas.refuse_unused(all)
    }
}

/// Numbers of layers, by patterns of their names.
struct Numbers {
    key: &'static str,
    all: Vec<(Pattern, f64)>,
}

impl Numbers {
    fn new(key: &'static str, given: &Map<String, Value>) -> Result<Self> {
        let number = |(text, value): (&String, &Value)| {
            Ok((Pattern::of_peft(key, text)?, value.as_f64().unwrap_or_default()))
        };
        Ok(Self { key, all: given.iter().map(number).collect::<Result<_>>()? })
    }

    /// The number of a layer: the first pattern that matches holds.
    fn of(&self, path: &str) -> Option<f64> {
        self.all.iter().find(|(pattern, _)| pattern.matches(path)).map(|(_, number)| *number)
    }

    fn refuse_fractions(&self) -> Result<()> {
        let Some((pattern, number)) = self.all.iter().find(|(_, number)| number.fract() != 0.0) else {
            return Ok(());
        };
        let cause = format!("`{}` has rank {number}", pattern.text());
        Err(Error::setting(self.key, cause).hint("ranks are whole numbers"))
    }

    fn refuse_unused(&self, all: &[Adapter]) -> Result<()> {
        let means_none = |pattern: &Pattern| !all.iter().any(|adapter| pattern.matches(&adapter.module.path));
        let Some((pattern, _)) = self.all.iter().find(|(pattern, _)| means_none(pattern)) else {
            return Ok(());
        };
        Err(Error::setting(self.key, format!("`{}` is no layer that is trained", pattern.text()))
            .hint("names are those of the target layers, such as attn.to_q or transformer_blocks.0.ff.net.2"))
    }
}

/// Layers as LyCORIS chooses them.
struct Lycoris {
    overall: LycorisOptions,
    classes: Vec<String>,
    names: Vec<Pattern>,
    excluded: Vec<Pattern>,
    by_class: Vec<(String, LycorisOptions)>,
    by_name: Vec<(Pattern, LycorisOptions)>,
}

impl Lycoris {
    fn new(config: &LycorisConfig) -> Result<Self> {
        let pattern = |text: &String| match config.file_patterns {
            true => Pattern::of_files("lycoris_config", text),
            false => Pattern::of_lycoris("lycoris_config", text),
        };
        let patterns = |texts: &[String]| texts.iter().map(pattern).collect::<Result<Vec<_>>>();
        let by_name = config.by_name.iter().map(|(text, options)| Ok((pattern(text)?, *options)));
        Ok(Self {
            overall: config.overall,
            classes: config.classes.clone(),
            names: patterns(&config.names)?,
            excluded: patterns(&config.excluded)?,
            by_class: config.by_class.clone(),
            by_name: by_name.collect::<Result<_>>()?,
        })
    }

    /// What the adapter of `module` is asked to be, if it gets one. Names go before classes.
    fn options(&self, module: &Module) -> Option<LycorisOptions> {
        let matched = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&module.path));
        if !module.trainable || matched(&self.excluded) {
            return None;
        }
        let classes = classes_of(module);
        let named = self.by_name.iter().find(|(pattern, _)| pattern.matches(&module.path));
        let chosen = self.classes.iter().any(|class| classes.contains(&class.as_str()));
        if !chosen && named.is_none() && !matched(&self.names) {
            return None;
        }
        let by_class = self.by_class.iter().find(|(class, _)| classes.contains(&class.as_str()));
        let options = named.map(|(_, options)| options).or(by_class.map(|(_, options)| options));
        Some(*options.unwrap_or(&self.overall))
    }
}

/// The classes of diffusers' modules that a layer lies in, the innermost first.
fn classes_of(module: &Module) -> &'static [&'static str] {
    match module.name_in_block().split('.').next() {
        _ if module.block().is_none() => &[],
        Some("attn" | "attn2") => &["Attention", "JointTransformerBlock"],
        Some("ff" | "ff_context") => &["FeedForward", "JointTransformerBlock"],
        _ => &["JointTransformerBlock"],
    }
}

fn targets(targets: &LoraTargets) -> Targets {
    match targets {
        LoraTargets::Preset(LoraPreset::Simpletuner) => Targets::SimpleTuner,
        LoraTargets::Preset(LoraPreset::Diffusers) => Targets::Diffusers,
        LoraTargets::Preset(LoraPreset::AllLinear) => Targets::AllLinear,
        LoraTargets::Modules(names) => Targets::Named(names.clone()),
    }
}

#[cfg(test)]
mod tests;
