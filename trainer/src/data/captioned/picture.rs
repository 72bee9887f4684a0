//! From a file to pixels of a size.
use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgb, RgbImage};
use std::path::Path;

/// The size that pictures are brought to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// A square of so many pixels a side.
    Square(usize),
    /// Of the sizes whose sides are multiples of `step`, with as many pixels as a square of `side` or as few less as can be, the one
    /// whose sides are most like the picture's (NovelAI 2022, aspect ratio bucketing).
    Like {
        /// Side of the square.
        side: usize,
        /// What sides are multiples of.
        step: usize,
    },
}

impl Cut {
    /// Side of the square.
    pub(super) fn side(self) -> usize {
        let (Self::Square(side) | Self::Like { side, .. }) = self;
        side
    }

    /// Height and width for a picture of these. No side is shorter than half the square's.
    pub(super) fn size(self, [h, w]: [usize; 2]) -> [usize; 2] {
        let Self::Like { side, step } = self else { return [self.side(); 2] };
        let pixels = side * side;
        let heights = (side / 2).max(step).div_ceil(step)..=(2 * side / step);
        let sizes = heights.map(|i| [i * step, (pixels / (i * step) / step * step).min(2 * side)]);
        let apart = |[a, b]: [usize; 2]| (a as f64 / b as f64 * w as f64 / h as f64).ln().abs();
        let nearest = sizes.filter(|[_, w]| *w > 0).min_by(|a, b| apart(*a).total_cmp(&apart(*b)));
        nearest.unwrap_or([side; 2])
    }
}

/// A picture's pixels, `(height, width, 3)`, and its height and width.
pub(super) type Pixels = (Vec<u8>, [usize; 2]);

/// Reads a picture: its middle, of the sides' proportion, resized; what is wrong with it otherwise.
pub(super) fn read(path: &Path, cut: Cut) -> Result<Pixels, String> {
    let rgb = over_white(nijimi_pictures::open(path).map_err(|e| format!("it {e}"))?);
    let (w, h) = rgb.dimensions();
    let size = cut.size([h as usize, w as usize]);
    let [to_h, to_w] = size.map(|side| side as u64);
    // The largest part of that proportion.
    let (w64, h64) = (u64::from(w), u64::from(h));
    let (part_w, part_h) = if w64 * to_h > h64 * to_w { (h64 * to_w / to_h, h64) } else { (w64, w64 * to_h / to_w) };
    let (part_w, part_h) = (part_w.max(1) as u32, part_h.max(1) as u32);
    let middle = imageops::crop_imm(&rgb, (w - part_w) / 2, (h - part_h) / 2, part_w, part_h);
    let (to_w, to_h) = (to_w as u32, to_h as u32);
    if (part_w, part_h) == (to_w, to_h) {
        return Ok((middle.to_image().into_raw(), size));
    }
    Ok((imageops::resize(&*middle, to_w, to_h, FilterType::Lanczos3).into_raw(), size))
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
