//! What was compared, how far apart it was, and what was allowed.

/// The comparisons of one case.
#[derive(Default)]
pub struct Checks {
    done: Vec<Check>,
    notes: Vec<String>,
}

struct Check {
    what: String,
    error: f64,
    limit: f64,
    why: Option<String>,
}

impl Check {
    /// Whether the error is within its limit; one that is not a number is not.
    fn holds(&self) -> bool {
        self.error <= self.limit
    }
}

impl Checks {
    /// The relative L2 distance of two tensors.
    pub fn close<A, B>(&mut self, what: &str, ours: &[A], expected: &[B], limit: f64)
    where
        A: Copy + Into<f64>,
        B: Copy + Into<f64>,
    {
        if ours.len() != expected.len() {
            return self.fail(what, &format!("{} elements instead of {}", ours.len(), expected.len()));
        }
        self.within(what, relative_distance(ours, expected), limit);
    }

    /// The relative distance of two numbers; an expected 0 must be met exactly.
    pub fn number(&mut self, what: &str, ours: f64, expected: f64, limit: f64) {
        self.close(what, &[ours], &[expected], limit);
    }

    /// A tensor that must be zero in every element.
    pub fn zero(&mut self, what: &str, ours: &[f32]) {
        let largest = ours.iter().fold(0.0f64, |largest, x| largest.max(f64::from(x.abs())));
        let largest = if ours.iter().any(|x| x.is_nan()) { f64::NAN } else { largest };
        self.within(what, largest, 0.0);
    }

    /// Something that holds or does not.
    pub fn holds(&mut self, what: &str, holds: bool) {
        if holds { self.within(what, 0.0, 0.0) } else { self.fail(what, "it does not hold") }
    }

    /// An error by a measure of its own.
    pub fn within(&mut self, what: &str, error: f64, limit: f64) {
        self.done.push(Check { what: what.to_owned(), error, limit, why: None });
    }

    /// Something that could not even be compared.
    pub fn fail(&mut self, what: &str, why: &str) {
        let (what, why) = (what.to_owned(), Some(why.to_owned()));
        self.done.push(Check { what, error: f64::INFINITY, limit: 0.0, why });
    }

    /// Something to know about the case that is no comparison.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What is beyond its limit.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let failed = self.done.iter().filter(|check| !check.holds());
        let none = self.done.is_empty().then(|| "nothing was compared".to_owned());
        failed
            .map(|Check { what, error, limit, why }| match why {
                Some(why) => format!("{what}: {why}"),
                None => format!("{what}: {error:.3e}, limit {limit:.1e}"),
            })
            .chain(none)
    }

    /// One line: how many comparisons, and the one closest to its limit; then the notes.
    pub fn summary(&self) -> String {
        let share = |check: &Check| check.error / check.limit;
        let failed = self.done.iter().filter(|check| !check.holds()).count();
        let mut text = format!("{} checks, {failed} failed", self.done.len());
        let limited = self.done.iter().filter(|check| check.limit > 0.0);
        if let Some(check) = limited.max_by(|a, b| share(a).total_cmp(&share(b))) {
            let Check { what, error, limit, .. } = check;
            text.push_str(&format!("; closest to its limit: {what}, {error:.1e} of {limit:.0e}"));
        }
        self.notes.iter().for_each(|note| text.push_str(&format!("\n    {note}")));
        text
    }
}

/// `||ours - expected|| / ||expected||` in f64; 0 where both are 0.
pub fn relative_distance<A, B>(ours: &[A], expected: &[B]) -> f64
where
    A: Copy + Into<f64>,
    B: Copy + Into<f64>,
{
    let pairs = ours.iter().zip(expected).map(|(&a, &b)| (a.into(), b.into()));
    let (distance, norm) = pairs.fold((0.0, 0.0), |(distance, norm), (a, b): (f64, f64)| {
        (distance + (a - b) * (a - b), norm + b * b)
    });
    if distance == 0.0 { 0.0 } else { (distance / norm).sqrt() }
}

/// The L2 norm, in f64.
pub fn norm<A: Copy + Into<f64>>(values: &[A]) -> f64 {
    values.iter().map(|&x| x.into() * x.into()).sum::<f64>().sqrt()
}

/// The cosine between two vectors, in f64.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    product / (norm(a) * norm(b))
}
