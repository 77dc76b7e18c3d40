//! The layers of a model that is not at hand, as far as the adapter tells.

use crate::export::layers::single_file;
use crate::export::weight_change::size;
use crate::models::adapter::{AdapterModule, Module, modules as layers_of};
use crate::models::mmdit::MmditConfig;

/// The layers of the release that `adapter` fits, else those that it names.
pub(super) fn implied_layers(adapter: &[AdapterModule]) -> Vec<Module> {
    let fits = |layers: &[Module]| {
        adapter.iter().all(|module| {
            let layer = layers.iter().find(|layer| layer.path == module.module);
            layer.is_some_and(|layer| (layer.rows.len(), layer.inputs) == size(&module.change))
        })
    };
    let releases = [MmditConfig::medium(), MmditConfig::large()].map(|config| layers_of(&config));
    releases.into_iter().find(|layers| fits(layers)).unwrap_or_else(|| named_layers(adapter))
}

/// The layers that have a module, and those that are one weight with them; each as large as that module.
fn named_layers(adapter: &[AdapterModule]) -> Vec<Module> {
    let block = |module: &AdapterModule| {
        let rest = module.module.strip_prefix("transformer_blocks.")?;
        rest.split_once('.')?.0.parse::<usize>().ok()
    };
    // One block more than is named, so that none of these lacks what the last one lacks.
    let depth = adapter.iter().filter_map(block).max().map_or(1, |last| last + 2);
    let config = MmditConfig { depth, dual_attention: vec![true; depth], ..MmditConfig::medium() };
    layers_of(&config).into_iter().filter_map(|layer| sized(layer, adapter)).collect()
}

/// The layer with the size of its module, or of one beside it in the same weight.
fn sized(layer: Module, adapter: &[AdapterModule]) -> Option<Module> {
    let (_, part, _) = single_file(&layer.path)?;
    let own = adapter.iter().find(|module| module.module == layer.path);
    let beside = || adapter.iter().find(|module| weight(module).is_some_and(|weight| weight == layer.weight));
    let (outputs, inputs) = size(&own.or_else(beside)?.change);
    let is_last_norm = layer.path.ends_with("norm1_context.linear") && outputs == 2 * inputs;
    Some(Module {
        rows: part * outputs..(part + 1) * outputs,
        inputs,
        halves_swapped: layer.halves_swapped || is_last_norm,
        ..layer
    })
}

fn weight(module: &AdapterModule) -> Option<String> {
    Some(single_file(&module.module)?.0)
}
