use super::layers::{Conv, HALVE, Recorder};
use super::*;
use crate::autograd::Persistent;
use crate::device::cpu::Cpu;
use crate::error::ErrorKind;
use crate::kernels::Shapes;
use crate::random::{Purpose, Stream};
use crate::weights::{TensorFile, open_vae};
use serde_json::Value;
use std::path::{Path, PathBuf};

const LAYOUTS: [&str; 2] = ["diffusion_pytorch_model.safetensors", "vae_single_file.safetensors"];

/// Where a case says nothing.
const TOLERANCE: f64 = 2e-5;

const CONSTANTS: VaeConstants =
    VaeConstants { scaling_factor: 1.5305, shift_factor: 0.0609, norm_num_groups: 2 };

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/golden/vae")).join(name)
}

fn golden_weights(layout: &str) -> WeightMap {
    open_vae(&golden(layout)).unwrap()
}

fn golden_vae() -> Vae {
    Vae::open(&golden_weights(LAYOUTS[0]), &CONSTANTS).unwrap()
}

fn engine() -> Engine {
    Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap()
}

fn golden_tensors(file: &str) -> impl Fn(&str) -> Vec<f32> {
    let file = TensorFile::open(&golden(file)).unwrap();
    move |name| file.read_f32(name).unwrap()
}

fn tolerance(name: &str) -> f64 {
    let case: Value = serde_json::from_slice(&std::fs::read(golden("case.json")).unwrap()).unwrap();
    case["tolerances"][name]["recommended_rel_l2"].as_f64().unwrap_or(TOLERANCE)
}

fn normals(lane: u32, elements: usize) -> Vec<f32> {
    let mut values = vec![0.0; elements];
    Stream::new(1, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
    values
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let square = |value: f64| value * value;
    let distance: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(a - b))).sum();
    let norm: f64 = expected.iter().map(|&b| square(f64::from(b))).sum();
    assert!(distance.sqrt() <= tolerance * norm.sqrt(), "{what} is off by {}", (distance / norm).sqrt());
}

/// The outputs of a program, and the named tensors `[1, h, w, c]` as planes.
fn run_with(
    vae: &Vae,
    direction: Direction,
    input: &[f32],
    names: &[&str],
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut recording = vae.record(direction, 48, 64).unwrap();
    let named: Vec<TensorId> = names.iter().map(|name| recording.program.find(name).unwrap()).collect();
    named.iter().for_each(|&id| recording.program.output(id));
    let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
    let planned = engine.plan(recording.program).unwrap();
    engine.load_weights(&planned.program, &ModelWeights(vae.weights())).unwrap();
    engine.reserve(&planned).unwrap();
    engine.write(&planned, recording.input, input).unwrap();
    engine.run(&planned).unwrap();
    let read = |&id: &TensorId| engine.read(&planned, id).unwrap();
    let planes = |id: &TensorId| {
        let (pixels, channels) = (read(id), planned.program.shape(*id).columns());
        (0..channels).flat_map(|channel| pixels[channel..].iter().step_by(channels).copied()).collect()
    };
    (recording.outputs.iter().map(read).collect(), named.iter().map(planes).collect())
}

fn channel_means(planes: &[f32], channels: usize) -> Vec<f32> {
    let planes = planes.chunks(planes.len() / channels);
    planes.map(|plane| plane.iter().sum::<f32>() / plane.len() as f32).collect()
}

#[test]
fn encoder_and_decoder_equal_the_golden_case_in_both_layouts() {
    let (inputs, outputs) = (golden_tensors("inputs.safetensors"), golden_tensors("outputs.safetensors"));
    let intermediates = golden_tensors("intermediates.safetensors");
    let encoder =
        ["conv_in", "down_blocks.0", "down_blocks.1", "down_blocks.2", "down_blocks.3", "mid_block"];
    let decoder = ["conv_in", "mid_block", "up_blocks.0", "up_blocks.1", "up_blocks.2", "up_blocks.3"];
    for layout in LAYOUTS {
        let vae = Vae::open(&golden_weights(layout), &CONSTANTS).unwrap();
        let sides = [
            (Direction::Encode, "encoder", encoder, "image", vec!["mean", "logvar"]),
            (Direction::Decode, "decoder", decoder, "z", vec!["decoded"]),
        ];
        for (direction, side, stages, input, results) in sides {
            let names = stages.map(|stage| format!("{side}.{stage}"));
            let names = names.each_ref().map(String::as_str);
            let (found, stages) = run_with(&vae, direction, &inputs(input), &names);
            for (name, found) in results.iter().zip(&found) {
                assert_close(name, found, &outputs(name), tolerance(name));
            }
            for (name, found) in names.iter().zip(&stages) {
                let expected = intermediates(&format!("channel_mean.{name}"));
                assert_close(name, &channel_means(found, expected.len()), &expected, TOLERANCE);
                if name.ends_with("mid_block") {
                    let full = format!("full.{name}");
                    assert_close(&full, found, &intermediates(&full), tolerance(&full));
                }
            }
        }
    }
}

