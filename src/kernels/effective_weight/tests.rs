//! Against the formulas in f64, at shapes where no two extents are equal.

use super::*;
use crate::autograd::derive::derive;
use crate::autograd::{Engine, Persistent, Program};
use crate::device::cpu::Cpu;
use crate::ops;
use crate::ops::effective_weight::{Change, effective_weight};
use crate::random::{Purpose, Stream};

/// A matrix in f64.
#[derive(Clone)]
struct Wide {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Wide {
    fn new(rows: usize, columns: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|i| element(i / columns, i % columns)).collect();
        Self { rows, columns, values }
    }

    fn drawn(lane: u32, rows: usize, columns: usize) -> Self {
        let stream = Stream::new(7, Purpose::Noise, lane, 0, 0);
        Self::new(rows, columns, |i, j| f64::from(stream.normal(i * columns + j)))
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    fn times(&self, other: &Self) -> Self {
        Self::new(self.rows, other.columns, |i, j| {
            (0..self.columns).map(|k| self.at(i, k) * other.at(k, j)).sum()
        })
    }

    fn transposed(&self) -> Self {
        Self::new(self.columns, self.rows, |i, j| self.at(j, i))
    }

    fn joined(&self, join: Join, other: &Self) -> Self {
        match join {
            Join::Hadamard => Self::new(self.rows, self.columns, |i, j| self.at(i, j) * other.at(i, j)),
            Join::Kronecker => Self::new(self.rows * other.rows, self.columns * other.columns, |i, j| {
                self.at(i / other.rows, j / other.columns) * other.at(i % other.rows, j % other.columns)
            }),
        }
    }
}

/// A factor's matrices, and the product of the second kind.
fn value(factor: &Factor<Wide>) -> Wide {
    match factor {
        Factor::Whole(matrix) => matrix.clone(),
        Factor::Product(a, b) => a.times(b),
    }
}

/// The gradients of a factor's matrices from that of its value.
fn gradients(factor: &Factor<Wide>, gradient: &Wide) -> Vec<Wide> {
    match factor {
        Factor::Whole(_) => vec![gradient.clone()],
        Factor::Product(a, b) => vec![gradient.times(&b.transposed()), a.transposed().times(gradient)],
    }
}

/// The derivative of the sum of dW times the change, element by element of a factor's value: the change is linear in
/// each factor.
fn value_gradient(join: Join, values: &[Wide; 2], which: usize, dw: &Wide, scale: f64) -> Wide {
    let of = &values[which];
    Wide::new(of.rows, of.columns, |i, j| {
        let unit = Wide::new(of.rows, of.columns, |a, b| f64::from(u8::from((a, b) == (i, j))));
        let change = match which {
            0 => unit.joined(join, &values[1]),
            _ => values[0].joined(join, &unit),
        };
        scale * change.values.iter().zip(&dw.values).map(|(change, dw)| change * dw).sum::<f64>()
    })
}

fn close(found: &[f32], expected: &Wide, what: &str) {
    let errors = found.iter().zip(&expected.values).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum::<f64>();
    let size = expected.values.iter().map(|e| e * e).sum::<f64>();
    assert!(found.len() == expected.values.len() && errors <= 1e-12 * size, "{what}: {errors} of {size}");
}

fn check(join: Join, factors: [Factor<Wide>; 2], first_row: usize) {
    const SCALE: f64 = 0.375;
    let values = factors.each_ref().map(value);
    let change = values[0].joined(join, &values[1]);
    let (rows, columns) = (change.rows, change.columns);
    let (weight, dw) = (Wide::drawn(20, first_row + rows + 2, columns), Wide::drawn(21, rows, columns));

    let mut program = Program::new();
    let mut inputs = Vec::new();
    let mut input = |program: &mut Program, matrix: &Wide| {
        let id = program.input("matrix", [matrix.rows, matrix.columns]);
        inputs.push((id, matrix.values.iter().map(|&value| value as f32).collect::<Vec<_>>()));
        id
    };
    let base = input(&mut program, &weight);
    let ids = factors.each_ref().map(|factor| match factor {
        Factor::Whole(matrix) => Factor::Whole(input(&mut program, matrix)),
        Factor::Product(a, b) => Factor::Product(input(&mut program, a), input(&mut program, b)),
    });
    let seed = input(&mut program, &dw);
    let changed = Change { join, factors: ids, scale: SCALE as f32 };
    let to = effective_weight(&mut program, "w", (base, first_row..first_row + rows), &changed).unwrap();
    program.output(to);
    let wanted: Vec<TensorId> = ids.iter().flat_map(|factor| factor.all().copied()).collect();
    let found = derive(&mut program, &[(to, seed)], &[], &wanted, ops::derivative).unwrap();

    let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
    let planned = engine.plan(program).unwrap();
    engine.reserve(&planned).unwrap();
    inputs.iter().for_each(|(id, values)| engine.write(&planned, *id, values).unwrap());
    engine.run(&planned).unwrap();

    let expected = Wide::new(rows, columns, |i, j| weight.at(first_row + i, j) + SCALE * change.at(i, j));
    close(&engine.read(&planned, to).unwrap(), &expected, "the changed weight");
    let expected =
        [0, 1].map(|which| gradients(&factors[which], &value_gradient(join, &values, which, &dw, SCALE)));
    for (id, expected) in found.iter().zip(expected.iter().flatten()) {
        close(&engine.read(&planned, id.unwrap()).unwrap(), expected, "a gradient");
    }
}

fn product(lane: u32, rows: usize, rank: usize, columns: usize) -> Factor<Wide> {
    Factor::Product(Wide::drawn(lane, rows, rank), Wide::drawn(lane + 1, rank, columns))
}

#[test]
fn loha_follows_its_formula() {
    for (rows, rank, columns) in [(1, 1, 1), (5, 2, 3), (19, 3, 7), (7, 9, 22)] {
        check(Join::Hadamard, [product(1, rows, rank, columns), product(3, rows, rank, columns)], 3);
    }
}

#[test]
fn lokr_follows_its_formula_whatever_its_factors_are() {
    for (l, m, k, n, rank) in [(1, 1, 1, 1, 1), (2, 3, 5, 4, 1), (3, 2, 4, 7, 2), (1, 5, 9, 2, 3)] {
        let (w1, w2) = (Factor::Whole(Wide::drawn(1, l, m)), Factor::Whole(Wide::drawn(5, k, n)));
        check(Join::Kronecker, [w1.clone(), w2.clone()], 0);
        check(Join::Kronecker, [w1, product(5, k, rank, n)], 1);
        check(Join::Kronecker, [product(1, l, rank, m), w2], 2);
        check(Join::Kronecker, [product(1, l, rank, m), product(5, k, rank, n)], 0);
    }
}

#[test]
fn factors_that_do_not_make_the_weight_are_refused() {
    let mut program = Program::new();
    let mut matrix = |rows: usize, columns: usize| program.input("matrix", [rows, columns]);
    let (weight, four, two, three) = (matrix(8, 6), matrix(4, 3), matrix(2, 2), matrix(2, 3));
    let whole = |a, b| [Factor::Whole(a), Factor::Whole(b)];
    let change = |factors| Change { join: Join::Kronecker, factors, scale: 1.0 };
    let mut record = |factors| effective_weight(&mut program, "w", (weight, 0..8), &change(factors));
    assert!(record(whole(four, two)).is_ok());
    assert!(record(whole(four, three)).unwrap_err().cause.contains("do not make a weight"));
    let torn = [Factor::Product(four, two), Factor::Whole(two)];
    assert!(record(torn).unwrap_err().cause.contains("the product of"));
}
