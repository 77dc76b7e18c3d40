//! Noise schedules, timestep densities, loss weightings and learning rates.

use super::case::{Case, Of};
use super::checks::Checks;
use sargent::diffusion::density::{Density, LossWeighting, schedule_index};
use sargent::diffusion::sigmas::{Schedule, TRAINING_LEVELS, timestep, training_sigmas};
use sargent::error::{Error, Result};
use sargent::optimizer::schedule::{LearningRate, ScheduleKind};
use serde_json::Value;

/// The shift of the table that the densities' indices point into.
const DENSITY_SHIFT: f64 = 3.0;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    checks.holds("training levels", case.count(&["hyper", "num_train_timesteps"])? == TRAINING_LEVELS);
    check_noise_schedules(case, checks)?;
    check_densities(case, checks)?;
    check_weightings(case, checks)?;
    check_learning_rates(case, checks)
}

fn check_noise_schedules(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("noise_schedules")?;
    let limit = case.tolerance(&["noise_schedules"], Of::Exact)?;
    for shift in case.numbers(&["hyper", "shifts"])? {
        let mut close = |name: &str, ours: &[f64]| -> Result<()> {
            let name = format!("shift{shift}.{name}");
            checks.close(&name, ours, &expected.f32(&name)?, limit);
            Ok(())
        };
        let training = training_sigmas(shift);
        let times: Vec<f64> = training.iter().map(|&sigma| f64::from(timestep(sigma))).collect();
        close("train.sigmas", &training)?;
        close("train.timesteps", &times)?;
        for steps in case.numbers(&["hyper", "steps"])? {
            let schedule = Schedule::sampling(steps as usize, shift)?;
            let times: Vec<f64> = schedule.timesteps().into_iter().map(f64::from).collect();
            close(&format!("steps{steps}.sigmas"), schedule.sigmas())?;
            close(&format!("steps{steps}.timesteps"), &times)?;
        }
    }
    Ok(())
}

fn density(about: &Value) -> Result<Density> {
    let number =
        |key: &str| about[key].as_f64().ok_or_else(|| Error::usage(format!("a density without {key}")));
    Ok(match about["weighting_scheme"].as_str() {
        Some("logit_normal") => {
            Density::LogitNormal { mean: number("logit_mean")?, std: number("logit_std")? }
        }
        Some("mode") => Density::Mode { scale: number("mode_scale")? },
        _ => Density::Uniform,
    })
}

fn check_densities(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("densities")?;
    let limit = case.tolerance(&["densities"], Of::Exact)?;
    let table = training_sigmas(DENSITY_SHIFT);
    for name in case.names(&["hyper", "densities"])? {
        let density = density(case.value(&["hyper", "densities", name])?)?;
        let u = expected.f32(&format!("{name}.u"))?;
        let base = expected.f32(&format!("{name}.base"))?;
        let ours: Vec<f64> = base.iter().map(|&base| density.u(f64::from(base))).collect();
        checks.close(&format!("{name}.u"), &ours, &u, limit);
        let indices: Vec<usize> = u.iter().map(|&u| schedule_index(u)).collect();
        let last = TRAINING_LEVELS as i64 - 1;
        let expected_indices =
            expected.i64(&format!("{name}.schedule_index"))?.into_iter().map(|i| i.clamp(0, last));
        checks
            .holds(&format!("{name}.schedule_index"), expected_indices.eq(indices.iter().map(|&i| i as i64)));
        let sigmas: Vec<f64> = indices.iter().map(|&index| table[index]).collect();
        checks.close(&format!("{name}.sigma"), &sigmas, &expected.f32(&format!("{name}.sigma"))?, limit);
    }
    Ok(())
}

fn check_weightings(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("densities")?;
    let limit = case.tolerance(&["densities"], Of::Exact)?;
    let sigmas = expected.f32("weighting.sigmas")?;
    let schemes = expected.names().filter_map(|name| name.strip_prefix("weighting."));
    for scheme in schemes.filter(|scheme| *scheme != "sigmas") {
        let weighting = match scheme {
            "sigma_sqrt" => LossWeighting::SigmaSqrt,
            "cosmap" => LossWeighting::Cosmap,
            _ => LossWeighting::None,
        };
        let ours: Vec<f64> = sigmas.iter().map(|&sigma| weighting.weight(f64::from(sigma))).collect();
        let name = format!("weighting.{scheme}");
        checks.close(&name, &ours, &expected.f32(&name)?, limit);
    }
    Ok(())
}

/// The schedule that `about` names, with the case's lengths and base rate.
pub fn learning_rate(about: &Value, base: f64, warmup: u64, total: u64, end: f64) -> Result<LearningRate> {
    let kind = match about["name"].as_str() {
        Some("constant") => ScheduleKind::Constant,
        Some("constant_with_warmup") => ScheduleKind::ConstantWithWarmup,
        Some("linear") => ScheduleKind::Linear,
        Some("cosine") => ScheduleKind::Cosine,
        Some("cosine_with_restarts") => ScheduleKind::CosineWithRestarts,
        Some("polynomial") => ScheduleKind::Polynomial,
        other => return Err(Error::usage(format!("there is no learning-rate schedule {other:?}"))),
    };
    let number = |key: &str| about[key].as_f64().unwrap_or(1.0);
    Ok(LearningRate { kind, base, warmup, total, end, power: number("power"), cycles: number("num_cycles") })
}

fn check_learning_rates(case: &Case, checks: &mut Checks) -> Result<()> {
    let expected = case.tensors("learning_rates")?;
    let limit = case.tolerance(&["learning_rates"], Of::Exact)?;
    let number = |key: &str| case.number(&["hyper", "learning_rate", key]);
    let (base, warmup, total) = (number("base")?, number("warmup")? as u64, number("total")? as u64);
    let end = case.number(&["hyper", "learning_rate", "polynomial_lr_end"])?;
    let steps = expected.i64("steps")?;
    for name in case.names(&["hyper", "learning_rate", "kinds"])? {
        let about = case.value(&["hyper", "learning_rate", "kinds", name])?;
        let rate = learning_rate(about, base, warmup, total, end)?;
        let ours: Vec<f64> = steps.iter().map(|&step| rate.at(step as u64)).collect();
        checks.close(&format!("learning rate {name}"), &ours, &expected.f64(name)?, limit);
    }
    Ok(())
}
