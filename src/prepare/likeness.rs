//! Which pictures look alike: difference hashes of rows and columns, compared bit by bit.

use super::record::{Entry, Remark, State};
use crate::dataset::{Bucket, Crop, Filter, resample};
use image::RgbImage;
use rayon::prelude::*;

/// The kind of remark that is made here.
const NEAR_DUPLICATE: &str = "near_duplicate";
/// Pictures alike in all but so many of the 128 bits are near-duplicates.
const NEAR: u32 = 12;

/// 64 bits of whether brightness grows from left to right on a grid of 9x8, and 64 of the same downward.
pub(super) fn likeness(picture: &RgbImage) -> String {
    let across = grid(picture, 9, 8);
    let down = grid(picture, 8, 9);
    let mut bits = 0u128;
    for row in 0..8 {
        for column in 0..8 {
            let grows = across[row * 9 + column + 1] > across[row * 9 + column];
            let falls = down[(row + 1) * 8 + column] > down[row * 8 + column];
            bits = bits << 2 | u128::from(grows) << 1 | u128::from(falls);
        }
    }
    format!("{bits:032x}")
}

/// Brightness on a coarse grid; black for a picture that cannot be scaled.
fn grid(picture: &RgbImage, width: usize, height: usize) -> Vec<u32> {
    let whole =
        Crop { x: 0.0, y: 0.0, width: f64::from(picture.width()), height: f64::from(picture.height()) };
    let small = resample(picture, &whole, Bucket { width, height }, Filter::Area);
    let small = small.unwrap_or_else(|_| RgbImage::new(width as u32, height as u32));
    // Weights of ITU-R BT.601 in thousandths.
    small.pixels().map(|p| 299 * u32::from(p[0]) + 587 * u32::from(p[1]) + 114 * u32::from(p[2])).collect()
}

/// Adds a remark to every picture that looks like another one; earlier remarks of this kind go.
pub(super) fn remark_on_duplicates(entries: &mut [Entry]) {
    let hashes: Vec<Option<u128>> = entries.iter().map(hash).collect();
    let twins: Vec<Vec<usize>> =
        (0..entries.len()).into_par_iter().map(|index| near(index, &hashes)).collect();
    let remarks: Vec<Option<Remark>> =
        twins.iter().enumerate().map(|(index, twins)| remark(index, twins, entries)).collect();
    let groups: Vec<Option<String>> = groups(&twins)
        .into_iter()
        .zip(&twins)
        .map(|(first, twins)| {
            entries.get(first).filter(|_| !twins.is_empty()).map(|entry| entry.source.clone())
        })
        .collect();
    for ((entry, remark), group) in entries.iter_mut().zip(remarks).zip(groups) {
        entry.like = group;
        entry.doubts.retain(|doubt| doubt.kind != NEAR_DUPLICATE);
        entry.doubts.extend(remark);
        entry.doubts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    }
}

/// The hash of a picture that is, or could be, trained.
fn hash(entry: &Entry) -> Option<u128> {
    let is_there = matches!(entry.state, State::Made | State::Refused);
    is_there.then(|| u128::from_str_radix(&entry.likeness, 16).ok()).flatten()
}

/// The pictures like that at `index`, the most alike first.
fn near(index: usize, hashes: &[Option<u128>]) -> Vec<usize> {
    let Some(Some(own)) = hashes.get(index) else { return Vec::new() };
    let distance = |other: &Option<u128>| other.map_or(u32::MAX, |other| (own ^ other).count_ones());
    let mut near: Vec<(u32, usize)> = hashes
        .iter()
        .enumerate()
        .map(|(other, hash)| (distance(hash), other))
        .filter(|&(distance, other)| distance <= NEAR && other != index)
        .collect();
    near.sort_unstable();
    near.into_iter().map(|(_, other)| other).collect()
}

/// The first picture of the group that each belongs to: of those that look alike, directly or through others.
fn groups(twins: &[Vec<usize>]) -> Vec<usize> {
    let mut first: Vec<usize> = (0..twins.len()).collect();
    loop {
        let mut changed = false;
        for (index, twins) in twins.iter().enumerate() {
            let lowest = twins.iter().chain([&index]).map(|&one| first[one]).min().unwrap_or(index);
            changed |= lowest < first[index];
            first[index] = lowest;
        }
        if !changed {
            return first;
        }
    }
}

fn remark(index: usize, twins: &[usize], entries: &[Entry]) -> Option<Remark> {
    let (own, twin) = (entries.get(index)?, entries.get(*twins.first()?)?);
    let is_copy = own.original.sha256 == twin.original.sha256;
    let (relation, weight) = if is_copy { ("the same file as", 0.6) } else { ("looks like", 0.35) };
    let more = match twins.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Remark {
        kind: NEAR_DUPLICATE.to_owned(),
        text: format!("{relation} {}{more}", twin.source),
        weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn drawing(phase: f64, brightness: f64) -> RgbImage {
        RgbImage::from_fn(320, 200, |x, y| {
            let wave =
                ((f64::from(x) / 40.0 + phase).sin() + (f64::from(y) / 31.0 - phase).cos()) / 4.0 + 0.5;
            Rgb([(wave * 200.0 * brightness) as u8; 3])
        })
    }

    fn distance(a: &RgbImage, b: &RgbImage) -> u32 {
        let hash = |picture| u128::from_str_radix(&likeness(picture), 16).unwrap();
        (hash(a) ^ hash(b)).count_ones()
    }

    #[test]
    fn a_darker_or_smaller_copy_is_alike_and_another_picture_is_not() {
        let picture = drawing(0.3, 1.0);
        let smaller = image::imageops::resize(&picture, 150, 94, image::imageops::FilterType::Triangle);
        assert!(distance(&picture, &drawing(0.3, 0.8)) <= NEAR);
        assert!(distance(&picture, &smaller) <= NEAR);
        assert!(distance(&picture, &drawing(2.0, 1.0)) > NEAR);
    }

    #[test]
    fn groups_go_through_others() {
        let twins = [vec![3], vec![], vec![3], vec![0, 2], vec![5], vec![4]];
        assert_eq!(groups(&twins), [0, 1, 0, 0, 4, 4]);
    }

    #[test]
    fn any_size_has_a_likeness() {
        for (width, height) in [(1, 1), (1, 300), (300, 1), (9, 8)] {
            assert_eq!(likeness(&RgbImage::new(width, height)).len(), 32);
        }
    }
}
