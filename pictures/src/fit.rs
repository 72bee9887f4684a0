//! Pictures that a run begins with, as numbers of the size that is asked for.
//!
//! A picture of the right size is taken as it is, to the bit. What is transparent lies over white.

use crate::decode::Decoded;
use nijimi_runtime::raw::resample::{Filter, in_unit, resample};

/// Luma of red, green and blue (ITU-R BT.601), as other programs turn masks and lines gray.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// What becomes of a picture of another shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fit {
    /// The middle is cut out, as large as it can be, and resized.
    #[default]
    Crop,
    /// The whole is resized, its shape is not kept.
    Stretch,
}

impl Decoded {
    /// A picture of the size `[height, width]`: `(h, w, 3)` red, green and blue in \[0, 1\].
    #[must_use]
    pub fn picture(&self, size: [usize; 2], fit: Fit) -> Vec<f32> {
        fitted(self, size, fit, 3, Filter::Lanczos, |x, y, out| out.copy_from_slice(&self.pixel(x, y)))
    }

    /// A mask of the size `[height, width]`: `(h, w)`, 1 where it is white, which is to be repainted, 0 where it is black;
    /// what is gray is what it is nearer to. Of a picture that is not opaque everywhere, the alpha is the mask, as in
    /// AUTOMATIC1111's web UI.
    #[must_use]
    pub fn mask(&self, size: [usize; 2], fit: Fit) -> Vec<f32> {
        let transparent = self.is_transparent();
        let read = |x, y| if transparent { self.alpha(x, y) } else { luma(self.pixel(x, y)) };
        self.binary(size, fit, read)
    }

    /// A picture's values of gray in \[0, 1\], at its own size: of its middle, which has the shape of `[height, width]`; and
    /// the size of that.
    #[must_use]
    pub fn gray(&self, shape: [usize; 2]) -> (Vec<f32>, [usize; 2]) {
        let size = middle(self.size(), shape);
        let luma = |pixel: [f32; 3]| match pixel {
            [r, g, b] if r == g && g == b => r,
            pixel => pixel.iter().zip(LUMA).map(|(v, weight)| v * weight).sum(),
        };
        (fitted(self, size, Fit::Crop, 1, Filter::Triangle, |x, y, out| out[0] = luma(self.pixel(x, y))), size)
    }

    /// A mask as OpenAI's interface has it: 1, which is to be repainted, where the picture is transparent.
    #[must_use]
    pub fn holes(&self, size: [usize; 2], fit: Fit) -> Vec<f32> {
        self.binary(size, fit, |x, y| 1.0 - self.alpha(x, y))
    }

    fn binary(&self, size: [usize; 2], fit: Fit, read: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut values = fitted(self, size, fit, 1, Filter::Triangle, |x, y, out| out[0] = read(x, y));
        values.iter_mut().for_each(|v| *v = if *v >= 0.5 { 1.0 } else { 0.0 });
        values
    }
}

/// The luma of a picture `(h, w, 3)`, `(h, w)`: for networks that look at lines or depths alone.
#[must_use]
pub fn gray(picture: &[f32]) -> Vec<f32> {
    picture.as_chunks().0.iter().copied().map(luma).collect()
}

fn luma(pixel: [f32; 3]) -> f32 {
    pixel.iter().zip(LUMA).map(|(v, weight)| v * weight).sum()
}

/// The picture or its middle, resized; `read` turns the pixel at (x, y) into `channels` values.
fn fitted(
    decoded: &Decoded,
    size: [usize; 2],
    fit: Fit,
    channels: usize,
    filter: Filter,
    read: impl Fn(usize, usize, &mut [f32]),
) -> Vec<f32> {
    let whole = [decoded.height, decoded.width];
    let part = if fit == Fit::Crop { middle(whole, size) } else { whole };
    let [top, left] = [(whole[0] - part[0]) / 2, (whole[1] - part[1]) / 2];
    let row = |y: usize, row: &mut [f32]| {
        for (x, out) in row.chunks_exact_mut(channels).enumerate() {
            read(left + x, top + y, out);
        }
    };
    in_unit(resample(row, part, size, channels, filter))
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
