//! Scenes with one figure each, drawn in large square pixels: a figure off the middle on a plain ground under a
//! sky. Every scene is a function of its number.

use crate::prepare::region::Region;
use image::{Rgb, RgbImage};

/// Picture pixels per drawn pixel.
const PIXEL: usize = 8;
/// Sizes of scenes in drawn pixels.
const SIZES: [(usize, usize); 8] =
    [(80, 55), (55, 75), (64, 64), (96, 50), (50, 90), (75, 60), (105, 50), (60, 72)];
/// Left halves of figures, mirrored on the right: `#` the body, `+` its second colour, `e` an eye, `?` the body in
/// some scenes.
const FIGURES: [[&str; 12]; 8] = [
    [
        "........", "........", "......##", "....####", "...#####", "..######", "..##e###", "..######",
        ".#######", ".####++#", ".#######", ".?######",
    ],
    [
        ".....+++", "....++++", "....++++", "....+e++", "....++++", ".....###", "..######", ".##.####",
        ".#..##+#", "....####", "....##..", "...+++..",
    ],
    [
        ".....###", "...#####", "..##++##", ".###++##", ".#######", "######++", "########", "....++++",
        "....+e++", "....++++", "....++++", ".....+++",
    ],
    [
        ".....###", "...#####", "..######", "..##e###", "..##e###", "..######", "..######", "?.######",
        "#.######", "..######", "..##.##?", "..#...#.",
    ],
    [
        ".......+", "......++", ".....###", ".....###", "....####", "....#e##", "....####", "....####",
        "..?#####", ".##.####", ".#..++++", ".....+.+",
    ],
    [
        ".#......", ".##.....", ".###.###", ".#######", ".##e####", ".######+", ".#######", "..#####+",
        "...#####", "..######", "..##.###", "..##.##?",
    ],
    [
        ".......+", "....####", "...#####", "...#e###", "...#####", "...##+++", ".....###", ".#######",
        ".#.##+##", ".#.#####", "...##.#.", "..+++.+.",
    ],
    [
        ".....###", "...#####", "..###+##", "..######", ".##+####", ".#######", "..####+#", "...#####",
        ".....+++", "......++", "......++", ".....+++",
    ],
];
/// Hue, saturation and value of the bodies.
const COLOURS: [[f64; 3]; 9] = [
    [0.0, 0.75, 0.85],
    [0.07, 0.8, 0.95],
    [0.14, 0.75, 0.95],
    [0.33, 0.65, 0.7],
    [0.49, 0.65, 0.7],
    [0.6, 0.7, 0.85],
    [0.76, 0.55, 0.8],
    [0.92, 0.45, 0.95],
    [0.0, 0.03, 0.65],
];
/// Hue, saturation and value of sky and ground: meadow, desert, snow, night, cave and sea.
const GROUNDS: [[[f64; 3]; 2]; 6] = [
    [[0.55, 0.45, 0.95], [0.30, 0.55, 0.55]],
    [[0.06, 0.55, 0.95], [0.09, 0.5, 0.75]],
    [[0.58, 0.15, 0.95], [0.57, 0.06, 0.98]],
    [[0.66, 0.6, 0.22], [0.62, 0.35, 0.28]],
    [[0.75, 0.25, 0.16], [0.07, 0.3, 0.22]],
    [[0.53, 0.35, 0.95], [0.58, 0.75, 0.6]],
];

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Draws(u64);

impl Draws {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }
}

/// Scene `number` of a series, and the box around its figure in pixels.
pub(super) fn scene(series: u64, number: usize) -> (RgbImage, Region) {
    let mut draws = Draws((series << 32) ^ number as u64);
    let (width, height) = SIZES[number % SIZES.len()];
    let horizon = (height as f64 * (0.6 + 0.12 * draws.unit())) as usize;
    let ground = draws.below(GROUNDS.len());
    let mut cells = background(&mut draws, (width, height), horizon, ground);
    let doubled = draws.unit() < 0.6 && width.min(height) >= 50;
    let figure = figure(&mut draws, number, if doubled { 2 } else { 1 });
    let (rows, columns) = (figure.len(), figure[0].len());
    let left = [width * 6 / 100, (width - columns) / 2, width * 94 / 100 - columns][draws.below(3)];
    let left = left.clamp(1, width - columns - 1);
    let top = (horizon + (height - horizon) * 45 / 100 + 2).saturating_sub(rows).clamp(1, height - rows - 2);
    let first = draws.below(COLOURS.len());
    let second = (first + 1 + draws.below(COLOURS.len() - 1)) % COLOURS.len();
    draw(&mut cells, width, &figure, (left, top), [COLOURS[first], COLOURS[second]]);
    let picture = RgbImage::from_fn((width * PIXEL) as u32, (height * PIXEL) as u32, |x, y| {
        cells[y as usize / PIXEL * width + x as usize / PIXEL]
    });
    let [x, y, w, h] = [left, top, columns, rows].map(|cells| (cells * PIXEL) as f64);
    (picture, Region { x, y, width: w, height: h })
}

