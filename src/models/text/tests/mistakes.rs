//! One test for each mistake that implementations are known to make, and for files that do not fit.

use super::*;
use crate::autograd::Program;
use crate::autograd::program::Work;
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::kernels::attention::{Mask, relative_bucket};

/// All launches of a program.
fn launches(program: &Program) -> impl Iterator<Item = &Kernel> {
    program.nodes.iter().filter_map(|node| match &node.work {
        Work::Launch(kernel) => Some(kernel),
        Work::WeightArrival { .. } => None,
    })
}

/// The activation that every layer of a program uses.
fn activation_of(program: &Program) -> Activation {
    let mut all: Vec<_> = launches(program)
        .filter_map(|kernel| match kernel {
            Kernel::Activate(node) => Some(node.activation),
            _ => None,
        })
        .collect();
    all.dedup();
    assert_eq!(all.len(), 1);
    all[0]
}

fn clip_config(which: TextEncoder, config: Option<&Value>) -> Result<ClipConfig> {
    ClipConfig::read(&weights_of(which), config, role_of(which))
}

/// CLIP-L has the quick form, CLIP-G the exact one, T5 the tanh form, with and without a config.
#[test]
fn every_encoder_has_its_own_gelu() {
    let clips = [(TextEncoder::ClipL, Activation::QuickGelu), (TextEncoder::ClipG, Activation::GeluErf)];
    for (which, activation) in clips {
        for config in [None, Some(config_of(which))] {
            let config = clip_config(which, config.as_ref()).unwrap();
            assert_eq!(activation_of(&config.record(1, 77).unwrap().program), activation);
        }
    }
    let t5 = golden_t5().config().record(1, 8, Padding::Seen).unwrap();
    assert_eq!(activation_of(&t5.program), Activation::GeluTanh);
    for step in -400..=400 {
        let x = f64::from(step) * 0.01;
        let exact = |activation: Activation| match activation {
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Activation::GeluErf => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
            _ => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        };
        for activation in [Activation::QuickGelu, Activation::GeluErf, Activation::GeluTanh] {
            let found = f64::from(activation.value(x as f32));
            assert!((found - exact(activation)).abs() < 2e-6, "{activation:?}({x})");
        }
    }
}

#[test]
fn t5_does_not_scale_its_scores_and_biases_those_of_every_layer() {
    let t5 = golden_t5();
    let program = t5.config().record(1, 8, Padding::Seen).unwrap().program;
    let table = program.find("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight").unwrap();
    let attentions: Vec<_> = launches(&program)
        .filter_map(|kernel| match kernel {
            Kernel::Attention(node) => Some((node.heads.scale, node.mask)),
            _ => None,
        })
        .collect();
    assert_eq!(attentions, vec![(1.0, Mask::RelativeBias { table, ids: None }); t5.config().layers]);
}

#[test]
fn t5_counts_positions_from_the_query_to_the_key() {
    for (relative, bucket) in [(1, 17), (-1, 1), (0, 0), (200, 31), (-200, 15)] {
        assert_eq!(relative_bucket(relative), bucket, "{relative}");
    }
    let file = TensorFile::open(&golden_case().join("inputs.safetensors")).unwrap();
    let buckets = file.read_i64("t5_relative_buckets").unwrap();
    for (relative, bucket) in file.read_i64("t5_relative_positions").unwrap().into_iter().zip(buckets) {
        assert_eq!(relative_bucket(relative) as i64, bucket, "{relative}");
    }
}

#[test]
fn clip_l_pads_with_its_end_token_and_clip_g_with_an_exclamation_mark() {
    let ids = miniature::open().tokenize("a red circle", 77).unwrap();
    let last = *ids.clip_l.last().unwrap();
    assert_eq!(last, *ids.clip_l.iter().max().unwrap());
    assert!(ids.clip_l.iter().filter(|id| **id == last).count() > 60);
    let exclamation = miniature::open().tokenize("!", 77).unwrap().clip_g;
    assert_eq!((ids.clip_g[76], exclamation[76]), (0, 0));
    assert_eq!(ids.clip_g.iter().filter(|id| **id == *ids.clip_g.iter().max().unwrap()).count(), 1);
}

/// The states that condition tokens come before the last layer and before the final norm.
#[test]
fn neither_last_layer_nor_final_norm_touch_the_penultimate_states() {
    for which in [TextEncoder::ClipL, TextEncoder::ClipG] {
        let ids = golden_ids("clip1_ids");
        let expected = golden_clip(which).encode(&mut engine(), &texts(&ids)).unwrap();
        for part in ["text_model.final_layer_norm", "text_model.encoder.layers.2."] {
            let weights = edited(which, |name, values| {
                if name.starts_with(part) {
                    values.iter_mut().for_each(|value| *value = 0.5 * *value + 0.25);
                }
            });
            let clip = ClipEncoder::open(&weights, Some(&config_of(which)), role_of(which)).unwrap();
            let found = clip.encode(&mut engine(), &texts(&ids)).unwrap();
            assert_eq!(found.penultimate, expected.penultimate);
            assert!(distance(&found.pooled, &expected.pooled) > 0.01, "{part}");
        }
    }
}

