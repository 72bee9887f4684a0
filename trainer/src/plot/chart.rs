//! Charts of two axes: lines, histograms, scatters, contours, heat maps and vector fields, several in one.
use super::axes::{Axes, Axis};
use super::canvas::{Align, Area, Canvas, Point, Size, picture};
use super::colour::{Colour, tab10};
use super::figure::Figure;
use super::grid::Grid;
use super::series::{Kind, LINE, Series};
use crate::error::{Error, Result};
use image::RgbImage;

/// A chart under construction: every method returns it with something more.
///
/// Series are drawn in the order in which they come, in matplotlib's colours. A series with an empty label does not
/// appear in the legend. Points that are not finite are gaps.
///
/// ```
/// use nijimi_trainer::plot::{Chart, Figure, linspace};
/// let parabola = linspace(-2.0, 2.0, 100).into_iter().map(|x| (x, x * x));
/// let chart = Chart::new("A parabola").x_label("x").y_label("y").line(parabola, "x^2");
/// assert_eq!(chart.render()?.dimensions(), (640, 480));
/// # Ok::<(), nijimi_trainer::error::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    x_label: String,
    y_label: String,
    x_range: Option<(f64, f64)>,
    y_range: Option<(f64, f64)>,
    logarithmic: (bool, bool),
    size: (u32, u32),
    series: Vec<Series>,
    colours: usize,
    fault: Option<String>,
}

