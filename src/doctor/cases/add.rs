//! a + b.

use crate::doctor::Case;
use crate::ops::activation::add;

/// All cases.
pub fn cases() -> Vec<Case> {
    let case = |elements: usize| {
        Case::small("add", format!("{elements}"), move |recorder| {
            let (a, b) = (recorder.normal("a", [elements], 1.0), recorder.normal("b", [elements], 1.0));
            let sum = add(&mut recorder.program, "sum", a, b)?;
            recorder.output(sum);
            Ok(())
        })
    };
    [1, 7, 8, 255, 256, 2048, 4099].map(case).into()
}
