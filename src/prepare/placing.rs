//! Where a picture is cropped: by the rule, or as the user wishes.

use super::doubt::Doubt;
use super::focus::{Focus, find};
use super::options::Options;
use super::overrides::Wish;
use super::region::Region;
use super::window::{Placement, choose};
use crate::dataset::{Bucket, bucket_for};
use image::RgbImage;

/// A window may reach beyond the picture by so many pixels before it is refused, and is moved inside.
const SLACK: f64 = 1.0;

/// What `picture` is about: what the user says, else what is found.
pub(super) fn focus(picture: &RgbImage, wish: &Wish, options: &Options) -> Focus {
    match &wish.focus {
        Some(region) => {
            let whole = Region::whole(picture.width(), picture.height());
            Focus::given(region.intersection(&whole))
        }
        None => find(picture, options.mode, options.face_threshold),
    }
}

/// The size and window for a picture of `width x height` pixels.
///
/// # Errors
/// Why there is none, in one line.
pub(super) fn place(
    (width, height): (u32, u32),
    focus: &Focus,
    wish: &Wish,
    options: &Options,
) -> Result<Placement, String> {
    let wished = wish.size.map(|size| vec![size]);
    let sizes = wished.as_deref().unwrap_or(&options.sizes);
    match &wish.window {
        Some(window) => by_hand(Region::whole(width, height), window, sizes, focus, options),
        None => choose(width, height, focus, sizes, &options.limits).map_err(|refusal| refusal.to_string()),
    }
}

/// The user's window; one of another shape than its size is narrowed about its middle.
fn by_hand(
    picture: Region,
    window: &Region,
    sizes: &[Bucket],
    focus: &Focus,
    options: &Options,
) -> Result<Placement, String> {
    if !picture.contains(window, SLACK) {
        return Err(format!(
            "has the window {},{} {}x{} in overrides.json, which reaches beyond its {}x{} pixels",
            window.x, window.y, window.width, window.height, picture.width, picture.height
        ));
    }
    let sides = (window.width.round().max(1.0) as usize, window.height.round().max(1.0) as usize);
    let size = bucket_for(sides.0, sides.1, sizes).ok_or("has no size to choose from")?;
    let window = inside(picture, shaped(window, size));
    let scale = size.width as f64 / window.width;
    let limit = options.limits.largest_enlargement;
    if scale > limit + 1e-6 {
        return Err(format!(
            "would have to be enlarged {scale:.2} times to show the window in overrides.json at {size}, at most \
             {limit:.2} is allowed"
        ));
    }
    let doubts = if scale > 1.0 { vec![Doubt::Enlarged(scale)] } else { Vec::new() };
    Ok(Placement { size, window, scale, kept: focus.region, reason: "chosen by hand".to_owned(), doubts })
}

/// The largest window of the size's shape in the middle of `window`.
fn shaped(window: &Region, size: Bucket) -> Region {
    let (across, down) = (size.width as f64, size.height as f64);
    let unit = (window.width / across).min(window.height / down);
    let (width, height) = (across * unit, down * unit);
    let middle = window.centre();
    Region { x: middle.x - width / 2.0, y: middle.y - height / 2.0, width, height }
}

/// `window` moved and, if it is larger than the picture, shrunk to lie inside.
fn inside(picture: Region, window: Region) -> Region {
    let shrink = (picture.width / window.width).min(picture.height / window.height).min(1.0);
    let (width, height) = (window.width * shrink, window.height * shrink);
    let x = window.x.clamp(0.0, (picture.width - width).max(0.0));
    let y = window.y.clamp(0.0, (picture.height - height).max(0.0));
    Region { x, y, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(window: [f64; 4], size: Option<Bucket>) -> Result<Placement, String> {
        let [x, y, width, height] = window;
        let wish = Wish { window: Some(Region { x, y, width, height }), size, ..Wish::default() };
        place((3000, 2000), &Focus::centre(3000, 2000), &wish, &Options::default())
    }

    #[test]
    fn a_window_of_the_right_shape_is_taken_as_it_is() {
        let placement = placed([100.0, 50.0, 1500.0, 1500.0], None).unwrap();
        assert_eq!(placement.size, Bucket { width: 1024, height: 1024 });
        assert_eq!(placement.window, Region { x: 100.0, y: 50.0, width: 1500.0, height: 1500.0 });
        assert!(placement.doubts.is_empty());
    }

    #[test]
    fn a_window_of_another_shape_is_narrowed_about_its_middle() {
        let placement = placed([100.0, 50.0, 1600.0, 1500.0], None).unwrap();
        assert_eq!(placement.window, Region { x: 150.0, y: 50.0, width: 1500.0, height: 1500.0 });
        let tall = Bucket { width: 832, height: 1216 };
        let placement = placed([0.0, 0.0, 3000.0, 2000.0], Some(tall)).unwrap();
        assert_eq!((placement.size, placement.window.height), (tall, 2000.0));
        assert!((placement.window.width / placement.window.height - tall.aspect()).abs() < 1e-12);
    }

    #[test]
    fn a_window_beyond_the_picture_or_too_small_is_refused() {
        assert!(placed([2000.0, 0.0, 1500.0, 1500.0], None).unwrap_err().contains("reaches beyond"));
        assert!(placed([0.0, 0.0, 400.0, 400.0], None).unwrap_err().contains("2.56 times"));
        let enlarged = placed([0.0, 0.0, 800.0, 800.0], None).unwrap();
        assert_eq!(enlarged.doubts, [Doubt::Enlarged(1.28)]);
        assert_eq!(placed([1500.4, 0.0, 1500.0, 1500.0], None).unwrap().window.x, 1500.0);
    }
}
