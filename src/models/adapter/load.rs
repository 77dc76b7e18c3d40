//! LoRA files as adapters of a model, any number of them at once, each with a strength.

use crate::autograd::persistent::Flat;
use crate::autograd::{Engine, Persistent};
use crate::error::{Error, ErrorKind, Result};
use crate::models::adapter::LoraModule;
use crate::models::adapter::lora::{Adapters, LoraPair};
use crate::models::adapter::modules::{Module, modules};
use crate::models::mmdit::MmditConfig;
use std::path::Path;

/// The pairs of one file at some strength.
///
/// # Errors
/// A layer that the model lacks, or a pair whose sizes do not fit it.
pub fn pairs(
    config: &MmditConfig,
    path: &Path,
    file: usize,
    loaded: &[LoraModule],
    strength: f64,
) -> Result<Vec<LoraPair>> {
    let known = modules(config);
    let pair = |lora: &LoraModule| {
        let wrong = |cause: String| {
            Error::new(ErrorKind::Weights, path.display().to_string(), cause)
                .hint("the LoRA was made for another model")
        };
        let module: &Module = known
            .iter()
            .find(|module| module.path == lora.module)
            .ok_or_else(|| wrong(format!("the model has no layer `{}`", lora.module)))?;
        let (inputs, outputs) = (lora.in_features(), lora.out_features());
        if (inputs, outputs) != (module.inputs, module.rows.len()) {
            return Err(wrong(format!(
                "`{}` is for a layer of {inputs} to {outputs}, the model's is {} to {}",
                lora.module,
                module.inputs,
                module.rows.len()
            )));
        }
        let (prefix, scale) = (format!("{file}."), lora.scale * strength);
        Ok(LoraPair { prefix, module: module.clone(), rank: lora.rank, scale })
    };
    loaded.iter().map(pair).collect()
}

/// The persistent region that holds `adapters` and nothing else.
pub fn region(adapters: &Adapters) -> Persistent {
    let mut persistent = Persistent::new(1);
    adapters.declare(&mut persistent);
    persistent
}

/// Writes the values of all files, in the order in which their pairs were made.
pub fn write(engine: &mut Engine, adapters: &Adapters, files: &[Vec<LoraModule>]) -> Result<()> {
    let values = files.iter().flatten();
    for (pair, lora) in adapters.pairs.iter().zip(values) {
        // Rows are canonical here; diffusers keeps (scale, shift) where the weight has (shift, scale).
        let mut b = lora.b.clone();
        if pair.module.halves_swapped {
            let half = b.len() / 2;
            b.rotate_left(half);
        }
        put(engine, &pair.a_name(), &lora.a)?;
        put(engine, &pair.b_name(), &b)?;
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
pub fn collect(engine: &Engine, adapters: &Adapters, source: Flat) -> Result<Vec<LoraModule>> {
    let value = |name: &str| Ok(engine.parameter(name, source)?.unwrap_or_default());
    let module = |pair: &LoraPair| {
        Ok(LoraModule {
            module: pair.module.path.clone(),
            rank: pair.rank,
            a: value(&pair.a_name())?,
            b: value(&pair.b_name())?,
            scale: pair.scale,
        })
    };
    adapters.pairs.iter().map(module).collect()
}
