//! Contact sheets of gray pictures, as PNG.
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use std::io::Cursor;
use std::path::Path;

/// Pixels between two pictures, after enlarging.
const GAP: u32 = 2;
/// Gray of the gaps: neither ink nor paper.
const BETWEEN: u8 = 96;
/// Each pixel becomes this many, both ways.
const ENLARGE: u32 = 2;

/// Lays pictures (n, height, width), 0 to 1, out in rows of `columns`.
pub fn sheet(pictures: &[f32], width: usize, height: usize, columns: usize) -> GrayImage {
    let n = pictures.len() / (width * height);
    let (cell_w, cell_h) = (width as u32 * ENLARGE + GAP, height as u32 * ENLARGE + GAP);
    let (columns, rows) = (columns.clamp(1, n.max(1)), n.div_ceil(columns.max(1)));
    let size = (columns as u32 * cell_w + GAP, rows as u32 * cell_h + GAP);
    let mut image = GrayImage::from_pixel(size.0, size.1, Luma([BETWEEN]));
    for (i, picture) in pictures.chunks_exact(width * height).enumerate() {
        let (left, top) = ((i % columns) as u32 * cell_w + GAP, (i / columns) as u32 * cell_h + GAP);
        for y in 0..height as u32 * ENLARGE {
            for x in 0..width as u32 * ENLARGE {
                let v = picture[(y / ENLARGE) as usize * width + (x / ENLARGE) as usize];
                image.put_pixel(left + x, top + y, Luma([(v.clamp(0.0, 1.0) * 255.0).round() as u8]));
            }
        }
    }
    image
}

/// Writes a picture as PNG, whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub fn save(image: impl Into<DynamicImage>, path: &Path) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    let encoded = image.into().write_to(&mut bytes, ImageFormat::Png);
    encoded.map_err(|e| Error::Internal(format!("{}: the picture could not be encoded: {e}", path.display())))?;
    write_atomic(path, bytes.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red: row and column of a cell exchanged.
    #[test]
    fn cells_are_filled_row_by_row() {
        let mut pictures = vec![0f32; 5 * 6];
        pictures[3 * 6 + 2] = 1.0; // picture 3, row 0, column 2
        pictures[4 * 6 + 3] = 2.0; // picture 4, row 1, column 0; beyond white
        let image = sheet(&pictures, 3, 2, 3);
        assert_eq!(image.dimensions(), (3 * 8 + 2, 2 * 6 + 2));
        let white: Vec<(u32, u32)> = image.enumerate_pixels().filter(|p| p.2[0] == 255).map(|p| (p.0, p.1)).collect();
        assert_eq!(white, [(6, 8), (7, 8), (6, 9), (7, 9), (10, 10), (11, 10), (10, 11), (11, 11)]);
        assert_eq!(image.get_pixel(0, 0)[0], BETWEEN);
        assert_eq!(image.get_pixel(20, 10)[0], BETWEEN, "the empty cell");
    }
}