#[test]
fn latents_are_shifted_before_they_are_scaled() {
    let (inputs, outputs) = (golden_tensors("inputs.safetensors"), golden_tensors("outputs.safetensors"));
    let mut vae = golden_vae();
    let latents = vae.encode(&mut engine(), &inputs("image"), (48, 64)).unwrap();
    let scaled: Vec<f32> = latents.mean.iter().map(|&z| scale(z, &CONSTANTS)).collect();
    assert_close("latents", &scaled, &outputs("latents_from_mean"), tolerance("latents_from_mean"));
    let scaled: Vec<f32> = inputs("z").iter().map(|&z| scale(z, &CONSTANTS)).collect();
    assert_close(
        "decoded",
        &vae.decode(&mut engine(), &scaled, (48, 64)).unwrap(),
        &outputs("decoded"),
        tolerance("decoded"),
    );
    assert_eq!(scale(CONSTANTS.shift_factor, &CONSTANTS), 0.0);
    assert_eq!(unscale(0.0, &CONSTANTS), CONSTANTS.shift_factor);
}

#[test]
fn bands_of_rows_do_not_change_the_result() {
    let (width, height) = (56, 40);
    let (picture, latents) = (normals(1, 3 * width * height), normals(2, 16 * 5 * 7));
    let mut whole = golden_vae().with_band_rows(height);
    let encoded = whole.encode(&mut engine(), &picture, (width, height)).unwrap();
    let decoded = whole.decode(&mut engine(), &latents, (width, height)).unwrap();
    for band_rows in [1, 3, 7, 0] {
        let mut banded = golden_vae().with_band_rows(band_rows);
        let found = banded.encode(&mut engine(), &picture, (width, height)).unwrap();
        assert_close("mean", &found.mean, &encoded.mean, 1e-5);
        assert_close("logvar", &found.logvar, &encoded.logvar, 1e-5);
        assert_close(
            "decoded",
            &banded.decode(&mut engine(), &latents, (width, height)).unwrap(),
            &decoded,
            1e-5,
        );
    }
}

/// Halving pads on the right and at the bottom alone: a window starts at every even pixel.
#[test]
fn halving_pads_right_and_bottom_only() {
    let weights = golden_weights(LAYOUTS[0]);
    let weight = weights.get("encoder.down.0.downsample.conv.weight").unwrap();
    let channels = weight.row_count();
    let mut taps = vec![0.0; weight.elements()];
    weight.read_f32(&mut taps).unwrap();
    let mut bias = vec![0.0; channels];
    weights.get("encoder.down.0.downsample.conv.bias").unwrap().read_f32(&mut bias).unwrap();
    // The last pixel of 8 x 8 lies in the middle of the last window; (0, 0) is the first one's corner.
    for (corner, window, tap) in [((7, 7), (3, 3), (1, 1)), ((0, 0), (0, 0), (0, 0))] {
        let mut recorder = Recorder::new(&weights, 2, 0);
        let x = recorder.program.input("x", [1, 8, 8, channels]);
        let y = recorder.conv(x, Conv::new("encoder.down.0.downsample.conv", HALVE, channels)).unwrap();
        recorder.program.output(y);
        let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
        let planned = engine.plan(recorder.program).unwrap();
        engine.load_weights(&planned.program, &ModelWeights(&weights)).unwrap();
        engine.reserve(&planned).unwrap();
        let mut lit = vec![0.0; 64 * channels];
        lit[(corner.0 * 8 + corner.1) * channels] = 1.0;
        engine.write(&planned, x, &lit).unwrap();
        engine.run(&planned).unwrap();
        for (index, found) in engine.read(&planned, y).unwrap().iter().enumerate() {
            let (out, place) = (index % channels, index / channels);
            let at_window = place == window.0 * 4 + window.1;
            let tap = taps[((out * 3 + tap.0) * 3 + tap.1) * channels];
            let expected = bias[out] + if at_window { tap } else { 0.0 };
            assert_eq!(*found, expected, "corner {corner:?}, place {place}");
        }
    }
}

