//! Plots of the report, as PNG. Text is drawn with an 8x8 bitmap font: no font files, the same picture everywhere.
use crate::error::{Error, Result};
use font8x8::legacy::BASIC_LEGACY;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::fmt::Display;
use std::path::Path;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Pixels of a character.
const CHAR: i32 = 8;

/// Writes `text` with its upper left corner at `(x, y)`.
fn write(area: &Area, (x, y): (i32, i32), text: &str) -> std::result::Result<(), impl Display + use<>> {
    for (i, c) in text.bytes().enumerate() {
        let rows = BASIC_LEGACY.get(usize::from(c)).copied().unwrap_or_default();
        for (dy, row) in rows.iter().enumerate() {
            for dx in (0..CHAR).filter(|dx| row >> dx & 1 == 1) {
                area.draw_pixel((x + i as i32 * CHAR + dx, y + dy as i32), &BLACK)?;
            }
        }
    }
    Ok::<_, DrawingAreaErrorKind<_>>(())
}

/// Mean loss by epoch, counted from 1.
///
/// # Errors
/// If the file cannot be written.
pub fn loss_curve(losses: &[f64], path: &Path) -> Result<()> {
    draw(losses, path).map_err(|e| Error::Usage(format!("{}: the plot failed: {e}", path.display())))
}

fn draw(losses: &[f64], path: &Path) -> std::result::Result<(), Box<dyn std::error::Error>> {
    const SIZE: (u32, u32) = (640, 480);
    /// Left, right, top, bottom.
    const MARGIN: (i32, i32, i32, i32) = (72, 16, 28, 44);
    let root = BitMapBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let last = losses.len().max(2) as f64;
    let top = losses.iter().copied().fold(0.0, f64::max).max(1e-9) * 1.05;
    let inner = root.margin(MARGIN.2, MARGIN.3, MARGIN.0, MARGIN.1);
    let mut chart = ChartBuilder::on(&inner).build_cartesian_2d(1.0..last, 0.0..top)?;
    chart.configure_mesh().disable_axes().light_line_style(TRANSPARENT).draw()?;
    chart.draw_series(LineSeries::new((1..).map(f64::from).zip(losses.iter().copied()), BLUE.stroke_width(2)))?;
    let (width, height) = (SIZE.0 as i32 - MARGIN.0 - MARGIN.1, SIZE.1 as i32 - MARGIN.2 - MARGIN.3);
    let text = |at, text: &str| write(&root, at, text).map_err(|e| e.to_string());
    let centre = |x: i32, s: &str| x - s.len() as i32 * CHAR / 2;
    for i in 0..=5 {
        let label = format!("{:.3}", top * f64::from(i) / 5.0);
        text((MARGIN.0 - 8 - label.len() as i32 * CHAR, MARGIN.2 + height * (5 - i) / 5 - CHAR / 2), &label)?;
    }
    let every = losses.len().div_ceil(10).max(1);
    for epoch in (1..=losses.len()).step_by(every) {
        let x = MARGIN.0 + (f64::from(width) * (epoch as f64 - 1.0) / (last - 1.0)) as i32;
        let label = epoch.to_string();
        text((centre(x, &label), MARGIN.2 + height + 8), &label)?;
    }
    text((centre(MARGIN.0 + width / 2, "epoch"), SIZE.1 as i32 - 18), "epoch")?;
    text((centre(MARGIN.0 + width / 2, "mean loss"), 10), "mean loss")?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the series left out, and with the labels left out.
    #[test]
    fn a_curve_has_a_line_and_labels() {
        let path = std::env::temp_dir().join(format!("nijimi-plot-{}.png", std::process::id()));
        loss_curve(&[0.05, 0.026, 0.023], &path).expect("a plot");
        let picture = image::open(&path).expect("a picture").to_rgb8();
        std::fs::remove_file(&path).expect("the file is there");
        let count = |colour: [u8; 3]| picture.pixels().filter(|p| p.0 == colour).count();
        assert!(count([0, 0, 255]) > 300, "{} blue pixels", count([0, 0, 255]));
        // The left margin holds nothing but numbers.
        let labels = picture.enumerate_pixels().filter(|(x, _, p)| *x < 64 && p.0 == [0, 0, 0]).count();
        assert!(labels > 200, "{labels} black pixels");
    }
}
