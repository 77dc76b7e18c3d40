//! Where a map is highest.

use super::map::Map;
use crate::prepare::region::{Point, Region};

/// The share of the map's places that count as high.
const HIGH: f64 = 0.15;
/// A region of high places counts if it has this share of all that they hold.
const PART: f64 = 0.15;
/// The core of a region holds all but this share of it on each side.
const OUTSIDE_CORE: f64 = 0.2;

/// The high places, in the map's pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Peaks {
    /// Their middle.
    pub(super) point: Point,
    /// The core of the heaviest region of high places, that region, and the others, the heaviest first.
    pub(super) parts: Vec<Region>,
    /// The share of the map that they hold beyond what a level map would give them.
    pub(super) certainty: f64,
}

/// The high places of `map`; nothing if it holds nothing.
pub(super) fn peaks(map: &Map) -> Option<Peaks> {
    let total: f64 = map.values.iter().sum();
    let high = high_places(map);
    let held: f64 = high.iter().map(|&i| map.values[i]).sum();
    if held <= 0.0 {
        return None;
    }
    let (share, extent) = (held / total, high.len() as f64 / map.values.len() as f64);
    let mut regions = connected(map, &high);
    regions.sort_by(|a, b| b.weight(map).total_cmp(&a.weight(map)));
    let enough = |region: &&Places| region.weight(map) >= PART * held;
    let heaviest = regions.first()?;
    let others = regions.iter().skip(1).filter(enough).map(|region| region.bounds(map));
    let parts = [heaviest.core(map), heaviest.bounds(map)].into_iter().chain(others).collect();
    let certainty = ((share - extent) / (1.0 - extent).max(f64::EPSILON)).clamp(0.0, 1.0);
    Some(Peaks { point: Places(high).middle(map), parts, certainty })
}

/// The indices of the highest places, in order.
fn high_places(map: &Map) -> Vec<usize> {
    let count = ((map.values.len() as f64 * HIGH).round() as usize).max(1);
    let mut order: Vec<usize> = (0..map.values.len()).collect();
    order.sort_by(|&a, &b| map.values[b].total_cmp(&map.values[a]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// Indices into a map.
struct Places(Vec<usize>);

/// The regions of `places` that touch, corners included.
fn connected(map: &Map, places: &[usize]) -> Vec<Places> {
    let mut open = vec![false; map.values.len()];
    places.iter().for_each(|&place| open[place] = true);
    let mut regions = Vec::new();
    for &start in places {
        if !std::mem::take(&mut open[start]) {
            continue;
        }
        let mut region = vec![start];
        let mut next = 0;
        while let Some(&place) = region.get(next) {
            next += 1;
            for neighbour in neighbours(map, place) {
                if std::mem::take(&mut open[neighbour]) {
                    region.push(neighbour);
                }
            }
        }
        regions.push(Places(region));
    }
    regions
}

/// The up to eight places around one, and itself.
fn neighbours(map: &Map, place: usize) -> impl Iterator<Item = usize> {
    let (width, height) = (map.width, map.height);
    let (x, y) = (place % width, place / width);
    let columns = x.saturating_sub(1)..=(x + 1).min(width - 1);
    let rows = y.saturating_sub(1)..=(y + 1).min(height - 1);
    rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
}

impl Places {
    /// The sum of the map over them.
    fn weight(&self, map: &Map) -> f64 {
        self.0.iter().map(|&place| map.values[place]).sum()
    }

    /// Their middle, each place weighing the same.
    fn middle(&self, map: &Map) -> Point {
        let count = self.0.len().max(1) as f64;
        let sum = |place: &dyn Fn(usize) -> usize| -> f64 {
            self.0.iter().map(|&i| place(i) as f64 + 0.5).sum::<f64>() / count
        };
        Point { x: sum(&|i| i % map.width), y: sum(&|i| i / map.width) }
    }

    /// The rectangle around all of them.
    fn bounds(&self, map: &Map) -> Region {
        self.spread(map, 0.0)
    }

    /// The rectangle around most of them.
    fn core(&self, map: &Map) -> Region {
        self.spread(map, OUTSIDE_CORE)
    }

    /// The rectangle that leaves out a share of them to the left, to the right, above and below.
    fn spread(&self, map: &Map, outside: f64) -> Region {
        let span = |along: &dyn Fn(usize) -> usize| {
            let mut places: Vec<usize> = self.0.iter().map(|&place| along(place)).collect();
            places.sort_unstable();
            let left_out = (outside * places.len() as f64) as usize;
            let first = places.get(left_out).copied().unwrap_or_default();
            let last = places.iter().rev().nth(left_out).copied().unwrap_or(first);
            (first as f64, last as f64 + 1.0)
        };
        let (left, right) = span(&|place| place % map.width);
        let (top, bottom) = span(&|place| place / map.width);
        Region::between(left, top, right, bottom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40x20 with a block of 12x6 that holds much and one of 5x8 that holds less.
    fn two_blocks() -> Map {
        Map::from_fn(40, 20, |x, y| {
            if (4..16).contains(&x) && (2..8).contains(&y) {
                5.0
            } else if (30..35).contains(&x) && (10..18).contains(&y) {
                4.0
            } else {
                0.01
            }
        })
    }

    #[test]
    fn regions_come_by_weight_and_the_core_is_inside_the_first() {
        let peaks = peaks(&two_blocks()).unwrap();
        let [core, first, second] = peaks.parts[..] else { panic!("{:?}", peaks.parts) };
        assert!(first.contains(&Region::between(4.0, 2.0, 16.0, 8.0), 0.0), "{first:?}");
        assert!(first.contains(&core, 0.0) && core.area() > 0.0);
        assert_eq!(second, Region::between(30.0, 10.0, 35.0, 18.0));
        assert!(peaks.certainty > 0.9, "{}", peaks.certainty);
    }

    #[test]
    fn a_level_map_is_uncertain_and_an_empty_one_has_no_peaks() {
        let level = peaks(&Map::from_fn(30, 30, |_, _| 1.0)).unwrap();
        assert!(level.certainty < 1e-9);
        assert!(peaks(&Map::from_fn(5, 5, |_, _| 0.0)).is_none());
        assert!(peaks(&Map::from_fn(1, 1, |_, _| 1.0)).is_some());
    }
}
