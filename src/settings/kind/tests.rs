//! What users write, and what becomes of it.

use super::*;
use serde_json::json;

#[test]
fn numbers_may_be_strings_and_whole_numbers_may_have_an_exponent() {
    assert_eq!(Kind::Whole(0, 2000).read(&json!("1e3")), Ok(json!(1000)));
    assert_eq!(Kind::Whole(0, 2000).read(&json!(20.0)), Ok(json!(20)));
    assert_eq!(Kind::Whole(0, i64::MAX).read(&json!(i64::MAX)), Ok(json!(i64::MAX)));
    assert_eq!(Kind::Real(0.0, 1.0).read(&json!("1e-4")), Ok(json!(1e-4)));
    assert_eq!(Kind::Real(0.0, 1.0).read(&json!(1)), Ok(json!(1.0)));
}

#[test]
fn a_separator_may_be_blank_or_a_word() {
    let read = |value: &str| Kind::Separator.read(&json!(value)).unwrap();
    for (written, meant) in
        [(",", ","), (" ", " "), ("space", " "), ("comma", ","), ("period", "."), ("; ", "; ")]
    {
        assert_eq!(read(written), json!(meant));
        assert_eq!(read(meant), json!(meant));
    }
    assert_eq!(read(""), Value::Null);
    assert!(Kind::Separator.read(&json!(3)).is_err());
}

