//! Every golden case: numbers of the Python reference stack against this program's.
//!
//! The cases are folders under the directory in `SARGENT_GOLDEN` (default: `tests/fixtures/golden`, whose README
//! describes them) and run on the device in `SARGENT_DEVICE` (default: `cpu`). Sizes, seeds, hyper-parameters and
//! tolerances are read from each case, so that any set in the same format can be run. `--nocapture` shows how far
//! each case is from its limits.

// The summary of a case is for whoever runs the tests.
#![allow(clippy::print_stdout)]

mod recording;
mod transformer;

mod golden {
    mod adamw;
    mod adapters_linear;
    mod case;
    mod checks;
    mod heads;
    mod lora_grads;
    mod lora_training;
    mod micro_attention;
    mod micro_norms;
    mod mmdit;
    mod sampling;
    mod schedules;
    mod text;
    mod vae;

    /// What runs the cases of one kind.
    const KINDS: [(&str, case::Check); 11] = [
        ("mmdit", mmdit::check),
        ("lora_grads", lora_grads::check),
        ("lora_training", lora_training::check),
        ("sampling", sampling::check),
        ("vae", vae::check),
        ("text", text::check),
        ("adamw", adamw::check),
        ("adapters_linear", adapters_linear::check),
        ("micro_attention", micro_attention::check),
        ("micro_norms", micro_norms::check),
        ("schedules", schedules::check),
    ];

    #[test]
    fn every_folder_holds_a_case_of_a_known_kind() {
        for case in case::all() {
            assert!(
                KINDS.iter().any(|(kind, _)| *kind == case.kind()),
                "{}: kind `{}`",
                case.name,
                case.kind()
            );
        }
    }

    #[test]
    fn the_transformer_predicts_what_diffusers_predicts() {
        case::check_every("mmdit", mmdit::check);
    }

    #[test]
    fn gradients_of_adapters_and_inputs_are_those_of_torch() {
        case::check_every("lora_grads", lora_grads::check);
    }

    #[test]
    fn training_runs_end_in_the_weights_of_peft() {
        case::check_every("lora_training", lora_training::check);
    }

    #[test]
    fn sampling_follows_diffusers_step_by_step() {
        case::check_every("sampling", sampling::check);
    }

    #[test]
    fn the_vae_encodes_and_decodes_as_in_diffusers() {
        case::check_every("vae", vae::check);
    }

    #[test]
    fn prompts_are_encoded_as_in_diffusers() {
        case::check_every("text", text::check);
    }

    #[test]
    fn adamw_follows_torch() {
        case::check_every("adamw", adamw::check);
    }

    #[test]
    fn adapters_on_one_linear_layer_follow_peft() {
        case::check_every("adapters_linear", adapters_linear::check);
    }

    #[test]
    fn attention_follows_torch_at_short_and_real_lengths() {
        case::check_every("micro_attention", micro_attention::check);
    }

    #[test]
    fn norms_and_activations_follow_torch() {
        case::check_every("micro_norms", micro_norms::check);
    }

    #[test]
    fn schedules_follow_diffusers() {
        case::check_every("schedules", schedules::check);
    }
}
