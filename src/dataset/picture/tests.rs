use super::*;
use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma, Rgb, Rgba};

/// A picture that the image crates cannot write; see `tests/fixtures/images/make.py`.
macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images/", $name)).as_slice()
    };
}

fn decoded(bytes: &[u8]) -> Result<RgbImage> {
    let path = Path::new("cat.png");
    let picture = decode(path, bytes, &Reading::default())?;
    assert_eq!(size(path, bytes).unwrap(), picture.dimensions(), "header and pixels disagree");
    Ok(picture)
}

fn cause(bytes: &[u8]) -> String {
    let error = decoded(bytes).unwrap_err();
    assert!(error.place == "cat.png" && !error.hint.is_empty(), "{error}");
    assert!(!error.cause.contains('\n'), "{error}");
    error.cause
}

fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// Noise, so that no format can shorten it and every cut loses pixels.
fn noise(width: u32, height: u32) -> RgbImage {
    let stream = crate::random::Stream::new(1, crate::random::Purpose::Noise, 0, 0, 0);
    RgbImage::from_fn(width, height, |x, y| {
        let word = stream.word((y * width + x) as usize).to_le_bytes();
        Rgb([word[0], word[1], word[2]])
    })
}

/// A PNG whose header promises more than its few bytes of pixels.
fn png_header(width: u32, height: u32, colour: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, &[0x78, 0x9C]).unwrap();
    bytes
}

fn assert_halves(picture: &RgbImage, first: (u32, u32), second: (u32, u32), tolerance: i32) {
    for (at, expected) in [(first, [200, 40, 40]), (second, [40, 40, 200])] {
        let pixel = picture.get_pixel(at.0, at.1).0;
        let near = |i: usize| (i32::from(pixel[i]) - expected[i]).abs() <= tolerance;
        assert!((0..3).all(near), "{pixel:?} at {at:?}, expected {expected:?}");
    }
}

#[test]
fn every_format_is_read_whatever_its_name() {
    let picture = noise(9, 7);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        assert_eq!(decoded(&encode(picture.clone(), format)).unwrap(), picture, "{format:?}");
    }
    let flat = RgbImage::from_pixel(9, 7, Rgb([200, 40, 40]));
    for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
        let read = decoded(&encode(flat.clone(), format)).unwrap();
        assert!(
            read.get_pixel(4, 3).0.iter().zip([200, 40, 40]).all(|(&a, b)| a.abs_diff(b) <= 2),
            "{format:?}"
        );
    }
}

#[test]
fn cmyk_progressive_and_lossy_pictures_have_their_colours() {
    assert_halves(&decoded(fixture!("cmyk.jpg")).unwrap(), (3, 8), (20, 8), 4);
    assert_halves(&decoded(fixture!("progressive.jpg")).unwrap(), (3, 8), (20, 8), 3);
    assert_halves(&decoded(fixture!("lossy.webp")).unwrap(), (3, 8), (20, 8), 6);
}

#[test]
fn pictures_stand_upright() {
    for bytes in [fixture!("turned.jpg"), fixture!("turned.png"), fixture!("turned.webp")] {
        let picture = decoded(bytes).unwrap();
        assert_eq!(picture.dimensions(), (16, 24));
        assert_halves(&picture, (8, 3), (8, 20), 3);
    }
}

#[test]
fn sixteen_bits_are_scaled_not_cut() {
    let wide = ImageBuffer::<Rgb<u16>, _>::from_pixel(2, 2, Rgb([0xFFFF, 0x8080, 0x00FF]));
    let expected = Rgb([255, 128, 1]);
    assert_eq!(*decoded(&encode(wide.clone(), ImageFormat::Png)).unwrap().get_pixel(1, 1), expected);
    assert_eq!(*decoded(&encode(wide, ImageFormat::Tiff)).unwrap().get_pixel(1, 1), expected);
    let grey = ImageBuffer::<Luma<u16>, _>::from_pixel(2, 2, Luma([0x4000]));
    assert_eq!(*decoded(&encode(grey, ImageFormat::Png)).unwrap().get_pixel(0, 0), Rgb([64; 3]));
}

#[test]
fn grey_and_palette_pictures_become_rgb() {
    let grey = ImageBuffer::<Luma<u8>, _>::from_pixel(2, 2, Luma([77]));
    assert_eq!(*decoded(&encode(grey, ImageFormat::Png)).unwrap().get_pixel(0, 0), Rgb([77; 3]));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![10, 20, 30, 200, 0, 0]);
    encoder.set_trns(vec![255, 0]);
    encoder.write_header().unwrap().write_image_data(&[0, 1]).unwrap();
    assert_eq!(decoded(&bytes).unwrap().as_raw(), &[10, 20, 30, 255, 255, 255]);
}

