//! Figures of the reports, as PNG. Text is drawn with an 8x8 bitmap font: no font files, the same picture everywhere.
//!
//! [`Chart`] has two axes, [`Surface`] three; [`Pictures`] is a grid of samples; [`Row`] puts figures side by side. All
//! are a [`Figure`], which can be saved as PNG or go into a [`crate::report::Report`]. Colours, ticks and contour levels
//! are matplotlib's, so that the figures can be compared with the book's.
mod axes;
mod canvas;
mod chart;
mod colour;
mod figure;
mod font;
mod grid;
mod pictures;
mod series;
mod surface;
mod ticks;

pub use chart::Chart;
pub use colour::{Colour, tab10, viridis};
pub use figure::{Figure, Row};
pub use grid::{Grid, arange, linspace};
pub use pictures::Pictures;
pub use surface::Surface;
pub use ticks::{axis_ticks, contour_levels};

use crate::error::Result;
use std::path::Path;

/// The chart of mean loss by epoch, counted from 1.
pub fn loss_chart(losses: &[f64]) -> Chart {
    let top = losses.iter().copied().filter(|l| l.is_finite()).fold(0.0, f64::max).max(1e-9) * 1.05;
    let chart = Chart::new("").x_label("epoch").y_label("mean loss").y_range(0.0, top);
    chart.line((1..).map(f64::from).zip(losses.iter().copied()), "").markers()
}

/// Writes [`loss_chart`].
///
/// # Errors
/// If the file cannot be written.
pub fn loss_curve(losses: &[f64], path: &Path) -> Result<()> {
    loss_chart(losses).save(path)
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
        assert!(count(tab10(0).rgb) > 300, "{} blue pixels", count(tab10(0).rgb));
        // The left margin holds nothing but numbers and the axis' name.
        let labels = picture.enumerate_pixels().filter(|(x, _, p)| *x < 64 && p.0 == [0, 0, 0]).count();
        assert!(labels > 200, "{labels} black pixels");
    }
}
