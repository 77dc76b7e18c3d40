use super::*;
use crate::dataset::buckets_at;
use crate::prepare::face::Face;
use crate::prepare::region::Point;
use proptest::prelude::*;

fn region(x: f64, y: f64, width: f64, height: f64) -> Region {
    Region { x, y, width, height }
}

fn size(width: usize, height: usize) -> Bucket {
    Bucket { width, height }
}

/// Any enlargement is allowed.
fn free() -> Limits {
    Limits { largest_enlargement: f64::INFINITY, tight: None }
}

/// Faces whose heads are the given regions.
fn heads(regions: &[Region]) -> Focus {
    let face = |&head: &Region| Face { region: head, crowned: head, head, score: 20.0 };
    let whole = regions.iter().copied().reduce(|a, b| a.union(&b)).unwrap();
    Focus {
        kind: FocusKind::Face,
        faces: regions.iter().map(face).collect(),
        parts: regions.to_vec(),
        ..Focus::given(whole)
    }
}

#[test]
fn the_nearest_shape_that_can_hold_the_focus_wins() {
    let sizes = buckets_at(1024).unwrap();
    let chosen = |focus: &Focus| choose(2000, 2000, focus, &sizes, &free()).unwrap();
    assert_eq!(chosen(&Focus::centre(2000, 2000)).size, size(1024, 1024));
    // 4:3 is nearest to 896x1152, whose window keeps 94 % of the height of such a picture, and 1152x896 for its
    // opposite. A head that is taller than that needs a narrower size.
    let chosen = |focus: &Focus| choose(1500, 2000, focus, &sizes, &free()).unwrap();
    assert_eq!(chosen(&Focus::centre(1500, 2000)).size, size(896, 1152));
    let tall = heads(&[region(400.0, 20.0, 600.0, 1950.0)]);
    let placed = chosen(&tall);
    assert_eq!(placed.size, size(832, 1216));
    assert_eq!(
        placed.window,
        region(700.0 - 2000.0 * 832.0 / 1216.0 / 2.0, 0.0, 2000.0 * 832.0 / 1216.0, 2000.0)
    );
}

#[test]
fn the_window_is_the_largest_and_centred_on_the_focus_as_far_as_the_picture_goes() {
    let square = [size(512, 512)];
    let x = |from: f64| {
        let focus = Focus::given(region(from, 100.0, 100.0, 100.0));
        choose(3000, 1000, &focus, &square, &free()).unwrap().window
    };
    assert_eq!(x(1200.0), region(750.0, 0.0, 1000.0, 1000.0));
    assert_eq!(x(20.0), region(0.0, 0.0, 1000.0, 1000.0));
    assert_eq!(x(2900.0), region(2000.0, 0.0, 1000.0, 1000.0));
}

#[test]
fn all_heads_are_kept_if_they_fit_else_the_largest_and_those_that_fit_beside_it() {
    let square = [size(512, 512)];
    let (large, near, far) = (
        region(100.0, 100.0, 300.0, 400.0),
        region(700.0, 200.0, 200.0, 260.0),
        region(2500.0, 0.0, 150.0, 200.0),
    );
    let placed = choose(3000, 1000, &heads(&[large, far, near]), &square, &free()).unwrap();
    assert!(placed.window.contains(&large, 0.0) && placed.window.contains(&near, 0.0));
    assert_eq!(placed.kept, large.union(&near));
    assert_eq!(placed.reason, "2 of 3 faces");
    assert_eq!(placed.doubts.first(), Some(&Doubt::HeadsCut { cut: 1, of: 3 }));
    let wide =
        choose(3000, 1000, &heads(&[large, far, near]), &[size(512, 512), size(900, 300)], &free()).unwrap();
    assert_eq!((wide.size, wide.reason.as_str()), (size(900, 300), "3 faces"));
    assert!(wide.doubts.iter().all(|doubt| !matches!(doubt, Doubt::HeadsCut { .. })));
}

