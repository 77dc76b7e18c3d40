//! The settings of one data set beyond their types: shorthands that become the keys they stand for, and keys that
//! do not go together.

use super::backends::BackendSettings;
use super::choices::{CropAspect, CropStyle};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// kohya's hue shift is up to 8 of the 180 steps that OpenCV has.
const COLOR_AUG_HUE: f64 = 0.044;

/// Lets shorthands set what they stand for.
///
/// # Errors
/// A shorthand beside a key that it stands for.
pub fn shorthands(values: &mut Map<String, Value>) -> Result<()> {
    if let Some(passes) = values.get("num_repeats").and_then(Value::as_u64) {
        if values.contains_key("repeats") {
            let cause = format!("{passes} passes, while `repeats` is given too");
            return Err(Error::setting("num_repeats", cause)
                .hint("keep one of the two: repeats n is num_repeats n + 1"));
        }
        values.insert("repeats".into(), passes.saturating_sub(1).into());
    }
    if values.get("color_aug") == Some(&true.into()) && !values.contains_key("random_hue") {
        values.insert("random_hue".into(), COLOR_AUG_HUE.into());
    }
    Ok(())
}

/// Keys that each are fine, but not together.
pub fn contradictions(set: &BackendSettings) -> Result<()> {
    if set.probability <= 0.0 {
        return Err(Error::setting("probability", "0, so the data set is never shown")
            .hint("leave the entry out with \"disabled\": true, or set it above 0"));
    }
    crops(set)?;
    sizes(set)?;
    let (low, high) = (set.minimum_aspect_ratio, set.maximum_aspect_ratio);
    match low.zip(high) {
        Some((low, high)) if low > high => {
            let cause = format!("{low} is above maximum_aspect_ratio {high}");
            Err(Error::setting("minimum_aspect_ratio", cause).hint("no picture has such a shape"))
        }
        _ => Ok(()),
    }
}

fn crops(set: &BackendSettings) -> Result<()> {
    if !set.crop {
        return Ok(());
    }
    if set.crop_style == CropStyle::Face {
        return Err(Error::setting("crop_style", "`face` is not looked for while training").hint(
            "run `sargent prepare` on the pictures, which crops them around faces, and train on what it wrote with \
             \"crop\": false",
        ));
    }
    let chosen = matches!(set.crop_aspect, CropAspect::Closest | CropAspect::Random);
    if chosen && set.crop_aspect_buckets.is_none() {
        let cause = format!("not set, while crop_aspect `{}` needs it", set.crop_aspect);
        return Err(Error::setting("crop_aspect_buckets", cause)
            .hint("list aspect ratios, like [1.0, 0.75, 1.33], or choose crop_aspect `preserve`"));
    }
    Ok(())
}

fn sizes(set: &BackendSettings) -> Result<()> {
    let given = |size: Option<f64>| size.filter(|&size| size > 0.0);
    match (given(set.maximum_image_size), given(set.target_downsample_size)) {
        (Some(maximum), Some(target)) if target > maximum => {
            let cause = format!("{target} is above maximum_image_size {maximum}");
            Err(Error::setting("target_downsample_size", cause)
                .hint("it is what larger pictures are scaled down to"))
        }
        (Some(_), None) => {
            Err(Error::setting("target_downsample_size", "not set, while maximum_image_size is")
                .hint("set both or none"))
        }
        (None, Some(_)) => {
            Err(Error::setting("maximum_image_size", "not set, while target_downsample_size is")
                .hint("set both or none"))
        }
        _ => Ok(()),
    }
}
