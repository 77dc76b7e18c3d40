//! Sampling from given noise: every prediction and every latent.

use super::case::{Case, Of, device};
use super::checks::Checks;
use super::lora_grads::base_model;
use crate::transformer::Question;
use sargent::diffusion::sampler::{Guidance, Velocity, sample};
use sargent::diffusion::sigmas::{Schedule, timestep};
use sargent::error::Result;
use sargent::models::adapter::Adapters;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let (inputs, outputs) = (case.tensors("inputs")?, case.tensors("outputs")?);
    let schedule = Schedule::sampling(case.count(&["hyper", "steps"])?, case.number(&["hyper", "shift"])?)?;
    checks.close(
        "sigmas",
        schedule.sigmas(),
        &outputs.f32("sigmas")?,
        case.tolerance(&["sigmas"], Of::Exact)?,
    );
    checks.close(
        "timesteps",
        &schedule.timesteps(),
        &outputs.f32("timesteps")?,
        case.tolerance(&["timesteps"], Of::Exact)?,
    );

    let model = base_model(case)?;
    let noise = inputs.f32("initial_noise")?;
    let mut shape = inputs.shape("initial_noise")?;
    shape[0] *= 2;
    // One batch: the negative prompts first.
    let both = |name: &str| -> Result<Vec<f32>> {
        Ok([inputs.f32(&format!("negative_{name}"))?, inputs.f32(name)?].concat())
    };
    let (prompt_embeds, pooled) = (both("prompt_embeds")?, both("pooled_prompt_embeds")?);
    let tokens = inputs.shape("prompt_embeds")?[1];
    let mut predictor = model.predictor(device()?, &Adapters::default(), &shape, tokens, &[])?;
    let mut predict = |latents: &[f32], sigma: f64| {
        let velocity = predictor.predict(Question {
            latents: &[latents, latents].concat(),
            timesteps: &vec![timestep(sigma); shape[0]],
            prompt_embeds: &prompt_embeds,
            pooled: &pooled,
        })?;
        let (negative, positive) = velocity.split_at(latents.len());
        Ok(Velocity { negative: Some(negative.to_vec()), positive: positive.to_vec(), skipped: None })
    };
    let [mut latents, mut negatives, mut positives] = [noise.clone(), Vec::new(), Vec::new()];
    let guidance = Guidance(case.number(&["hyper", "guidance_scale"])?);
    let end = sample(&noise, &schedule, guidance, &mut predict, |step| {
        latents.extend_from_slice(step.latents);
        negatives.extend(step.velocity.negative.iter().flatten());
        positives.extend_from_slice(&step.velocity.positive);
        Ok(())
    })?;
    checks.holds("the last latents are returned", latents.ends_with(&end));
    for (name, ours) in [("latents", &latents), ("pred_negative", &negatives), ("pred_positive", &positives)]
    {
        let (expected, limit) = (outputs.f32(name)?, case.tolerance(&[name], Of::Gradient)?);
        checks.close(name, ours, &expected, limit);
        let limits = case.find(&["tolerances", &format!("{name}_per_step")]);
        for (step, (ours, expected)) in ours.chunks(noise.len()).zip(expected.chunks(noise.len())).enumerate()
        {
            let own = limits.and_then(|limits| limits.get(step)?.get("recommended_rel_l2")?.as_f64());
            checks.close(
                &format!("{name} at step {step}"),
                ours,
                expected,
                own.map_or(limit, |own| Of::Gradient.limit(own)),
            );
        }
    }
    Ok(())
}
