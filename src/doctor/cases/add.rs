//! a + b, a * b, casts.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::add::Add;
use crate::kernels::cast::Cast;
use crate::kernels::patchify::{Order, Patchify, Unpatchify};
use crate::ops::activation::add;
use crate::ops::text::multiply;
use crate::tensor::Shape;

/// Around a vector, a thread's vectors, and a block's elements.
const SIZES: [usize; 8] = [1, 7, 8, 255, 256, 2048, 8192, 8199];

/// All cases of sums.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = SIZES
        .map(|size| Case::small("add", format!("{size}"), move |recorder| sum(recorder, [size].into())))
        .into();
    cases.push(Case::small("add", "gradients of latents, in f32", sum_of_latents));
    cases.push(Case::real("add", "large.image.b1", |recorder| sum(recorder, [1, 4096, 2432].into())));
    cases
}

fn sum(recorder: &mut Recorder, shape: Shape) -> Result<()> {
    let (a, b) = (recorder.normal("a", shape.clone(), 1.0), recorder.normal("b", shape, 1.0));
    let sum = add(&mut recorder.program, "sum", a, b)?;
    recorder.output(sum);
    Ok(())
}

fn sum_of_latents(recorder: &mut Recorder) -> Result<()> {
    let (order, shape, patches_shape) = (Order::ChannelLast, [2, 3, 4, 6], [2, 6, 12]);
    let mut latents = |name| {
        let patches = recorder.normal(name, patches_shape, 1.0);
        let latents = recorder.program.activation("latents", shape);
        recorder.program.launch(Unpatchify { order, patches, latents })?;
        Ok(latents)
    };
    let (a, b) = (latents("a")?, latents("b")?);
    let to = recorder.program.activation("sum", shape);
    recorder.program.launch(Add { a: Update { from: Some(a), to }, b })?;
    let patches = recorder.program.activation("patches", patches_shape);
    recorder.program.launch(Patchify { order, latents: to, patches })?;
    recorder.output(to);
    recorder.output(patches);
    Ok(())
}

/// All cases of products.
pub fn multiply_cases() -> Vec<Case> {
    let case = |size: usize| {
        Case::small("gated_multiply", format!("{size}"), move |recorder| product(recorder, [size].into()))
    };
    let mut cases: Vec<_> = SIZES.map(case).into();
    cases.push(case(771).exactly());
    cases.push(Case::real("gated_multiply", "t5.b1", |recorder| product(recorder, [256, 10240].into())));
    cases
}

fn product(recorder: &mut Recorder, shape: Shape) -> Result<()> {
    let (a, b) = (recorder.normal("a", shape.clone(), 1.0), recorder.normal("b", shape, 1.0));
    let product = multiply(&mut recorder.program, "product", a, b)?;
    recorder.output(product);
    Ok(())
}

/// All cases of casts.
pub fn cast_cases() -> Vec<Case> {
    let case =
        |size: usize| Case::small("cast", format!("{size}"), move |recorder| cast(recorder, [size].into()));
    let mut cases: Vec<_> = SIZES.map(case).into();
    cases.push(Case::small("cast", "f32 to f32", cast_twice));
    cases.push(Case::real("cast", "16 Mi", |recorder| cast(recorder, [16 << 20].into())));
    cases
}

fn cast(recorder: &mut Recorder, shape: Shape) -> Result<()> {
    let x = recorder.normal("x", shape.clone(), 1.0);
    let y = recorder.program.activation("y", shape);
    recorder.program.launch(Cast { x, y })?;
    recorder.output(y);
    Ok(())
}

/// The second cast makes the first one's result exact.
fn cast_twice(recorder: &mut Recorder) -> Result<()> {
    let x = recorder.normal("x", [771], 1.0);
    let (y, z) = (recorder.program.activation("y", [771]), recorder.program.activation("z", [771]));
    recorder.program.launch(Cast { x, y })?;
    recorder.program.launch(Cast { x: y, y: z })?;
    recorder.output(y);
    recorder.output(z);
    Ok(())
}