#[test]
fn transparency_is_laid_on_white() {
    let pixels: [Rgba<u8>; 3] = [Rgba([10, 20, 30, 255]), Rgba([200, 0, 0, 0]), Rgba([0, 100, 255, 128])];
    let picture = ImageBuffer::from_fn(3, 1, |x, _| pixels[x as usize]);
    let expected = [10, 20, 30, 255, 255, 255, 127, 177, 255];
    assert_eq!(decoded(&encode(picture.clone(), ImageFormat::Png)).unwrap().as_raw(), &expected);
    assert_eq!(decoded(&encode(picture, ImageFormat::WebP)).unwrap().as_raw(), &expected);
}

#[test]
fn a_cut_picture_is_refused_wherever_it_is_cut() {
    let picture = noise(40, 40);
    for format in
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff]
    {
        let bytes = encode(picture.clone(), format);
        for part in [0.1, 0.5, 0.9, 0.97] {
            let cut = (bytes.len() as f64 * part) as usize;
            assert!(decoded(&bytes[..cut]).is_err(), "{format:?} cut to {part} is accepted");
        }
    }
    let gif = encode(picture.clone(), ImageFormat::Gif);
    assert!(decoded(&gif[..gif.len() / 2]).is_err());
    let jpeg = encode(picture, ImageFormat::Jpeg);
    assert_eq!(cause(&jpeg[..jpeg.len() - 40]), "is truncated: the JPEG data has no end");
}

#[test]
fn animated_pictures_are_refused() {
    assert_eq!(cause(fixture!("animated.webp")), "is animated");
    assert_eq!(cause(fixture!("animated.png")), "is animated");
    let mut bytes = Vec::new();
    let frame = |value| image::Frame::new(image::RgbaImage::from_pixel(4, 4, Rgba([value, 0, 0, 255])));
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    encoder.encode_frames([frame(0), frame(255)]).unwrap();
    drop(encoder);
    assert_eq!(cause(&bytes), "is animated");
}

#[test]
fn bombs_are_refused_by_their_header() {
    let bomb = |width, height| cause(&png_header(width, height, png::ColorType::Rgb, png::BitDepth::Eight));
    assert!(bomb(100_000, 100).contains("too large"));
    assert!(bomb(12_000, 12_000).contains("120 megapixels"));
    assert!(bomb(i32::MAX as u32, i32::MAX as u32).contains("too large"));
    let deep = png_header(10_000, 10_000, png::ColorType::Rgba, png::BitDepth::Sixteen);
    assert!(cause(&deep).contains("too large"));
}

#[test]
fn what_is_no_picture_is_refused() {
    assert!(cause(b"a text named like a picture").contains("is not a picture"));
    assert!(cause(&[0; 100]).contains("is not a picture"));
    let avif = b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B\0\0\0\0\0\0\0\0";
    assert!(cause(avif).contains("not read here"));
    let mut header = encode(noise(8, 8), ImageFormat::Png);
    header.truncate(8);
    assert!(decoded(&header).is_err());
}

#[test]
fn damage_inside_a_png_is_found() {
    let mut bytes = encode(noise(40, 40), ImageFormat::Png);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    assert!(decoded(&bytes).is_err());
}

#[test]
fn files_that_are_empty_or_missing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.png");
    std::fs::write(&path, "").unwrap();
    assert_eq!(read(&path).unwrap_err().cause, "is an empty file");
    assert_eq!(read(&folder.path().join("missing.png")).unwrap_err().cause, "no such file or folder");
    assert!(read(folder.path()).is_err());
}

#[test]
fn a_colour_profile_changes_nothing() {
    let picture = noise(4, 4);
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(vec![1; 200]).unwrap();
    encoder.write_image(picture.as_raw(), 4, 4, ExtendedColorType::Rgb8).unwrap();
    assert_eq!(decoded(&bytes).unwrap(), picture);
}

#[test]
fn transparency_is_laid_on_the_colour_that_is_asked_for() {
    let pixels: [Rgba<u8>; 3] = [Rgba([10, 20, 30, 255]), Rgba([200, 0, 0, 0]), Rgba([0, 100, 255, 128])];
    let bytes = encode(ImageBuffer::from_fn(3, 1, |x, _| pixels[x as usize]), ImageFormat::Png);
    let reading = Reading { background: [255, 0, 10], ..Reading::default() };
    let picture = decode(Path::new("cat.png"), &bytes, &reading).unwrap();
    assert_eq!(picture.as_raw(), &[10, 20, 30, 255, 0, 10, 127, 50, 133]);
}

#[test]
fn used_memory_leaves_no_trace_even_in_a_damaged_picture() {
    let bytes = encode(noise(64, 48), ImageFormat::Jpeg);
    let path = Path::new("cat.jpg");
    for position in (bytes.len() / 3..bytes.len() - 40).step_by(37) {
        for damage in [[0xFF, 0xD0], [0x00, 0x00], [0xFF, 0xD9]] {
            let mut damaged = bytes.clone();
            damaged[position..position + 2].copy_from_slice(&damage);
            let Ok(fresh) = decode(path, &damaged, &Reading::default()) else { continue };
            let reused = decode_into(path, &damaged, &Reading::default(), vec![77; 20_000]).unwrap();
            assert_eq!(fresh, reused, "{damage:?} at {position}");
        }
    }
}
