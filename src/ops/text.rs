//! Ops that only the text encoders use. The encoders are frozen and never differentiated.

use crate::autograd::Program;
use crate::error::Result;
use crate::kernels::gated_multiply::GatedMultiply;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::layer_norm_affine::LayerNormAffine;
use crate::kernels::rms_norm::RmsNorm;
use crate::kernels::{Shapes, Update};
use crate::ops::activation::like;
use crate::tensor::TensorId;

/// LayerNorm of the rows of x, then gain and bias.
pub fn layer_norm_affine(
    program: &mut Program,
    name: &str,
    x: TensorId,
    (gain, bias): (TensorId, TensorId),
    epsilon: f32,
) -> Result<TensorId> {
    let y = like(program, name, x);
    program.launch(LayerNormAffine { x, gain, bias, epsilon, y })?;
    Ok(y)
}

/// RMSNorm of the rows of x, then gain.
pub fn rms_norm(
    program: &mut Program,
    name: &str,
    x: TensorId,
    gain: TensorId,
    epsilon: f32,
) -> Result<TensorId> {
    let y = like(program, name, x);
    program.launch(RmsNorm { x, gain, epsilon, y })?;
    Ok(y)
}

/// a * b.
pub fn multiply(program: &mut Program, name: &str, a: TensorId, b: TensorId) -> Result<TensorId> {
    let to = like(program, name, a);
    program.launch(GatedMultiply { a: Update { from: Some(a), to }, b })?;
    Ok(to)
}

/// `[b, columns]`: the row of each sample of x `[b, tokens, columns]` that `rows` `[b]` names.
pub fn gather_rows(program: &mut Program, name: &str, x: TensorId, rows: TensorId) -> Result<TensorId> {
    let x_shape = program.shape(x);
    let y_shape = [x_shape.dims()[0], x_shape.columns()];
    let y = program.activation(name, y_shape);
    program.launch(GatherRows { x, rows, y })?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Engine, Home, Persistent};
    use crate::device::cpu::Cpu;
    use crate::random::{Purpose, Stream};
    use crate::tensor::{DType, Shape};

    /// Values of mean 3 and small spread: a norm must not lose them to cancellation.
    fn values(lane: u32, elements: usize) -> Vec<f32> {
        let mut values = vec![0.0; elements];
        Stream::new(1, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
        values.iter().map(|v| 3.0 + 0.1 * v).collect()
    }

    /// Runs what `record` records over `inputs`, and over row numbers if there are any.
    fn run(
        inputs: &[(&[f32], Shape)],
        rows: Option<&[i32]>,
        record: impl FnOnce(&mut Program, &[TensorId]) -> Result<TensorId>,
    ) -> Result<Vec<f32>> {
        let mut program = Program::new();
        let mut ids: Vec<_> = inputs.iter().map(|(_, shape)| program.input("input", shape.clone())).collect();
        ids.extend(rows.map(|rows| program.add("rows", [rows.len()], DType::I32, Home::Input)));
        let out = record(&mut program, &ids)?;
        program.output(out);
        let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(0))?;
        let planned = engine.plan(program)?;
        engine.reserve(&planned)?;
        for ((values, _), &id) in inputs.iter().zip(&ids) {
            engine.write(&planned, id, values)?;
        }
        if let (Some(rows), Some(&id)) = (rows, ids.last()) {
            engine.write_ids(&planned, id, rows)?;
        }
        engine.run(&planned)?;
        engine.read(&planned, out)
    }

    fn assert_close(found: &[f32], exact: impl Fn(usize) -> f64) {
        for (i, found) in found.iter().enumerate() {
            let exact = exact(i);
            assert!((f64::from(*found) - exact).abs() < 2e-5 * exact.abs().max(1.0), "{i}: {found} {exact}");
        }
    }

    /// Rows, and columns of several vector lengths with a remainder.
    const EXTENTS: [(usize, usize); 3] = [(1, 1), (3, 24), (5, 771)];

    #[test]
    fn layer_norm_follows_its_formula_in_f64() {
        for (rows, columns) in EXTENTS {
            let (x, gain, bias) = (values(1, rows * columns), values(2, columns), values(3, columns));
            for epsilon in [1e-5, 1e-2] {
                let inputs = [
                    (&x[..], [1, rows, columns].into()),
                    (&gain[..], [columns].into()),
                    (&bias[..], [columns].into()),
                ];
                let y = run(&inputs, None, |program, ids| {
                    layer_norm_affine(program, "y", ids[0], (ids[1], ids[2]), epsilon)
                });
                assert_close(&y.unwrap(), |i| {
                    let row: Vec<f64> =
                        x.chunks(columns).nth(i / columns).unwrap().iter().map(|v| f64::from(*v)).collect();
                    let mean = row.iter().sum::<f64>() / columns as f64;
                    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / columns as f64;
                    let normal = (row[i % columns] - mean) / (variance + f64::from(epsilon)).sqrt();
                    normal * f64::from(gain[i % columns]) + f64::from(bias[i % columns])
                });
            }
        }
    }

    #[test]
    fn rms_norm_follows_its_formula_in_f64() {
        for (rows, columns) in EXTENTS {
            let (x, gain) = (values(1, rows * columns), values(2, columns));
            for epsilon in [1e-6, 1.0] {
                let inputs = [(&x[..], [rows, columns].into()), (&gain[..], [columns].into())];
                let y = run(&inputs, None, |program, ids| rms_norm(program, "y", ids[0], ids[1], epsilon));
                assert_close(&y.unwrap(), |i| {
                    let row = x.chunks(columns).nth(i / columns).unwrap();
                    let square = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / columns as f64;
                    let normal = f64::from(x[i]) / (square + f64::from(epsilon)).sqrt();
                    normal * f64::from(gain[i % columns])
                });
            }
        }
    }

    #[test]
    fn products_are_elementwise() {
        let (a, b) = (values(1, 40_000), values(2, 40_000));
        let inputs = [(&a[..], [40_000].into()), (&b[..], [40_000].into())];
        let y = run(&inputs, None, |program, ids| multiply(program, "y", ids[0], ids[1])).unwrap();
        assert!(y.iter().zip(a.iter().zip(&b)).all(|(y, (a, b))| *y == a * b));
    }

    #[test]
    fn each_sample_gives_the_row_that_is_asked_for() {
        let x = values(1, 2 * 3 * 5);
        let gather = |rows: &[i32]| {
            let inputs = [(&x[..], [2, 3, 5].into())];
            run(&inputs, Some(rows), |program, ids| gather_rows(program, "y", ids[0], ids[1]))
        };
        assert_eq!(gather(&[2, 0]).unwrap(), [&x[10..15], &x[15..20]].concat());
        for beyond in [3, -1] {
            assert!(gather(&[0, beyond]).is_err());
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let mut program = Program::new();
        let x = program.input("x", [2, 3, 5]);
        let (short, flat) = (program.input("short", [4]), program.input("flat", [2, 5]));
        let gain = program.input("gain", [5]);
        assert!(layer_norm_affine(&mut program, "y", x, (short, gain), 1e-5).is_err());
        assert!(layer_norm_affine(&mut program, "y", x, (gain, short), 1e-5).is_err());
        assert!(rms_norm(&mut program, "y", x, short, 1e-6).is_err());
        assert!(multiply(&mut program, "y", x, flat).is_err());
        assert!(gather_rows(&mut program, "y", x, short).is_err());
        assert!(gather_rows(&mut program, "y", flat, gain).is_err());
    }
}