/// Sky in dithered bands with stars at night, and speckled ground.
fn background(
    draws: &mut Draws,
    (width, height): (usize, usize),
    horizon: usize,
    ground: usize,
) -> Vec<Rgb<u8>> {
    let [sky, soil] = GROUNDS[ground];
    let mut cells = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let dither = 0.5 * ((x + y) % 2) as f64;
            let band = (y as f64 / height as f64 * 6.0 + dither).floor() / 6.0;
            let depth = y.saturating_sub(horizon) as f64 / (height - horizon).max(1) as f64;
            let draw = draws.unit();
            cells.push(match y < horizon {
                true if ground == 3 && draw < 0.02 => Rgb([235, 235, 200]),
                true => colour(sky, 1.0 - 0.25 * band),
                false => colour(soil, (0.8 + 0.35 * depth) * if draw < 0.06 { 0.82 } else { 1.0 }),
            });
        }
    }
    cells
}

/// What a drawn pixel of a figure is.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Empty,
    Body,
    Second,
    Eye,
}

/// Both halves of a figure, each of its pixels `size` wide.
fn figure(draws: &mut Draws, number: usize, size: usize) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for half in FIGURES[number % FIGURES.len()] {
        let left: Vec<Cell> = half.chars().map(|c| cell(c, draws)).collect();
        let both = left.iter().chain(left.iter().rev()).copied();
        let wide: Vec<Cell> = both.flat_map(|cell| std::iter::repeat_n(cell, size)).collect();
        rows.extend(std::iter::repeat_n(wide, size));
    }
    rows
}

fn cell(c: char, draws: &mut Draws) -> Cell {
    match c {
        '#' => Cell::Body,
        '+' => Cell::Second,
        'e' => Cell::Eye,
        '?' if draws.unit() < 0.5 => Cell::Body,
        _ => Cell::Empty,
    }
}

/// Draws a figure with a dark outline, lit from the upper left.
fn draw(
    cells: &mut [Rgb<u8>],
    width: usize,
    figure: &[Vec<Cell>],
    (left, top): (usize, usize),
    paints: [[f64; 3]; 2],
) {
    let (rows, columns) = (figure.len() as isize, figure[0].len() as isize);
    let at = |x: isize, y: isize| match (0..columns).contains(&x) && (0..rows).contains(&y) {
        true => figure[y as usize][x as usize],
        false => Cell::Empty,
    };
    for y in -1..=rows {
        for x in -1..=columns {
            let light = match (x + y) as f64 / (rows + columns) as f64 {
                near if near < 0.36 => 1.18,
                far if far > 0.66 => 0.72,
                _ => 1.0,
            };
            let beside = [(1, 0), (-1, 0), (0, 1), (0, -1)];
            let paint = match at(x, y) {
                Cell::Empty if beside.iter().any(|(dx, dy)| at(x + dx, y + dy) != Cell::Empty) => {
                    Rgb([34, 20, 24])
                }
                Cell::Empty => continue,
                Cell::Eye => Rgb([250, 250, 250]),
                Cell::Body => colour(paints[0], light),
                Cell::Second => colour(paints[1], light),
            };
            let place = (top as isize + y) * width as isize + left as isize + x;
            cells[place as usize] = paint;
        }
    }
}

/// A colour of the HSV cone, its value times `light`.
fn colour([hue, saturation, value]: [f64; 3], light: f64) -> Rgb<u8> {
    let value = value * light;
    Rgb([5.0, 3.0, 1.0].map(|n: f64| {
        let k = (n + 6.0 * hue) % 6.0;
        let channel = value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0));
        (255.0 * channel).clamp(0.0, 255.0) as u8
    }))
}
