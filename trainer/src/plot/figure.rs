//! What all figures have in common, and figures side by side.
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// A picture for a report.
pub trait Figure {
    /// Draws it.
    ///
    /// # Errors
    /// A size of no pixels, or of too many; data of lengths that do not agree.
    fn render(&self) -> Result<RgbImage>;

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// As [`Self::render`].
    fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.render()?
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .map_err(|e| Error::Internal(format!("a figure cannot be written as PNG: {e}")))?;
        Ok(bytes)
    }

    /// Writes a PNG file, whole or not at all.
    ///
    /// # Errors
    /// As [`Self::render`], and if the file cannot be written.
    fn save(&self, path: &Path) -> Result<()> {
        write_atomic(path, &self.png()?)
    }
}

impl Figure for RgbImage {
    fn render(&self) -> Result<RgbImage> {
        Ok(self.clone())
    }
}

/// Figures side by side, in rows of a given length.
#[derive(Default)]
pub struct Row {
    figures: Vec<Box<dyn Figure>>,
    columns: Option<usize>,
}

impl Row {
    /// No figures yet, all in one row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a new row after every `n` figures.
    pub fn columns(mut self, n: usize) -> Self {
        self.columns = Some(n.max(1));
        self
    }

    /// Puts a figure to the right of the others.
    pub fn with(mut self, figure: impl Figure + 'static) -> Self {
        self.figures.push(Box::new(figure));
        self
    }
}

impl Figure for Row {
    fn render(&self) -> Result<RgbImage> {
        let pictures = self.figures.iter().map(|f| f.render()).collect::<Result<Vec<_>>>()?;
        let columns = self.columns.unwrap_or(pictures.len()).clamp(1, pictures.len().max(1));
        // Columns and rows are as large as their largest figure; smaller ones stand in the middle.
        let (mut widths, mut heights) = (vec![0; columns], vec![0; pictures.len().div_ceil(columns)]);
        for (i, p) in pictures.iter().enumerate() {
            widths[i % columns] = p.width().max(widths[i % columns]);
            heights[i / columns] = p.height().max(heights[i / columns]);
        }
        let size = (widths.iter().sum::<u32>().max(1), heights.iter().sum::<u32>().max(1));
        let mut all = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
        for (i, p) in pictures.iter().enumerate() {
            let (column, row) = (i % columns, i / columns);
            let left = widths[..column].iter().sum::<u32>() + (widths[column] - p.width()) / 2;
            let top = heights[..row].iter().sum::<u32>() + (heights[row] - p.height()) / 2;
            image::imageops::replace(&mut all, p, i64::from(left), i64::from(top));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, level: u8) -> RgbImage {
        RgbImage::from_pixel(width, height, Rgb([level; 3]))
    }

    /// Seen red with the figures in reverse.
    #[test]
    fn figures_stand_side_by_side() {
        let row = Row::new().with(plain(4, 2, 10)).with(plain(3, 4, 20)).with(plain(2, 2, 30)).columns(2);
        let all = row.render().expect("a picture");
        assert_eq!(all.dimensions(), (7, 6));
        let at = |x, y| all.get_pixel(x, y).0[0];
        assert_eq!([at(0, 0), at(0, 1), at(4, 0), at(0, 4), at(1, 4), at(6, 5)], [255, 10, 20, 255, 30, 255]);
    }
}
