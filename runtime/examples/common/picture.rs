//! A sheet of pictures as a file.
#![allow(dead_code, reason = "not every example uses everything")]

use std::error::Error;
use std::path::Path;

/// Writes gray pictures of `[height, width]`, one after the other in `bytes`, as a PNG with `columns` of them side by
/// side, two black pixels between.
pub fn save(path: &Path, bytes: &[u8], [height, width]: [usize; 2], columns: usize) -> Result<(), Box<dyn Error>> {
    let pictures = bytes.chunks_exact(height * width);
    let (rows, line) = (pictures.len().div_ceil(columns), columns * (width + 2) + 2);
    let mut sheet = vec![0; line * (rows * (height + 2) + 2)];
    for (i, picture) in pictures.enumerate() {
        let (top, left) = (i / columns * (height + 2) + 2, i % columns * (width + 2) + 2);
        for (row, pixels) in picture.chunks_exact(width).enumerate() {
            sheet[(top + row) * line + left..][..width].copy_from_slice(pixels);
        }
    }
    let mut encoder = png::Encoder::new(std::fs::File::create(path)?, line as u32, (sheet.len() / line) as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&sheet)?;
    println!("{}", path.display());
    Ok(())
}
