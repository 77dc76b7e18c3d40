//! Whole pictures: what they are about ends up in the crop.

mod portrait;
mod sprites;

use super::*;
use crate::dataset::{Bucket, buckets_at};
use crate::random::{Purpose, Stream};
use image::{Rgb, RgbImage};
use portrait::{COMPLEXIONS, Portrait};

/// Sizes for pictures that are small enough to be drawn quickly.
fn sizes() -> Vec<Bucket> {
    buckets_at(256).unwrap()
}

/// The window of a picture for any of the sizes.
fn window(picture: &RgbImage, focus: &Focus, sizes: &[Bucket]) -> Region {
    choose(picture.width(), picture.height(), focus, sizes, &Limits::default()).unwrap().window
}

/// A portrait of a complexion.
fn portrait(size: (u32, u32), eyes: (f64, f64), unit: f64, complexion: usize) -> Portrait {
    let (skin, hair) = COMPLEXIONS[complexion % COMPLEXIONS.len()];
    Portrait { size, eyes, unit, skin, hair }
}

/// How much of `region` lies in `window`, of what a window of this extent could hold.
fn kept(window: &Region, region: &Region) -> f64 {
    let possible = window.width.min(region.width) * window.height.min(region.height);
    window.intersection(region).area() / possible
}

#[test]
fn drawn_faces_of_every_complexion_are_found_and_their_heads_are_whole() {
    let places = [((640, 640), (320.0, 300.0), 110.0), ((900, 400), (110.0, 170.0), 80.0)];
    for complexion in 0..COMPLEXIONS.len() {
        for (size, eyes, unit) in places {
            let portrait = portrait(size, eyes, unit, complexion);
            let picture = portrait.draw();
            let focus = find(&picture, FocusMode::Auto, THRESHOLD);
            assert_eq!((focus.kind, focus.faces.len()), (FocusKind::Face, 1), "{complexion} {size:?}");
            let off = focus.faces[0].region.centre();
            assert!((off.x - eyes.0).hypot(off.y - eyes.1) < 0.5 * unit, "{off:?} for {eyes:?}");
            let whole = portrait.head().intersection(&Region::whole(size.0, size.1));
            for sizes in [sizes(), vec![Bucket { width: 256, height: 256 }]] {
                let window = window(&picture, &focus, &sizes);
                assert!(window.contains(&whole, 1.0), "{whole:?} in {window:?}");
            }
        }
    }
}

#[test]
fn faces_that_fit_together_are_all_kept_and_else_the_largest() {
    let left = portrait((900, 400), (150.0, 190.0), 90.0, 0);
    let right = portrait((900, 400), (720.0, 200.0), 70.0, 2);
    let mut picture = left.draw();
    right.draw_into(&mut picture);
    let focus = find(&picture, FocusMode::Auto, THRESHOLD);
    assert_eq!(focus.faces.len(), 2, "{focus:?}");
    let wide = choose(900, 400, &focus, &sizes(), &Limits::default()).unwrap();
    assert!(wide.window.contains(&left.head(), 1.0) && wide.window.contains(&right.head(), 1.0));
    assert_eq!(wide.reason, "2 faces");
    let square = [Bucket { width: 256, height: 256 }];
    let square = choose(900, 400, &focus, &square, &Limits::default()).unwrap();
    assert!(square.window.contains(&left.head(), 1.0), "{:?}", square.window);
    assert_eq!(square.reason, "1 of 2 faces");
    assert!(square.doubts.contains(&Doubt::HeadsCut { cut: 1, of: 2 }));
}

#[test]
fn a_group_too_small_for_the_first_look_is_found_by_a_closer_one() {
    let people: Vec<Portrait> = (0..3)
        .map(|i| portrait((1400, 500), (300.0 + 400.0 * f64::from(i), 240.0), 36.0, i as usize))
        .collect();
    let mut picture = people[0].draw();
    people[1..].iter().for_each(|one| one.draw_into(&mut picture));
    let focus = find(&picture, FocusMode::Face, THRESHOLD);
    assert_eq!(focus.faces.len(), 3, "{:?}", focus.faces);
    let placed = choose(1400, 500, &focus, &sizes(), &Limits::default()).unwrap();
    assert!(people.iter().all(|one| placed.window.contains(&one.head(), 1.0)), "{placed:?}");
}

