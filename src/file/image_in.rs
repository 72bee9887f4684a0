//! Pictures that a run begins with: PNG and JPEG files, as numbers of the size that is asked for.
//!
//! Of a picture of another shape, the middle is cut out, as large as it can be, and resized. A picture of the right size
//! is taken as it is, to the bit. What is transparent lies over white.

mod decode;
mod resample;

use crate::fault::Fault;
use decode::Decoded;
use resample::{Filter, resample};
use std::path::Path;

/// Luma of red, green and blue (ITU-R BT.601), as other programs turn masks gray.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Height and width of a picture, each rounded down to a multiple, of which it is at least one. Nothing is decoded.
///
/// # Errors
/// As of [`picture`], but that pixels are not looked at.
pub fn size(path: &Path, multiple: usize) -> Result<[usize; 2], Fault> {
    let multiple = multiple.max(1);
    Ok(decode::size(path)?.map(|side| (side / multiple).max(1) * multiple))
}

/// A picture of the size `[height, width]`: `(h, w, 3)` red, green and blue in \[0, 1\].
///
/// # Errors
/// A file that cannot be read, is no PNG or JPEG, is broken, or too large.
pub fn picture(path: &Path, size: [usize; 2]) -> Result<Vec<f32>, Fault> {
    let decoded = Decoded::open(path)?;
    Ok(fitted(&decoded, size, 3, Filter::Lanczos, |x, y, out| out.copy_from_slice(&decoded.pixel(x, y))))
}

/// A mask of the size `[height, width]`: `(h, w)`, 1 where it is white, which is to be repainted, 0 where it is black;
/// what is gray is what it is nearer to. Of a picture that is not opaque everywhere, the alpha is the mask, as in AUTOMATIC1111's
/// web UI.
///
/// # Errors
/// As of [`picture`].
pub fn mask(path: &Path, size: [usize; 2]) -> Result<Vec<f32>, Fault> {
    let decoded = Decoded::open(path)?;
    let transparent = decoded.is_transparent();
    let luma = |pixel: [f32; 3]| pixel.iter().zip(LUMA).map(|(v, weight)| v * weight).sum();
    let mut values = fitted(&decoded, size, 1, Filter::Triangle, |x, y, out| {
        out[0] = if transparent { decoded.alpha(x, y) } else { luma(decoded.pixel(x, y)) };
    });
    values.iter_mut().for_each(|v| *v = if *v >= 0.5 { 1.0 } else { 0.0 });
    Ok(values)
}

/// The middle of a picture, resized; `read` turns the pixel at (x, y) into `channels` values.
fn fitted(
    decoded: &Decoded,
    size: [usize; 2],
    channels: usize,
    filter: Filter,
    read: impl Fn(usize, usize, &mut [f32]),
) -> Vec<f32> {
    let whole = [decoded.height, decoded.width];
    let part = middle(whole, size);
    let [top, left] = [(whole[0] - part[0]) / 2, (whole[1] - part[1]) / 2];
    let row = |y: usize, row: &mut [f32]| {
        for (x, out) in row.chunks_exact_mut(channels).enumerate() {
            read(left + x, top + y, out);
        }
    };
    let mut values = resample(row, part, size, channels, filter);
    // A Lanczos filter overshoots at edges.
    values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    values
}

/// The largest part of a picture that has the shape asked for; heights and widths.
fn middle([h, w]: [usize; 2], [height, width]: [usize; 2]) -> [usize; 2] {
    let (height, width) = (height.max(1) as u128, width.max(1) as u128);
    // Rounded to the nearest.
    let scaled = |side: usize, to: u128, of: u128| ((2 * side as u128 * to + of) / (2 * of)).max(1);
    if w as u128 * height > h as u128 * width {
        [h, w.min(scaled(h, width, height) as usize)]
    } else {
        [h.min(scaled(w, height, width) as usize), w]
    }
}

#[cfg(test)]
mod tests;
