//! From a file to a small square of pixels.
use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgb, RgbImage};
use std::path::Path;

/// Reads a picture as `(side, side, 3)`; what is wrong with it otherwise.
pub(super) fn read(path: &Path, side: usize) -> Result<Vec<u8>, String> {
    let rgb = over_white(nijimi_pictures::open(path).map_err(|e| format!("it {e}"))?);
    let (w, h) = rgb.dimensions();
    let part = w.min(h);
    let middle = imageops::crop_imm(&rgb, (w - part) / 2, (h - part) / 2, part, part);
    if part as usize == side {
        return Ok(middle.to_image().into_raw());
    }
    Ok(imageops::resize(&*middle, side as u32, side as u32, FilterType::Lanczos3).into_raw())
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
