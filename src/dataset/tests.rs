//! The dataset as a whole.

use super::*;
use image::{Rgb, RgbImage};

/// A folder to which pictures and captions are added.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> &Self {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
        self
    }

    fn picture(&self, name: &str, width: u32, height: u32) -> &Self {
        let shade = (name.bytes().map(u32::from).sum::<u32>() % 256) as u8;
        RgbImage::from_pixel(width, height, Rgb([shade, 40, 90])).save(self.0.path().join(name)).unwrap();
        self
    }

    fn options(&self) -> DatasetOptions {
        options(self.0.path())
    }

    fn open(&self) -> Result<Dataset> {
        Dataset::open(&self.options())
    }
}

/// The dataset in `folder`, as a small run would open it.
fn options(folder: &Path) -> DatasetOptions {
    DatasetOptions {
        sources: vec![Source {
            id: "pictures".into(),
            folder: folder.to_owned(),
            captions: CaptionOptions::new(CaptionStrategy::TextFile),
            wording: Default::default(),
            share: Share::default(),
            lesson: Lesson::default(),
            framing: Framing::usual(128),
            admission: Admission::default(),
            augmentation: Augmentation::default(),
        }],
        seed: 1,
        max_side: Some(384),
        skip_broken_images: false,
        check_pixels: true,
    }
}

#[test]
fn the_bundled_pictures_fall_into_their_three_buckets() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/style-dataset");
    let dataset = Dataset::open(&options(Path::new(folder))).unwrap();
    assert_eq!((dataset.samples.len(), dataset.broken.len()), (24, 0));
    assert!(dataset.samples.iter().all(|s| s.captions.len() == 1 && s.captions[0].contains("k4s4")));
    let length = Length::Epochs(1);
    let schedule = ScheduleOptions {
        seed: 1,
        batch_size: 4,
        gradient_accumulation_steps: 1,
        length,
        sampling: Sampling::BySize,
        fill_short_batches: false,
    };
    let schedule = Schedule::new(&dataset.samples, &dataset.sources, &schedule).unwrap();
    let counts: Vec<_> = schedule.groups().iter().map(|c| (c.bucket.to_string(), c.pictures)).collect();
    assert_eq!(counts, [("112x144".to_owned(), 8), ("128x128".to_owned(), 8), ("144x112".to_owned(), 8)]);
}

#[test]
fn samples_carry_what_training_needs() {
    let folder = Folder::new();
    folder
        .picture("b.png", 200, 160)
        .write("b.txt", b"b one\nb two")
        .picture("a.png", 64, 64)
        .write("a.txt", b"a");
    let dataset = folder.open().unwrap();
    let [a, b] = &dataset.samples[..] else { panic!("two samples") };
    assert!(a.path.ends_with("a.png") && b.path.ends_with("b.png"));
    assert_eq!(b.captions, ["b one", "b two"]);
    assert_eq!((b.size, b.bucket), ((200, 160), Bucket { width: 144, height: 112 }));
    assert_ne!(a.content_hash, b.content_hash);
    assert_eq!(a.content_hash.len(), 64);
    assert!((a.scale() - 2.0).abs() < 1e-12);
    assert!(dataset.notes[0].contains("1 of 2 pictures are smaller"), "{:?}", dataset.notes);
    let pixels = b.pixels(&b.load().unwrap(), &b.views[0]).unwrap();
    assert_eq!((pixels.width, pixels.height, pixels.data.len()), (144, 112, 3 * 144 * 112));
    assert!(pixels.data[144 * 112..2 * 144 * 112].iter().all(|&v| v == 40.0 / 127.5 - 1.0));
}

#[test]
fn sources_follow_one_another_with_their_own_settings() {
    let (first, second) = (Folder::new(), Folder::new());
    first.picture("z.png", 128, 128).write("z.txt", b"z");
    second.picture("a_cat.png", 256, 256);
    let mut options = first.options();
    let mut other = second.options().sources.remove(0);
    other.captions.strategy = CaptionStrategy::FileName;
    other.captions.prefix = Some("k4s4,".into());
    other.framing.resolution = 256;
    other.share.repeats = Repeats::Extra(5);
    options.sources.push(other);
    let dataset = Dataset::open(&options).unwrap();
    let passes = |index| dataset.source_of(index).share.repeats.passes();
    let samples = dataset.samples.iter().enumerate();
    let summary: Vec<_> =
        samples.map(|(index, s)| (s.bucket.width, passes(index), &s.captions[0][..])).collect();
    assert_eq!(summary, [(128, 1, "z"), (256, 6, "k4s4, a cat")]);
}

