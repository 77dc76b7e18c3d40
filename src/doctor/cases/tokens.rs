//! What makes tokens of latents, timesteps and texts: patches, positions, timestep features, chosen rows.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::patchify::{Order, Patchify, Unpatchify, patches_shape};
use crate::kernels::positions::AddPositions;
use crate::kernels::timestep_features::TimestepFeatures;
use crate::tensor::Shape;

/// Samples, tokens of a sample, columns.
type Extents = [usize; 3];

const ROWS: [Extents; 7] =
    [[1, 1, 1], [2, 5, 3], [3, 7, 8], [2, 9, 24], [1, 3, 771], [2, 3, 1536], [3, 5, 2432]];

/// All cases of patches.
pub fn patchify_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for order in [Order::ChannelFirst, Order::ChannelLast] {
        for latents in [[1, 1, 2, 2], [2, 3, 6, 10], [1, 16, 34, 32], [3, 16, 4, 2]] {
            let case = move |recorder: &mut Recorder| patches(recorder, order, latents, false);
            cases.push(Case::small("patchify", format!("{order:?}, {latents:?}"), case));
            let case = move |recorder: &mut Recorder| patches(recorder, order, latents, true);
            cases.push(Case::small("patchify", format!("to f32, {order:?}, {latents:?}"), case).within(0.0));
        }
        let case = move |recorder: &mut Recorder| patches(recorder, order, [8, 16, 128, 128], false);
        cases.push(Case::real("patchify", format!("latents.b8.{order:?}"), case));
    }
    cases
}

/// Latents to patches, and other patches to latents.
fn patches(recorder: &mut Recorder, order: Order, shape: [usize; 4], exact: bool) -> Result<()> {
    let patches_shape = patches_shape(&Shape::from(shape));
    let latents = recorder.either("latents", shape, exact);
    let patches = recorder.activation("patches", patches_shape.clone(), exact);
    recorder.program.launch(Patchify { order, latents, patches })?;
    recorder.output(patches);
    let patches = recorder.normal("other patches", patches_shape, 1.0);
    let latents = recorder.program.activation("other latents", shape);
    recorder.program.launch(Unpatchify { order, patches, latents })?;
    recorder.output(latents);
    Ok(())
}

/// All cases of positions.
pub fn positions_cases() -> Vec<Case> {
    let case = |extents: Extents| {
        Case::small("positions", format!("{extents:?}"), move |recorder| positions(recorder, extents, false))
    };
    let exact = |extents: Extents| {
        let case = move |recorder: &mut Recorder| positions(recorder, extents, true);
        Case::small("positions", format!("to f32, {extents:?}"), case).within(1e-6)
    };
    let mut cases: Vec<_> = ROWS.map(case).into_iter().chain(ROWS.map(exact)).collect();
    cases.push(Case::real("positions", "large.b4", |recorder| positions(recorder, [4, 4096, 2432], true)));
    cases
}

fn positions(recorder: &mut Recorder, extents: Extents, exact: bool) -> Result<()> {
    let [_, tokens, columns] = extents;
    let positions = recorder.normal("positions", [tokens, columns], 1.0);
    let from = Some(recorder.either("x before", extents, exact));
    let to = recorder.activation("x", extents, exact);
    recorder.program.launch(AddPositions { positions, x: Update { from, to } })?;
    recorder.output(to);
    Ok(())
}

/// All cases of chosen rows.
pub fn gather_rows_cases() -> Vec<Case> {
    let case = |extents: Extents| {
        Case::small("gather_rows", format!("{extents:?}"), move |recorder| gather(recorder, extents))
    };
    let mut cases: Vec<_> = ROWS.map(case).into();
    cases.extend([[2, 9, 24], [1, 3, 771]].map(|extents| case(extents).exactly().within(0.0)));
    cases
}

/// The last row, the one before it, and so on.
fn gather(recorder: &mut Recorder, extents: Extents) -> Result<()> {
    let [samples, tokens, columns] = extents;
    let x = recorder.normal("x", extents, 1.0);
    let chosen = (0..samples).map(|sample| (tokens - 1 - sample % tokens) as i32).collect();
    let rows = recorder.ids("rows", [samples], chosen);
    let y = recorder.program.activation("y", [samples, columns]);
    recorder.program.launch(GatherRows { x, rows, y })?;
    recorder.output(y);
    Ok(())
}

/// All cases of timestep features.
pub fn timestep_features_cases() -> Vec<Case> {
    let case = |shape: [usize; 2]| {
        Case::small("timestep_features", format!("{shape:?}"), move |recorder| features(recorder, shape))
    };
    let shapes = [[1, 2], [3, 10], [5, 256]];
    shapes.map(case).into_iter().chain(shapes.map(|shape| case(shape).exactly())).collect()
}

fn features(recorder: &mut Recorder, shape: [usize; 2]) -> Result<()> {
    let timesteps = recorder.input("timesteps", [shape[0]], |draw| (500.0 + 250.0 * draw).clamp(0.0, 1000.0));
    let features = recorder.program.activation("features", shape);
    recorder.program.launch(TimestepFeatures { timesteps, features })?;
    recorder.output(features);
    Ok(())
}
