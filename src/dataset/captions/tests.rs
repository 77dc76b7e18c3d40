//! Captions from every source, and what is done to them.

use super::*;

/// A folder to which files are added.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// The captions of `picture`, where the folder holds `pictures`.
    pub fn captions_among(
        &self,
        options: &CaptionOptions,
        pictures: &[&str],
        picture: &str,
    ) -> Result<Vec<String>> {
        let pictures: Vec<PathBuf> = pictures.iter().map(|name| self.path(name)).collect();
        Captions::open(options, self.0.path(), &pictures)?.of(&self.path(picture))
    }

    fn captions(&self, options: &CaptionOptions) -> Result<Vec<String>> {
        self.captions_among(options, &["cat.png"], "cat.png")
    }
}

fn text_files() -> CaptionOptions {
    CaptionOptions::new(CaptionStrategy::TextFile)
}

fn prompt(text: &str) -> CaptionOptions {
    CaptionOptions::new(CaptionStrategy::InstancePrompt(text.to_owned()))
}

fn captions_of(file: &str, bytes: &[u8]) -> Result<Vec<String>> {
    Folder::new().write(file, bytes).captions(&text_files())
}

#[test]
fn every_line_is_a_variant_and_blank_lines_are_none() {
    let text = "\u{feff}a red cat\r\n\r\n   \n  a small cat \nein Kätzchen".as_bytes();
    assert_eq!(captions_of("cat.txt", text).unwrap(), ["a red cat", "a small cat", "ein Kätzchen"]);
    assert_eq!(captions_of("cat.caption", b"a cat").unwrap(), ["a cat"]);
}

#[test]
fn lines_may_be_one_caption_or_the_first_alone_count() {
    let folder = Folder::new();
    folder.write("cat.txt", "\na cat\r\n\r\non a mat\n");
    let read = |lines| folder.captions(&CaptionOptions { lines, ..text_files() }).unwrap();
    assert_eq!(read(CaptionLines::Whole), ["a cat\n\non a mat"]);
    assert_eq!(read(CaptionLines::First), ["a cat"]);
}

#[test]
fn text_files_may_have_another_extension() {
    let folder = Folder::new();
    folder.write("cat.txt", "a").write("cat.caption", "b").write("cat.tags", "c");
    assert_eq!(folder.captions(&text_files()).unwrap(), ["a"]);
    for (extension, caption) in [(".caption", "b"), ("tags", "c")] {
        let options = CaptionOptions { extension: Some(extension.into()), ..text_files() };
        assert_eq!(folder.captions(&options).unwrap(), [caption]);
    }
    let error =
        folder.captions(&CaptionOptions { extension: Some(".wd14".into()), ..text_files() }).unwrap_err();
    assert!(error.cause.contains("cat.wd14"), "{error}");
}

#[test]
fn a_caption_that_is_missing_empty_or_no_text_is_an_error() {
    let missing = captions_of("dog.txt", b"a dog").unwrap_err();
    assert!(missing.place.ends_with("cat.png") && missing.cause.contains("cat.txt"), "{missing}");
    for empty in [&b""[..], b" \n\t\n", "\u{feff}".as_bytes()] {
        let error = captions_of("cat.txt", empty).unwrap_err();
        assert!(error.place.ends_with("cat.txt") && error.cause == "is empty", "{error}");
    }
    let latin1 = captions_of("cat.txt", b"K\xe4tzchen").unwrap_err();
    assert_eq!(latin1.cause, "is not UTF-8 text");
}

#[test]
fn a_fallback_stands_in_for_a_missing_caption_only() {
    let options = CaptionOptions { fallback: Some("k4s4 cat".into()), ..text_files() };
    assert_eq!(Folder::new().captions(&options).unwrap(), ["k4s4 cat"]);
    assert_eq!(Folder::new().write("cat.txt", "a cat").captions(&options).unwrap(), ["a cat"]);
    Folder::new().write("cat.txt", "").captions(&options).unwrap_err();
}

#[test]
fn names_and_prompts_become_captions() {
    let folder = Folder::new();
    let names = |prefix: Option<&str>| CaptionOptions {
        prefix: prefix.map(str::to_owned),
        ..CaptionOptions::new(CaptionStrategy::FileName)
    };
    let of = |options: &CaptionOptions, picture| folder.captions_among(options, &[picture], picture);
    assert_eq!(of(&names(None), "a_red__cat.v2.png").unwrap(), ["a red cat.v2"]);
    assert_eq!(of(&names(Some("k4s4, ")), "a_red__cat.v2.png").unwrap(), ["k4s4, a red cat.v2"]);
    assert_eq!(folder.captions(&prompt("k4s4 style")).unwrap(), ["k4s4 style"]);
    assert!(of(&names(None), "___.png").is_err());
    assert!(folder.captions(&prompt(" ")).is_err());
}

