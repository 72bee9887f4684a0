//! Repainting at a size of its own: what a mask selects is cut out, drawn larger, and put back (AUTOMATIC1111's "Only
//! masked").

use crate::model::RequestError;
use crate::model::options::{check, in_range};
use crate::resample::{Filter, resample};
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
        let mut values = resized((picture, self.whole[1]), self.part(), self.drawn, channels, Filter::Lanczos);
        // The filter overshoots at edges.
        values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        Ok(values)
    }

    /// The part of the mask, of the size that is drawn: 0 or 1.
    ///
    /// # Errors
    /// A mask of another size.
    pub fn mask(&self, mask: &[f32]) -> Result<Vec<f32>, RequestError> {
        let pixels = self.whole[0] * self.whole[1];
        in_range("values of the mask", mask.len(), pixels, pixels)?;
        let mut values = resized((mask, self.whole[1]), self.part(), self.drawn, 1, Filter::Triangle);
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
        let part = resized((&drawn, self.drawn[1]), ([0; 2], self.drawn), self.size, channels, Filter::Lanczos);
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

/// The part of a picture of that width which begins at `at`, brought from `size` to `to`.
fn resized(
    (values, width): (&[f32], usize),
    (at, size): ([usize; 2], [usize; 2]),
    to: [usize; 2],
    channels: usize,
    filter: Filter,
) -> Vec<f32> {
    let row = |y: usize, row: &mut [f32]| {
        let start = ((at[0] + y) * width + at[1]) * channels;
        row.copy_from_slice(&values[start..start + row.len()]);
    };
    resample(row, size, to, channels, filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A mask of `whole` with a rectangle from `first` to `last`.
    fn mask([height, width]: [usize; 2], first: [usize; 2], last: [usize; 2]) -> Vec<f32> {
        let inside = |y: usize, x: usize| (first[0]..last[0]).contains(&y) && (first[1]..last[1]).contains(&x);
        (0..height * width).map(|i| if inside(i / width, i % width) { 1.0 } else { 0.0 }).collect()
    }

    /// The regions that the web UI's `get_crop_region` and `expand_crop_region` give. Seen red with padding on one side alone,
    /// with the wider of the sides growing, and with a part that leaves the picture.
    #[test]
    fn the_part_around_a_mask() {
        let part = |first, last, padding, drawn| {
            let whole = [100, 80];
            MaskCrop::new(&mask(whole, first, last), whole, padding, drawn).unwrap().part()
        };
        // Square around the middle, with the rest of an odd number after it.
        assert_eq!(part([40, 30], [50, 50], 5, [64, 64]), ([30, 25], [30, 30]));
        assert_eq!(part([40, 30], [50, 50], 0, [64, 128]), ([40, 30], [10, 20]));
        // At an edge it moves inwards, and is no wider than the picture.
        assert_eq!(part([0, 0], [10, 30], 4, [64, 64]), ([0, 0], [34, 34]));
        assert_eq!(part([90, 70], [100, 80], 4, [64, 64]), ([86, 66], [14, 14]));
        assert_eq!(part([0, 10], [100, 20], 0, [64, 64]), ([0, 0], [100, 80]));
        let all = MaskCrop::new(&mask([4, 4], [0, 0], [0, 0]), [4, 4], 1, [8, 8]).unwrap_err();
        assert!(alloc::string::ToString::to_string(&all).contains("what the mask selects is nothing"));
    }

    /// Seen red with all of the part pasted, and with its rows as long as the whole's.
    #[test]
    fn what_is_not_masked_stays() {
        let whole = [20, 24];
        let mask = mask(whole, [5, 6], [9, 14]);
        let crop = MaskCrop::new(&mask, whole, 2, [32, 32]).unwrap();
        let picture: Vec<u8> = (0..20 * 24 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let values: Vec<f32> = picture.iter().map(|&v| f32::from(v) / 255.0).collect();
        let part = crop.picture(&values).unwrap();
        assert_eq!((part.len(), crop.mask(&mask).unwrap().len()), (32 * 32 * 3, 32 * 32));
        let mut out = picture.clone();
        crop.paste(&[200; 32 * 32 * 3], &mask, &mut out).unwrap();
        for (i, (out, old)) in out.chunks(3).zip(picture.chunks(3)).enumerate() {
            assert_eq!(out, if mask[i] == 1.0 { &[200; 3][..] } else { old }, "{i}");
        }
        // At its own size, what was cut out is put back as it was.
        let crop = MaskCrop::new(&mask, whole, 0, crop.part().1).unwrap();
        let own = MaskCrop { drawn: crop.size, ..crop };
        let drawn: Vec<u8> = own.picture(&values).unwrap().iter().map(|v| libm::rintf(v * 255.0) as u8).collect();
        let mut out = vec![0; picture.len()];
        own.paste(&drawn, &mask, &mut out).unwrap();
        let kept = out.chunks(3).zip(picture.chunks(3)).zip(&mask).all(|((out, old), m)| *m == 0.0 || out == old);
        assert!(kept);
        assert!(crop.picture(&values[1..]).is_err() && crop.paste(&[0; 5], &mask, &mut out).is_err());
    }
}
