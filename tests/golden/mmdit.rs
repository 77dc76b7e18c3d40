//! The transformer's output and every intermediate, from both layouts of its weights.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use crate::transformer::{Model, Question, weights_file};
use sargent::error::{Error, ErrorKind, Result};
use sargent::models::adapter::Adapters;
use sargent::weights::{TensorBytes, TensorFile, write_tensors};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// How far apart the same model in two layouts may be.
const LAYOUT_LIMIT: f64 = 1e-6;

/// Tensors by name; none where the program has no tensor of that name.
type Found = Vec<(String, Option<Vec<f32>>)>;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let stored = weights_file(&case.folder)?;
    let (output, intermediates) = (case.tensors("output")?, case.tensors("intermediates")?);
    let names: Vec<&str> = intermediates.names().collect();
    let inputs = case.tensors("inputs")?;
    let ours = run(&stored, &inputs, &names)?;
    for (name, ours) in &ours {
        let expected = if name == "output" { output.f32(name)? } else { intermediates.f32(name)? };
        match ours {
            Some(ours) => checks.close(name, ours, &expected, case.tolerance(&[name], Of::Output)?),
            None => checks.fail(name, "the program has no tensor of this name"),
        }
    }
    let folder = tempfile::tempdir().map_err(|e| Error::io(&case.folder, &e))?;
    let other = folder.path().join("other_layout.safetensors");
    write_other_layout(case, &stored, &other)?;
    for ((name, ours), (_, other)) in ours.iter().zip(run(&other, &inputs, &names)?) {
        if let (Some(ours), Some(other)) = (ours, other) {
            checks.close(&format!("{name} from the other layout"), &other, ours, LAYOUT_LIMIT);
        }
    }
    Ok(())
}

/// The output and the tensors called `names`.
fn run(weights: &Path, inputs: &Tensors, names: &[&str]) -> Result<Found> {
    let model = Model::open(weights)?;
    let tokens = inputs.shape("prompt_embeds")?[1];
    let shape = inputs.shape("latents")?;
    let mut predictor = model.predictor(device()?, &Adapters::default(), &shape, tokens, names)?;
    let output = predictor.predict(Question {
        latents: &inputs.f32("latents")?,
        timesteps: &inputs.f32("timesteps")?,
        prompt_embeds: &inputs.f32("prompt_embeds")?,
        pooled: &inputs.f32("pooled_prompt_embeds")?,
    })?;
    let kept = names.iter().map(|name| ((*name).to_owned(), predictor.kept(name)));
    Ok(std::iter::once(("output".to_owned(), Some(output))).chain(kept).collect())
}

/// Writes the weights in the layout that they are not stored in, by the case's recipe.
fn write_other_layout(case: &Case, stored: &Path, other: &Path) -> Result<()> {
    let path = case.path("layout_map.json");
    let unusable =
        || Error::new(ErrorKind::Files, path.display().to_string(), "this is no usable layout map");
    let text = std::fs::read(&path).map_err(|e| Error::io(&path, &e))?;
    let maps: Value = serde_json::from_slice(&text).map_err(|_| unusable())?;
    let file = TensorFile::open(stored)?;
    let recipes = maps
        .as_object()
        .into_iter()
        .flat_map(|maps| maps.values())
        .filter_map(recipes)
        .find(|recipes| recipes.values().flatten().all(|piece| file.contains(&piece.0)))
        .ok_or_else(unusable)?;
    let mut tensors = Vec::new();
    for (target, pieces) in &recipes {
        let (mut bytes, mut rows) = (Vec::new(), 0);
        let view = file.view(&pieces.first().ok_or_else(unusable)?.0)?;
        for (source, first, end) in pieces {
            let view = file.view(source)?;
            let row_bytes = view.bytes.len() / view.shape[0];
            bytes.extend_from_slice(&view.bytes[first * row_bytes..end * row_bytes]);
            rows += end - first;
        }
        let mut shape = view.shape.to_vec();
        shape[0] = rows;
        let (name, bytes) = (Cow::Borrowed(target.as_str()), Cow::Owned(bytes));
        tensors.push(TensorBytes { name, dtype: view.dtype, shape: shape.into(), bytes });
    }
    write_tensors(other, &tensors, &BTreeMap::new())
}

/// Rows of source tensors by target: (source, first row, end row).
type Recipes = BTreeMap<String, Vec<(String, usize, usize)>>;

/// One direction of a layout map.
fn recipes(map: &Value) -> Option<Recipes> {
    let piece = |piece: &Value| {
        let row = |index: usize| Some(piece.get(index)?.as_u64()? as usize);
        Some((piece.get(0)?.as_str()?.to_owned(), row(1)?, row(2)?))
    };
    let recipe = |(target, pieces): (&String, &Value)| {
        Some((target.clone(), pieces.as_array()?.iter().map(piece).collect::<Option<Vec<_>>>()?))
    };
    map.as_object()?.iter().map(recipe).collect()
}