#[test]
fn prefix_filter_and_trigger_follow_one_another() {
    let folder = Folder::new();
    folder.write("cat.txt", "arafed image of a cat\na cat, k4s4\nphoto of [trigger]");
    let options = CaptionOptions {
        prefix: Some("photo:".into()),
        suffix: Some("in oil".into()),
        filter: vec!["arafed ".into(), "s/^photo: photo/photo/".into()],
        trigger: Some("K4S4,".into()),
        ..text_files()
    };
    assert_eq!(
        folder.captions(&options).unwrap(),
        ["K4S4, photo: image of a cat in oil", "photo: a cat, k4s4 in oil", "photo of K4S4 in oil"]
    );
}

#[test]
fn the_trigger_word_is_found_as_a_word() {
    assert!(has_trigger("sks", "a photo of SKS, dog") && has_trigger("sks dog", "a sks dog"));
    assert!(!has_trigger("sks", "asks") && !has_trigger("sks", "sks2") && !has_trigger("sks", ""));
    assert_eq!(with_trigger("sks", "a dog"), "sks a dog");
    assert_eq!(with_trigger("sks", "[trigger] the [trigger]"), "sks the sks");
}

/// The results are those of `re.sub` and `str.replace` in Python, in the order of SimpleTuner's filter.
#[test]
fn the_filter_removes_texts_and_patterns_and_replaces() {
    for (rule, before, after) in [
        ("arafed ", "arafed man, arafed ", "man,"),
        ("this .* has a", "well, this picture has a cat", "well,  cat"),
        ("^there is ", "there is what there is ", "what there is"),
        ("s/this/that/", "this and this", "that and that"),
        ("s/this/that", "this and this", "that and that"),
        ("s/(\\w+) of (\\w+)/\\2 \\1", "picture of cats", "cats picture"),
        ("s/(?P<a>red|blue) cat/\\g<a> dog/", "blue cat", "blue dog"),
        ("s/, *,//", "a, , b", "a b"),
        (" (smile", "a cat (smile", "a cat"),
        ("a.c", "a.c abc", ""),
        ("cats?(?! food)", "cats, cat food", ", cat food"),
    ] {
        let filter = Filter::new(&[rule.to_owned()]).unwrap();
        match filter.apply(before, Path::new("cat.png")) {
            Ok(text) => assert_eq!(text, after, "{rule}"),
            Err(error) => assert!(after.is_empty() && error.cause.contains(rule), "{rule}: {error}"),
        }
    }
}

#[test]
fn a_filter_that_is_wrong_or_leaves_nothing_is_named() {
    let folder = Folder::new();
    folder.write("cat.txt", "a cat");
    let filtered =
        |rule: &str| folder.captions(&CaptionOptions { filter: vec![rule.into()], ..text_files() });
    let error = filtered("s/(cat/dog/").unwrap_err();
    assert!(error.place.contains("caption_filter_list") && error.cause.contains("s/(cat/dog/"), "{error}");
    assert!(!error.cause.contains('\n'));
    let error = filtered(".*").unwrap_err();
    assert!(error.place.ends_with("cat.png") && error.cause.contains("`.*` empties"), "{error}");
    assert!(error.cause.contains("a cat") && error.hint.contains("caption_filter_list"), "{error}");
}

#[test]
fn dropout_and_variants_follow_their_probabilities_and_repeat() {
    let dropped = (0..20_000).filter(|&i| caption_dropped(3, i / 4, i % 4, 0.1)).count() as f64;
    let deviation = (20_000.0f64 * 0.1 * 0.9).sqrt();
    assert!((dropped - 2000.0).abs() < 4.0 * deviation, "{dropped}");
    assert!((0..100).all(|step| !caption_dropped(3, step, 0, 0.0) && caption_dropped(3, step, 0, 1.0)));
    let mut counts = [0usize; 3];
    for step in 0..9000 {
        let variant = caption_variant(5, step, 1, 3);
        assert_eq!(variant, caption_variant(5, step, 1, 3));
        counts[variant] += 1;
    }
    let deviation = (9000.0f64 * (1.0 / 3.0) * (2.0 / 3.0)).sqrt();
    assert!(counts.iter().all(|&n| (n as f64 - 3000.0).abs() < 4.0 * deviation), "{counts:?}");
}
