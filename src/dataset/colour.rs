//! Colours of a picture with an ICC profile, in sRGB.

use image::{DynamicImage, RgbImage, RgbaImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformExecutor, TransformOptions};
use std::sync::Arc;

/// The steps from 0 to 255 at which a profile is compared with sRGB.
const PROBES: [u8; 6] = [0, 51, 102, 153, 204, 255];
/// A profile that moves no probe farther than this is sRGB by another name.
const SAME: u8 = 1;

type Transform = Arc<dyn TransformExecutor<u8> + Send + Sync>;

/// `picture` in sRGB, as 8-bit pixels; unchanged if `profile` is sRGB, cannot be read, or is not one of RGB
/// colours (decoders hand out the pixels of CMYK files as RGB already).
pub(super) fn to_srgb(picture: DynamicImage, profile: &[u8]) -> DynamicImage {
    let Ok(profile) = ColorProfile::new_from_slice(profile) else { return picture };
    if profile.color_space != DataColorSpace::Rgb || !picture.color().has_color() {
        return picture;
    }
    let layout = if picture.color().has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let Some(transform) = transform(&profile, Layout::Rgb).filter(changes_colours) else { return picture };
    if layout == Layout::Rgb {
        let pixels = picture.into_rgb8();
        let (width, height) = pixels.dimensions();
        let converted = converted(&transform, pixels.as_raw(), width as usize * 3);
        return converted
            .and_then(|bytes| RgbImage::from_raw(width, height, bytes))
            .map_or(DynamicImage::ImageRgb8(pixels), DynamicImage::ImageRgb8);
    }
    let pixels = picture.into_rgba8();
    let (width, height) = pixels.dimensions();
    self::transform(&profile, layout)
        .and_then(|transform| converted(&transform, pixels.as_raw(), width as usize * 4))
        .and_then(|bytes| RgbaImage::from_raw(width, height, bytes))
        .map_or(DynamicImage::ImageRgba8(pixels), DynamicImage::ImageRgba8)
}

/// From `profile` to sRGB for pixels of `layout`; none if the profile lacks what that takes.
fn transform(profile: &ColorProfile, layout: Layout) -> Option<Transform> {
    profile.create_transform_8bit(layout, &ColorProfile::new_srgb(), layout, TransformOptions::default()).ok()
}

/// Whether the transform does more than round.
fn changes_colours(transform: &Transform) -> bool {
    let grid = PROBES.iter().flat_map(|&r| PROBES.iter().map(move |&g| (r, g)));
    let probes: Vec<u8> = grid.flat_map(|(r, g)| PROBES.iter().flat_map(move |&b| [r, g, b])).collect();
    converted(transform, &probes, probes.len())
        .is_some_and(|moved| moved.iter().zip(&probes).any(|(a, b)| a.abs_diff(*b) > SAME))
}

/// The bytes of all rows, converted.
fn converted(transform: &Transform, bytes: &[u8], row: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; bytes.len()];
    for (from, to) in bytes.chunks_exact(row).zip(out.chunks_exact_mut(row)) {
        transform.transform(from, to).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, Rgba};

    fn encoded(profile: &ColorProfile) -> Vec<u8> {
        profile.encode().unwrap()
    }

    #[test]
    fn display_p3_becomes_srgb() {
        let picture = RgbImage::from_pixel(5, 3, Rgb([200, 80, 60]));
        let converted = to_srgb(picture.into(), &encoded(&ColorProfile::new_display_p3())).into_rgb8();
        // By the primaries of SMPTE EG 432-1 and IEC 61966-2-1.
        let pixel = converted.get_pixel(4, 2).0;
        let expected = [216, 69, 50];
        assert!(pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1), "{pixel:?}");
    }

    #[test]
    fn transparency_stays() {
        let picture = RgbaImage::from_pixel(2, 2, Rgba([200, 80, 60, 77]));
        let converted = to_srgb(picture.into(), &encoded(&ColorProfile::new_display_p3())).into_rgba8();
        assert_eq!(converted.get_pixel(0, 1).0[3], 77);
        assert_ne!(converted.get_pixel(0, 1).0[0], 200);
    }

    #[test]
    fn srgb_grey_and_nonsense_change_nothing() {
        let picture = DynamicImage::from(RgbImage::from_pixel(2, 2, Rgb([1, 2, 3])));
        for profile in [encoded(&ColorProfile::new_srgb()), vec![1; 200], Vec::new()] {
            assert_eq!(to_srgb(picture.clone(), &profile), picture);
        }
        let grey = DynamicImage::new_luma8(2, 2);
        assert_eq!(to_srgb(grey.clone(), &encoded(&ColorProfile::new_display_p3())), grey);
    }
}
