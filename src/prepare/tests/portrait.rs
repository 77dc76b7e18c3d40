//! Portraits drawn from ellipses: shaded enough that a detector of photographed faces finds them.

use crate::prepare::region::Region;
use image::{Rgb, RgbImage};

/// A head and shoulders in front of a plain ground.
#[derive(Clone, Copy)]
pub(super) struct Portrait {
    /// Of the picture, in pixels.
    pub(super) size: (u32, u32),
    /// The middle of the eyes, in pixels.
    pub(super) eyes: (f64, f64),
    /// Half the head's width, in pixels.
    pub(super) unit: f64,
    /// Red, green and blue.
    pub(super) skin: [f64; 3],
    /// Red, green and blue.
    pub(super) hair: [f64; 3],
}

/// Skin and hair.
pub(super) const COMPLEXIONS: [([f64; 3], [f64; 3]); 5] = [
    ([225.0, 185.0, 150.0], [70.0, 45.0, 30.0]),
    ([190.0, 145.0, 110.0], [30.0, 20.0, 15.0]),
    ([160.0, 110.0, 80.0], [25.0, 20.0, 20.0]),
    ([130.0, 85.0, 60.0], [20.0, 15.0, 15.0]),
    ([238.0, 205.0, 175.0], [210.0, 160.0, 90.0]),
];

/// An ellipse in units of the head: middle, half axes, the share of its radius over which it fades, colour, opacity.
type Stroke = ((f64, f64), (f64, f64), f64, [f64; 3], f64);

impl Portrait {
    /// From the hair to the chin and from cheek to cheek.
    pub(super) fn head(&self) -> Region {
        let ((x, y), unit) = (self.eyes, self.unit);
        Region::between(x - unit, y - 1.46 * unit, x + unit, y + 1.22 * unit)
    }

    /// The picture.
    pub(super) fn draw(&self) -> RgbImage {
        let ground = [90.0, 120.0, 150.0];
        let mut picture = RgbImage::new(self.size.0, self.size.1);
        let strokes = self.strokes();
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let place = self.place(x, y);
            let mut colour = ground.map(|channel| channel - 8.0 * place.1.clamp(-4.0, 4.0));
            self.paint(&mut colour, &strokes, place);
            *pixel = Rgb(colour.map(|channel| channel.clamp(0.0, 255.0) as u8));
        }
        picture
    }

    /// Draws the portrait into a picture that has others.
    pub(super) fn draw_into(&self, picture: &mut RgbImage) {
        let strokes = self.strokes();
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let mut colour = pixel.0.map(f64::from);
            self.paint(&mut colour, &strokes, self.place(x, y));
            *pixel = Rgb(colour.map(|channel| channel.clamp(0.0, 255.0) as u8));
        }
    }

    /// A pixel's middle in units of the head.
    fn place(&self, x: u32, y: u32) -> (f64, f64) {
        ((f64::from(x) + 0.5 - self.eyes.0) / self.unit, (f64::from(y) + 0.5 - self.eyes.1) / self.unit)
    }

    /// Lays all strokes over a pixel.
    fn paint(&self, colour: &mut [f64; 3], strokes: &[Stroke], place: (f64, f64)) {
        let face = cover((0.0, 0.1), (0.82, 1.12), 0.05, place);
        for (i, &(middle, axes, soft, paint, opacity)) in strokes.iter().enumerate() {
            let share = cover(middle, axes, soft, place) * opacity;
            blend(colour, paint, share);
            if i == FACE {
                let dark = self.skin.map(|channel| 0.68 * channel);
                blend(colour, dark, 0.8 * face * (place.0.abs() / 0.82).powi(3).min(1.0));
            }
        }
    }

    /// The ellipses, the rearmost first.
    fn strokes(&self) -> Vec<Stroke> {
        let skin = |factor: f64| self.skin.map(|channel| (channel * factor).min(255.0));
        let (shadow, light, line) = (skin(0.55), skin(1.15), [30.0, 27.0, 25.0]);
        let mut strokes: Vec<Stroke> = vec![
            ((0.0, 2.75), (1.9, 1.2), 0.05, [50.0, 60.0, 90.0], 1.0),
            ((0.0, 1.25), (0.42, 0.75), 0.05, skin(0.78), 1.0),
            ((0.0, -0.18), (1.0, 1.28), 0.05, self.hair, 1.0),
            ((0.0, 0.1), (0.82, 1.12), 0.05, self.skin, 1.0),
            ((0.0, -0.45), (0.5, 0.35), 0.9, light, 0.6),
            ((-0.42, 0.42), (0.25, 0.2), 0.9, light, 0.5),
            ((0.42, 0.42), (0.25, 0.2), 0.9, light, 0.5),
            ((0.0, -1.0), (0.85, 0.42), 0.15, self.hair, 1.0),
        ];
        for side in [-0.36, 0.36] {
            let brow = self.hair.map(|channel| 0.7 * channel);
            strokes.extend([
                ((side, -0.09), (0.27, 0.17), 0.8, shadow, 0.85),
                ((side, -0.30), (0.27, 0.06), 0.4, brow, 0.95),
                ((side, -0.06), (0.19, 0.085), 0.3, [235.0; 3], 1.0),
                ((side, -0.06), (0.085, 0.085), 0.3, line, 1.0),
                ((side, -0.13), (0.2, 0.035), 0.4, line, 0.9),
            ]);
        }
        strokes.extend([
            ((-0.14, 0.22), (0.05, 0.35), 0.9, shadow, 0.35),
            ((0.0, 0.2), (0.06, 0.3), 0.9, skin(1.2), 0.6),
            ((0.0, 0.43), (0.17, 0.06), 0.8, shadow, 0.8),
            ((-0.1, 0.43), (0.045, 0.03), 0.5, line, 0.8),
            ((0.1, 0.43), (0.045, 0.03), 0.5, line, 0.8),
            ((0.0, 0.70), (0.30, 0.075), 0.4, [165.0, 80.0, 85.0], 0.9),
            ((0.0, 0.695), (0.30, 0.016), 0.5, [70.0, 30.0, 40.0], 0.9),
            ((0.0, 0.84), (0.2, 0.05), 0.9, shadow, 0.5),
        ]);
        strokes
    }
}

/// Which stroke is the face, on which its shading lies.
const FACE: usize = 3;

/// How much of a place an ellipse covers, 0 to 1.
fn cover(middle: (f64, f64), axes: (f64, f64), soft: f64, place: (f64, f64)) -> f64 {
    let distance = ((place.0 - middle.0) / axes.0).hypot((place.1 - middle.1) / axes.1);
    ((1.0 - distance) / soft).clamp(0.0, 1.0)
}

/// Lays paint over a colour.
fn blend(colour: &mut [f64; 3], paint: [f64; 3], share: f64) {
    colour.iter_mut().zip(paint).for_each(|(channel, new)| *channel += (new - *channel) * share);
}
