//! Euler sampling with classifier-free and skip-layer guidance; the model is whatever the caller evaluates.

use super::sigmas::Schedule;
use crate::error::{Error, Result};

/// How strongly the prompt is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance(pub f64);

impl Guidance {
    /// Whether the negative prompt is evaluated at all; at scale 1 and below only the positive one is.
    pub fn is_on(self) -> bool {
        self.0 > 1.0
    }
}

/// Guidance away from what the model predicts without some of its blocks (Hyung et al., arXiv 2411.18664), as
/// diffusers does it for SD3.5 Medium: on top of classifier-free guidance, in a part of the steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkipLayerGuidance {
    /// Acts after this share of the steps.
    pub start: f64,
    /// Acts before this share of the steps.
    pub stop: f64,
    /// Factor on (prediction - prediction without the blocks).
    pub scale: f64,
}

impl SkipLayerGuidance {
    /// Whether it acts at `step` of `steps`, counted from 0; both limits are exclusive, so the first step never has it.
    pub fn acts_at(self, step: usize, steps: usize) -> bool {
        let (step, steps) = (step as f64, steps as f64);
        step > steps * self.start && step < steps * self.stop
    }
}

/// What the model predicts for one latent.
#[derive(Debug, Clone, PartialEq)]
pub struct Velocity {
    /// For the negative prompt; needed when guidance is on.
    pub negative: Option<Vec<f32>>,
    /// For the prompt.
    pub positive: Vec<f32>,
    /// For the prompt without some blocks, and the factor that leads away from it; where skip-layer guidance acts.
    pub skipped: Option<(Vec<f32>, f64)>,
}

/// What an observer sees after each step.
#[derive(Debug)]
pub struct StepView<'a> {
    /// Index of the step, from 0.
    pub step: usize,
    /// Noise level that the model saw.
    pub sigma: f64,
    /// The model's predictions.
    pub velocity: &'a Velocity,
    /// The latents after the step.
    pub latents: &'a [f32],
}

/// Walks `initial_noise` down `schedule` and returns the latents at sigma 0.
///
/// `model` gets the latents and sigma (its time input is `sigmas::timestep(sigma)`); `observe` is called after
/// every step. An error of either ends the walk.
///
/// # Errors
/// Those of `model` and `observe`; predictions of another length; guidance without a negative prediction.
pub fn sample(
    initial_noise: &[f32],
    schedule: &Schedule,
    guidance: Guidance,
    mut model: impl FnMut(&[f32], f64) -> Result<Velocity>,
    mut observe: impl FnMut(StepView) -> Result<()>,
) -> Result<Vec<f32>> {
    let sigmas = schedule.sigmas_f32();
    let mut latents = initial_noise.to_vec();
    for step in 0..schedule.steps() {
        let sigma = schedule.sigmas()[step];
        let velocity = model(&latents, sigma)?;
        check_lengths(&velocity, latents.len())?;
        let step_size = sigmas[step + 1] - sigmas[step];
        match (&velocity.negative, guidance.is_on()) {
            (Some(negative), true) => {
                let mut direction = guided(negative, &velocity.positive, guidance);
                if let Some((skipped, scale)) = &velocity.skipped {
                    lead_away(&mut direction, &velocity.positive, skipped, *scale);
                }
                euler_step(&mut latents, &direction, step_size);
            }
            (None, true) => return Err(Error::shape("sampler", "guidance needs a negative prediction")),
            (_, false) => euler_step(&mut latents, &velocity.positive, step_size),
        }
        observe(StepView { step, sigma, velocity: &velocity, latents: &latents })?;
    }
    Ok(latents)
}

/// `negative + scale * (positive - negative)`, element by element.
pub fn guided(negative: &[f32], positive: &[f32], guidance: Guidance) -> Vec<f32> {
    let scale = guidance.0 as f32;
    negative
        .iter()
        .zip(positive)
        .map(|(&negative, &positive)| negative + scale * (positive - negative))
        .collect()
}

/// `direction += scale * (positive - skipped)`, element by element.
fn lead_away(direction: &mut [f32], positive: &[f32], skipped: &[f32], scale: f64) {
    for ((direction, &positive), &skipped) in direction.iter_mut().zip(positive).zip(skipped) {
        *direction += scale as f32 * (positive - skipped);
    }
}

/// `latents += step_size * velocity`, where `step_size` is the next sigma minus this one (negative).
pub fn euler_step(latents: &mut [f32], velocity: &[f32], step_size: f32) {
    for (latent, &velocity) in latents.iter_mut().zip(velocity) {
        *latent += step_size * velocity;
    }
}

