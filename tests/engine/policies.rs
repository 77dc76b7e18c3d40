//! Recompute policies trade memory for time and change no number.

use super::training_step::{golden, record_step, run};
use sargent::autograd::{Recompute, plan};
use sargent::device::Limits;
use sargent::models::mmdit::MmditConfig;

#[test]
fn policies_change_no_number() {
    for (case, dropout) in [("mmdit_large", 0.0), ("mmdit_medium", 0.0), ("mmdit_medium", 0.2)] {
        let model = golden(case);
        let expected = run(&model, Recompute::Store, dropout);
        assert!(
            expected.gradients.iter().all(|x| x.is_finite()) && expected.gradients.iter().any(|x| *x != 0.0)
        );
        for policy in Recompute::ALL {
            assert!(run(&model, policy, dropout) == expected, "{case}: {} changes numbers", policy.name());
        }
    }
}

/// At the depth of real models; with few blocks, what one block needs while it is made again outweighs the rest.
#[test]
fn every_policy_needs_less_memory_and_more_launches_than_the_one_before() {
    for config in [MmditConfig::large(), MmditConfig::medium()] {
        let limits = Limits { lanes: 2, memory: u64::MAX, cuda: None };
        let steps = Recompute::ALL.map(|policy| {
            let program = record_step(&config, 128, policy, 0.0).program;
            (plan(&program, &limits).bytes, program.nodes.len())
        });
        let [store, selective, lean, full] = steps;
        let message = format!("{}: {steps:?}", config.release());
        assert!(store.0 > selective.0 && selective.0 > lean.0 && lean.0 <= full.0, "bytes of {message}");
        assert!(store.1 < selective.1 && selective.1 < lean.1 && lean.1 < full.1, "launches of {message}");
    }
}
