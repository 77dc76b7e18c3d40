//! Activations and their gradients.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::activation::{Activate, ActivateGradient, Activation};
use crate::tensor::Shape;

const ALL: [Activation; 4] =
    [Activation::GeluTanh, Activation::GeluErf, Activation::QuickGelu, Activation::Silu];

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in ALL {
        for elements in [1, 7, 8, 771, 8192, 8193] {
            let name = format!("{activation:?}, {elements}");
            let case = move |recorder: &mut Recorder| both(recorder, activation, [elements].into());
            cases.push(Case::small("activation", name, case));
        }
        let case = move |recorder: &mut Recorder| forward(recorder, activation, [771].into());
        cases.push(Case::small("activation", format!("{activation:?}, 771"), case).exactly());
    }
    let real = [("large.mlp", Activation::GeluTanh, 9728), ("medium.mlp", Activation::GeluTanh, 6144)];
    for (name, activation, columns) in real {
        let forward = move |recorder: &mut Recorder| forward(recorder, activation, [1, 4096, columns].into());
        cases.push(Case::real("activation", format!("{name}.forward.b1"), forward));
        let gradient =
            move |recorder: &mut Recorder| gradient(recorder, activation, [1, 4096, columns].into(), false);
        cases.push(Case::real("activation", format!("{name}.gradient.b1"), gradient));
    }
    cases
}

fn both(recorder: &mut Recorder, activation: Activation, shape: Shape) -> Result<()> {
    forward(recorder, activation, shape.clone())?;
    gradient(recorder, activation, shape.clone(), false)?;
    gradient(recorder, activation, shape, true)
}

fn forward(recorder: &mut Recorder, activation: Activation, shape: Shape) -> Result<()> {
    let x = recorder.normal("x", shape.clone(), 1.5);
    let y = recorder.program.activation("y", shape);
    recorder.program.launch(Activate { activation, x, y })?;
    recorder.output(y);
    Ok(())
}

fn gradient(recorder: &mut Recorder, activation: Activation, shape: Shape, adds: bool) -> Result<()> {
    let (x, dy) = (recorder.normal("x", shape.clone(), 1.5), recorder.normal("dy", shape.clone(), 1.0));
    let from = adds.then(|| recorder.normal("dx before", shape.clone(), 1.0));
    let to = recorder.program.activation("dx", shape);
    recorder.program.launch(ActivateGradient { activation, x, dy, dx: Update { from, to } })?;
    recorder.output(to);
    Ok(())
}