fn check_lengths(velocity: &Velocity, expected: usize) -> Result<()> {
    let skipped = velocity.skipped.iter().map(|(skipped, _)| skipped);
    let lengths = velocity.negative.iter().chain([&velocity.positive]).chain(skipped).map(Vec::len);
    match lengths.into_iter().find(|&length| length != expected) {
        None => Ok(()),
        Some(length) => Err(Error::shape(
            "sampler",
            format!("the model predicted {length} values for latents of {expected}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positive_only(positive: Vec<f32>) -> Velocity {
        Velocity { negative: None, positive, skipped: None }
    }

    #[test]
    fn one_step_along_the_true_velocity_returns_the_clean_latents() {
        let clean = [0.5f32, -2.0, 3.25, 0.0];
        let noise = [1.5f32, 0.25, -1.0, 2.0];
        let velocity: Vec<f32> = noise.iter().zip(&clean).map(|(noise, clean)| noise - clean).collect();
        let schedule = Schedule::sampling(1, 3.0).unwrap();
        let model = |_: &[f32], _: f64| Ok(positive_only(velocity.clone()));
        assert_eq!(sample(&noise, &schedule, Guidance(1.0), model, |_| Ok(())).unwrap(), clean);
    }

    #[test]
    fn a_straight_path_is_followed_at_any_number_of_steps() {
        let (clean, noise) = (0.75f32, -1.25f32);
        for steps in [2, 5, 28] {
            let schedule = Schedule::sampling(steps, 3.0).unwrap();
            let mut seen = Vec::new();
            let model = |latents: &[f32], sigma: f64| {
                let expected = (1.0 - sigma) * f64::from(clean) + sigma * f64::from(noise);
                assert!((f64::from(latents[0]) - expected).abs() < 1e-5);
                Ok(positive_only(vec![noise - clean]))
            };
            let end = sample(&[noise], &schedule, Guidance(0.0), model, |view| {
                seen.push(view.step);
                Ok(())
            });
            assert!((end.unwrap()[0] - clean).abs() < 1e-5);
            assert_eq!(seen, (0..steps).collect::<Vec<_>>());
        }
    }

    #[test]
    fn guidance_extrapolates_from_negative_to_positive() {
        assert_eq!(guided(&[1.0, 2.0], &[2.0, 0.0], Guidance(4.5)), [5.5, -7.0]);
        assert!(!Guidance(1.0).is_on() && !Guidance(0.0).is_on() && Guidance(1.01).is_on());
        let schedule = Schedule::sampling(1, 3.0).unwrap();
        let both = |_: &[f32], _: f64| {
            Ok(Velocity { negative: Some(vec![1.0]), positive: vec![2.0], skipped: None })
        };
        let end = |guidance| sample(&[0.0], &schedule, guidance, both, |_| Ok(())).unwrap()[0];
        assert_eq!(end(Guidance(3.0)), -4.0);
        assert_eq!(end(Guidance(1.0)), -2.0);
    }

    #[test]
    fn skip_layer_guidance_leads_away_from_the_model_without_its_blocks() {
        let schedule = Schedule::sampling(1, 3.0).unwrap();
        let model = |_: &[f32], _: f64| {
            Ok(Velocity { negative: Some(vec![1.0]), positive: vec![2.0], skipped: Some((vec![1.5], 2.8)) })
        };
        // 1 + 3 (2 - 1) + 2.8 (2 - 1.5), walked from sigma 1 to 0.
        let end = sample(&[0.0], &schedule, Guidance(3.0), model, |_| Ok(())).unwrap()[0];
        assert!((end + 5.4).abs() < 1e-6);
    }

    #[test]
    fn skip_layer_guidance_acts_strictly_between_its_limits() {
        let guidance = SkipLayerGuidance { start: 0.01, stop: 0.2, scale: 2.8 };
        let acting =
            |steps: usize| (0..steps).filter(|&step| guidance.acts_at(step, steps)).collect::<Vec<_>>();
        assert_eq!(acting(28), [1, 2, 3, 4, 5]);
        assert_eq!(acting(5), [] as [usize; 0]);
        assert_eq!(acting(20), [1, 2, 3]);
    }

    #[test]
    fn wrong_predictions_and_errors_end_the_walk() {
        let schedule = Schedule::sampling(3, 3.0).unwrap();
        let run = |velocity: Velocity| {
            sample(&[0.0; 4], &schedule, Guidance(2.0), |_, _| Ok(velocity.clone()), |_| Ok(())).unwrap_err()
        };
        assert!(run(positive_only(vec![0.0; 4])).cause.contains("negative"));
        assert!(run(positive_only(vec![0.0; 3])).cause.contains("3 values"));
        let stop = |_: StepView| Err(Error::usage("stopped"));
        let model = |_: &[f32], _: f64| Ok(positive_only(vec![0.0; 4]));
        assert_eq!(sample(&[0.0; 4], &schedule, Guidance(1.0), model, stop).unwrap_err().cause, "stopped");
    }
}