#[test]
fn the_first_end_token_is_pooled() {
    let which = TextEncoder::ClipL;
    let old = clip_config(which, Some(&config_of(which))).unwrap();
    assert_eq!((old.end, old.end_row(&[118, 5, 119, 119, 119])), (EndToken::Largest, 2));
    assert_eq!(clip_config(which, None).unwrap().end, EndToken::Largest);
    let new = clip_config(which, Some(&config_with(which, "eos_token_id", 7))).unwrap();
    assert_eq!((new.end, new.end_row(&[118, 5, 7, 119, 7])), (EndToken::Id(7), 2));
    assert_eq!(new.end_row(&[118, 5]), 0);
    // The pooled state is that of the end token: what follows it changes nothing, what it follows does.
    let pooled = |ids: &[i32]| golden_clip(which).encode(&mut engine(), &[ids]).unwrap().pooled;
    assert_eq!(pooled(&[118, 5, 119, 3, 4]), pooled(&[118, 5, 119, 8, 9]));
    assert_ne!(pooled(&[118, 5, 119, 3, 4]), pooled(&[118, 6, 119, 3, 4]));
}

/// A CLIP-L that is not of Stable Diffusion 3.5 brings the projection it was trained with.
#[test]
fn the_projection_of_a_foreign_clip_l_is_not_applied() {
    let ids = golden_ids("clip1_ids");
    let pooled = |which: TextEncoder, weights: &WeightMap, config: Option<&Value>| {
        let clip = ClipEncoder::open(weights, config, role_of(which)).unwrap();
        (clip.config().apply_projection, clip.encode(&mut engine(), &texts(&ids)).unwrap().pooled)
    };
    let which = TextEncoder::ClipL;
    let other = edited(which, |name, values| {
        if name == "text_projection.weight" {
            values.iter_mut().for_each(|value| *value = 2.0 * *value - 0.1);
        }
    });
    let foreign = config_with(which, "architectures", vec!["CLIPModel"]);
    let quick = config_with(which, "architectures", vec!["CLIPTextModel"]);
    for config in [&foreign, &quick] {
        let (applies, plain) = pooled(which, &weights_of(which), Some(config));
        assert!(!applies);
        assert_eq!(pooled(which, &other, Some(config)).1, plain);
    }
    let single_file = ClipConfig::read(&other, None, ClipRole::L).unwrap();
    assert!(!single_file.apply_projection);
    assert!(ClipConfig::read(&other, None, ClipRole::G).unwrap().apply_projection);
    // The files of Stable Diffusion 3.5 say that theirs belongs to it.
    let own = config_of(which);
    let (applies, projected) = pooled(which, &weights_of(which), Some(&own));
    assert!(applies);
    assert!(distance(&pooled(which, &other, Some(&own)).1, &projected) > 0.1);
}

#[test]
fn padding_is_attended_to_unless_it_is_hidden() {
    let t5 = golden_t5();
    let short = [[5, 6, 1].as_slice(), &[0; 9]].concat();
    let longer = [[5, 6, 1, 7, 8, 9, 10, 1].as_slice(), &[0; 4]].concat();
    let other_padding = [[5, 6, 1].as_slice(), &[3; 9]].concat();
    let encode = |ids: &[i32], padding| t5.encode(&mut engine(), &[ids], padding).unwrap();
    let width = t5.config().width;
    let seen = encode(&short, Padding::Seen);
    assert!(seen.chunks(width).all(|row| row.iter().any(|value| value.abs() > 1e-3)));
    assert!(distance(&encode(&other_padding, Padding::Seen)[..width], &seen[..width]) > 1e-3);
    assert!(distance(&encode(&short, Padding::Hidden)[..width], &seen[..width]) > 1e-3);
    // Texts of different lengths side by side give what each gives alone.
    let both = t5.encode(&mut engine(), &[&short, &longer], Padding::Seen).unwrap();
    assert!(distance(&both, &[seen, encode(&longer, Padding::Seen)].concat()) < 1e-6);
    // CLIP's padding lies behind the text; its states are states like any others.
    let clip = golden_clip(TextEncoder::ClipL);
    let states = clip.encode(&mut engine(), &[&[118, 5, 119, 119, 119, 119]]).unwrap().penultimate;
    assert!(states.chunks(clip.config().width).all(|row| row.iter().any(|value| value.abs() > 1e-3)));
}

#[test]
fn heads_come_from_the_config_else_from_the_width() {
    let which = TextEncoder::ClipL;
    assert_eq!(clip_config(which, Some(&config_of(which))).unwrap().heads, 2);
    assert_eq!(clip_config(which, None).unwrap().heads, 1);
    for (heads, says) in [(5, "5 attention heads"), (0, "0 attention heads")] {
        let config = config_with(which, "num_attention_heads", heads);
        assert_refused(clip_config(which, Some(&config)), &["config.json", says]);
    }
    assert_eq!((golden_t5().config().heads, golden_t5().config().head_dim), (4, 16));
}

