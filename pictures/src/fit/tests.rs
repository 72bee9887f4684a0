use super::*;
use crate::open::{Limits, PictureError};
use image::{ColorType, ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};

fn read(file: &[u8]) -> Decoded {
    Decoded::read(file, Limits::FILES).unwrap()
}

fn picture(file: &[u8], size: [usize; 2]) -> Vec<f32> {
    read(file).picture(size, Fit::Crop)
}

fn mask(file: &[u8], size: [usize; 2]) -> Vec<f32> {
    read(file).mask(size, Fit::Crop)
}

fn png(width: u32, height: u32, color: ColorType, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(bytes, width, height, color.into()).unwrap();
    file
}

/// 5 x 5, gray, in the seven passes of Adam7: the pixel at (x, y) is 40 y + 8 x.
const INTERLACED: &[u8] = b"\
    \x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x05\x00\x00\x00\x05\x08\x00\
    \x00\x00\x01\xdf\x03\x49\xaf\x00\x00\x00\x2d\x49\x44\x41\x54\x78\xda\x63\x60\x60\x50\x60\x58\x70\x80\x41\
    \x80\x61\x03\x43\x40\x42\x01\x03\x87\x04\x43\x44\x06\xc3\x8a\x1d\x0c\x1a\x06\x16\x0e\x1e\x0c\x15\x0d\x1d\
    \x13\x66\x00\x00\x8d\xfc\x09\x61\x6b\xf9\x7d\x74\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

// Seen red: alpha ignored; 16 bits cut to 8.
#[test]
fn pixels_of_the_right_size_are_taken_to_the_bit() {
    let rgb: Vec<u8> = (0..4 * 3 * 3).map(|i| i * 7).collect();
    let v = |bytes: &[u8]| bytes.iter().map(|&b| f32::from(b) / 255.0).collect::<Vec<f32>>();
    let file = &png(4, 3, ColorType::Rgb8, &rgb);
    assert_eq!(picture(file, [3, 4]), v(&rgb));
    let file = &png(2, 1, ColorType::L8, &[3, 250]);
    assert_eq!(picture(file, [1, 2]), v(&[3, 3, 3, 250, 250, 250]));
    let wide: Vec<u8> = [1u16, 300, 65535].into_iter().flat_map(u16::to_ne_bytes).collect();
    let file = &png(1, 1, ColorType::Rgb16, &wide);
    assert_eq!(picture(file, [1, 1]), vec![1.0 / 65535.0, 300.0 / 65535.0, 1.0]);
    // Opaque, transparent.
    let file = &png(2, 1, ColorType::Rgba8, &[9, 8, 7, 255, 9, 8, 7, 0]);
    assert_eq!(picture(file, [1, 2]), v(&[9, 8, 7, 255, 255, 255]));
    assert_eq!((mask(file, [1, 2]), read(file).holes([1, 2], Fit::Crop)), (vec![1.0, 0.0], vec![0.0, 1.0]));

    let file = INTERLACED;
    let want: Vec<u8> = (0..25).flat_map(|i| [i / 5 * 40 + i % 5 * 8; 3]).collect();
    assert_eq!(picture(file, [5, 5]), v(&want));

    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, 3, 1);
    encoder.set_color(::png::ColorType::Indexed);
    encoder.set_depth(::png::BitDepth::Two);
    encoder.set_palette(vec![0, 0, 0, 10, 20, 30, 255, 254, 253]);
    encoder.write_header().unwrap().write_image_data(&[0b01_10_00_00]).unwrap();
    let file = &bytes;
    assert_eq!(picture(file, [1, 3]), v(&[10, 20, 30, 255, 254, 253, 0, 0, 0]));
}