impl Chart {
    /// An empty chart of 640x480 pixels; the title may be empty.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: String::new(),
            y_label: String::new(),
            x_range: None,
            y_range: None,
            logarithmic: (false, false),
            size: (640, 480),
            series: Vec::new(),
            colours: 0,
            fault: None,
        }
    }

    /// The size in pixels.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }
    /// The name of the x axis.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }
    /// The name of the y axis.
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }
    /// The ends of the x axis; what lies outside is cut off. By default those of the data.
    pub fn x_range(mut self, least: f64, greatest: f64) -> Self {
        self.x_range = Some((least, greatest));
        self
    }
    /// The ends of the y axis; what lies outside is cut off. By default those of the data.
    pub fn y_range(mut self, least: f64, greatest: f64) -> Self {
        self.y_range = Some((least, greatest));
        self
    }
    /// A logarithmic x axis; what is not positive is a gap.
    pub fn log_x(mut self) -> Self {
        self.logarithmic.0 = true;
        self
    }
    /// A logarithmic y axis; what is not positive is a gap.
    pub fn log_y(mut self) -> Self {
        self.logarithmic.1 = true;
        self
    }

    fn add(mut self, kind: Kind, label: impl Into<String>, alpha: f64) -> Self {
        let colour = tab10(self.colours).with_alpha(alpha);
        self.colours += usize::from(!matches!(kind, Kind::Contour { .. } | Kind::Heat(_)));
        self.series.push(Series { kind, label: label.into(), colour });
        self
    }

    /// A line from point to point.
    pub fn line(self, points: impl IntoIterator<Item = (f64, f64)>, label: impl Into<String>) -> Self {
        let points = points.into_iter().collect();
        self.add(Kind::Line { points, dashed: false, markers: false }, label, 1.0)
    }

    /// Points as discs, `diameter` pixels wide (matplotlib's `s=36` is 8, `s=10` is 4).
    pub fn scatter(
        self,
        points: impl IntoIterator<Item = (f64, f64)>,
        label: impl Into<String>,
        alpha: f64,
        diameter: f64,
    ) -> Self {
        let points = points.into_iter().collect();
        self.add(Kind::Scatter { points, diameter }, label, alpha)
    }

    /// Bars from `edges[i]` to `edges[i + 1]`, as high as `densities[i]`.
    pub fn histogram(mut self, edges: &[f64], densities: &[f64], label: impl Into<String>, alpha: f64) -> Self {
        if edges.len() != densities.len() + 1 {
            let what = format!("a histogram: {} densities need one more edge, not {}", densities.len(), edges.len());
            self.fault.get_or_insert(what);
        }
        self.add(Kind::Bars { edges: edges.to_vec(), densities: densities.to_vec() }, label, alpha)
    }

    /// Lines of equal value, coloured from the first level to the last; without `levels`, matplotlib's
    /// ([`super::contour_levels`]).
    pub fn contour(mut self, grid: Grid, levels: Option<Vec<f64>>) -> Self {
        self.check(&grid);
        let levels = Series::levels(&grid, levels);
        self.add(Kind::Contour { grid, levels }, "", 1.0)
    }

    /// Values as colours, dark for the least.
    pub fn heat(mut self, grid: Grid) -> Self {
        self.check(&grid);
        self.add(Kind::Heat(grid), "", 1.0)
    }

    fn check(&mut self, grid: &Grid) {
        let (w, h) = (grid.x.len(), grid.y.len());
        if w < 2 || h < 2 || grid.z.len() != w * h {
            let what = format!("a grid of {w}x{h} points (at least 2x2) with {} values", grid.z.len());
            self.fault.get_or_insert(what);
        }
    }

    /// A vector field: each arrow has its foot and its vector. The longest is as long as arrows lie apart.
    pub fn arrows(self, field: impl IntoIterator<Item = ((f64, f64), (f64, f64))>, label: impl Into<String>) -> Self {
        let field = field.into_iter().collect();
        self.add(Kind::Arrows(field), label, 1.0)
    }

    /// Another colour for the series added last.
    pub fn colour(mut self, colour: Colour) -> Self {
        if let Some(last) = self.series.last_mut() {
            let alpha = last.colour.alpha * colour.alpha;
            last.colour = colour.with_alpha(alpha);
        }
        self
    }

    /// The line added last is dashed.
    pub fn dashed(mut self) -> Self {
        if let Some(Series { kind: Kind::Line { dashed, .. }, .. }) = self.series.last_mut() {
            *dashed = true;
        }
        self
    }

    /// The line added last has a disc at every point.
    pub fn markers(mut self) -> Self {
        if let Some(Series { kind: Kind::Line { markers, .. }, .. }) = self.series.last_mut() {
            *markers = true;
        }
        self
    }

    /// The axis over `values`: as given; otherwise with a twentieth of room around, unless a series fills the frame.
    fn axis(
        &self,
        given: Option<(f64, f64)>,
        values: impl Iterator<Item = f64>,
        logarithmic: bool,
        floor: bool,
    ) -> Axis {
        let usable = |v: &f64| v.is_finite() && (!logarithmic || *v > 0.0);
        let (mut least, mut greatest) = match given {
            Some((a, b)) => (a.min(b), a.max(b)),
            None => values.filter(usable).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v))),
        };
        if !(usable(&least) && usable(&greatest)) {
            (least, greatest) = if logarithmic { (0.1, 1.0) } else { (0.0, 1.0) };
        } else if least == greatest {
            let room = if least == 0.0 { 1.0 } else { least.abs() * 0.05 };
            (least, greatest) =
                if logarithmic { (least / 2.0, greatest * 2.0) } else { (least - room, greatest + room) };
        } else if given.is_none() && !self.series.iter().any(Series::tight) {
            if logarithmic {
                let room = (greatest / least).powf(0.05);
                (least, greatest) = (least / room, greatest * room);
            } else {
                let room = (greatest - least) * 0.05;
                least = if floor && least == 0.0 { 0.0 } else { least - room };
                greatest += room;
            }
        }
        Axis { least, greatest, logarithmic }
    }

    fn axes(&self) -> Axes {
        let points: Vec<Point> = self.series.iter().flat_map(Series::extent).collect();
        let x = self.axis(self.x_range, points.iter().map(|p| p.0), self.logarithmic.0, false);
        let floor = self.series.iter().any(Series::grounded);
        let y = self.axis(self.y_range, points.iter().map(|p| p.1), self.logarithmic.1, floor);
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        let line = Size::Normal.pixels();
        let top = if self.title.is_empty() { 16.0 } else { Size::Title.pixels() + 22.0 };
        let bottom = line + 20.0 + if self.x_label.is_empty() { 0.0 } else { line + 8.0 };
        let name = if self.y_label.is_empty() { 0.0 } else { line + 10.0 };
        let left = name + Axes::y_label_width(y, height - top - bottom) + 8.0;
        // A figure too small for its margins keeps a pixel of data.
        let (right, bottom) = ((width - 22.0).max(left + 1.0), (height - bottom).max(top + 1.0));
        Axes::new(Area { left, top, right, bottom }, x, y)
    }

    fn names(&self, canvas: &mut Canvas<'_>, area: Area) {
        let middle = (area.left + area.right) / 2.0;
        let height = f64::from(self.size.1);
        canvas.text((middle, area.top / 2.0), &self.title, Size::Title, Align::Centre, Colour::BLACK);
        let below = height - Size::Normal.pixels() / 2.0 - 6.0;
        canvas.text((middle, below), &self.x_label, Size::Normal, Align::Centre, Colour::BLACK);
        let beside = Size::Normal.pixels() / 2.0 + 6.0;
        canvas.upwards((beside, (area.top + area.bottom) / 2.0), &self.y_label, Size::Normal, Colour::BLACK);
    }

    /// The legend, in the upper corner that holds fewer points.
    fn legend(&self, canvas: &mut Canvas<'_>, axes: &Axes) {
        let shown: Vec<&Series> = self.series.iter().filter(|s| !s.label.is_empty()).collect();
        if shown.is_empty() {
            return;
        }
        const SAMPLE: f64 = 26.0;
        const ROW: f64 = 19.0;
        let area = axes.area();
        let widest = shown.iter().map(|s| Size::Normal.width(&s.label)).fold(0.0, f64::max);
        let (width, height) = (SAMPLE + widest + 24.0, ROW * shown.len() as f64 + 8.0);
        let (right, left) = (area.right - width - 8.0, area.left + 8.0);
        let covered = |from: f64| {
            let under =
                |p: &Point| (from..=from + width).contains(&p.0) && (area.top..=area.top + 8.0 + height).contains(&p.1);
            self.series.iter().flat_map(Series::extent).map(|p| axes.at(p)).filter(under).count()
        };
        let x = if covered(right) <= covered(left) { right } else { left };
        let top = area.top + 8.0;
        canvas.rectangle((x, top), (x + width, top + height), Colour::WHITE.with_alpha(0.85));
        canvas.frame(Area { left: x, top, right: x + width, bottom: top + height }, 1.0, Colour::gray(0.8));
        for (i, series) in shown.into_iter().enumerate() {
            let y = top + 4.0 + ROW * (i as f64 + 0.5);
            let (from, to) = (x + 8.0, x + 8.0 + SAMPLE);
            match &series.kind {
                Kind::Line { dashed: true, .. } => canvas.dashes(&[(from, y), (to, y)], LINE, series.colour),
                Kind::Scatter { .. } => canvas.disc(((from + to) / 2.0, y), 4.0, series.colour),
                Kind::Bars { .. } => canvas.rectangle((from, y - 5.0), (to, y + 5.0), series.colour),
                _ => canvas.line((from, y), (to, y), LINE, series.colour),
            }
            canvas.text((to + 8.0, y), &series.label, Size::Normal, Align::Left, Colour::BLACK);
        }
    }
}

impl Figure for Chart {
    fn render(&self) -> Result<RgbImage> {
        if let Some(what) = &self.fault {
            return Err(Error::Internal(format!("figure \"{}\": {what}", self.title)));
        }
        picture(self.size.0, self.size.1, |canvas| {
            let axes = self.axes();
            canvas.clip(Some(axes.area()));
            self.series.iter().for_each(|s| s.draw(canvas, &axes));
            canvas.clip(None);
            axes.draw(canvas);
            self.legend(canvas, &axes);
            self.names(canvas, axes.area());
        })
    }
}
