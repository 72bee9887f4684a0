//! Many pictures on one sheet: a row for each word of the prompt, a column for each seed.

use crate::fault::Fault;
use crate::file::canvas::{Canvas, LETTER};

/// Size of the pictures: width, height, channels.
pub type Size = (usize, usize, usize);

/// The largest sheet, in bytes.
const MAX_BYTES: usize = 1 << 28;

/// A sheet to be filled.
pub struct Grid {
    size: Size,
    scale: usize,
    columns: usize,
    /// Where the first picture begins.
    left: usize,
    /// From one picture to the next.
    pitch: (usize, usize),
    canvas: Canvas,
}

impl Grid {
    /// For `batch` pictures for each of `labels`, or in all if there are none.
    pub fn new(labels: &[String], batch: usize, size: Size, scale: usize) -> Result<Self, Fault> {
        let (width, height, channels) = size;
        // Of one word, a long row would be hard to look at.
        let columns = if labels.len() <= 1 { batch.isqrt() + usize::from(batch.isqrt().pow(2) < batch) } else { batch };
        let rows = (batch * labels.len().max(1)).div_ceil(columns);
        let gap = 2 * scale;
        let letters = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        let left = if letters == 0 { gap } else { letters * LETTER * scale + 2 * gap };
        let least = if letters == 0 { 0 } else { LETTER * scale };
        let pitch = (width * scale + gap, (height * scale).max(least) + gap);
        let (wide, high) = (left + columns * pitch.0, gap + rows * pitch.1);
        if wide.checked_mul(high).and_then(|n| n.checked_mul(channels)).is_none_or(|bytes| bytes > MAX_BYTES) {
            let problem =
                format!("a grid of {columns} x {rows} pictures would be {wide} x {high} pixels, which is too large");
            return Err(Fault::Usage(format!("{problem}: draw fewer, or one file each with -o out-%05d.png")));
        }
        let mut canvas = Canvas::new(wide, high, channels);
        for (row, label) in labels.iter().enumerate() {
            let middle = (pitch.1 - gap - LETTER * scale) / 2;
            canvas.write(gap, gap + row * pitch.1 + middle, label, scale);
        }
        Ok(Self { size, scale, columns, left, pitch, canvas })
    }

    /// Places picture `index`, counted word by word.
    pub fn place(&mut self, index: usize, picture: &[u8]) {
        let (row, column) = (index / self.columns, index % self.columns);
        let (x, y) = (self.left + column * self.pitch.0, 2 * self.scale + row * self.pitch.1);
        self.canvas.put(x, y, picture, self.size.0, self.scale);
    }

    /// The sheet.
    pub fn finish(self) -> Canvas {
        self.canvas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    // Seen red: rows and columns exchanged.
    #[test]
    fn a_row_for_each_word() {
        let mut grid = Grid::new(&labels(&["1", "23"]), 3, (8, 10, 1), 1).unwrap();
        for index in 0..6 {
            grid.place(index, &[index as u8; 80]);
        }
        let canvas = grid.finish();
        assert_eq!((canvas.width, canvas.height), (16 + 4 + 3 * 10, 2 + 2 * 12));
        for index in 0..6 {
            let (x, y) = (20 + index % 3 * 10, 2 + index / 3 * 12);
            let at = |x: usize, y: usize| canvas.pixels[y * canvas.width + x];
            assert_eq!([at(x, y), at(x + 7, y + 9), at(x + 8, y)], [index as u8, index as u8, 255]);
        }
        let dark = |row: usize, to: usize| {
            let line = &canvas.pixels[(2 + row * 12) * canvas.width..(12 + row * 12) * canvas.width];
            line.chunks(canvas.width).any(|line| line[10..to].contains(&0))
        };
        assert!(!dark(0, 20) && dark(1, 20), "one letter in the first row, two in the second");
    }

    #[test]
    fn one_word_makes_a_square() {
        for (batch, columns, rows) in [(1, 1, 1), (4, 2, 2), (5, 3, 2), (7, 3, 3), (1000, 32, 32)] {
            let canvas = Grid::new(&[], batch, (8, 8, 1), 2).unwrap().finish();
            assert_eq!((canvas.width, canvas.height), (4 + columns * 20, 4 + rows * 20), "{batch}");
        }
        let refused = Grid::new(&labels(&["0", "1"]), 1_000_000, (28, 28, 1), 64);
        assert!(matches!(refused, Err(Fault::Usage(_))));
    }
}
