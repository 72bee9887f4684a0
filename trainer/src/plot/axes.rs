//! From data to pixels, and the frame with its ticks and names.
use super::canvas::{Align, Area, Canvas, Point, Size};
use super::colour::Colour;
use super::ticks::{axis_ticks, labels};

/// One axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Axis {
    pub least: f64,
    pub greatest: f64,
    pub logarithmic: bool,
}

impl Axis {
    /// Where a value lies, 0 to 1 within the axis.
    fn share(&self, value: f64) -> f64 {
        let scale = |v: f64| if self.logarithmic { v.log10() } else { v };
        (scale(value) - scale(self.least)) / (scale(self.greatest) - scale(self.least))
    }

    /// Ticks with their texts.
    fn ticks(&self, intervals: usize) -> Vec<(f64, String)> {
        if !self.logarithmic {
            let ticks = axis_ticks(self.least, self.greatest, intervals);
            let texts = labels(&ticks);
            return ticks.into_iter().zip(texts).collect();
        }
        let (from, to) = (self.least.log10().ceil() as i32, self.greatest.log10().floor() as i32);
        // Fewer than two powers of ten tell no range: 1, 2 and 5 of each then do, or the ticks of a linear axis.
        if from >= to {
            let within = |v: &f64| (self.least..=self.greatest).contains(v);
            let steps = (from - 1..=to).flat_map(|e| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(e)));
            let mut ticks: Vec<f64> = steps.filter(within).collect();
            if ticks.len() < 2 {
                ticks = axis_ticks(self.least, self.greatest, intervals);
            }
            let texts = labels(&ticks);
            return ticks.into_iter().zip(texts).collect();
        }
        let every = ((to - from) as usize).div_ceil(intervals.max(1)).max(1);
        (from..=to).step_by(every).map(|e| (10f64.powi(e), format!("1e{e}"))).collect()
    }
}

/// The area of the data with both axes.
pub(super) struct Axes {
    area: Area,
    x: Axis,
    y: Axis,
}

/// Pixels of a tick.
const TICK: f64 = 5.0;

impl Axes {
    pub fn new(area: Area, x: Axis, y: Axis) -> Self {
        Self { area, x, y }
    }

    pub fn area(&self) -> Area {
        self.area
    }

    /// Where bars stand.
    pub fn floor(&self) -> f64 {
        if self.y.logarithmic { self.y.least } else { 0.0 }
    }

    /// The pixel of a point.
    pub fn at(&self, (x, y): Point) -> Point {
        let Area { left, top, right, bottom } = self.area;
        (left + self.x.share(x) * (right - left), bottom - self.y.share(y) * (bottom - top))
    }

    /// How many intervals fit.
    fn intervals(pixels: f64, each: f64) -> usize {
        (pixels / each).clamp(1.0, 9.0) as usize
    }

    /// Width of the texts of the y axis.
    pub fn y_label_width(axis: Axis, height: f64) -> f64 {
        let ticks = axis.ticks(Self::intervals(height, 40.0));
        ticks.iter().map(|(_, t)| Size::Normal.width(t)).fold(0.0, f64::max) + TICK + 4.0
    }

    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let Area { left, top, right, bottom } = self.area;
        // As many ticks as leave a letter's room between their texts.
        let fits = |n: &usize| {
            let texts = self.x.ticks(*n);
            let widest = texts.iter().map(|(_, t)| Size::Normal.width(t)).fold(0.0, f64::max);
            (widest + Size::Normal.pixels()) * texts.len().saturating_sub(1) as f64 <= right - left
        };
        let across = (1..=9).rev().find(fits).unwrap_or(1);
        for (value, text) in self.x.ticks(across) {
            let x = self.at((value, self.y.least)).0;
            canvas.line((x, bottom), (x, bottom + TICK), 1.0, Colour::BLACK);
            canvas.text(
                (x, bottom + TICK + 4.0 + Size::Normal.pixels() / 2.0),
                &text,
                Size::Normal,
                Align::Centre,
                Colour::BLACK,
            );
        }
        for (value, text) in self.y.ticks(Self::intervals(bottom - top, 40.0)) {
            let y = self.at((self.x.least, value)).1;
            canvas.line((left - TICK, y), (left, y), 1.0, Colour::BLACK);
            canvas.text((left - TICK - 4.0, y), &text, Size::Normal, Align::Right, Colour::BLACK);
        }
        canvas.frame(self.area, 1.0, Colour::BLACK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ticks at least, within the axis.
    #[test]
    fn a_logarithmic_axis_tells_its_range() {
        for (least, greatest) in [(0.02, 0.7), (0.08, 42.0), (3.12, 3.42), (9e-6, 11.0)] {
            let ticks = Axis { least, greatest, logarithmic: true }.ticks(9);
            assert!(ticks.len() >= 2 && ticks.iter().all(|t| (least..=greatest).contains(&t.0)), "{ticks:?}");
        }
    }
}
