//! LoRA files as adapters of a model, any number of them at once, each with a strength.

use crate::autograd::persistent::Flat;
use crate::autograd::{Engine, Persistent};
use crate::error::{Error, ErrorKind, Result};
use crate::models::adapter::modules::{Module, modules};
use crate::models::adapter::{Adapter, AdapterModule, Adapters};
use crate::models::mmdit::MmditConfig;
use std::path::Path;

/// The adapters of one file at some strength.
///
/// # Errors
/// A layer that the model lacks, or an adapter whose sizes do not fit it.
pub fn adapters(
    config: &MmditConfig,
    path: &Path,
    prefix: &str,
    loaded: &[AdapterModule],
    strength: f64,
) -> Result<Vec<Adapter>> {
    let known = modules(config);
    let adapter = |values: &AdapterModule| {
        let wrong = |cause: String| {
            Error::new(ErrorKind::Weights, path.display().to_string(), cause)
                .hint("the adapter was made for another model")
        };
        let module: &Module = known
            .iter()
            .find(|module| module.path == values.module)
            .ok_or_else(|| wrong(format!("the model has no layer `{}`", values.module)))?;
        Adapter::of(values, module, prefix.to_owned(), strength)
            .map_err(|e| wrong(format!("`{}`: {}", values.module, e.cause)))
    };
    loaded.iter().map(adapter).collect()
}

/// The persistent region that holds `adapters` and nothing else.
pub fn region(adapters: &Adapters) -> Persistent {
    let mut persistent = Persistent::new(1);
    adapters.declare(&mut persistent);
    persistent
}

/// Writes the values of `loaded`, which `adapters` were made of, in their order.
pub fn write<'v>(
    engine: &mut Engine,
    adapters: &Adapters,
    loaded: impl IntoIterator<Item = &'v AdapterModule>,
) -> Result<()> {
    for (adapter, values) in adapters.all.iter().zip(loaded) {
        for (name, values) in adapter.parameters_of(values) {
            // Rows are canonical here; diffusers keeps (scale, shift) where the weight has (shift, scale).
            if adapter.module.halves_swapped && name.ends_with("lora_B.weight") {
                let mut values = values.to_vec();
                let half = values.len() / 2;
                values.rotate_left(half);
                put(engine, &name, &values)?;
            } else {
                put(engine, &name, values)?;
            }
        }
    }
    Ok(())
}

fn put(engine: &mut Engine, name: &str, values: &[f32]) -> Result<()> {
    let Some(offset) = engine.layout().parameter(name).map(|parameter| parameter.offset) else {
        return Ok(());
    };
    engine.set_flat(Flat::Parameters, offset, values)
}

/// The adapters as an exportable list, read from `source`.
pub fn collect(engine: &Engine, adapters: &Adapters, source: Flat) -> Result<Vec<AdapterModule>> {
    let read = |name: &str| Ok(engine.parameter(name, source)?.unwrap_or_default());
    adapters.all.iter().map(|adapter| adapter.values(read)).collect()
}
