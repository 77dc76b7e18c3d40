//! What crops show, and what lies beside them.

use super::folders::{Folders, drawing};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GenericImageView, Rgb, RgbImage};

#[test]
fn crops_lie_where_their_pictures_lie_with_their_captions() {
    let folders = Folders::with_three_pictures();
    folders.put("b.caption", b"another\r\nline, kept to the byte");
    let said = folders.prepared(&[]);
    assert!(said.out.contains("3 prepared, 4 captions copied"), "{}", said.out);
    for name in ["a.png", "b.png", "sub/c.png"] {
        assert_eq!(folders.crop(name).dimensions(), (96, 64), "{name}");
    }
    for name in ["a.txt", "b.txt", "b.caption", "sub/c.txt"] {
        assert_eq!(
            std::fs::read(folders.source(name)).unwrap(),
            std::fs::read(folders.target(name)).unwrap(),
            "{name}"
        );
    }
    assert!(folders.target("review.html").exists());
}

#[test]
fn the_record_says_what_was_cut_and_nothing_is_distorted() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&["--focus", "centre"]);
    let entry = &folders.record()["a.png"];
    let number = |path: &str| entry.pointer(path).unwrap().as_f64().unwrap();
    // Of 200x160, the largest window of 96x64 in the middle.
    assert_eq!((number("/box/x"), number("/box/width")), (0.0, 200.0));
    assert!((number("/box/height") - 200.0 * 64.0 / 96.0).abs() < 1e-9);
    assert!((number("/box/y") - (160.0 - number("/box/height")) / 2.0).abs() < 1e-9);
    assert!((number("/scale") - 0.48).abs() < 1e-9);
    assert_eq!(entry["focus"]["kind"], "centre");
    assert_eq!(entry["output"]["file"], "a.png");
    assert_eq!(entry["picture"]["width"], 200);
}

/// Pillow's numbers, by `.resize((96, 64), LANCZOS, box=(0, 40/3, 200, 440/3))` of the same drawing.
#[test]
fn pixels_are_pillows() {
    let folders = Folders::new();
    folders.draw("a.png", 200, 160, 0);
    folders.prepared(&["--focus", "centre"]);
    let crop = folders.crop("a.png");
    for (x, y, expected) in PILLOW {
        let pixel = crop.get_pixel(x, y).0;
        assert!(
            pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1),
            "at {x},{y}: {pixel:?}, Pillow has {expected:?}"
        );
    }
}

const PILLOW: [(u32, u32, [u8; 3]); 7] = [
    (0, 0, [91, 118, 112]),
    (95, 63, [47, 91, 40]),
    (20, 20, [255, 227, 36]),
    (37, 25, [255, 229, 40]),
    (40, 31, [45, 78, 46]),
    (60, 5, [106, 133, 40]),
    (19, 19, [218, 195, 56]),
];

#[test]
fn a_picture_that_is_turned_by_its_metadata_gives_the_same_crop() {
    let folders = Folders::new();
    let upright = drawing(200, 160, 1);
    for orientation in 1..=8u8 {
        folders.put(&format!("turned{orientation}.png"), &turned(&upright, orientation));
    }
    folders.prepared(&[]);
    let first = folders.crop("turned1.png");
    let record = folders.record();
    for orientation in 2..=8 {
        assert_eq!(folders.crop(&format!("turned{orientation}.png")), first, "orientation {orientation}");
        let entry = &record[&format!("turned{orientation}.png")];
        assert_eq!(entry["box"], record["turned1.png"]["box"], "orientation {orientation}");
    }
}

/// A PNG that looks like `upright` by its EXIF orientation.
fn turned(upright: &RgbImage, orientation: u8) -> Vec<u8> {
    let picture = DynamicImage::from(upright.clone());
    // What is stored is the picture turned the other way round.
    let stored = match orientation {
        2 => picture.fliph(),
        3 => picture.rotate180(),
        4 => picture.flipv(),
        5 => picture.rotate90().fliph(),
        6 => picture.rotate270(),
        7 => picture.rotate270().fliph(),
        8 => picture.rotate90(),
        _ => picture,
    };
    let (width, height) = stored.dimensions();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    // TIFF header, one entry: tag 0x0112 of type SHORT.
    let exif = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation, 0, 0], &[0; 4]]
        .concat();
    writer.write_chunk(png::chunk::ChunkType(*b"eXIf"), &exif).unwrap();
    writer.write_image_data(stored.into_rgb8().as_raw()).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn jpeg_is_written_on_request() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&["--format", "jpeg", "--quality", "90"]);
    assert_eq!(folders.crop("sub/c.jpg").dimensions(), (96, 64));
    let bytes = std::fs::read(folders.target("a.jpg")).unwrap();
    assert_eq!(image::guess_format(&bytes).unwrap(), image::ImageFormat::Jpeg);
}

#[test]
fn transparency_lies_on_the_background() {
    let folders = Folders::new();
    image::RgbaImage::new(64, 64).save(folders.source("a.png")).unwrap();
    folders.prepared(&["--background", "#1020ff"]);
    assert_eq!(*folders.crop("a.png").get_pixel(30, 30), Rgb([0x10, 0x20, 0xFF]));
}

#[test]
fn a_wrong_extension_is_no_matter() {
    let folders = Folders::new();
    let mut bytes = Vec::new();
    JpegEncoder::new(&mut bytes).encode_image(&drawing(200, 160, 1)).unwrap();
    folders.put("a.webp", &bytes);
    folders.prepared(&[]);
    assert_eq!(folders.crop("a.png").dimensions(), (96, 64));
}

#[test]
fn tables_of_captions_are_copied_with_the_new_names() {
    let folders = Folders::with_three_pictures();
    folders
        .put("metadata.jsonl", b"{\"file_name\": \"b.jpg\", \"text\": \"x\"}\n{\"file_name\": \"a.png\"}\n");
    folders.prepared(&[]);
    let text = std::fs::read_to_string(folders.target("metadata.jsonl")).unwrap();
    assert_eq!(text, "{\"file_name\":\"b.png\",\"text\":\"x\"}\n{\"file_name\": \"a.png\"}\n");
}

#[test]
fn the_sheet_needs_nothing_but_itself() {
    let folders = Folders::with_three_pictures();
    folders.put("</script><img src=x>.png", &turned(&drawing(99, 99, 2), 1));
    folders.prepared(&[]);
    let page = std::fs::read_to_string(folders.target("review.html")).unwrap();
    assert!(!page.contains("{{") && page.ends_with("</html>\n"));
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "no address but a name");
    assert!(!page.contains("<img src=x>"), "a name is text");
    let block = page.split("id=\"block0\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert_eq!(block.lines().filter(|line| line.starts_with("/9j/")).count(), 4, "four small JPEGs");
}
