//! Plots of the report, as PNG.
use crate::error::{Error, Result};
use plotters::prelude::*;
use std::path::Path;

/// Mean loss by epoch.
pub fn loss_curve(losses: &[f64], path: &Path) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::Usage(format!("{}: the plot failed: {e}", path.display()));
    let root = BitMapBackend::new(path, (640, 480)).into_drawing_area();
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let top = losses.iter().copied().fold(0.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(0)
        .y_label_area_size(0)
        .build_cartesian_2d(0f64..losses.len().max(2) as f64 - 1.0, 0.0..top.max(1e-9))
        .map_err(|e| failed(&e))?;
    let line = losses.iter().enumerate().map(|(i, l)| (i as f64, *l));
    chart.draw_series(LineSeries::new(line, BLUE.stroke_width(2))).map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}
