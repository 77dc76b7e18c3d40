//! The settings of a data set in the types of the dataset room.

use crate::dataset::{
    Admission, Augmentation, Downsample, Framing, Lesson, Measure, Place, Repeats, Shapes, Share,
};
use crate::settings::{BackendSettings, CropAspect, CropStyle, ResolutionType, RunSettings};

/// How often it is shown.
pub(super) fn share(set: &BackendSettings) -> Share {
    let repeats = match set.repeats_are_passes {
        true => Repeats::Passes(set.passes() as usize),
        false => Repeats::Extra(set.repeats as usize),
    };
    Share { repeats, probability: set.probability }
}

/// What training makes of it.
pub(super) fn lesson(set: &BackendSettings, run: &RunSettings) -> Lesson {
    Lesson {
        loss_weight: set.loss_weight * if set.is_reg { run.prior_loss_weight } else { 1.0 },
        keeps_the_model: set.is_regularisation_data,
    }
}

/// Its buckets and windows. Where pictures are not cropped, only what their bucket demands is cut, in the middle.
pub(super) fn framing(set: &BackendSettings) -> Framing {
    let aspects = || set.crop_aspect_buckets.clone().unwrap_or_default();
    let shapes = match set.crop_aspect {
        _ if !set.crop => Shapes::Usual,
        CropAspect::Square => Shapes::Square,
        CropAspect::Preserve => Shapes::Usual,
        CropAspect::Closest => Shapes::Nearest(aspects()),
        CropAspect::Random => Shapes::Random(aspects()),
    };
    let place = match set.crop_style {
        CropStyle::Random if set.crop => Place::Random,
        CropStyle::Corner if set.crop => Place::Corner,
        // Faces are refused when settings are read.
        _ => Place::Centre,
    };
    let edge = |size: Option<f64>| size.filter(|&size| size > 0.0).map(|size| edge(set, size));
    let downsample = edge(set.maximum_image_size).zip(edge(set.target_downsample_size));
    Framing {
        resolution: set.resolution as usize,
        measure: measure(set),
        shapes,
        place,
        downsample: downsample.filter(|_| set.crop).map(|(above, to)| Downsample { above, to }),
    }
}

/// Which pictures it takes.
pub(super) fn admission(set: &BackendSettings) -> Admission {
    Admission {
        measure: measure(set),
        minimum_edge: edge(set, set.minimum_image_size.unwrap_or(0.0)),
        minimum_aspect: set.minimum_aspect_ratio.unwrap_or(0.0),
        maximum_aspect: set.maximum_aspect_ratio.unwrap_or(f64::INFINITY),
        most: (set.max_num_samples > 0).then_some(set.max_num_samples as usize),
    }
}

/// How its pictures are varied.
pub(super) fn augmentation(set: &BackendSettings) -> Augmentation {
    Augmentation {
        flip: set.flip_aug,
        rotation: set.random_rotation,
        brightness: set.random_brightness,
        contrast: set.random_contrast,
        saturation: set.random_saturation,
        hue: set.random_hue,
        variants: set.augmentation_variants as usize,
    }
}

fn measure(set: &BackendSettings) -> Measure {
    match set.resolution_type {
        ResolutionType::PixelArea | ResolutionType::Area => Measure::Area,
        ResolutionType::Pixel => Measure::ShortEdge,
    }
}

/// A size in pixels of one edge: that of the square of so many megapixels, where sizes are areas.
fn edge(set: &BackendSettings, size: f64) -> f64 {
    match set.resolution_type {
        ResolutionType::Area => (size * 1e6).sqrt(),
        ResolutionType::PixelArea | ResolutionType::Pixel => size,
    }
}
