//! Changes of colour, as torchvision's `adjust_brightness`, `adjust_contrast`, `adjust_saturation` and `adjust_hue`
//! define them, one after the other in this order and rounded to bytes once.

use super::augmentation::Change;
use image::RgbImage;

/// Changes the colours of `picture`.
pub(super) fn apply(picture: &mut RgbImage, change: &Change) {
    if change.keeps_colours() {
        return;
    }
    let (brightness, contrast) = (change.brightness as f32, change.contrast as f32);
    let bright = |pixel: &[u8; 3]| pixel.map(|value| (f32::from(value) * brightness).min(255.0));
    let mean = mean_grey(picture, bright);
    for pixel in picture.pixels_mut() {
        let mut colour = blend(bright(&pixel.0), [mean; 3], contrast);
        let grey = grey(colour);
        colour = blend(colour, [grey; 3], change.saturation as f32);
        if change.hue != 0.0 {
            colour = with_hue_shifted(colour, change.hue as f32);
        }
        pixel.0 = colour.map(|value| value.round().clamp(0.0, 255.0) as u8);
    }
}

/// The mean of all pixels' grey.
fn mean_grey(picture: &RgbImage, colour: impl Fn(&[u8; 3]) -> [f32; 3]) -> f32 {
    let sum: f64 = picture.pixels().map(|pixel| f64::from(grey(colour(&pixel.0)))).sum();
    (sum / picture.pixels().len().max(1) as f64) as f32
}

/// Luma by ITU-R BT.601.
fn grey([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// `share` of `colour`, the rest of `other`; beyond 1 it leads away from `other`.
fn blend(colour: [f32; 3], other: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|c| (share * colour[c] + (1.0 - share) * other[c]).clamp(0.0, 255.0))
}

/// The colour with the same saturation and value in HSV whose hue is `shift` of the circle further.
fn with_hue_shifted(colour: [f32; 3], shift: f32) -> [f32; 3] {
    let value = colour.into_iter().fold(0.0, f32::max);
    let chroma = value - colour.into_iter().fold(255.0, f32::min);
    if chroma <= 0.0 {
        return colour;
    }
    let [red, green, blue] = colour;
    let sixth = if value == red {
        (green - blue) / chroma
    } else if value == green {
        2.0 + (blue - red) / chroma
    } else {
        4.0 + (red - green) / chroma
    };
    let hue = sixth + 6.0 * shift;
    // A channel is at the value within one sixth of its own hue, and at value - chroma from two sixths on.
    let channel = |offset: f32| {
        let place = (hue + offset).rem_euclid(6.0);
        value - chroma * place.min(4.0 - place).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: Change) -> Vec<[u8; 3]> {
        let colours = [[200, 40, 90], [10, 220, 130], [60, 60, 60], [255, 0, 0]];
        let mut picture = RgbImage::from_fn(4, 1, |x, _| image::Rgb(colours[x as usize]));
        apply(&mut picture, &change);
        picture.pixels().map(|pixel| pixel.0).collect()
    }

    /// Every channel within one of what is expected.
    fn assert_near(found: &[[u8; 3]], expected: [[i32; 3]; 4]) {
        for (found, expected) in found.iter().zip(expected) {
            let near = found.iter().zip(expected).all(|(&f, e)| (i32::from(f) - e).abs() <= 1);
            assert!(near, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn colours_change_as_in_pillow() {
        // Pillow's ImageEnhance.Brightness, Contrast and Color.
        assert_near(
            &changed(Change { brightness: 1.2, ..Change::default() }),
            [[240, 48, 108], [12, 255, 156], [72, 72, 72], [255, 0, 0]],
        );
        assert_near(
            &changed(Change { contrast: 0.5, ..Change::default() }),
            [[147, 67, 92], [52, 157, 112], [77, 77, 77], [174, 47, 47]],
        );
        assert_near(
            &changed(Change { saturation: 1.5, ..Change::default() }),
            [[253, 13, 88], [0, 255, 121], [60, 60, 60], [255, 0, 0]],
        );
    }

    #[test]
    fn hues_turn_and_grey_has_none() {
        // Python's colorsys, a third of the circle: red becomes green.
        assert_near(
            &changed(Change { hue: 1.0 / 3.0, ..Change::default() }),
            [[90, 200, 40], [130, 10, 220], [60, 60, 60], [0, 255, 0]],
        );
        assert_near(
            &changed(Change { hue: -0.05, ..Change::default() }),
            [[200, 40, 138], [10, 220, 67], [60, 60, 60], [255, 0, 77]],
        );
    }
}