#[test]
fn too_small_a_picture_is_enlarged_up_to_the_limit_and_then_refused() {
    let sizes = buckets_at(1024).unwrap();
    let focus = Focus::centre(800, 800);
    let placed = choose(800, 800, &focus, &sizes, &Limits::default()).unwrap();
    assert_eq!(placed.scale, 1.28);
    assert!(placed.doubts.contains(&Doubt::Enlarged(1.28)));
    let refusal = choose(512, 512, &Focus::centre(512, 512), &sizes, &Limits::default()).unwrap_err();
    assert_eq!(refusal, Refusal { needed: 2.0, limit: 1.5 });
    assert!(refusal.to_string().contains("2.00"), "{refusal}");
    assert!(choose(512, 512, &focus, &[], &free()).is_err());
    assert!(choose(0, 512, &focus, &sizes, &Limits::default()).is_err());
}

#[test]
fn of_one_shape_the_largest_size_that_needs_no_enlarging_is_taken() {
    let sizes = [size(512, 512), size(1024, 1024), size(768, 768)];
    let side = |picture: u32| {
        choose(picture, picture, &Focus::centre(picture, picture), &sizes, &free()).unwrap().size
    };
    assert_eq!(side(2000), size(1024, 1024));
    assert_eq!(side(1000), size(768, 768));
    assert_eq!(side(400), size(512, 512));
}

#[test]
fn a_tight_window_has_the_head_fill_its_share_without_enlarging() {
    let sizes = buckets_at(512).unwrap();
    let head = region(1900.0, 1200.0, 300.0, 400.0);
    let tight = |share| Limits { tight: Some(share), ..Limits::default() };
    let placed = choose(4000, 3000, &heads(&[head]), &sizes, &tight(0.5)).unwrap();
    assert_eq!((placed.window.height, placed.size), (800.0, size(576, 448)));
    // The middle of the head stands at two fifths of the height.
    assert!((placed.window.y + 0.4 * 800.0 - 1400.0).abs() < 1e-9);
    let closest = choose(4000, 3000, &heads(&[head]), &sizes, &tight(1.0)).unwrap();
    assert_eq!((closest.window.height, closest.scale), (448.0, 1.0));
    assert!(closest.window.contains(&head, 1e-9));
    for share in [0.0, -1.0, f64::NAN, 0.01] {
        let placed = choose(4000, 3000, &heads(&[head]), &sizes, &tight(share)).unwrap();
        assert!(placed.window.width > 3800.0, "{share}: {placed:?}");
    }
}

#[test]
fn a_focus_that_fits_nothing_is_kept_in_its_middle_and_is_doubtful() {
    let focus = Focus::given(region(200.0, 300.0, 2700.0, 500.0));
    let placed = choose(3000, 1000, &focus, &[size(512, 512)], &free()).unwrap();
    assert_eq!(placed.window, region(1050.0, 0.0, 1000.0, 1000.0));
    let Some(Doubt::FocusCut(kept)) = placed.doubts.first() else { panic!("{:?}", placed.doubts) };
    assert!((kept - 1000.0 / 2700.0).abs() < 1e-12);
}

#[test]
fn more_and_graver_doubts_sort_first() {
    let sizes = buckets_at(1024).unwrap();
    let doubt = |width, height, focus: &Focus| choose(width, height, focus, &sizes, &free()).unwrap().doubt();
    let head = region(900.0, 500.0, 300.0, 400.0);
    let clear = doubt(2000, 2000, &heads(&[head]));
    let edge = doubt(2000, 2000, &heads(&[Region { x: 0.0, ..head }]));
    let cut = doubt(2000, 2000, &heads(&[Region { width: 2500.0, ..head }, head]));
    let small = doubt(2000, 2000, &heads(&[region(900.0, 500.0, 60.0, 80.0)]));
    let enlarged = doubt(900, 900, &heads(&[region(300.0, 300.0, 40.0, 40.0)]));
    assert_eq!(clear, 0.0);
    assert!(
        edge > clear && small > edge && enlarged > small && cut > small,
        "{edge} {small} {enlarged} {cut}"
    );
    assert!(cut < 1.0 && enlarged < 1.0);
}

