//! LoHa and LoKr lowered by hand, in f64: to an effective weight, and from its gradient back to their parameters.
//!
//! The program does not have these adapters; their golden files check the linear op that they will lower to.

use super::case::Tensors;
use sargent::error::{Error, Result};
use std::ops::Range;

/// A matrix of f64.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Row-major elements.
    pub values: Vec<f64>,
}

impl Matrix {
    /// A matrix of a file.
    pub fn read(tensors: &Tensors, name: &str) -> Result<Self> {
        let values = tensors.f32(name)?.into_iter().map(f64::from).collect();
        match *tensors.shape(name)? {
            [rows, columns] => Ok(Self { rows, columns, values }),
            ref shape => Err(Error::usage(format!("`{name}` has shape {shape:?}, not that of a matrix"))),
        }
    }

    /// A matrix by its elements.
    pub fn new(rows: usize, columns: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|i| element(i / columns, i % columns)).collect();
        Self { rows, columns, values }
    }

    /// An element.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    /// The matrix product.
    pub fn times(&self, other: &Self) -> Self {
        Self::new(self.rows, other.columns, |i, j| {
            (0..self.columns).map(|k| self.at(i, k) * other.at(k, j)).sum()
        })
    }

    /// Rows and columns exchanged.
    pub fn transposed(&self) -> Self {
        Self::new(self.columns, self.rows, |i, j| self.at(j, i))
    }

    /// The product element by element.
    pub fn hadamard(&self, other: &Self) -> Self {
        Self::new(self.rows, self.columns, |i, j| self.at(i, j) * other.at(i, j))
    }

    /// `self + factor * other`.
    pub fn plus(&self, factor: f64, other: &Self) -> Self {
        Self::new(self.rows, self.columns, |i, j| self.at(i, j) + factor * other.at(i, j))
    }

    /// The Kronecker product.
    pub fn kronecker(&self, other: &Self) -> Self {
        Self::new(self.rows * other.rows, self.columns * other.columns, |i, j| {
            self.at(i / other.rows, j / other.columns) * other.at(i % other.rows, j % other.columns)
        })
    }

    /// L2 norm of a row.
    pub fn row_norm(&self, row: usize) -> f64 {
        (0..self.columns).map(|j| self.at(row, j).powi(2)).sum::<f64>().sqrt()
    }

    /// The elements as f32.
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|&x| x as f32).collect()
    }
}

/// A factor: a matrix, or the product of two.
enum Factor {
    Whole(String, Matrix),
    Product([(String, Matrix); 2]),
}

impl Factor {
    /// `name`, or else `name_a name_b`.
    fn read(tensors: &Tensors, name: &str) -> Result<Self> {
        let part = |name: String| Ok((name.clone(), Matrix::read(tensors, &format!("param.{name}"))?));
        if tensors.contains(&format!("param.{name}")) {
            let (name, matrix) = part(name.to_owned())?;
            return Ok(Self::Whole(name, matrix));
        }
        Ok(Self::Product([part(format!("{name}_a"))?, part(format!("{name}_b"))?]))
    }

    fn value(&self) -> Matrix {
        match self {
            Self::Whole(_, matrix) => matrix.clone(),
            Self::Product([(_, a), (_, b)]) => a.times(b),
        }
    }

    /// Gradients of the parameters it is made of.
    fn gradients(&self, gradient: &Matrix) -> Vec<(String, Matrix)> {
        match self {
            Self::Whole(name, _) => vec![(name.clone(), gradient.clone())],
            Self::Product([(a_name, a), (b_name, b)]) => vec![
                (a_name.clone(), gradient.times(&b.transposed())),
                (b_name.clone(), a.transposed().times(gradient)),
            ],
        }
    }
}

/// How the two factors make a delta.
#[derive(Clone, Copy)]
enum Form {
    Hadamard,
    Kronecker,
}

/// LoHa or LoKr: a delta from two factors.
pub struct DenseAdapter {
    form: Form,
    factors: [Factor; 2],
    scale: f64,
}

impl DenseAdapter {
    /// The adapter in a file, if it is one of this sort.
    pub fn read(tensors: &Tensors, scale: f64) -> Result<Option<Self>> {
        let has = |prefix: &str| tensors.names().any(|name| name.starts_with(prefix));
        let (form, names) = if has("param.hada_") {
            (Form::Hadamard, ["hada_w1", "hada_w2"])
        } else if has("param.lokr_") {
            (Form::Kronecker, ["lokr_w1", "lokr_w2"])
        } else {
            return Ok(None);
        };
        let factors = [Factor::read(tensors, names[0])?, Factor::read(tensors, names[1])?];
        Ok(Some(Self { form, factors, scale }))
    }

    /// The frozen weight with the delta.
    pub fn effective_weight(&self, base: &Matrix) -> Matrix {
        let [first, second] = self.factors.each_ref().map(Factor::value);
        let delta = match self.form {
            Form::Hadamard => first.hadamard(&second),
            Form::Kronecker => first.kronecker(&second),
        };
        base.plus(self.scale, &delta)
    }

    /// Gradients of all parameters, by name, from that of the effective weight.
    pub fn gradients(&self, dw: &Matrix) -> Vec<(String, Matrix)> {
        let [first, second] = self.factors.each_ref().map(Factor::value);
        let scaled = Matrix::new(dw.rows, dw.columns, |i, j| self.scale * dw.at(i, j));
        let (dfirst, dsecond) = match self.form {
            Form::Hadamard => (scaled.hadamard(&second), scaled.hadamard(&first)),
            Form::Kronecker => kronecker_gradients(&scaled, &first, &second),
        };
        let mut all = self.factors[0].gradients(&dfirst);
        all.extend(self.factors[1].gradients(&dsecond));
        all
    }
}

/// Gradients of both factors of a Kronecker product.
fn kronecker_gradients(gradient: &Matrix, first: &Matrix, second: &Matrix) -> (Matrix, Matrix) {
    let element =
        |i: usize, j: usize, k: usize, l: usize| gradient.at(i * second.rows + k, j * second.columns + l);
    let sum = |rows: Range<usize>, columns: usize, term: &dyn Fn(usize, usize) -> f64| -> f64 {
        rows.flat_map(|k| (0..columns).map(move |l| (k, l))).map(|(k, l)| term(k, l)).sum()
    };
    let dfirst = Matrix::new(first.rows, first.columns, |i, j| {
        sum(0..second.rows, second.columns, &|k, l| element(i, j, k, l) * second.at(k, l))
    });
    let dsecond = Matrix::new(second.rows, second.columns, |k, l| {
        sum(0..first.rows, first.columns, &|i, j| element(i, j, k, l) * first.at(i, j))
    });
    (dfirst, dsecond)
}