// Seen red: not turned; turned, but not the size.
#[test]
fn photographs_are_read_and_turned_upright() {
    // 16 x 8, red at the left, blue at the right.
    let rgb: Vec<u8> = (0..128).flat_map(|i| if i % 16 < 8 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 100).write_image(&rgb, 16, 8, ExtendedColorType::Rgb8).unwrap();
    let near = |got: &[f32], want: [f32; 3]| got.iter().zip(want).all(|(got, want)| (got - want).abs() < 0.03);
    let file = &bytes;
    let values = picture(file, [8, 16]);
    assert!(near(&values[..3], [1.0, 0.0, 0.0]) && near(&values[45..48], [0.0, 0.0, 1.0]), "{:?}", &values[..48]);

    // The camera was held on its side: EXIF, one entry, orientation 6.
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = &[&bytes[..2], exif, &bytes[2..]].concat();
    assert_eq!((read(file).size(), read(turned).size()), ([8, 16], [16, 8]));
    let values = picture(turned, [16, 8]);
    assert!(near(&values[..3], [1.0, 0.0, 0.0]) && near(&values[values.len() - 3..], [0.0, 0.0, 1.0]));
}

// Seen red: cut from the left; a threshold above 128; no wider filter for a smaller picture.
#[test]
fn the_middle_is_cut_out_and_resized() {
    assert_eq!(middle([30, 40], [1, 1]), [30, 30]);
    assert_eq!(middle([40, 30], [2, 1]), [40, 20]);
    assert_eq!(middle([1, 1000], [1000, 1]), [1, 1]);
    assert_eq!(middle([100, 100], [64, 63]), [100, 98]);
    // Columns 0 0 1 1 0 0, of which the inner four are taken.
    let file = &png(6, 4, ColorType::L8, &[[0, 0, 255, 255, 0, 0]; 4].concat());
    let values = picture(file, [4, 4]);
    assert_eq!(values[..12], [0., 0., 0., 1., 1., 1., 1., 1., 1., 0., 0., 0.]);
    assert_eq!(mask(file, [4, 4])[..4], [0.0, 1.0, 1.0, 0.0]);
    let smaller = picture(file, [2, 2]);
    assert!(smaller.iter().all(|v| *v > 0.5 && (v - smaller[0]).abs() < 1e-6), "of symmetry: {smaller:?}");
    let gray = &png(4, 1, ColorType::L8, &[0, 127, 128, 255]);
    assert_eq!(mask(gray, [1, 4]), vec![0.0, 0.0, 1.0, 1.0]);
    // Two thirds of each side.
    let whole = read(file).picture([4, 3], Fit::Stretch);
    assert!((whole[0] - whole[6]).abs() < 1e-6 && whole[0] < 0.2 && whole[3] > 0.8, "{whole:?}");
}

// Seen red: a JPEG without its end taken.
#[test]
fn what_is_no_picture_is_said() {
    let whole = png(4, 3, ColorType::Rgb8, &[7; 36]);
    let large = png(20000, 1, ColorType::L8, &[0; 20000]);
    for (bytes, part) in [
        (&[][..], "neither a PNG nor a JPEG"),
        (b"a text", "neither a PNG nor a JPEG"),
        (b"GIF89a\x01\0\x01\0\0\0\0", "neither a PNG nor a JPEG"),
        (&whole[..whole.len() - 30], "is a damaged picture ("),
        (&whole[..8], "is a damaged picture ("),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "is a damaged picture ("),
        (&large, "more than 16384 pixels"),
    ] {
        let problem = Decoded::read(bytes, Limits::FILES).unwrap_err().to_string();
        assert!(problem.contains(part), "{problem}");
    }
}

/// A picture of few bytes may have many pixels.
#[test]
fn limits_are_of_the_pixels() {
    let file = png(100, 90, ColorType::Rgb8, &[7; 27000]);
    let read = |side, bytes| Decoded::read(&file, Limits { side, bytes }).map(|decoded| decoded.size());
    assert!(matches!(read(100, 27000), Ok([90, 100])));
    assert!(matches!(read(99, 27000), Err(PictureError::TooLarge(_))));
    assert!(matches!(read(100, 26999), Err(PictureError::TooLarge(_))));
}
