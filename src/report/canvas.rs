//! Drawing on a picture: boxes, smooth lines and text.

use super::font;
use image::{Rgb, RgbImage};

/// A point in pixels, from the top left.
pub type Point = (f32, f32);

/// A picture being drawn; everything outside it is cut off.
pub struct Canvas {
    picture: RgbImage,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: u32, height: u32, colour: Rgb<u8>) -> Self {
        Self { picture: RgbImage::from_pixel(width, height, colour) }
    }

    /// The drawn picture.
    pub fn into_picture(self) -> RgbImage {
        self.picture
    }

    /// A filled box.
    pub fn fill(&mut self, left: u32, top: u32, width: u32, height: u32, colour: Rgb<u8>) {
        let right = (left + width).min(self.picture.width());
        let bottom = (top + height).min(self.picture.height());
        for y in top..bottom {
            for x in left..right {
                self.picture.put_pixel(x, y, colour);
            }
        }
    }

    /// Another picture with its top left corner at `(left, top)`.
    pub fn paste(&mut self, picture: &RgbImage, left: u32, top: u32) {
        image::imageops::replace(&mut self.picture, picture, left.into(), top.into());
    }

    /// Text with its top left corner at `(left, top)`, each font pixel `scale` pixels wide.
    pub fn text(&mut self, left: u32, top: u32, scale: u32, colour: Rgb<u8>, text: &str) {
        for (index, character) in text.chars().enumerate() {
            let glyph_left = left + index as u32 * font::ADVANCE * scale;
            for row in 0..font::HEIGHT {
                for column in (0..font::WIDTH).filter(|&column| font::is_set(character, column, row)) {
                    self.fill(glyph_left + column * scale, top + row * scale, scale, scale, colour);
                }
            }
        }
    }

    /// A line through `points`, `width` pixels wide, with soft edges. One point is a dot.
    pub fn line(&mut self, points: &[Point], width: f32, colour: Rgb<u8>) {
        let mut coverage = vec![0.0f32; self.picture.len() / 3];
        let dot = points.first().map(|&point| (point, point));
        for (from, to) in points.windows(2).map(|pair| (pair[0], pair[1])).chain(dot) {
            self.cover_segment(&mut coverage, from, to, width / 2.0);
        }
        for (pixel, &share) in self.picture.pixels_mut().zip(&coverage).filter(|(_, share)| **share > 0.0) {
            for (old, new) in pixel.0.iter_mut().zip(colour.0) {
                *old = (f32::from(*old) + (f32::from(new) - f32::from(*old)) * share).round() as u8;
            }
        }
    }

    /// Raises `coverage` to the share of each pixel that lies within `radius` of the segment. Segments share one
    /// map, so that a line that crosses itself is not drawn darker there.
    fn cover_segment(&self, coverage: &mut [f32], from: Point, to: Point, radius: f32) {
        let (width, height) = self.picture.dimensions();
        let span = |a: f32, b: f32, limit: u32| {
            let first = (a.min(b) - radius - 1.0).max(0.0) as u32;
            first..((a.max(b) + radius + 2.0).max(0.0) as u32).min(limit)
        };
        for y in span(from.1, to.1, height) {
            for x in span(from.0, to.0, width) {
                let away = distance((x as f32 + 0.5, y as f32 + 0.5), from, to);
                let share = (radius + 0.5 - away).clamp(0.0, 1.0);
                let covered = &mut coverage[(y * width + x) as usize];
                *covered = covered.max(share);
            }
        }
    }
}

/// Width of a text in pixels.
pub fn text_width(text: &str, scale: u32) -> u32 {
    (text.chars().count() as u32 * font::ADVANCE).saturating_sub(1) * scale
}

/// Height of a text in pixels, descenders included.
pub fn text_height(scale: u32) -> u32 {
    font::HEIGHT * scale
}

/// From a point to the nearest point of a segment.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let length_squared = dx * dx + dy * dy;
    let along =
        if length_squared == 0.0 { 0.0 } else { ((px * dx + py * dy) / length_squared).clamp(0.0, 1.0) };
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Rgb<u8> = Rgb([255; 3]);
    const BLACK: Rgb<u8> = Rgb([0; 3]);

    #[test]
    fn a_line_covers_its_width() {
        let mut canvas = Canvas::new(20, 11, WHITE);
        canvas.line(&[(2.0, 5.5), (18.0, 5.5)], 3.0, BLACK);
        let picture = canvas.into_picture();
        let column: Vec<u8> = (3..=8).map(|y| picture.get_pixel(10, y).0[0]).collect();
        assert_eq!(column, [255, 0, 0, 0, 255, 255]);
    }

    #[test]
    fn drawing_outside_is_cut_off() {
        let mut canvas = Canvas::new(8, 8, WHITE);
        canvas.fill(6, 6, 50, 50, BLACK);
        canvas.text(5, 5, 3, BLACK, "far too long");
        canvas.line(&[(-30.0, -5.0), (40.0, 90.0)], 2.0, BLACK);
        canvas.line(&[], 2.0, BLACK);
        assert_eq!(canvas.into_picture().dimensions(), (8, 8));
    }

    #[test]
    fn a_text_is_as_wide_as_said() {
        let mut canvas = Canvas::new(100, 20, WHITE);
        canvas.text(0, 0, 2, BLACK, "HH");
        let picture = canvas.into_picture();
        let last = picture.enumerate_pixels().filter(|(.., pixel)| **pixel == BLACK).map(|(x, ..)| x).max();
        assert_eq!(last, Some(text_width("HH", 2) - 1));
    }
}
