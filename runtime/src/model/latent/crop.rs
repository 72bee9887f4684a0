//! Repainting at a size of its own: what a mask selects is cut out, drawn larger, and put back (AUTOMATIC1111's "Only
//! masked").

use crate::model::RequestError;
use crate::model::options::{check, in_range};
use crate::resample::{Filter, in_unit, resample_part};
use alloc::format;
use alloc::vec::Vec;

/// A part of a picture that is repainted at another size, for `init_image` and `mask` of a request of that size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaskCrop {
    /// Height and width of the whole picture.
    whole: [usize; 2],
    /// Row and column where the part begins.
    at: [usize; 2],
    /// Its height and width.
    size: [usize; 2],
    /// Height and width at which it is drawn.
    drawn: [usize; 2],
}

impl MaskCrop {
    /// The part of a picture of `whole` (height and width) around all that `mask` selects, `(height, width)` from 0.5 on,
    /// with `padding` pixels on each side, and then of the shape of `drawn` as far as the picture reaches.
    ///
    /// # Errors
    /// A mask of another size, or one that selects nothing; sizes of nothing.
    pub fn new(mask: &[f32], whole: [usize; 2], padding: usize, drawn: [usize; 2]) -> Result<Self, RequestError> {
        for (what, sides) in [("side of the picture", whole), ("side that is drawn", drawn)] {
            for side in sides {
                in_range(what, side, 1, 1 << 17)?;
            }
        }
        let pixels = whole[0] * whole[1];
        in_range("values of the mask", mask.len(), pixels, pixels)?;
        let mut ends = [[usize::MAX, 0]; 2];
        for (i, _) in mask.iter().enumerate().filter(|(_, m)| **m >= 0.5) {
            for ([first, last], place) in ends.iter_mut().zip([i / whole[1], i % whole[1]]) {
                (*first, *last) = ((*first).min(place), (*last).max(place + 1));
            }
        }
        check(ends[0][1] > 0, "what the mask selects", "nothing", "something: 1 is repainted, 0 is kept")?;
        for ([first, last], whole) in ends.iter_mut().zip(whole) {
            (*first, *last) = (first.saturating_sub(padding), last.saturating_add(padding).min(whole));
        }
        let [height, width] = ends.map(|[first, last]| last - first);
        // Of the shape of what is drawn: one side grows.
        let grown = if width * drawn[0] > height * drawn[1] {
            [width * drawn[0] / drawn[1], width]
        } else {
            [height, height * drawn[1] / drawn[0]]
        };
        let (mut at, mut size) = ([0; 2], [0; 2]);
        for d in 0..2 {
            let [first, last] = ends[d];
            size[d] = grown[d].max(last - first).min(whole[d]);
            // As much on both sides, but within the picture.
            at[d] = first.saturating_sub((size[d] - (last - first)) / 2).min(whole[d] - size[d]);
        }
        Ok(Self { whole, at, size, drawn })
    }

    /// Row and column where the part begins, and its height and width.
    pub const fn part(&self) -> ([usize; 2], [usize; 2]) {
        (self.at, self.size)
    }

    /// The part of a picture `(height, width, channels)` in [0, 1], of the size that is drawn.
    ///
    /// # Errors
    /// A picture of another size.
    pub fn picture(&self, picture: &[f32]) -> Result<Vec<f32>, RequestError> {
        let channels = self.channels(picture.len())?;
        let part = (picture, self.whole[1]);
        Ok(in_unit(resample_part(part, self.part(), self.drawn, channels, Filter::Lanczos)))
    }

    /// The part of the mask, of the size that is drawn: 0 or 1.
    ///
    /// # Errors
    /// A mask of another size.
    pub fn mask(&self, mask: &[f32]) -> Result<Vec<f32>, RequestError> {
        let pixels = self.whole[0] * self.whole[1];
        in_range("values of the mask", mask.len(), pixels, pixels)?;
        let mut values = resample_part((mask, self.whole[1]), self.part(), self.drawn, 1, Filter::Triangle);
        values.iter_mut().for_each(|v| *v = if *v >= 0.5 { 1.0 } else { 0.0 });
        Ok(values)
    }

    /// Puts what was drawn, bytes of the size that is drawn, into the whole picture's, where its mask selects it. No other byte
    /// changes.
    ///
    /// # Errors
    /// Pictures or a mask of other sizes.
    pub fn paste(&self, drawn: &[u8], mask: &[f32], whole: &mut [u8]) -> Result<(), RequestError> {
        let channels = self.channels(whole.len())?;
        let [pixels, values] = [self.whole[0] * self.whole[1], self.drawn[0] * self.drawn[1] * channels];
        in_range("values of the mask", mask.len(), pixels, pixels)?;
        in_range("bytes of what was drawn", drawn.len(), values, values)?;
        let drawn: Vec<f32> = drawn.iter().map(|&v| f32::from(v)).collect();
        let part = resample_part((&drawn, self.drawn[1]), ([0; 2], self.drawn), self.size, channels, Filter::Lanczos);
        for (i, pixel) in part.chunks_exact(channels).enumerate() {
            let place = (self.at[0] + i / self.size[1]) * self.whole[1] + self.at[1] + i % self.size[1];
            if mask[place] >= 0.5 {
                let to = whole[place * channels..].iter_mut();
                to.zip(pixel).for_each(|(to, v)| *to = libm::rintf(v.clamp(0.0, 255.0)) as u8);
            }
        }
        Ok(())
    }

    /// Of a picture of the whole's size.
    fn channels(&self, values: usize) -> Result<usize, RequestError> {
        let pixels = self.whole[0] * self.whole[1];
        let channels = values / pixels;
        let expected = || format!("{pixels} times the number of channels");
        check(channels > 0 && channels * pixels == values, "values of the picture", values, expected())?;
        Ok(channels)
    }
}
