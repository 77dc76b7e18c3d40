//! Which linear layers get an adapter: by preset or by name, matched as PEFT matches.

use crate::error::{Error, Result};
use crate::models::adapter::modules::{Module, modules};
use crate::models::mmdit::MmditConfig;

/// What to adapt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// SimpleTuner's default: the image stream's attention, the second attention included.
    SimpleTuner,
    /// diffusers' SD3 script: the eight projections of the joint attention, both streams.
    Diffusers,
    /// Every linear layer in the blocks but the modulation layers.
    AllLinear,
    /// Names; each takes every layer that is called so or ends with `.` and it.
    Named(Vec<String>),
}

const SIMPLETUNER: [&str; 4] = ["to_q", "to_k", "to_v", "to_out.0"];
const DIFFUSERS: [&str; 8] = [
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
];

/// The layers that `targets` names, in the model's order.
///
/// # Errors
/// Names a target that matches nothing, or a layer that cannot be trained.
pub fn select(config: &MmditConfig, targets: &Targets) -> Result<Vec<Module>> {
    let all = modules(config);
    let names: Vec<&str> = match targets {
        Targets::SimpleTuner => SIMPLETUNER.to_vec(),
        Targets::Diffusers => DIFFUSERS.to_vec(),
        Targets::AllLinear => return Ok(all.into_iter().filter(|module| module.trainable).collect()),
        Targets::Named(names) => names.iter().map(String::as_str).collect(),
    };
    for name in &names {
        let Some(module) = all.iter().find(|module| matches(&module.path, name)) else {
            return Err(Error::setting("lora_targets", format!("no layer is called `{name}`")).hint(
                "names are diffusers' (attn.to_q, ff.net.0.proj) or simpletuner, diffusers, all-linear",
            ));
        };
        if let Some(frozen) = all.iter().find(|module| matches(&module.path, name) && !module.trainable) {
            let cause = format!("`{name}` takes in `{}`, which cannot be trained", frozen.path);
            return Err(Error::setting("lora_targets", cause)
                .hint("attention and MLP layers can; modulation layers and embedders cannot"));
        }
        debug_assert!(module.trainable);
    }
    Ok(all.into_iter().filter(|module| names.iter().any(|name| matches(&module.path, name))).collect())
}

/// PEFT's rule for a list of names.
fn matches(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_take_as_many_layers_as_peft_does() {
        let count = |config: &MmditConfig, targets| select(config, &targets).unwrap().len();
        assert_eq!(
            (
                count(&MmditConfig::large(), Targets::SimpleTuner),
                count(&MmditConfig::medium(), Targets::SimpleTuner)
            ),
            (152, 148)
        );
        assert_eq!(
            (
                count(&MmditConfig::large(), Targets::Diffusers),
                count(&MmditConfig::medium(), Targets::Diffusers)
            ),
            (303, 191)
        );
        // 12 linear layers a block that are no modulation, 4 more in the 13 dual blocks, 3 fewer in the last.
        assert_eq!(
            (
                count(&MmditConfig::large(), Targets::AllLinear),
                count(&MmditConfig::medium(), Targets::AllLinear)
            ),
            (453, 337)
        );
    }

    #[test]
    fn a_name_matches_whole_parts_of_a_path() {
        let paths =
            |name: &str| select(&MmditConfig::medium(), &Targets::Named(vec![name.to_owned()])).unwrap();
        assert_eq!(paths("attn2.to_q").len(), 13);
        assert_eq!(paths("attn.to_q").len(), 24);
        assert_eq!(paths("transformer_blocks.3.attn.to_q").len(), 1);
        assert!(select(&MmditConfig::medium(), &Targets::Named(vec!["o_q".to_owned()])).is_err());
    }

    #[test]
    fn modulation_layers_and_embedders_are_refused_by_name() {
        for name in ["norm1.linear", "context_embedder", "proj_out"] {
            let error = select(&MmditConfig::large(), &Targets::Named(vec![name.to_owned()])).unwrap_err();
            assert!(error.cause.contains(name), "{error}");
        }
    }

    #[test]
    fn the_models_have_the_published_numbers_of_parameters() {
        let count = |config: &MmditConfig| -> usize {
            let all = config.weights();
            all.iter().filter(|(name, _)| name != "pos_embed").map(|(_, shape)| shape.elements()).sum()
        };
        assert_eq!(count(&MmditConfig::large()), 8_056_627_520);
        assert_eq!(count(&MmditConfig::medium()), 2_243_171_520);
        assert_eq!((MmditConfig::large().weights().len(), MmditConfig::medium().weights().len()), (923, 665));
    }
}
