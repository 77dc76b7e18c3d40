//! How pictures are varied: what a data set allows, and what a view of a picture draws from it.
//!
//! Factors and shifts are drawn as torchvision's `ColorJitter` draws them.

use super::picture_draw::PictureDraw;
use crate::random::Purpose;
use serde::Serialize;

/// What a data set allows. Everything off is [`Augmentation::default`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Augmentation {
    /// Whether every other view is mirrored, left to right.
    pub flip: bool,
    /// The most that a view is turned either way, in degrees.
    pub rotation: f64,
    /// The brightness factor lies between 1 - this and 1 + this.
    pub brightness: f64,
    /// The same of the contrast factor.
    pub contrast: f64,
    /// The same of the saturation factor.
    pub saturation: f64,
    /// The most that hues are shifted either way, as a share of the colour circle.
    pub hue: f64,
    /// Views of a picture where more than flipping is allowed, or crops lie anywhere; at least 1.
    pub variants: usize,
}

/// What is done to one view of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// Mirrored left to right, after all else.
    pub mirrored: bool,
    /// Turned by so many degrees, clockwise.
    pub degrees: f64,
    /// Brightness factor.
    pub brightness: f64,
    /// Contrast factor.
    pub contrast: f64,
    /// Saturation factor.
    pub saturation: f64,
    /// Shift of the hue, as a share of the colour circle.
    pub hue: f64,
}

impl Default for Change {
    /// None.
    fn default() -> Self {
        Self { mirrored: false, degrees: 0.0, brightness: 1.0, contrast: 1.0, saturation: 1.0, hue: 0.0 }
    }
}

impl Augmentation {
    /// Views of a picture whose windows lie at `random_places` or not.
    pub(super) fn views(&self, random_places: bool) -> usize {
        match (random_places || self.draws(), self.flip) {
            (true, _) => self.variants.max(1),
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    /// Whether anything but flipping is allowed.
    fn draws(&self) -> bool {
        [self.rotation, self.brightness, self.contrast, self.saturation, self.hue]
            .iter()
            .any(|&most| most > 0.0)
    }

    /// The change of view `view`. The first shows the picture as it is; with flipping, every other is mirrored.
    pub(super) fn change(&self, draw: PictureDraw, view: usize) -> Change {
        let mirrored = self.flip && view % 2 == 1;
        if view == 0 || !self.draws() {
            return Change { mirrored, ..Change::default() };
        }
        let stream = draw.stream(Purpose::Augmentation, 0, view);
        let either_way = |element, most: f64| most * (2.0 * f64::from(stream.uniform(element)) - 1.0);
        let factor = |element, most: f64| (1.0 + either_way(element, most)).max(0.0);
        Change {
            mirrored,
            degrees: either_way(0, self.rotation),
            brightness: factor(1, self.brightness),
            contrast: factor(2, self.contrast),
            saturation: factor(3, self.saturation),
            hue: either_way(4, self.hue),
        }
    }
}

impl Change {
    /// The numbers by which caches tell changes apart; none where nothing is changed.
    pub fn numbers(&self) -> Vec<f64> {
        if *self == Self::default() {
            return Vec::new();
        }
        let mirrored = if self.mirrored { 1.0 } else { 0.0 };
        vec![mirrored, self.degrees, self.brightness, self.contrast, self.saturation, self.hue]
    }

    /// Whether colours are as they were.
    pub(super) fn keeps_colours(&self) -> bool {
        (self.brightness, self.contrast, self.saturation, self.hue) == (1.0, 1.0, 1.0, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(picture: u32) -> PictureDraw {
        PictureDraw { seed: 9, picture }
    }

    #[test]
    fn flipping_alone_gives_the_picture_and_its_mirror_image() {
        let flip = Augmentation { flip: true, variants: 7, ..Augmentation::default() };
        assert_eq!(flip.views(false), 2);
        assert_eq!(flip.change(draw(1), 0), Change::default());
        assert_eq!(flip.change(draw(1), 1), Change { mirrored: true, ..Change::default() });
        assert_eq!((Augmentation::default().views(false), flip.views(true)), (1, 7));
    }

    #[test]
    fn changes_keep_within_what_is_allowed_and_fill_it() {
        let allowed = Augmentation {
            rotation: 5.0,
            saturation: 0.3,
            hue: 0.1,
            flip: true,
            variants: 4,
            ..Augmentation::default()
        };
        assert_eq!(allowed.views(false), 4);
        assert_eq!(allowed.change(draw(3), 0), Change::default());
        let changes: Vec<Change> = (0..2000).map(|picture| allowed.change(draw(picture), 1)).collect();
        let most = |part: fn(&Change) -> f64| changes.iter().map(part).fold(f64::MIN, f64::max);
        let least = |part: fn(&Change) -> f64| changes.iter().map(part).fold(f64::MAX, f64::min);
        for (part, low, high) in [
            ((|c| c.degrees) as fn(&Change) -> f64, -5.0, 5.0),
            (|c| c.saturation, 0.7, 1.3),
            (|c| c.hue, -0.1, 0.1),
            (|c| c.brightness, 1.0, 1.0),
        ] {
            let slack = 0.01 * (high - low);
            assert!(least(part) >= low && least(part) <= low + slack, "{}", least(part));
            assert!(most(part) <= high && most(part) >= high - slack, "{}", most(part));
        }
        assert!(changes.iter().all(|change| change.mirrored));
        assert!(!allowed.change(draw(3), 2).mirrored);
        assert_eq!(changes[7], allowed.change(draw(7), 1));
        assert_ne!(changes[7], allowed.change(draw(7), 3));
    }
}