/// A focus of up to four parts anywhere in a picture of the given sides.
fn parts(width: u32, height: u32) -> impl Strategy<Value = Vec<Region>> {
    let part = (0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64).prop_map(move |(a, b, c, d)| {
        let (width, height) = (f64::from(width), f64::from(height));
        Region::between(a.min(b) * width, c.min(d) * height, a.max(b) * width, c.max(d) * height)
    });
    proptest::collection::vec(part, 1..5)
}

/// A picture's sides and parts of a focus in it.
fn scene() -> impl Strategy<Value = (u32, u32, Vec<Region>)> {
    (1u32..6000, 1u32..6000)
        .prop_flat_map(|(width, height)| (Just(width), Just(height), parts(width, height)))
}

proptest! {
    #[test]
    fn a_window_lies_in_the_picture_does_not_distort_and_holds_what_it_can((width, height, parts) in scene()) {
        let sizes = buckets_at(1024).unwrap();
        let picture = Region::whole(width, height);
        let focus = heads(&parts);
        let placed = choose(width, height, &focus, &sizes, &free()).unwrap();
        let window = placed.window;
        prop_assert!(window.x >= 0.0 && window.y >= 0.0);
        prop_assert!(window.right() <= picture.width && window.bottom() <= picture.height);
        let (across, down) = (placed.size.width as f64 / window.width, placed.size.height as f64 / window.height);
        prop_assert!((across / down - 1.0).abs() < 1e-12 && (across - placed.scale).abs() < 1e-9 * across);
        // It is the largest: it touches two opposite edges.
        prop_assert!(window.width == picture.width || window.height == picture.height);
        // What could be whole is whole, and with it everything if some size could hold that.
        let possible = |region: &Region| sizes.iter().any(|&size| {
            let scale = (picture.width / size.width as f64).min(picture.height / size.height as f64);
            region.width <= size.width as f64 * scale && region.height <= size.height as f64 * scale
        });
        if possible(&parts[0]) {
            prop_assert!(window.contains(&parts[0], 1e-5), "{:?} in {window:?}", parts[0]);
        }
        if possible(&focus.region) {
            prop_assert!(window.contains(&focus.region, 1e-5), "{:?} in {window:?}", focus.region);
        }
    }

    #[test]
    fn a_mirrored_picture_gets_the_mirrored_window((width, height, parts) in scene()) {
        let sizes = buckets_at(1024).unwrap();
        let side = f64::from(width);
        let mirror = |part: &Region| Region { x: side - part.right(), ..*part };
        let there = choose(width, height, &heads(&parts), &sizes, &free()).unwrap();
        let mirrored: Vec<Region> = parts.iter().map(mirror).collect();
        let back = choose(width, height, &heads(&mirrored), &sizes, &free()).unwrap();
        prop_assert_eq!(there.size, back.size);
        prop_assert!((mirror(&back.window).x - there.window.x).abs() < 1e-6 * side);
        prop_assert!((back.window.y - there.window.y).abs() < 1e-6 * f64::from(height));
    }

    #[test]
    fn a_salient_point_is_in_the_window((width, height, parts) in scene(), u in 0.0..1.0f64, v in 0.0..1.0f64) {
        let point = Point { x: u * f64::from(width), y: v * f64::from(height) };
        let focus = Focus { kind: FocusKind::Saliency, point, ..Focus::given(parts[0]) };
        let focus = Focus { parts: vec![Region::at(point)], ..focus };
        let placed = choose(width, height, &focus, &buckets_at(512).unwrap(), &free()).unwrap();
        prop_assert!(placed.window.contains(&Region::at(point), 1e-6));
    }
}