#[test]
fn figures_are_in_the_crop_whatever_the_shape() {
    let square = [Bucket { width: 256, height: 256 }];
    let (mut inside, mut hardly) = (0, 0);
    for number in 0..96 {
        let (picture, figure) = sprites::scene(9, number);
        let focus = find(&picture, FocusMode::Saliency, THRESHOLD);
        assert_eq!(focus.kind, FocusKind::Saliency);
        inside += usize::from(kept(&window(&picture, &focus, &sizes()), &figure) > 0.98);
        hardly += usize::from(kept(&window(&picture, &focus, &square), &figure) < 0.8);
    }
    assert!(inside * 100 >= 95 * 96, "{inside} of 96 figures are whole");
    assert!(hardly * 100 <= 10 * 96, "{hardly} of 96 figures are lost in a square");
}

#[test]
fn figures_have_no_faces() {
    for number in 0..8 {
        let (picture, _) = sprites::scene(9, number);
        assert!(find(&picture, FocusMode::Face, THRESHOLD).faces.is_empty(), "{number}");
    }
}

#[test]
fn a_mode_looks_for_what_it_says() {
    let portrait = portrait((640, 480), (200.0, 220.0), 90.0, 1);
    let picture = portrait.draw();
    let kind = |mode| find(&picture, mode, THRESHOLD).kind;
    assert_eq!(kind(FocusMode::Auto), FocusKind::Face);
    assert_eq!(kind(FocusMode::Face), FocusKind::Face);
    assert_eq!(kind(FocusMode::Saliency), FocusKind::Saliency);
    assert_eq!(kind(FocusMode::Centre), FocusKind::Centre);
    // With a threshold beyond every score there is no face, but it is remembered and stays in the crop.
    let focus = find(&picture, FocusMode::Auto, 1e6);
    assert_eq!(focus.kind, FocusKind::Saliency);
    assert!(focus.passed_over.is_some_and(|score| score > THRESHOLD));
    assert!(window(&picture, &focus, &sizes()).contains(&portrait.head(), 1.0));
}

#[test]
fn any_picture_has_a_focus_inside_it() {
    let stream = Stream::new(5, Purpose::Noise, 0, 0, 0);
    for (width, height) in [(1, 1), (1, 900), (1200, 2), (39, 41), (333, 77)] {
        let noise = RgbImage::from_fn(width, height, |x, y| {
            Rgb(stream.word((y * width + x) as usize).to_le_bytes()[..3].try_into().unwrap())
        });
        let flat = RgbImage::from_pixel(width, height, Rgb([9, 99, 199]));
        for mode in [FocusMode::Auto, FocusMode::Face, FocusMode::Saliency, FocusMode::Centre] {
            let focus = find(&flat, mode, THRESHOLD);
            assert_eq!((focus.kind, focus.point), (FocusKind::Centre, Focus::centre(width, height).point));
            let free = Limits { largest_enlargement: f64::INFINITY, tight: None };
            let doubts = choose(width, height, &focus, &sizes(), &free).unwrap().doubts;
            assert_eq!(doubts.contains(&Doubt::NothingFound), mode != FocusMode::Centre);
            let thresholds: &[f64] =
                if mode == FocusMode::Auto { &[0.0, -1.0, f64::NAN] } else { &[THRESHOLD] };
            for &threshold in thresholds {
                let focus = find(&noise, mode, threshold);
                let whole = Region::whole(width, height);
                assert!(
                    whole.contains(&focus.region, 1e-6) && whole.contains(&Region::at(focus.point), 1e-6)
                );
            }
        }
    }
}
