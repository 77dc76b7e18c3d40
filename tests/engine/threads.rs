//! Results do not depend on the number of threads.

use super::training_step::{StepResult, golden, run};
use sargent::autograd::Recompute;

#[test]
fn a_training_step_has_the_same_bits_on_any_number_of_threads() {
    for (case, dropout) in [("mmdit_large", 0.0), ("mmdit_medium", 0.3)] {
        let model = golden(case);
        let on = |threads: usize| -> StepResult {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&model, Recompute::Lean, dropout))
        };
        let one = on(1);
        for threads in [2, 3] {
            assert!(on(threads) == one, "{case} on {threads} threads");
        }
    }
}
