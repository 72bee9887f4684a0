//! What a chart can hold, and how each kind is drawn.
use super::axes::Axes;
use super::canvas::{Canvas, Point};
use super::colour::{Colour, viridis};
use super::grid::Grid;
use super::ticks::contour_levels;

/// One thing drawn in a chart.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub kind: Kind,
    pub label: String,
    pub colour: Colour,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Line { points: Vec<Point>, dashed: bool, markers: bool },
    Scatter { points: Vec<Point>, diameter: f64 },
    Bars { edges: Vec<f64>, densities: Vec<f64> },
    Contour { grid: Grid, levels: Vec<f64> },
    Heat(Grid),
    Arrows(Vec<(Point, Point)>),
}

/// Width of lines in pixels.
pub(super) const LINE: f64 = 2.0;

impl Series {
    /// Levels as given, or nice ones.
    pub fn levels(grid: &Grid, levels: Option<Vec<f64>>) -> Vec<f64> {
        let nice = || grid.range().map(|(a, b)| contour_levels(a, b)).unwrap_or_default();
        levels.unwrap_or_else(nice)
    }

    /// The ranges of x and y that the data take, and whether they want room around.
    pub fn extent(&self) -> Vec<Point> {
        match &self.kind {
            Kind::Line { points, .. } | Kind::Scatter { points, .. } => points.clone(),
            Kind::Bars { edges, densities } => {
                // Both ends of each bar's top, and the floor.
                let tops = edges.windows(2).zip(densities).flat_map(|(e, d)| [(e[0], *d), (e[1], *d)]);
                tops.chain(edges.iter().map(|x| (*x, 0.0))).collect()
            }
            Kind::Contour { grid, .. } | Kind::Heat(grid) => {
                grid.x.iter().map(|x| (*x, grid.y[0])).chain(grid.y.iter().map(|y| (grid.x[0], *y))).collect()
            }
            Kind::Arrows(arrows) => arrows.iter().map(|(p, _)| *p).collect(),
        }
    }

    /// Whether the axes shall end where the data end.
    pub fn tight(&self) -> bool {
        matches!(self.kind, Kind::Contour { .. } | Kind::Heat(_))
    }

    /// Whether zero shall be the lower end of the y axis.
    pub fn grounded(&self) -> bool {
        matches!(self.kind, Kind::Bars { .. })
    }

    pub fn draw(&self, canvas: &mut Canvas<'_>, axes: &Axes) {
        match &self.kind {
            Kind::Line { points, dashed, markers } => {
                let path: Vec<Point> = points.iter().map(|p| axes.at(*p)).collect();
                if *dashed {
                    canvas.dashes(&path, LINE, self.colour);
                } else {
                    canvas.path(&path, LINE, self.colour);
                }
                if *markers {
                    path.iter().for_each(|p| canvas.disc(*p, 4.0, self.colour));
                }
            }
            Kind::Scatter { points, diameter } => {
                points.iter().for_each(|p| canvas.disc(axes.at(*p), diameter / 2.0, self.colour));
            }
            Kind::Bars { edges, densities } => {
                for (pair, density) in edges.windows(2).zip(densities) {
                    canvas.rectangle(axes.at((pair[0], axes.floor())), axes.at((pair[1], *density)), self.colour);
                }
            }
            Kind::Contour { grid, levels } => {
                let (first, last) = (levels.first().copied().unwrap_or(0.0), levels.last().copied().unwrap_or(1.0));
                for level in levels {
                    let colour = viridis((level - first) / (last - first).max(f64::MIN_POSITIVE));
                    for [a, b] in grid.contour(*level) {
                        canvas.line(axes.at(a), axes.at(b), LINE, colour);
                    }
                }
            }
            Kind::Heat(grid) => heat(canvas, axes, grid),
            Kind::Arrows(arrows) => quiver(canvas, axes, arrows, self.colour),
        }
    }
}

/// A cell of colour around each point of the grid.
fn heat(canvas: &mut Canvas<'_>, axes: &Axes, grid: &Grid) {
    let Some((low, high)) = grid.range() else { return };
    let half = |v: &[f64], i: usize| {
        let before = if i > 0 { v[i] - v[i - 1] } else { v.get(1).map_or(1.0, |n| n - v[0]) };
        let after = v.get(i + 1).map_or(before, |n| n - v[i]);
        (v[i] - before / 2.0, v[i] + after / 2.0)
    };
    for j in 0..grid.y.len() {
        for i in 0..grid.x.len() {
            let value = grid.at(i, j);
            if value.is_finite() {
                let ((left, right), (down, up)) = (half(&grid.x, i), half(&grid.y, j));
                let colour = viridis((value - low) / (high - low).max(f64::MIN_POSITIVE));
                canvas.rectangle(axes.at((left, down)), axes.at((right, up)), colour);
            }
        }
    }
}

/// Arrows of which the longest is as long as the mean distance between their feet, in pixels.
fn quiver(canvas: &mut Canvas<'_>, axes: &Axes, arrows: &[(Point, Point)], colour: Colour) {
    let area = axes.area();
    let spacing = ((area.right - area.left) * (area.bottom - area.top) / arrows.len().max(1) as f64).sqrt();
    // The length on the paper is that of the vector, whatever the axes' scales; its direction is the axes'.
    let shown: Vec<(Point, Point)> = arrows
        .iter()
        .map(|&((x, y), (dx, dy))| {
            let ((ax, ay), (bx, by)) = (axes.at((x, y)), axes.at((x + dx, y + dy)));
            ((ax, ay), (bx - ax, by - ay))
        })
        .collect();
    let longest = shown.iter().map(|(_, d)| d.0.hypot(d.1)).filter(|l| l.is_finite()).fold(0.0, f64::max);
    for ((x, y), (dx, dy)) in shown {
        let length = dx.hypot(dy) / longest * spacing;
        if !(length.is_finite() && length >= 0.5) {
            continue;
        }
        let (ux, uy) = (dx / dx.hypot(dy), dy / dx.hypot(dy));
        let head = 5.0f64.min(length * 0.6);
        let tip = (x + ux * length, y + uy * length);
        let neck = (tip.0 - ux * head, tip.1 - uy * head);
        canvas.line((x, y), neck, 1.2, colour);
        let side = head * 0.45;
        canvas.polygon(
            &[tip, (neck.0 - uy * side, neck.1 + ux * side), (neck.0 + uy * side, neck.1 - ux * side)],
            colour,
        );
    }
}