#[test]
fn broken_pictures_stop_the_run_or_are_reported_if_asked() {
    let folder = Folder::new();
    folder.picture("a.png", 64, 64).write("a.txt", b"a").picture("b.png", 64, 64);
    folder.write("c.jpg", b"text").write("c.txt", b"c").picture("d.png", 64, 64).write("d.txt", b"");
    let error = folder.open().unwrap_err();
    assert!(error.place.ends_with("b.png") && error.cause.contains("has no caption"), "{error}");
    assert!(error.hint.contains("2 more pictures"), "{error}");
    let skipping = DatasetOptions { skip_broken_images: true, ..folder.options() };
    let dataset = Dataset::open(&skipping).unwrap();
    assert_eq!(dataset.samples.len(), 1);
    let places: Vec<_> = dataset.broken.iter().map(|e| &e.place[e.place.len() - 5..]).collect();
    assert_eq!(places, ["b.png", "c.jpg", "d.txt"]);
}

#[test]
fn a_cut_jpeg_is_found_even_from_its_header() {
    let folder = Folder::new();
    folder.picture("a.jpg", 64, 64).write("a.txt", b"a");
    let path = folder.0.path().join("a.jpg");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
    for check_pixels in [true, false] {
        let error = Dataset::open(&DatasetOptions { check_pixels, ..folder.options() }).unwrap_err();
        assert!(error.place.ends_with("a.jpg") && error.cause.contains("truncated"), "{error}");
    }
}

#[test]
fn nothing_to_train_on_is_an_error() {
    let folder = Folder::new();
    assert_eq!(folder.open().unwrap_err().cause, "holds no pictures");
    folder.write("a.png", b"");
    let error = Dataset::open(&DatasetOptions { skip_broken_images: true, ..folder.options() }).unwrap_err();
    assert!(error.cause.contains("none of the 1 pictures") && error.hint.contains("empty file"), "{error}");
    let none = DatasetOptions { sources: Vec::new(), ..folder.options() };
    assert!(Dataset::open(&none).unwrap_err().place.contains("data_backend_config"));
    folder.picture("b.png", 64, 64).write("b.txt", b"b");
    let mut large = DatasetOptions { skip_broken_images: true, ..folder.options() };
    large.sources[0].admission.minimum_edge = 65.0;
    let error = Dataset::open(&large).unwrap_err();
    assert!(error.cause.contains("no picture is left") && error.cause.contains("65 pixels"), "{error}");
}

#[test]
fn a_resolution_beyond_the_position_table_is_refused() {
    let folder = Folder::new();
    folder.picture("wide.png", 300, 100).write("wide.txt", b"a");
    let open = |resolution, max_side| {
        let mut options = folder.options();
        options.sources[0].framing.resolution = resolution;
        Dataset::open(&DatasetOptions { max_side, ..options })
    };
    for resolution in [400, 320] {
        let error = open(resolution, Some(384)).unwrap_err();
        assert!(error.place.contains("resolution") && error.cause.contains("384 pixels"), "{error}");
        assert_eq!(error.kind, ErrorKind::Settings);
    }
    assert!(open(320, Some(384)).unwrap_err().cause.contains("wide.png"));
    assert!(open(256, Some(384)).is_ok() && open(320, None).is_ok());
    assert!(open(0, None).is_err());
}

#[test]
fn a_picture_that_changes_after_the_scan_is_noticed() {
    let folder = Folder::new();
    folder.picture("a.png", 64, 64).write("a.txt", b"a");
    let dataset = folder.open().unwrap();
    folder.picture("a.png", 64, 65);
    let error = dataset.samples[0].load().unwrap_err();
    assert!(error.cause.contains("has changed"), "{error}");
}

#[test]
fn views_stay_when_pictures_are_added() {
    let folder = Folder::new();
    folder.picture("m.png", 200, 100).write("m.txt", b"m");
    let mut options = folder.options();
    options.sources[0].framing =
        Framing { place: Place::Random, shapes: Shapes::Square, ..Framing::usual(64) };
    options.sources[0].augmentation = Augmentation { hue: 0.1, variants: 3, ..Augmentation::default() };
    let before = Dataset::open(&options).unwrap().samples;
    assert_eq!(before[0].views.len(), 3);
    folder.picture("a.png", 200, 100).write("a.txt", b"a");
    let after = Dataset::open(&options).unwrap().samples;
    assert_eq!(after[1].views, before[0].views);
    assert_ne!(after[0].views, before[0].views);
    let reseeded = Dataset::open(&DatasetOptions { seed: 2, ..options }).unwrap().samples;
    assert_ne!(reseeded[1].views, before[0].views);
}
