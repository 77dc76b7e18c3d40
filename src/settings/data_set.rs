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

#[cfg(test)]
mod tests {
    use crate::settings::{
        CropStyle, DataBackends, DataSampling, ResolutionType, RunSettings, parse_settings_bytes,
    };
    use serde_json::{Value, json};

    /// A run's settings, with `more` among them.
    fn run(more: Value) -> RunSettings {
        let mut all = json!({"pretrained_model_name_or_path": "m", "data_backend_config": "d.json",
            "output_dir": "o", "max_train_steps": 10});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parse_settings_bytes(all.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn data_sets_have_shares_limits_and_views_of_their_own() {
        let run = run(json!({"resolution": 1.0, "resolution_type": "area", "minimum_image_size": 0.25,
            "caption_dropout_probability": 0.1, "data_backend_sampling": "uniform"}));
        assert_eq!((run.resolution, run.resolution_type), (1024, ResolutionType::Area));
        assert_eq!(run.data_backend_sampling, DataSampling::Uniform);
        let read = DataBackends::from_json(
            &json!([
                {"id": "a", "instance_data_dir": "p", "num_repeats": "5", "crop": "False", "probability": "0.5",
                 "random_flip": true, "color_aug": true, "is_reg": true},
                {"id": "b", "instance_data_dir": "q", "crop": "True", "crop_aspect": "closest", "resolution": 0.5,
                 "crop_aspect_buckets": [1.0, "3:2"], "crop_style": "random", "caption_dropout_rate": 0,
                 "is_regularization_data": true, "max_num_samples": 10, "random_hue": 0.1},
                {"id": "c", "instance_data_dir": "r", "resolution": 512, "resolution_type": "pixel",
                 "maximum_image_size": 2048, "target_downsample_size": "1024"},
            ]),
            &run,
            None,
        )
        .unwrap();
        let [a, b, c] = read.images.as_slice() else { panic!("three sets") };
        assert_eq!((a.repeats, a.passes(), a.repeats_are_passes, a.probability), (4, 5, true, 0.5));
        assert_eq!((a.crop, a.flip_aug, a.random_hue, a.is_reg), (false, true, 0.044, true));
        assert_eq!((a.minimum_image_size, a.caption_dropout_probability), (Some(0.25), 0.1));
        assert_eq!((b.crop, b.resolution, b.crop_style), (true, 704, CropStyle::Random));
        assert_eq!(b.crop_aspect_buckets, Some(vec![1.0, 1.5]));
        assert_eq!((b.caption_dropout_probability, b.max_num_samples, b.random_hue), (0.0, 10, 0.1));
        assert!(b.is_regularisation_data && !b.is_reg && !b.repeats_are_passes);
        // Megapixels of the run's are no pixels of this set's.
        assert_eq!((c.resolution_type, c.minimum_image_size), (ResolutionType::Pixel, None));
        assert_eq!((c.maximum_image_size, c.target_downsample_size), (Some(2048.0), Some(1024.0)));
        let saved = DataBackends::from_json(&read.as_used(), &run, None).unwrap();
        assert_eq!(saved.as_used(), read.as_used());
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused_by_name() {
        for (more, says) in [
            (json!({"probability": 0}), "`probability`"),
            (json!({"num_repeats": 0}), "`num_repeats`"),
            (json!({"num_repeats": 5, "repeats": 4}), "`num_repeats`"),
            (json!({"crop": true, "crop_style": "face"}), "sargent prepare"),
            (json!({"crop": true, "crop_style": "saliency"}), "`crop_style`"),
            (json!({"crop": true, "crop_aspect": "closest"}), "`crop_aspect_buckets`"),
            (json!({"crop_aspect_buckets": "wide"}), "`crop_aspect_buckets`"),
            (json!({"maximum_image_size": 2048}), "`target_downsample_size`"),
            (json!({"target_downsample_size": 2048}), "`maximum_image_size`"),
            (json!({"maximum_image_size": 512, "target_downsample_size": 1024}), "`target_downsample_size`"),
            (json!({"minimum_aspect_ratio": 2, "maximum_aspect_ratio": 0.5}), "`minimum_aspect_ratio`"),
            (json!({"random_hue": 10}), "`random_hue`"),
            (json!({"random_rotation": 90}), "`random_rotation`"),
            (json!({"augmentation_variants": 0}), "`augmentation_variants`"),
        ] {
            let mut set = json!({"id": "a", "instance_data_dir": "p"});
            set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let error = DataBackends::from_json(&json!([set]), &run(json!({})), None).unwrap_err();
            assert!(error.to_string().contains(says) && !error.hint.is_empty(), "{error}");
        }
    }
}
