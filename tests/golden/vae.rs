//! The VAE: encoded and decoded pictures and what lies between, from both layouts of its weights.

use super::case::{Case, Of, Tensors, device};
use super::checks::Checks;
use sargent::autograd::{Engine, Persistent};
use sargent::error::Result;
use sargent::kernels::Shapes;
use sargent::models::vae::{Direction, Recording, Vae, scale};
use sargent::models::weight_source::ModelWeights;
use sargent::weights::{VaeConstants, WeightMap, open_vae};

/// Where the case recommends none: means over a stage's pixels.
const MEAN_LIMIT: f64 = 2e-5;

/// Tensors by their golden names.
type Found = Vec<(String, Vec<f32>)>;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let constants = VaeConstants {
        scaling_factor: case.number(&["hyper", "config", "scaling_factor"])? as f32,
        shift_factor: case.number(&["hyper", "config", "shift_factor"])? as f32,
        norm_num_groups: case.count(&["hyper", "config", "norm_num_groups"])?,
    };
    let layouts: Vec<_> = case
        .names(&["files"])?
        .into_iter()
        .filter_map(|file| Some((file, open_vae(&case.path(file)).ok()?)))
        .collect();
    checks.holds("both layouts are there", layouts.len() == 2);
    let (inputs, outputs, intermediates) =
        (case.tensors("inputs")?, case.tensors("outputs")?, case.tensors("intermediates")?);
    for (file, weights) in &layouts {
        let ours = run(weights, constants, &inputs, &intermediates)?;
        for (tensors, names) in [(&outputs, outputs.names()), (&intermediates, intermediates.names())] {
            for name in names {
                let what = format!("{name} from {file}");
                let limit = case.tolerance_or(&[name], MEAN_LIMIT, Of::Output);
                let found: Vec<_> = ours.iter().filter(|(found, _)| found == name).collect();
                if found.is_empty() {
                    checks.fail(&what, "this was not computed");
                }
                for (_, ours) in found {
                    checks.close(&what, ours, &tensors.f32(name)?, limit);
                }
            }
        }
    }
    Ok(())
}

fn run(weights: &WeightMap, constants: VaeConstants, inputs: &Tensors, kept: &Tensors) -> Result<Found> {
    let shape = inputs.shape("image")?;
    let size = (shape[3], shape[2]);
    let mut vae = Vae::open(weights, &constants)?;
    let (encoded, mut found) = program(&vae, Direction::Encode, size, &inputs.f32("image")?, kept)?;
    let (decoded, stages) = program(&vae, Direction::Decode, size, &inputs.f32("z")?, kept)?;
    found.extend(stages);
    let [mean, logvar] = [0, 1].map(|index| encoded[index].clone());
    let spread = logvar.iter().zip(inputs.f32("eps")?).map(|(logvar, eps)| (0.5 * logvar).exp() * eps);
    let sample: Vec<f32> = mean.iter().zip(spread).map(|(mean, spread)| mean + spread).collect();
    let scaled = |values: &[f32]| values.iter().map(|&z| scale(z, &constants)).collect::<Vec<f32>>();
    found.push(("latents_from_mean".to_owned(), scaled(&mean)));
    found.push(("latents_from_sample".to_owned(), scaled(&sample)));
    found.extend([("mean", mean), ("logvar", logvar), ("sample", sample)].map(|(n, v)| (n.to_owned(), v)));
    // The same through the interface that takes latents as the transformer has them.
    let latents = scaled(&inputs.f32("z")?);
    let mut engine = Engine::new(device()?, 0, Persistent::new(1))?;
    found.push(("decoded".to_owned(), vae.decode(&mut engine, &latents, size)?));
    found.push(("decoded".to_owned(), decoded[0].clone()));
    Ok(found)
}

/// One direction's outputs and the stages that `kept` names.
fn program(
    vae: &Vae,
    direction: Direction,
    size: (usize, usize),
    input_values: &[f32],
    kept: &Tensors,
) -> Result<(Vec<Vec<f32>>, Found)> {
    let Recording { mut program, input, outputs } = vae.record(direction, size.0, size.1)?;
    let stage = |name: &str| name.trim_start_matches("full.").trim_start_matches("channel_mean.").to_owned();
    let stages: Vec<_> = kept.names().filter_map(|name| Some((name, program.find(&stage(name))?))).collect();
    stages.iter().for_each(|&(_, id)| program.output(id));
    let mut engine = Engine::new(device()?, 0, Persistent::new(1))?;
    let planned = engine.plan(program)?;
    engine.reserve(&planned)?;
    engine.load_weights(&planned.program, &ModelWeights(vae.weights()))?;
    engine.write(&planned, input, input_values)?;
    engine.run(&planned)?;
    let read = |id| engine.read(&planned, id);
    let mut found = Vec::new();
    for (name, id) in stages {
        let (values, channels): (Vec<f32>, usize) = (read(id)?, planned.program.shape(id).columns());
        let of_channel = |channel: usize| values.iter().skip(channel).step_by(channels);
        let values = if name.starts_with("full.") {
            (0..channels).flat_map(|channel| of_channel(channel).copied()).collect()
        } else {
            let mean = |channel| {
                let sum: f64 = of_channel(channel).map(|&x| f64::from(x)).sum();
                (sum / (values.len() / channels) as f64) as f32
            };
            (0..channels).map(mean).collect()
        };
        found.push((name.to_owned(), values));
    }
    Ok((outputs.into_iter().map(read).collect::<Result<_>>()?, found))
}
