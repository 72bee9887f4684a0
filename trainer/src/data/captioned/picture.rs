//! From a file to a small square of pixels.
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The longest side, and the most bytes, that are decoded: a small file may claim any size.
const MAX_SIDE: u32 = 16384;
const MAX_BYTES: u64 = 1 << 30;

/// Reads a picture as `(side, side, 3)`; what is wrong with it otherwise.
pub(super) fn read(path: &Path, side: usize) -> Result<Vec<u8>, String> {
    let rgb = over_white(decode(path)?);
    let (w, h) = rgb.dimensions();
    let part = w.min(h);
    let middle = imageops::crop_imm(&rgb, (w - part) / 2, (h - part) / 2, part, part);
    if part as usize == side {
        return Ok(middle.to_image().into_raw());
    }
    Ok(imageops::resize(&*middle, side as u32, side as u32, FilterType::Lanczos3).into_raw())
}

/// Decodes a file within the limits, whatever its name, and turns it as its camera noted.
fn decode(path: &Path) -> Result<DynamicImage, String> {
    let told = |e: ImageError| match e {
        ImageError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => format!("it cannot be read: {e}"),
        ImageError::Limits(_) => format!("it has sides of more than {MAX_SIDE} pixels, or more than 1 GiB of them"),
        e => format!("it is a broken picture: {e}"),
    };
    let file = BufReader::new(File::open(path).map_err(|e| told(ImageError::IoError(e)))?);
    let mut reader = ImageReader::new(file).with_guessed_format().map_err(|e| told(ImageError::IoError(e)))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err("it is neither a PNG nor a JPEG picture".into());
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(told)?;
    let upright = decoder.orientation().map_err(told)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(told)?;
    image.apply_orientation(upright);
    Ok(image)
}

/// Lays what is transparent over white: `a c + (1 - a) 255` of the sRGB values, rounded.
fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}
