//! What a key of an adapter file says: which layer it belongs to, and which part of the adapter it is.

use crate::error::{Error, Result};
use crate::export::layers;
use crate::weights::TensorFile;
use std::collections::BTreeMap;

/// A part of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A of a low-rank pair, `[rank, in]`.
    Down,
    /// B of a low-rank pair, `[out, rank]`.
    Up,
    /// What is divided by the rank to give the scale.
    Alpha,
    /// DoRA's magnitudes.
    Magnitude,
    /// A factor of LoHa: 0 to 3 for `w1_a`, `w1_b`, `w2_a`, `w2_b`.
    Hadamard(u8),
    /// A factor of LoKr: 0 to 5 for `w1`, `w1_a`, `w1_b`, `w2`, `w2_a`, `w2_b`.
    Kronecker(u8),
}

/// Every ending that a trainer gives a key, and what it means; the longest that fits counts.
const ENDINGS: [(&str, Role); 30] = [
    // PEFT, diffusers, SimpleTuner, ai-toolkit.
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_A", Role::Down),
    (".lora_B", Role::Up),
    // kohya, LyCORIS, OneTrainer.
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    // Older diffusers.
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".alpha", Role::Alpha),
    // PEFT, OneTrainer's form of it, LyCORIS.
    (".lora_magnitude_vector", Role::Magnitude),
    (".lora_magnitude_vector.weight", Role::Magnitude),
    (".lora_magnitude_vector.default", Role::Magnitude),
    (".lora_magnitude_vector.default.weight", Role::Magnitude),
    (".dora_scale", Role::Magnitude),
    (".hada_w1_a", Role::Hadamard(0)),
    (".hada_w1_b", Role::Hadamard(1)),
    (".hada_w2_a", Role::Hadamard(2)),
    (".hada_w2_b", Role::Hadamard(3)),
    (".lokr_w1", Role::Kronecker(0)),
    (".lokr_w1_a", Role::Kronecker(1)),
    (".lokr_w1_b", Role::Kronecker(2)),
    (".lokr_w2", Role::Kronecker(3)),
    (".lokr_w2_a", Role::Kronecker(4)),
    (".lokr_w2_b", Role::Kronecker(5)),
];

/// Endings of kinds that are refused, and what they are.
const REFUSED: [(&str, &str); 15] = [
    (".lora_mid.weight", "a Tucker decomposition of a convolution"),
    (".hada_t1", "a Tucker decomposition of a convolution"),
    (".hada_t2", "a Tucker decomposition of a convolution"),
    (".lokr_t2", "a Tucker decomposition of a convolution"),
    (".lora_B.bias", "a LoRA with biases"),
    (".a1.weight", "a GLoRA adapter"),
    (".diff", "a whole difference of weights, not a LoRA"),
    (".diff_b", "a whole difference of weights, not a LoRA"),
    (".w_norm", "a change of a norm, not a LoRA"),
    (".b_norm", "a change of a norm, not a LoRA"),
    (".oft_blocks", "an OFT adapter"),
    (".oft_diag", "an OFT adapter"),
    (".oft_R.weight", "an OFT adapter"),
    (".on_input", "an (IA)^3 adapter"),
    (".set_weight", "a replaced weight, not a LoRA"),
];

/// The keys of one layer by part.
pub(super) type Group = BTreeMap<Role, String>;

/// A file's keys.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// By the layer's name as it stands in the file.
    pub groups: BTreeMap<String, Group>,
    /// Keys of text encoders, by encoder.
    pub text_encoders: BTreeMap<&'static str, Vec<String>>,
    /// Keys that say nothing.
    pub unknown: Vec<String>,
}

/// The layer's name and the part that `key` stands for; `None` if it has no known ending.
pub(super) fn role(key: &str) -> Option<(&str, Role)> {
    let longest = ENDINGS.iter().filter(|(ending, _)| key.ends_with(ending)).max_by_key(|(e, _)| e.len());
    longest.and_then(|(ending, role)| Some((key.strip_suffix(ending)?, *role)))
}

/// Sorts the keys of `file`.
///
/// # Errors
/// Nothing of an adapter in it; a kind that is not supported; a layer that is given in two ways.
pub(super) fn sort(file: &TensorFile) -> Result<Sorted> {
    let mut sorted = Sorted::default();
    for key in file.names() {
        if let Some(encoder) = layers::text_encoder(key) {
            sorted.text_encoders.entry(encoder).or_default().push(key.to_owned());
            continue;
        }
        if let Some((ending, kind)) = REFUSED.iter().find(|(ending, _)| key.ends_with(ending)) {
            let layer = key.strip_suffix(ending).unwrap_or(key);
            if layers::find(layer).is_some() {
                return Err(Error::tensor(
                    file.path(),
                    key,
                    format!("this is {kind}, which is not supported"),
                )
                .hint("LoRA, DoRA, LoHa and LoKr of linear layers are"));
            }
        }
        let Some((name, role)) = role(key) else {
            sorted.unknown.push(key.to_owned());
            continue;
        };
        let group = sorted.groups.entry(name.to_owned()).or_default();
        if group.insert(role, key.to_owned()).is_some() {
            return Err(Error::tensor(file.path(), key, "the layer has this part twice, under two names")
                .hint("download or export the LoRA again"));
        }
    }
    // A stray alpha is no adapter.
    let is_part = |role: &Role| !matches!(role, Role::Alpha | Role::Magnitude);
    let any = sorted.groups.values().any(|group| group.keys().any(is_part));
    if any || !sorted.text_encoders.is_empty() {
        return Ok(sorted);
    }
    Err(Error::weights(
        file.path(),
        "not a LoRA: it holds no lora_A/lora_B, lora_down/lora_up, LoHa or LoKr tensors",
    )
    .hint("a whole model belongs into pretrained_model_name_or_path or --model"))
}
