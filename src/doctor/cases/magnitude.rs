//! DoRA's magnitudes.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::magnitude::{LowRankChange, MagnitudeGradient, MagnitudeScale};

/// Rows, columns, and the rank of the change where there is one.
type Extents = (usize, usize, Option<usize>);

/// One element, rows that are no vectors, whole vectors; fewer and more rows than a block has.
const SMALL: [Extents; 6] =
    [(1, 1, Some(1)), (5, 3, None), (7, 33, Some(2)), (64, 64, None), (131, 72, Some(5)), (9, 520, Some(16))];

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for at in SMALL {
        let case = move |recorder: &mut Recorder| scale(recorder, at);
        cases.push(Case::small("magnitude", format!("scale, {at:?}"), case));
    }
    for (rows, adds) in [(1, false), (127, true), (128, false), (300, true)] {
        let case = move |recorder: &mut Recorder| gradient(recorder, rows, adds);
        cases.push(Case::small("magnitude", format!("gradient, {rows}"), case));
    }
    for (name, at) in
        [("large.attention.r16", (2432, 2432, Some(16))), ("large.fc1.r768", (9728, 2432, Some(768)))]
    {
        let case = move |recorder: &mut Recorder| scale(recorder, at);
        cases.push(Case::real("magnitude", name, case));
    }
    cases
}

/// W as a window of a larger weight.
fn scale(recorder: &mut Recorder, (rows, columns, rank): Extents) -> Result<()> {
    let weight = recorder.normal("w", [rows + 9, columns], 1.0);
    let change = rank.map(|rank| LowRankChange {
        a: recorder.normal("a", [rank, columns], 1.0),
        b: recorder.normal("b", [rows, rank], 1.0 / (rank as f32).sqrt()),
        scale: 0.7,
    });
    let magnitude = recorder.normal("m", [rows], 1.0);
    let norm = recorder.program.activation("norm", [rows]);
    let scale = recorder.program.activation("scale", [rows]);
    let rows = 8..8 + rows;
    recorder.program.launch(MagnitudeScale { weight, rows, change, magnitude, norm, scale })?;
    recorder.output(norm);
    recorder.output(scale);
    Ok(())
}

fn gradient(recorder: &mut Recorder, rows: usize, adds: bool) -> Result<()> {
    let dscale = recorder.input("dscale", [rows], |draw| draw);
    let norm = recorder.input("norm", [rows], |draw| 2.0 + draw.abs());
    let from = adds.then(|| recorder.input("before", [rows], |draw| draw));
    let to = recorder.program.activation("dmagnitude", [rows]);
    recorder.program.launch(MagnitudeGradient { dscale, norm, dmagnitude: Update { from, to } })?;
    recorder.output(to);
    Ok(())
}
