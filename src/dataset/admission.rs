//! Which pictures of a folder a data set takes: by size, by shape, and at most how many.

use super::buckets::Measure;
use super::sample::Sample;
use crate::random::{Purpose, Stream};

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// What `minimum_edge` measures.
    pub measure: Measure,
    /// Pictures with a shorter edge, in pixels, are left out.
    pub minimum_edge: f64,
    /// Pictures with a lower width over height are left out.
    pub minimum_aspect: f64,
    /// Pictures with a higher width over height are left out.
    pub maximum_aspect: f64,
    /// At most so many pictures are taken, by chance.
    pub most: Option<usize>,
}

impl Default for Admission {
    /// Every picture.
    fn default() -> Self {
        Self {
            measure: Measure::Area,
            minimum_edge: 0.0,
            minimum_aspect: 0.0,
            maximum_aspect: f64::INFINITY,
            most: None,
        }
    }
}

impl Admission {
    /// Takes from `samples` of the data set `id` what is admitted, in the same order, and remarks on the rest.
    pub(super) fn admit(&self, id: &str, samples: Vec<Sample>, seed: u64) -> (Vec<Sample>, Vec<String>) {
        let mut notes = Vec::new();
        let (samples, small): (Vec<_>, Vec<_>) = samples
            .into_iter()
            .partition(|sample| self.measure.edge(sample.size.0, sample.size.1) >= self.minimum_edge);
        if !small.is_empty() {
            let (count, edge) = (small.len(), self.minimum_edge);
            let what = match self.measure {
                Measure::Area => format!("smaller than a square of {edge:.0} pixels"),
                Measure::ShortEdge => format!("with a side below {edge:.0} pixels"),
            };
            notes.push(format!("`{id}`: {count} pictures {what} are left out"));
        }
        let (mut samples, odd): (Vec<_>, Vec<_>) =
            samples.into_iter().partition(|sample| self.has_admitted_shape(sample.size));
        if !odd.is_empty() {
            let (low, high) = (self.minimum_aspect, self.maximum_aspect);
            notes.push(format!(
                "`{id}`: {} pictures whose width over height is below {low} or above {high} are left out",
                odd.len()
            ));
        }
        if let Some(most) = self.most.filter(|&most| most < samples.len()) {
            notes.push(format!("`{id}`: {most} of {} pictures are taken (max_num_samples)", samples.len()));
            samples = some_of(samples, most, seed);
        }
        (samples, notes)
    }

    fn has_admitted_shape(&self, (width, height): (u32, u32)) -> bool {
        let aspect = f64::from(width) / f64::from(height);
        (self.minimum_aspect..=self.maximum_aspect).contains(&aspect)
    }
}

/// So many of the samples, in their order.
fn some_of(samples: Vec<Sample>, count: usize, seed: u64) -> Vec<Sample> {
    let mut chosen: Vec<usize> = (0..samples.len()).collect();
    Stream::new(seed, Purpose::SampleChoice, 0, 0, 0).shuffle(&mut chosen);
    chosen.truncate(count);
    chosen.sort_unstable();
    let is_chosen = |(index, sample)| chosen.binary_search(&index).is_ok().then_some(sample);
    samples.into_iter().enumerate().filter_map(is_chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Bucket;

    fn samples(sizes: &[(u32, u32)]) -> Vec<Sample> {
        let sample = |(index, &size): (usize, &(u32, u32))| Sample {
            path: format!("{index}.png").into(),
            content_hash: index.to_string(),
            size,
            bucket: Bucket { width: 64, height: 64 },
            views: Vec::new(),
            captions: vec!["a picture".into()],
            wording: Default::default(),
            source: 0,
            held_out: false,
        };
        sizes.iter().enumerate().map(sample).collect()
    }

    fn admitted(admission: &Admission, sizes: &[(u32, u32)]) -> (Vec<(u32, u32)>, Vec<String>) {
        let (samples, notes) = admission.admit("set", samples(sizes), 3);
        (samples.iter().map(|sample| sample.size).collect(), notes)
    }

    #[test]
    fn small_pictures_are_left_out_by_area_or_by_the_shorter_edge() {
        let sizes = [(100, 400), (150, 150), (200, 200)];
        let by =
            |measure| admitted(&Admission { measure, minimum_edge: 200.0, ..Admission::default() }, &sizes);
        assert_eq!(by(Measure::Area).0, [(100, 400), (200, 200)]);
        assert_eq!(by(Measure::ShortEdge).0, [(200, 200)]);
        assert!(by(Measure::ShortEdge).1[0].contains("2 pictures with a side below 200 pixels"));
    }

    #[test]
    fn odd_shapes_are_left_out() {
        let admission = Admission { minimum_aspect: 0.5, maximum_aspect: 2.0, ..Admission::default() };
        let (sizes, notes) = admitted(&admission, &[(100, 201), (100, 200), (200, 100), (201, 100)]);
        assert_eq!(sizes, [(100, 200), (200, 100)]);
        assert!(notes[0].contains("2 pictures whose width over height is below 0.5 or above 2"), "{notes:?}");
    }

    #[test]
    fn some_are_taken_by_chance_in_their_order() {
        let sizes: Vec<_> = (1..=100).map(|side| (side, side)).collect();
        let some = Admission { most: Some(10), ..Admission::default() };
        let (taken, notes) = admitted(&some, &sizes);
        assert_eq!(taken.len(), 10);
        assert!(taken.is_sorted() && taken != sizes[..10]);
        assert_eq!(taken, admitted(&some, &sizes).0);
        assert!(notes[0].contains("10 of 100"), "{notes:?}");
        assert_eq!(admitted(&Admission { most: Some(100), ..some }, &sizes).0.len(), 100);
    }
}
