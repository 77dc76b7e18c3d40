//! Gated residuals and their gradients.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::gated_residual::{Gate, GateGradient, GatedResidual, GatedResidualGradient};

/// Samples, tokens of a sample, columns.
type Extents = [usize; 3];

/// What a case records at some extents.
type Part = fn(&mut Recorder, Extents) -> Result<()>;

/// The forward pass of a stream that is f32.
const STREAM: &str = "forward of f32";

/// Every part, by name.
const PARTS: [(&str, Part); 5] = [
    ("forward", |recorder, extents| forward(recorder, extents, false)),
    (STREAM, |recorder, extents| forward(recorder, extents, true)),
    ("gradient", gradient),
    ("gate gradient", |recorder, extents| gate_gradient(recorder, extents, false)),
    ("gate gradient added", |recorder, extents| gate_gradient(recorder, extents, true)),
];

/// Rows at every edge: one column, less than a vector, pieces of rows, no multiple of a vector; odd tokens, several
/// samples, several bands.
const SMALL: [Extents; 10] = [
    [1, 1, 1],
    [2, 5, 3],
    [1, 3, 7],
    [3, 7, 8],
    [2, 131, 24],
    [2, 9, 64],
    [1, 2, 771],
    [2, 3, 512],
    [2, 5, 1536],
    [2, 3, 2432],
];

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, part) in PARTS {
        for extents in SMALL {
            let case = move |recorder: &mut Recorder| part(recorder, extents);
            let case = Case::small("gated_residual", format!("{name}, {extents:?}"), case);
            cases.push(if name == STREAM { case.within(1e-6) } else { case });
        }
    }
    let real = [("large.image.b1", [1, 4096, 2432]), ("medium.image.b4", [4, 4096, 1536])];
    for (name, part) in PARTS {
        for (shape, extents) in real {
            let case = move |recorder: &mut Recorder| part(recorder, extents);
            cases.push(Case::real("gated_residual", format!("{shape}.{}", name.replace(' ', "_")), case));
        }
    }
    cases
}

/// The second of three chunks.
fn gate(recorder: &mut Recorder, [samples, _, columns]: Extents) -> Gate {
    Gate { vectors: recorder.exact("vectors", [samples, 3 * columns], 0.5), chunk: 1 }
}

fn forward(recorder: &mut Recorder, extents: Extents, exact: bool) -> Result<()> {
    let gate = gate(recorder, extents);
    let y = recorder.normal("y", extents, 1.0);
    let x = recorder.either("x before", extents, exact);
    let to = recorder.activation("x", extents, exact);
    recorder.program.launch(GatedResidual { gate, y, x: Update { from: Some(x), to } })?;
    recorder.output(to);
    Ok(())
}

fn gradient(recorder: &mut Recorder, extents: Extents) -> Result<()> {
    let gate = gate(recorder, extents);
    let dx = recorder.normal("dx", extents, 1.0);
    let dy = recorder.program.activation("dy", extents);
    recorder.program.launch(GatedResidualGradient { gate, dx, dy })?;
    recorder.output(dy);
    Ok(())
}

fn gate_gradient(recorder: &mut Recorder, extents: Extents, adds: bool) -> Result<()> {
    let gate = gate(recorder, extents);
    let (y, dx) = (recorder.normal("y", extents, 1.0), recorder.normal("dx", extents, 1.0));
    let shape = [extents[0], 3 * extents[2]];
    let from = adds.then(|| recorder.normal("dvectors before", shape, 1.0));
    let to = recorder.program.activation("dvectors", shape);
    recorder.program.launch(GateGradient { gate, y, dx, dvectors: Update { from, to } })?;
    recorder.output(to);
    Ok(())
}
