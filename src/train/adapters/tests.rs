use super::*;
use crate::settings::parse_settings_bytes;
use serde_json::json;

fn settings(more: Value) -> RunSettings {
    let mut all = json!({
        "pretrained_model_name_or_path": "m", "data_backend_config": "d", "output_dir": "o", "max_train_steps": 1,
    });
    let more = more.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    parse_settings_bytes(all.to_string().as_bytes()).unwrap()
}

fn medium(more: Value) -> Result<Vec<Adapter>> {
    Ok(adapters(&settings(more), &MmditConfig::medium())?.all)
}

fn of<'a>(all: &'a [Adapter], path: &str) -> &'a Adapter {
    all.iter().find(|adapter| adapter.module.path == path).unwrap()
}

#[test]
fn rank_and_alpha_follow_their_patterns_each_by_itself() {
    let all = medium(json!({
        "lora_rank": 16, "lora_alpha": 8, "rank_pattern": { r"1\d\.attn\.to_q": 4, "to_q": 32 },
        "alpha_pattern": "to_k=64",
    }));
    let all = all.unwrap();
    let found = |path: &str| (of(&all, path).form, of(&all, path).scale);
    let low_rank = |rank| Form::LowRank { rank };
    assert_eq!(found("transformer_blocks.12.attn.to_q"), (low_rank(4), 2.0));
    assert_eq!(found("transformer_blocks.3.attn.to_q"), (low_rank(32), 0.25));
    assert_eq!(found("transformer_blocks.3.attn2.to_q"), (low_rank(32), 0.25));
    assert_eq!(found("transformer_blocks.3.attn.to_k"), (low_rank(16), 4.0));
    assert_eq!(found("transformer_blocks.3.attn.to_v"), (low_rank(16), 0.5));
}

#[test]
fn rank_stabilised_adapters_divide_by_the_root_of_their_own_rank() {
    let all =
        medium(json!({ "lora_rank": 16, "lora_alpha": 8, "use_rslora": true, "rank_pattern": "to_q=64" }));
    let all = all.unwrap();
    assert_eq!(of(&all, "transformer_blocks.0.attn.to_k").scale, 2.0);
    assert_eq!(of(&all, "transformer_blocks.0.attn.to_q").scale, 1.0);
}

#[test]
fn blocks_restrict_the_targets() {
    let all = medium(json!({ "lora_blocks": "0,12-14", "use_dora": true })).unwrap();
    let blocks: std::collections::BTreeSet<_> = all.iter().filter_map(|a| a.module.block()).collect();
    assert_eq!(blocks.into_iter().collect::<Vec<_>>(), [0, 12, 13, 14]);
    // Blocks 0 and 12 have a second attention.
    assert_eq!(all.len(), 2 * 8 + 2 * 4);
    assert!(all.iter().all(|adapter| adapter.with_magnitude));
    let error = medium(json!({ "lora_blocks": "20-24" })).unwrap_err();
    assert!(error.place.contains("lora_blocks") && error.cause.contains("24"), "{error}");
}

#[test]
fn a_pattern_that_means_nothing_is_refused() {
    for (key, pattern) in
        [("rank_pattern", "ff.net.2=8"), ("alpha_pattern", "to_qq=8"), ("rank_pattern", "to_q=1.5")]
    {
        let error = medium(json!({ key: pattern })).unwrap_err();
        assert!(error.place.contains(key), "{error}");
    }
}

#[test]
fn simpletuners_lokr_trains_whole_factors_of_attention_and_mlp() {
    let all = medium(json!({ "lora_type": "lycoris", "lycoris_config": {
        "algo": "lokr", "multiplier": 1.0, "linear_dim": 10000, "linear_alpha": 1, "factor": 16,
        "apply_preset": {
            "target_module": ["Attention", "FeedForward"],
            "module_algo_map": { "Attention": { "factor": 16 }, "FeedForward": { "factor": 8 } },
        },
    }}));
    let all = all.unwrap();
    // Every linear layer in the blocks that is no modulation.
    assert_eq!(all.len(), 337);
    let sizes = |path: &str| match of(&all, path).form {
        Form::Kronecker { w1, w2 } => [w1, w2].map(|factor| (factor.rows, factor.columns, factor.rank)),
        _ => unreachable!(),
    };
    assert_eq!(sizes("transformer_blocks.0.attn.to_q"), [(16, 16, None), (96, 96, None)]);
    assert_eq!(sizes("transformer_blocks.0.ff.net.0.proj"), [(8, 8, None), (768, 192, None)]);
    assert!(all.iter().all(|adapter| adapter.scale == 1.0));
}

#[test]
fn names_go_before_classes_and_may_change_the_kind() {
    let all = medium(json!({ "lora_type": "lycoris", "lora_rank": 8, "lycoris_config": {
        "algo": "loha", "linear_alpha": 4, "apply_preset": {
            "target_module": ["Attention"],
            "exclude_name": [r".*attn2"],
            "module_algo_map": { "Attention": { "linear_dim": 2 } },
            "name_algo_map": { r"transformer_blocks\.0\.ff\.": { "algo": "lora", "dim": 4, "rs_lora": true } },
        },
    }}));
    let all = all.unwrap();
    assert_eq!(of(&all, "transformer_blocks.5.attn.to_q").form, Form::Hadamard { rank: 2 });
    assert_eq!(of(&all, "transformer_blocks.5.attn.to_q").scale, 2.0);
    assert_eq!(of(&all, "transformer_blocks.0.ff.net.2").form, Form::LowRank { rank: 4 });
    assert_eq!(of(&all, "transformer_blocks.0.ff.net.2").scale, 2.0);
    assert!(!all.iter().any(|adapter| adapter.module.path.contains("attn2")));
    assert_eq!(all.len(), 191 + 2);
}
