//! Surfaces in three dimensions, seen as matplotlib shows them: elevation 30 degrees, azimuth -60, in perspective.
use super::canvas::{Align, Canvas, Point, Size, picture};
use super::colour::{Colour, viridis};
use super::figure::Figure;
use super::grid::Grid;
use super::ticks::{axis_ticks, labels};
use crate::error::{Error, Result};
use image::RgbImage;

/// A surface z over x and y.
#[derive(Clone, Debug)]
pub struct Surface {
    title: String,
    names: [String; 3],
    grid: Grid,
    size: (u32, u32),
}

/// Rows and columns of faces at most, as matplotlib draws by default.
const FACES: usize = 50;
/// Relative lengths of the three axes.
const ASPECT: [f64; 3] = [4.0 / 3.5, 4.0 / 3.5, 3.0 / 3.5];
/// From the eye to the middle of the box, in the box's units.
const DISTANCE: f64 = 10.0;

type Point3 = [f64; 3];

/// The box around the data and the eye that sees it.
struct View {
    low: Point3,
    high: Point3,
    right: Point3,
    up: Point3,
    towards: Point3,
    scale: f64,
    centre: Point,
}

fn dot(a: Point3, b: Point3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl View {
    fn new(low: Point3, high: Point3, (width, height): (f64, f64)) -> Self {
        let (elevation, azimuth) = (30f64.to_radians(), (-60f64).to_radians());
        let towards = [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()];
        let right = [-azimuth.sin(), azimuth.cos(), 0.0];
        let up = [-elevation.sin() * azimuth.cos(), -elevation.sin() * azimuth.sin(), elevation.cos()];
        Self { low, high, right, up, towards, scale: height.min(width) * 0.50, centre: (width * 0.49, height * 0.50) }
    }

    /// In the box's units, from its middle.
    fn boxed(&self, p: Point3) -> Point3 {
        std::array::from_fn(|i| ((p[i] - self.low[i]) / (self.high[i] - self.low[i]) - 0.5) * ASPECT[i])
    }

    /// How near to the eye.
    fn depth(&self, p: Point3) -> f64 {
        dot(self.boxed(p), self.towards)
    }

    fn at(&self, p: Point3) -> Point {
        let b = self.boxed(p);
        let shrink = DISTANCE / (DISTANCE - dot(b, self.towards));
        let (x, y) = (dot(b, self.right) * shrink, dot(b, self.up) * shrink);
        (self.centre.0 + x * self.scale, self.centre.1 - y * self.scale)
    }
}

impl Surface {
    /// A surface of 640x480 pixels; the title may be empty.
    pub fn new(title: impl Into<String>, grid: Grid) -> Self {
        Self { title: title.into(), names: ["x", "y", "z"].map(String::from), grid, size: (640, 480) }
    }
    /// The names of the axes.
    pub fn axes(mut self, x: impl Into<String>, y: impl Into<String>, z: impl Into<String>) -> Self {
        self.names = [x.into(), y.into(), z.into()];
        self
    }
    /// The size in pixels.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }

    /// Every so many rows or columns of a long side, and its last one.
    fn strides(n: usize) -> Vec<usize> {
        let mut picked: Vec<usize> = (0..n - 1).step_by(n.div_ceil(FACES)).collect();
        picked.push(n - 1);
        picked
    }

    /// Faces from the farthest to the nearest, with their colours: viridis of the mean of all points around a face.
    fn faces(&self, view: &View) -> Vec<(Vec<Point>, Colour)> {
        let grid = &self.grid;
        let (columns, rows) = (Self::strides(grid.x.len()), Self::strides(grid.y.len()));
        let mut faces = Vec::new();
        for j in rows.windows(2) {
            for i in columns.windows(2) {
                let mut around: Vec<(usize, usize)> = (i[0]..i[1]).map(|i| (i, j[0])).collect();
                around.extend((j[0]..j[1]).map(|j| (i[1], j)));
                around.extend((i[0] + 1..=i[1]).rev().map(|i| (i, j[1])));
                around.extend((j[0] + 1..=j[1]).rev().map(|j| (i[0], j)));
                let points: Vec<Point3> = around.iter().map(|&(i, j)| [grid.x[i], grid.y[j], grid.at(i, j)]).collect();
                let n = points.len() as f64;
                let mean = points.iter().map(|p| p[2]).sum::<f64>() / n;
                if mean.is_finite() {
                    let depth = points.iter().map(|p| view.depth(*p)).sum::<f64>() / n;
                    faces.push((points, mean, depth));
                }
            }
        }
        faces.sort_by(|a, b| a.2.total_cmp(&b.2));
        let (low, high) = faces.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), f| (a.min(f.1), b.max(f.1)));
        let shade = |mean: f64| viridis((mean - low) / (high - low).max(f64::MIN_POSITIVE));
        faces.iter().map(|(p, mean, _)| (p.iter().map(|p| view.at(*p)).collect(), shade(*mean))).collect()
    }

    /// The three walls behind the surface, their grid, ticks and names.
    fn walls(&self, canvas: &mut Canvas<'_>, view: &View) {
        let (low, high) = (view.low, view.high);
        let corner = |x: usize, y: usize, z: usize| {
            let pick = |i: usize, which: usize| if which == 0 { low[i] } else { high[i] };
            view.at([pick(0, x), pick(1, y), pick(2, z)])
        };
        let walls = [
            ([corner(0, 0, 0), corner(0, 1, 0), corner(0, 1, 1), corner(0, 0, 1)], 0.95),
            ([corner(0, 1, 0), corner(1, 1, 0), corner(1, 1, 1), corner(0, 1, 1)], 0.925),
            ([corner(0, 0, 0), corner(1, 0, 0), corner(1, 1, 0), corner(0, 1, 0)], 0.90),
        ];
        for (wall, level) in &walls {
            canvas.polygon(wall, Colour::gray(*level));
        }
        // A tick of an axis is a line on two walls; its text stands outside of the axis' own edge.
        for axis in 0..3 {
            let (ticks, fixed) = (axis_ticks(low[axis], high[axis], 6), [low, high]);
            for (value, text) in ticks.iter().zip(labels(&ticks)) {
                let place = |a: usize, b: usize| {
                    let mut p = [0.0; 3];
                    let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
                    (p[axis], p[u], p[v]) = (*value, fixed[a][u], fixed[b][v]);
                    p
                };
                // The two corners and the edge between them at which this axis' lines bend, from outside to the walls.
                let bend: [Point3; 3] = match axis {
                    0 => [place(0, 0), place(1, 0), place(1, 1)],
                    1 => [place(0, 1), place(0, 0), place(1, 0)],
                    _ => [place(1, 1), place(0, 1), place(0, 0)],
                };
                let path: Vec<Point> = bend.iter().map(|p| view.at(*p)).collect();
                canvas.path(&path, 1.0, Colour::gray(0.75));
                self.tick(canvas, view, bend[0], axis, &text);
            }
        }
        let edges = [
            [corner(0, 0, 0), corner(1, 0, 0)],
            [corner(1, 0, 0), corner(1, 1, 0)],
            [corner(1, 1, 0), corner(1, 1, 1)],
        ];
        for edge in edges {
            canvas.path(&edge, 1.0, Colour::BLACK);
        }
        self.axis_names(canvas, view);
    }

    /// Away from the box, in the direction in which an axis' texts stand.
    fn outward(axis: usize) -> Point {
        [(-0.45, 0.9), (0.8, 0.6), (1.0, 0.0)][axis]
    }

    fn tick(&self, canvas: &mut Canvas<'_>, view: &View, p: Point3, axis: usize, text: &str) {
        let (x, y) = view.at(p);
        let (dx, dy) = Self::outward(axis);
        let align = if axis == 0 { Align::Right } else { Align::Left };
        canvas.line((x, y), (x + 4.0 * dx, y + 4.0 * dy), 1.0, Colour::BLACK);
        let shift = if axis == 0 { 6.0 } else { 0.0 };
        canvas.text((x + 10.0 * dx + shift, y + 12.0 * dy), text, Size::Normal, align, Colour::BLACK);
    }

    fn axis_names(&self, canvas: &mut Canvas<'_>, view: &View) {
        let (low, high) = (view.low, view.high);
        let middle = |i: usize| (low[i] + high[i]) / 2.0;
        let places = [[middle(0), low[1], low[2]], [high[0], middle(1), low[2]], [high[0], high[1], middle(2)]];
        for (axis, name) in self.names.iter().enumerate() {
            let (x, y) = view.at(places[axis]);
            // Clear of the ticks' texts, which stand to the right of the second and third axes.
            let texts = labels(&axis_ticks(low[axis], high[axis], 6));
            let widest = texts.iter().map(|t| Size::Normal.width(t)).fold(0.0, f64::max);
            // The vertical axis' name runs along it; the others begin, or end, beside their ticks: long ones have room.
            match axis {
                0 => canvas.text((x - 24.0, y + 42.0), name, Size::Normal, Align::Right, Colour::BLACK),
                1 => canvas.text((x + widest + 28.0, y + 22.0), name, Size::Normal, Align::Left, Colour::BLACK),
                _ => canvas.upwards((x + widest + 24.0, y), name, Size::Normal, Colour::BLACK),
            }
        }
    }
}

