//! The tables against the golden layout maps and against both layouts of one VAE.

use super::*;
use crate::weights::{
    TensorBytes, TensorFile, TensorSet, WeightMap, fingerprint, open_mmdit, open_vae, write_tensors,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PREFIX: &str = "model.diffusion_model.";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name)
}

/// One direction of a golden layout map: target -> stretches of rows [source, first, end].
type RowMap = BTreeMap<String, Vec<(String, usize, usize)>>;

fn row_map(case: &str, direction: &str) -> RowMap {
    let bytes = std::fs::read(golden(case).join("layout_map.json")).unwrap();
    let maps: Value = serde_json::from_slice(&bytes).unwrap();
    serde_json::from_value(maps[direction].clone()).unwrap()
}

/// Writes the other layout of the file `from`.
fn relaid(from: &Path, map: &RowMap, to: &Path) {
    let file = TensorFile::open(from).unwrap();
    let tensors: Vec<TensorBytes<'_>> = map
        .iter()
        .map(|(target, stretches)| {
            let (mut bytes, mut rows) = (Vec::new(), 0);
            for (source, first, end) in stretches {
                let view = file.view(source).unwrap();
                let row = view.bytes.len() / view.shape[0];
                bytes.extend_from_slice(&view.bytes[first * row..end * row]);
                rows += end - first;
            }
            let view = file.view(&stretches[0].0).unwrap();
            let mut shape = view.shape.to_vec();
            shape[0] = rows;
            TensorBytes { name: target.into(), dtype: view.dtype, shape: shape.into(), bytes: bytes.into() }
        })
        .collect();
    write_tensors(to, &tensors, &BTreeMap::new()).unwrap();
}

fn assert_same(one: &WeightMap, other: &WeightMap) {
    assert!(one.names().eq(other.names()));
    for (a, b) in one.weights().zip(other.weights()) {
        assert_eq!((&a.shape, a.storage, a.layout), (&b.shape, b.storage, b.layout), "{}", a.name);
        let (mut x, mut y) = (vec![0.0; a.elements()], vec![0.0; b.elements()]);
        a.read_f32(&mut x).unwrap();
        b.read_f32(&mut y).unwrap();
        assert!(x == y, "{}", a.name);
    }
    assert_eq!(fingerprint(one).unwrap(), fingerprint(other).unwrap());
}

#[test]
fn names_agree_with_the_golden_maps_in_both_directions() {
    for (case, blocks) in [("mmdit_large", 3), ("mmdit_medium", 2)] {
        for (canonical, stretches) in row_map(case, "to_single_file") {
            let canonical = canonical.strip_prefix(PREFIX).unwrap();
            let mut sources: Vec<String> = stretches.into_iter().map(|(source, ..)| source).collect();
            sources.dedup();
            assert_eq!(MMDIT.to_diffusers(canonical, blocks).unwrap(), sources);
            for (part, source) in sources.iter().enumerate() {
                assert_eq!(MMDIT.to_canonical(source, blocks).unwrap(), (canonical.to_owned(), part));
            }
        }
        for diffusers in row_map(case, "to_diffusers").keys() {
            assert!(MMDIT.find(Keys::Diffusers, diffusers).is_some(), "{diffusers}");
        }
    }
}

#[test]
fn rows_agree_with_the_golden_map() {
    let weights = open_mmdit(&golden("mmdit_large")).unwrap();
    let map = row_map("mmdit_large", "to_single_file");
    assert_eq!(weights.names().count(), map.len());
    for (name, stretches) in map {
        let weight = weights.get(name.strip_prefix(PREFIX).unwrap()).unwrap();
        let rows: Vec<_> = weight.rows.iter().map(|r| (r.tensor.clone(), r.rows.start, r.rows.end)).collect();
        assert_eq!(rows, stretches, "{name}");
    }
}

#[test]
fn both_layouts_of_an_mmdit_give_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    for (case, file, direction) in [
        ("mmdit_large", "diffusion_pytorch_model.safetensors", "to_single_file"),
        ("mmdit_medium", "sd3.5_medium_mini.safetensors", "to_diffusers"),
    ] {
        let (given, other) = (golden(case).join(file), folder.path().join(case));
        relaid(&given, &row_map(case, direction), &other);
        assert_same(&open_mmdit(&given).unwrap(), &open_mmdit(&other).unwrap());
    }
}

#[test]
fn a_bare_single_file_needs_no_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare.safetensors");
    let map = row_map("mmdit_large", "to_single_file");
    let without = map.into_iter().map(|(name, rows)| (name[PREFIX.len()..].to_owned(), rows)).collect();
    relaid(&golden("mmdit_large/diffusion_pytorch_model.safetensors"), &without, &bare);
    assert_same(&open_mmdit(&bare).unwrap(), &open_mmdit(&golden("mmdit_large")).unwrap());
}

#[test]
fn both_layouts_of_a_vae_give_the_same_weights() {
    let single = golden("vae/vae_single_file.safetensors");
    let diffusers = golden("vae/diffusion_pytorch_model.safetensors");
    let weights = open_vae(&diffusers).unwrap();
    assert_eq!(weights.names().count(), 244);
    assert_same(&weights, &open_vae(&single).unwrap());
}

/// The deepest level runs first: `up.3` is diffusers' `up_blocks.0`.
#[test]
fn the_decoder_counts_its_levels_from_the_other_end() {
    let expected = ["decoder.up_blocks.0.resnets.1.conv2.weight"];
    assert_eq!(VAE.to_diffusers("decoder.up.3.block.1.conv2.weight", 4).unwrap(), expected);
    let (canonical, _) = VAE.to_canonical("decoder.up_blocks.2.upsamplers.0.conv.bias", 4).unwrap();
    assert_eq!(canonical, "decoder.up.1.upsample.conv.bias");
    let (canonical, _) = VAE.to_canonical("encoder.down_blocks.2.resnets.0.conv_shortcut.bias", 4).unwrap();
    assert_eq!(canonical, "encoder.down.2.block.0.nin_shortcut.bias");
}

#[test]
fn kernels_are_read_channels_last() {
    let path = golden("vae/diffusion_pytorch_model.safetensors");
    let vae = open_vae(&path).unwrap();
    let weight = vae.expect_shape("encoder.conv_in.weight", &[4, 3, 3, 3].into()).unwrap();
    assert_eq!(weight.layout, crate::weights::Layout::ChannelsLast);
    let stored = TensorFile::open(&path).unwrap().read_f32("encoder.conv_in.weight").unwrap();
    let mut read = vec![0.0; stored.len()];
    weight.read_f32(&mut read).unwrap();
    for (out, channel, y, x) in (0..4).flat_map(|o| (0..3).map(move |c| (o, c, c % 3, (o + c) % 3))) {
        assert_eq!(
            read[((out * 3 + y) * 3 + x) * 3 + channel],
            stored[((out * 3 + channel) * 3 + y) * 3 + x]
        );
    }
    let mut rows = vec![0.0; 2 * 27];
    weight.read_rows_f32(1..3, &mut rows).unwrap();
    assert_eq!(rows, read[27..81]);
}

#[test]
fn every_tensor_of_the_bundled_encoders_has_a_rule() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35");
    for (folder, table) in [("text_encoder", &CLIP_L), ("text_encoder_2", &CLIP_G), ("text_encoder_3", &T5)] {
        let tensors = TensorSet::open(&model.join(folder)).unwrap();
        let weights = table.load(&tensors).unwrap();
        assert!(weights.names().eq(tensors.names()), "{folder}");
    }
}