#[test]
fn configs_that_do_not_fit_are_refused() {
    let which = TextEncoder::ClipG;
    for (key, value) in [
        ("hidden_size", Value::from(64)),
        ("num_hidden_layers", 4.into()),
        ("hidden_act", "relu".into()),
        ("layer_norm_eps", "small".into()),
        ("layer_norm_eps", (-1.0).into()),
        ("eos_token_id", "end".into()),
        ("eos_token_id", (1_u64 << 40).into()),
    ] {
        let config = config_with(which, key, value);
        assert_refused(clip_config(which, Some(&config)), &["config.json", key]);
    }
    for (key, value) in [
        ("num_heads", Value::from(2)),
        ("d_model", 12.into()),
        ("relative_attention_num_buckets", 64.into()),
        ("relative_attention_max_distance", 256.into()),
        ("feed_forward_proj", "relu".into()),
        ("dense_act_fn", "silu".into()),
    ] {
        let config = config_with(TextEncoder::T5, key, value);
        assert_refused(T5Encoder::open(&weights_of(TextEncoder::T5), Some(&config)), &["config.json", key]);
    }
}

#[test]
fn incomplete_weights_are_refused_by_name() {
    let without = |which: TextEncoder, name: &str| {
        let mut weights = weights_of(which);
        weights.remove(name).unwrap();
        weights
    };
    for name in [
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        "text_model.encoder.layers.1.self_attn.k_proj.bias",
        "text_model.encoder.layers.2.mlp.fc2.weight",
        "text_model.final_layer_norm.bias",
    ] {
        let weights = without(TextEncoder::ClipL, name);
        assert_refused(ClipEncoder::open(&weights, None, ClipRole::L), &[name, "lacks"]);
    }
    for name in [
        "shared.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.block.1.layer.0.SelfAttention.v.weight",
        "encoder.block.0.layer.1.DenseReluDense.wi_1.weight",
        "encoder.final_layer_norm.weight",
    ] {
        assert_refused(T5Encoder::open(&without(TextEncoder::T5, name), None), &[name, "lacks"]);
    }
    let mut odd = weights_of(TextEncoder::ClipL);
    let mut query = odd.get("text_model.encoder.layers.0.self_attn.q_proj.weight").unwrap().clone();
    query.shape = [16, 64].into();
    odd.insert(query);
    assert_refused(ClipEncoder::open(&odd, None, ClipRole::L), &["layers.0.self_attn", "[16, 64]"]);
}

#[test]
fn values_that_are_not_finite_are_refused_by_name() {
    let name = "text_model.encoder.layers.1.mlp.fc1.weight";
    let weights = edited(TextEncoder::ClipL, |found, values| {
        if found == name {
            values[7] = f32::NAN;
        }
    });
    let clip = ClipEncoder::open(&weights, None, ClipRole::L).unwrap();
    assert_refused(clip.encode(&mut engine(), &[&[118, 119]]), &[name, "NaN"]);
}

#[test]
fn ids_that_do_not_fit_are_refused() {
    let (clip, t5) = (golden_clip(TextEncoder::ClipL), golden_t5());
    for id in [120, -1] {
        assert_refused(clip.encode(&mut engine(), &[&[118, id]]), &["vocabulary has 120 words"]);
        assert_refused(t5.encode(&mut engine(), &[&[5, id]], Padding::Seen), &["vocabulary has 120 words"]);
    }
    assert!(clip.encode(&mut engine(), &[&[1; 78]]).is_err());
    assert!(clip.encode(&mut engine(), &[]).is_err());
    assert!(clip.encode(&mut engine(), &[&[]]).is_err());
    assert!(t5.encode(&mut engine(), &[&[1, 2], &[1]], Padding::Seen).is_err());
}

#[test]
fn encoders_of_different_models_are_refused() {
    let clips = || (golden_clip(TextEncoder::ClipL), golden_clip(TextEncoder::ClipG));
    let (l, g) = clips();
    assert_refused(Encoders::new(l, g, LongText::Zeros { width: 79 }), &["80 wide"]);
    let (l, g) = clips();
    let encoders = Encoders::new(l, g, LongText::Zeros { width: 96 }).unwrap();
    let ids = |clip_l: usize, clip_g: usize, t5: usize| PromptIds {
        clip_l: vec![1; clip_l],
        clip_g: vec![1; clip_g],
        t5: vec![0; t5],
    };
    assert_eq!(encoders.encode(&mut engine(), &[ids(5, 5, 3)]).unwrap()[0].tokens, 8);
    assert!(encoders.encode(&mut engine(), &[ids(5, 6, 3)]).is_err());
    assert!(encoders.encode(&mut engine(), &[ids(5, 5, 3), ids(5, 5, 4)]).is_err());
}