impl Figure for Surface {
    fn render(&self) -> Result<RgbImage> {
        let (w, h) = (self.grid.x.len(), self.grid.y.len());
        let (true, Some((z0, z1))) = (w >= 2 && h >= 2 && self.grid.z.len() == w * h, self.grid.range()) else {
            let what = format!("a grid of {w}x{h} points (at least 2x2) with {} values", self.grid.z.len());
            return Err(Error::Internal(format!("figure \"{}\": {what}", self.title)));
        };
        // matplotlib's room around the data, a forty-eighth on each side.
        let roomy = |a: f64, b: f64| {
            let room = if b > a { (b - a) / 48.0 } else { a.abs().max(1.0) * 0.05 };
            (a - room, b + room)
        };
        let ends =
            [roomy(self.grid.x[0], self.grid.x[w - 1]), roomy(self.grid.y[0], self.grid.y[h - 1]), roomy(z0, z1)];
        let (low, high) = (ends.map(|e| e.0), ends.map(|e| e.1));
        picture(self.size.0, self.size.1, |canvas| {
            let size = (f64::from(self.size.0), f64::from(self.size.1));
            let view = View::new(low, high, size);
            self.walls(canvas, &view);
            for (face, colour) in self.faces(&view) {
                canvas.polygon(&face, colour);
                // Faces are filled without smoothing; a line of the same colour closes the seams.
                let mut outline = face;
                outline.push(outline[0]);
                canvas.path(&outline, 0.5, colour);
            }
            canvas.text((size.0 / 2.0, 18.0), &self.title, Size::Title, Align::Centre, Colour::BLACK);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::grid::arange;

    /// Seen red with strides rounded down.
    #[test]
    fn strides_are_matplotlibs() {
        assert_eq!((Surface::strides(100).len(), Surface::strides(5).len()), (51, 5));
        assert_eq!((Surface::strides(600)[1], *Surface::strides(600).last().expect("one")), (12, 599));
        assert_eq!(Surface::strides(90).len(), 46);
    }

    /// The book's 5x5 paraboloid: three colours of faces, and the nearest corner is drawn over what lies behind it.
    /// Seen red with one colour for all faces.
    #[test]
    fn a_bowl_has_three_colours() {
        let grid = Grid::of(arange(-2.0, 3.0, 1.0), arange(-2.0, 3.0, 1.0), |x, y| x * x + y * y);
        let surface = Surface::new("", grid);
        let view = View::new([-2.0, -2.0, 0.0], [2.0, 2.0, 8.0], (640.0, 480.0));
        let faces = surface.faces(&view);
        let mut colours: Vec<[u8; 3]> = faces.iter().map(|f| f.1.rgb).collect();
        assert_eq!(colours.len(), 16);
        colours.sort_unstable();
        colours.dedup();
        // Face means 1, 3 (drawn 0.4) and 5; the book's figure has these three.
        assert_eq!(colours.len(), 3, "{colours:?}");
        let picture = surface.render().expect("a picture");
        for colour in colours {
            assert!(picture.pixels().filter(|p| p.0 == colour).count() > 500, "{colour:?}");
        }
    }
}
