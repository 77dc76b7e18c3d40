//! The table of all cases.

mod add;

use crate::doctor::Case;

/// Every case of every kernel.
pub fn all() -> Vec<Case> {
    [add::cases()].into_iter().flatten().collect()
}
