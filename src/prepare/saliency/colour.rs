//! CIE L*a*b*: a colour space in which distances are about what the eye sees.

use image::Rgb;

/// The white of sRGB, D65, in CIE XYZ.
const WHITE: [f64; 3] = [0.950_47, 1.0, 1.088_83];

/// Lightness, green to red and blue to yellow of an sRGB colour (IEC 61966-2-1, CIE 15).
pub(super) fn lab(Rgb(colour): Rgb<u8>) -> [f64; 3] {
    let [r, g, b] = colour.map(linear);
    let xyz = [
        0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b,
        0.212_672_9 * r + 0.715_152_2 * g + 0.072_175_0 * b,
        0.019_333_9 * r + 0.119_192_0 * g + 0.950_304_1 * b,
    ];
    let [x, y, z] = [0, 1, 2].map(|i| root(xyz[i] / WHITE[i]));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// The share of light behind an 8-bit value.
fn linear(value: u8) -> f64 {
    let value = f64::from(value) / 255.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// The cube root, straight near zero.
fn root(share: f64) -> f64 {
    const BEND: f64 = 6.0 / 29.0;
    if share > BEND.powi(3) { share.cbrt() } else { share / (3.0 * BEND * BEND) + 4.0 / 29.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that scikit-image's `rgb2lab` and other tables agree on.
    #[test]
    fn the_primaries_have_their_known_places() {
        for (colour, expected) in [
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 0, 0], [53.24, 80.09, 67.20]),
            ([0, 255, 0], [87.73, -86.18, 83.18]),
            ([0, 0, 255], [32.30, 79.19, -107.86]),
        ] {
            for (ours, known) in lab(Rgb(colour)).iter().zip(expected) {
                assert!((ours - known).abs() < 0.03, "{colour:?}: {ours} for {known}");
            }
        }
    }
}
