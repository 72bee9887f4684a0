//! Pixels to draw on: pictures, enlarged or not, and text.

use crate::fault::Fault;
use font8x8::UnicodeFonts;
use nijimi_pictures::NotEncoded;

/// Side of a letter of the font.
pub const LETTER: usize = 8;

/// Rows of pixels, `channels` bytes each.
#[derive(Debug, PartialEq)]
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

impl Canvas {
    /// An empty one, white.
    pub fn new(width: usize, height: usize, channels: usize) -> Self {
        Self { width, height, channels, pixels: vec![255; width * height * channels] }
    }

    /// Puts a picture of that width with its corner at (x, y), each pixel `scale` x `scale` times.
    pub fn put(&mut self, x: usize, y: usize, picture: &[u8], width: usize, scale: usize) {
        for (i, pixel) in picture.chunks_exact(self.channels).enumerate() {
            self.dot(x + i % width * scale, y + i / width * scale, scale, pixel);
        }
    }

    /// Writes black letters, each pixel of them `scale` x `scale` times. What the font lacks becomes a question mark.
    pub fn write(&mut self, x: usize, y: usize, text: &str, scale: usize) {
        let black = vec![0; self.channels];
        for (i, letter) in text.chars().enumerate() {
            let rows = glyph(letter).or_else(|| glyph('?')).unwrap_or_default();
            for (row, bits) in rows.into_iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    self.dot(x + (i * LETTER + column) * scale, y + row * scale, scale, &black);
                }
            }
        }
    }

    /// A PNG file of it, with that text.
    pub fn png(&self, parameters: String) -> Result<Vec<u8>, Fault> {
        nijimi_pictures::png([self.height, self.width, self.channels], &self.pixels, parameters).map_err(|e| match e {
            NotEncoded::Channels(_) => Fault::Input(e.to_string()),
            NotEncoded::Encoder(_) => Fault::Internal(e.to_string()),
        })
    }

    fn dot(&mut self, x: usize, y: usize, size: usize, pixel: &[u8]) {
        let c = self.channels;
        for row in y..y + size {
            let start = (row * self.width + x) * c;
            self.pixels[start..start + size * c].chunks_exact_mut(c).for_each(|to| to.copy_from_slice(pixel));
        }
    }
}

fn glyph(letter: char) -> Option<[u8; LETTER]> {
    font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::LATIN_FONTS.get(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_enlarged_without_smoothing() {
        let mut canvas = Canvas::new(5, 4, 1);
        canvas.put(1, 0, &[10, 20, 30, 40], 2, 2);
        assert_eq!(canvas.pixels, [255, 10, 10, 20, 20, 255, 10, 10, 20, 20, 255, 30, 30, 40, 40, 255, 30, 30, 40, 40]);
        let mut canvas = Canvas::new(1, 2, 3);
        canvas.put(0, 0, &[1, 2, 3, 4, 5, 6], 1, 1);
        assert_eq!(canvas.pixels, [1, 2, 3, 4, 5, 6]);
    }

    // Seen red: bits taken from the left.
    #[test]
    fn letters_are_the_right_way_round() {
        let mut canvas = Canvas::new(8, 8, 1);
        canvas.write(0, 0, "L", 1);
        let rows = canvas.pixels.chunks(8).map(|row| row.iter().map(|&p| if p == 0 { '#' } else { '.' }).collect());
        let rows: Vec<String> = rows.collect();
        assert!(rows[0].starts_with("####."), "{rows:#?}");
        assert!(rows[1].starts_with(".##..."), "{rows:#?}");
    }
}
