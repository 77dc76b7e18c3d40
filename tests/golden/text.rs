//! The three text encoders and the prompt embeddings that are put together from them.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use sargent::autograd::{Engine, Persistent};
use sargent::error::{Error, Result};
use sargent::kernels::attention::relative_bucket;
use sargent::models::text::{ClipEncoder, ClipRole, Encoders, LongText, Padding, PromptIds, T5Encoder};
use sargent::weights::{TextEncoder, open_text_encoder};
use serde_json::Value;

/// The prompt whose embedding the case keeps.
const ASSEMBLED: usize = 1;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let (inputs, outputs) = (case.tensors("inputs")?, case.tensors("outputs")?);
    check_buckets(checks, &inputs)?;
    let clip = |folder: &str, which, role| -> Result<ClipEncoder> {
        ClipEncoder::open(&open_text_encoder(&case.path(folder), which)?, Some(&config(case, folder)?), role)
    };
    let clips = [
        clip("text_encoder", TextEncoder::ClipL, ClipRole::L)?,
        clip("text_encoder_2", TextEncoder::ClipG, ClipRole::G)?,
    ];
    let folder = "text_encoder_3";
    let t5 = T5Encoder::open(
        &open_text_encoder(&case.path(folder), TextEncoder::T5)?,
        Some(&config(case, folder)?),
    )?;
    let mut engine = Engine::new(device()?, 0, Persistent::new(0))?;
    let mut close = |name: &str, ours: &[f32]| -> Result<()> {
        checks.close(name, ours, &outputs.f32(name)?, case.tolerance(&[name], Of::Output)?);
        Ok(())
    };
    for (number, clip) in (1..).zip(&clips) {
        let states = clip.encode(&mut engine, &rows(&ids(&inputs, &format!("clip{number}_ids"))?))?;
        close(&format!("clip{number}.penultimate"), &states.penultimate)?;
        close(&format!("clip{number}.pooled_projection"), &states.pooled)?;
    }
    let t5_ids = ids(&inputs, "t5_ids")?;
    close("t5.last_hidden_state", &t5.encode(&mut engine, &rows(&t5_ids), Padding::Seen)?)?;
    close("t5.masked_row0", &t5.encode(&mut engine, &rows(&t5_ids[..1]), Padding::Hidden)?)?;

    let [clip_l, clip_g] = clips;
    let encoders = Encoders::new(clip_l, clip_g, LongText::T5(t5))?;
    for (prefix, row) in [("", ASSEMBLED), ("negative_", 0)] {
        let of = |name: &str| -> Result<Vec<i32>> {
            Ok(ids(&inputs, &format!("{prefix}{name}"))?.swap_remove(row))
        };
        let prompt = PromptIds { clip_l: of("clip1_ids")?, clip_g: of("clip2_ids")?, t5: of("t5_ids")? };
        for embedding in encoders.encode(&mut engine, &[prompt])? {
            close(&format!("{prefix}prompt_embeds"), &embedding.prompt_embeds)?;
            close(&format!("{prefix}pooled_prompt_embeds"), &embedding.pooled)?;
        }
    }
    Ok(())
}

/// T5's buckets of relative positions.
fn check_buckets(checks: &mut Checks, inputs: &Tensors) -> Result<()> {
    let positions = inputs.i64("t5_relative_positions")?.into_iter();
    let ours = positions.map(|position| relative_bucket(position) as i64);
    checks.holds("t5 buckets of relative positions", ours.eq(inputs.i64("t5_relative_buckets")?));
    Ok(())
}

fn config(case: &Case, folder: &str) -> Result<Value> {
    let path = case.path(folder).join("config.json");
    let text = std::fs::read(&path).map_err(|e| Error::io(&path, &e))?;
    serde_json::from_slice(&text).map_err(|e| Error::weights(&path, e.to_string()))
}

/// Token ids, text by text.
fn ids(inputs: &Tensors, name: &str) -> Result<Vec<Vec<i32>>> {
    let ids: Vec<i32> = inputs.i64(name)?.into_iter().map(|id| id as i32).collect();
    let length = inputs.shape(name)?[1];
    Ok(ids.chunks_exact(length).map(<[i32]>::to_vec).collect())
}

fn rows(ids: &[Vec<i32>]) -> Vec<&[i32]> {
    ids.iter().map(Vec::as_slice).collect()
}
