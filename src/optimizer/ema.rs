//! The decay of the exponential moving average of the adapters.

/// The share of the average that survives optimizer step `step` (from 1), as in diffusers' `EMAModel`:
/// `average = decay * average + (1 - decay) * weights`.
///
/// The first step copies the weights (decay 0); after `update_after` steps the decay rises as
/// `(1 + k) / (10 + k)` up to `decay`.
pub fn decay_at(step: u64, decay: f64, update_after: u64) -> f64 {
    let k = step.saturating_sub(update_after.saturating_add(1));
    if k == 0 {
        return 0.0;
    }
    ((1 + k) as f64 / (10 + k) as f64).min(decay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_update_copies_and_the_decay_rises_to_its_limit() {
        assert_eq!(decay_at(0, 0.9999, 0), 0.0);
        assert_eq!(decay_at(1, 0.9999, 0), 0.0);
        assert_eq!(decay_at(2, 0.9999, 0), 2.0 / 11.0);
        assert_eq!(decay_at(100, 0.9999, 0), 100.0 / 109.0);
        assert_eq!(decay_at(1_000_000, 0.9999, 0), 0.9999);
    }

    #[test]
    fn updates_begin_after_the_given_step() {
        assert_eq!(decay_at(50, 0.995, 100), 0.0);
        assert_eq!(decay_at(101, 0.995, 100), 0.0);
        assert_eq!(decay_at(102, 0.995, 100), 2.0 / 11.0);
        assert_eq!(decay_at(5, 0.995, u64::MAX), 0.0);
    }
}