#[test]
fn numbers_out_of_range_or_not_finite_are_refused() {
    for wrong in [json!(-1), json!("3"), json!(0.5), json!("x"), json!(true), json!([1]), json!(u64::MAX)] {
        assert!(Kind::Whole(0, 2).read(&wrong).is_err(), "{wrong}");
    }
    for wrong in [json!("nan"), json!("inf"), json!("1e999"), json!(1.5), json!({})] {
        assert!(Kind::Real(0.0, 1.0).read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn nothing_and_the_empty_string_mean_not_set() {
    for kind in
        [Kind::Switch, Kind::Text, Kind::Resolution, Kind::Ratios, Kind::Sizes, Kind::Targets, Kind::Pairs]
    {
        assert_eq!(kind.read(&Value::Null), Ok(Value::Null));
        assert_eq!(kind.read(&json!("")), Ok(Value::Null));
    }
    for kind in [Kind::Source, Kind::Text, Kind::Sizes, Kind::Whole(1, 2), Kind::Real(1.0, 2.0)] {
        assert_eq!(kind.read(&json!(false)), Ok(Value::Null));
        assert_eq!(kind.read(&json!("False")), Ok(Value::Null));
    }
}

#[test]
fn switches_are_booleans_or_the_two_words() {
    assert_eq!(Kind::Switch.read(&json!("True")), Ok(json!(true)));
    assert_eq!(Kind::Switch.read(&json!(false)), Ok(json!(false)));
    assert!(Kind::Switch.read(&json!("yes")).is_err());
}

#[test]
fn sizes_are_numbers_pairs_or_lists() {
    assert_eq!(Kind::Sizes.read(&json!(128)), Ok(json!(["128x128"])));
    assert_eq!(Kind::Sizes.read(&json!("1024x768, 512")), Ok(json!(["1024x768", "512x512"])));
    assert_eq!(Kind::Sizes.read(&json!(["64x128", 64])), Ok(json!(["64x128", "64x64"])));
    for wrong in
        [json!("100x128"), json!("48"), json!("1024x"), json!("16384"), json!([]), json!("a"), json!(-64)]
    {
        assert!(Kind::Sizes.read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn resolutions_are_edges_or_megapixels() {
    let read = |value: Value| Kind::Resolution.read(&value);
    assert_eq!(read(json!("1024")), Ok(json!(1024)));
    // A square of 1 megapixel has an edge of 1000, of 0.5 one of 707, of 0.1 one of 316.
    for (megapixels, edge) in [(json!(1.0), 1024), (json!("0.5"), 704), (json!(0.1), 320), (json!(1), 1024)] {
        assert_eq!(read(megapixels), Ok(json!(edge)));
    }
    for wrong in [json!(0), json!(-1), json!(32), json!(1000), json!(0.001), json!("big"), json!(512.5)] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn ratios_are_numbers_or_two_sides() {
    let read = |value: Value| Kind::Ratios.read(&value);
    assert_eq!(read(json!([1, "3:2", 0.5, "1216x832"])), Ok(json!([1.0, 1.5, 0.5, 1216.0 / 832.0])));
    assert_eq!(read(json!("1.0, 0.75")), Ok(json!([1.0, 0.75])));
    for wrong in [json!([]), json!(["a"]), json!([0]), json!("1:0"), json!(11), json!([true]), json!("-2")] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn several_numbers_are_a_list_or_separated_by_commas() {
    let blocks = Kind::Wholes(0, 99);
    for written in [json!([7, 8, 9]), json!("[7, 8, 9]"), json!("7,8,9"), json!(["7", 8.0, 9])] {
        assert_eq!(blocks.read(&written), Ok(json!([7, 8, 9])), "{written}");
    }
    assert_eq!(blocks.read(&json!(7)), Ok(json!([7])));
    assert_eq!(blocks.read(&json!([])), Ok(Value::Null));
    assert_eq!(Kind::Reals(0.0, 2.0).read(&json!("0.5, 1")), Ok(json!([0.5, 1.0])));
    for wrong in [json!([100]), json!("7,x"), json!([true]), json!("7,,8"), json!([1.5])] {
        assert!(blocks.read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn targets_are_a_preset_or_names() {
    assert_eq!(Kind::Targets.read(&json!("all_linear")), Ok(json!("all-linear")));
    assert_eq!(Kind::Targets.read(&json!(["diffusers"])), Ok(json!("diffusers")));
    assert_eq!(Kind::Targets.read(&json!("to_q, attn.to_out.0")), Ok(json!(["to_q", "attn.to_out.0"])));
    assert_eq!(Kind::Targets.read(&json!("[\"to_q\", 'to_k']")), Ok(json!(["to_q", "to_k"])));
    assert!(Kind::Targets.read(&json!("diffusers,to_q")).is_err());
    let cause = Kind::Targets.read(&json!("all-linaer")).unwrap_err();
    assert!(cause.contains("`all-linear`"), "{cause}");
}

#[test]
fn blocks_are_numbers_and_ranges() {
    assert_eq!(Kind::Blocks.read(&json!("12-14,0")), Ok(json!([0, 12, 13, 14])));
    assert_eq!(Kind::Blocks.read(&json!(["3", 1, "2-3"])), Ok(json!([1, 2, 3])));
    assert_eq!(Kind::Blocks.read(&json!(7)), Ok(json!([7])));
    assert_eq!(Kind::Blocks.read(&json!("all")), Ok(Value::Null));
    for wrong in [json!("5-3"), json!("a"), json!("-1"), json!("1-"), json!("4000"), json!([1.5])] {
        assert!(Kind::Blocks.read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn numbers_by_name_are_pairs_or_an_object() {
    let kind = Kind::Numbers(1.0, 64.0);
    assert_eq!(kind.read(&json!("attn.to_q=4, ff.net.2=8")), Ok(json!({"attn.to_q": 4.0, "ff.net.2": 8.0})));
    assert_eq!(kind.read(&json!({"to_q": "16"})), Ok(json!({"to_q": 16.0})));
    assert_eq!(kind.read(&json!("{\"to_q\": 2}")), Ok(json!({"to_q": 2.0})));
    assert_eq!(kind.read(&json!({})), Ok(Value::Null));
    for wrong in [json!("to_q"), json!({"to_q": 65}), json!({"to_q": []}), json!("{"), json!(3)] {
        assert!(kind.read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_document_is_an_object_or_a_path() {
    assert_eq!(Kind::Document.read(&json!({"algo": "lokr"})), Ok(json!({"algo": "lokr"})));
    assert_eq!(Kind::Document.read(&json!("{\"algo\": \"lokr\"}")), Ok(json!({"algo": "lokr"})));
    assert_eq!(Kind::Document.read(&json!("config/lycoris.json")), Ok(json!("config/lycoris.json")));
    assert!(Kind::Document.read(&json!("{algo}")).is_err() && Kind::Document.read(&json!(3)).is_err());
}

#[test]
fn long_values_are_cut_in_messages() {
    assert!(shown(&json!("ä".repeat(1000))).chars().count() < 70);
}