/// One lit corner in a dark picture; the means are those of diffusers in f64.
#[test]
fn one_lit_corner_gives_diffusers_means() {
    let mut picture = vec![-1.0; 3 * 64];
    picture.chunks_mut(64).for_each(|plane| plane[63] = 1.0);
    let latents = golden_vae().encode(&mut engine(), &picture, (8, 8)).unwrap();
    assert_close("mean", &latents.mean, &LIT_CORNER_MEANS, 1e-5);
}

const LIT_CORNER_MEANS: [f32; 16] = [
    -0.0311506, 0.2673604, 0.1504286, -0.3364101, -0.2170898, -0.103664, 0.1003574, -0.6730724, 0.527723,
    0.2029673, 0.1380611, 0.7771962, 0.0476635, 0.0737261, -0.2722192, 0.0860937,
];

#[test]
fn a_plan_is_what_the_arena_then_holds() {
    let limits = Cpu::new().limits();
    for (width, height) in [(48, 64), (8, 8), (128, 72)] {
        let (mut vae, mut engine) = (golden_vae(), engine());
        let planned = vae.plan_encode(width, height, &limits).unwrap();
        vae.encode(&mut engine, &vec![0.5; 3 * width * height], (width, height)).unwrap();
        assert_eq!((engine.arena_bytes(), engine.weight_bytes()), (planned.arena, planned.weights));

        let (mut vae, mut engine) = (golden_vae(), self::engine());
        let planned = vae.plan_decode(width, height, &limits).unwrap();
        let latents = vec![0.5; vae.config().latent_elements(width, height)];
        vae.decode(&mut engine, &latents, (width, height)).unwrap();
        assert_eq!((engine.arena_bytes(), engine.weight_bytes()), (planned.arena, planned.weights));
    }
}

#[test]
fn the_miniature_is_read_off_its_shapes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35/vae");
    let config = VaeConfig::of(&open_vae(&path).unwrap(), &VaeConstants::default()).unwrap();
    let level = |resnets| move |channels| Level { channels, resnets };
    assert_eq!(config.encoder, [16, 32, 48, 48].map(level(1)));
    assert_eq!(config.decoder, [16, 32, 48, 48].map(level(2)));
    assert_eq!((config.latent_channels, config.downscale()), (16, 8));
}

#[test]
fn pictures_of_a_wrong_size_are_refused() {
    let mut vae = golden_vae();
    for (width, height) in [(60, 64), (64, 4), (0, 8)] {
        let error = vae.encode(&mut engine(), &vec![0.0; 3 * width * height], (width, height)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Shape);
        assert!(error.hint.contains("multiples of 8"), "{error}");
    }
    let error = vae.encode(&mut engine(), &[0.0; 7], (8, 8)).err().unwrap();
    assert!(error.cause.contains("7 values for 192"), "{error}");
    let error = vae.decode(&mut engine(), &[0.0; 7], (8, 8)).err().unwrap();
    assert!(error.cause.contains("7 values for 16"), "{error}");
}

#[test]
fn a_tensor_that_is_missing_or_does_not_fit_is_named() {
    let whole = golden_weights(LAYOUTS[0]);
    let refused = |weights: &WeightMap, constants: &VaeConstants| {
        let vae = Vae::open(weights, constants);
        let encoded = vae.and_then(|mut vae| vae.encode(&mut engine(), &[0.0; 192], (8, 8)));
        let error = encoded.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Weights);
        error.to_string()
    };
    for name in
        ["encoder.down.0.block.0.conv1.weight", "encoder.mid.attn_1.k.bias", "encoder.norm_out.weight"]
    {
        let mut weights = whole.clone();
        weights.remove(name).unwrap();
        let message = refused(&weights, &CONSTANTS);
        assert!(message.contains(name), "{message}");
    }
    let mut weights = whole.clone();
    let mut odd = weights.remove("encoder.down.1.block.0.conv2.weight").unwrap();
    odd.shape = [8, 3, 3, 6].into();
    weights.insert(odd);
    let message = refused(&weights, &CONSTANTS);
    assert!(message.contains("encoder.down.1.block.0.conv2.weight"), "{message}");
    assert!(message.contains("[8, 3, 3, 8]") && message.contains("[8, 3, 3, 6]"), "{message}");

    let groups = VaeConstants { norm_num_groups: 5, ..CONSTANTS };
    let message = refused(&whole, &groups);
    assert!(
        message.contains("encoder.down.0.block.0.norm1.weight") && message.contains("5 groups"),
        "{message}"
    );
}
