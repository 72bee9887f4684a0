//! What figures are drawn on: plotters' bitmap backend on a buffer twice as large, so that edges are smooth after
//! halving.
use super::colour::Colour;
use super::font::Letter;
use crate::error::{Error, Result};
use image::{Rgb, RgbImage};
use plotters::backend::BitMapBackend;
use plotters::prelude::DrawingBackend;
use plotters::style::{Color, RGBAColor, ShapeStyle};

/// Drawn pixels in one of the figure's, along each side.
const FINE: f64 = 2.0;
/// The largest side of a figure, in pixels.
const MAX_SIDE: u32 = 16_384;

/// A point in pixels of the figure, from the upper left corner.
pub(super) type Point = (f64, f64);
/// A point in drawn pixels.
type BackendCoord = (i32, i32);

/// Text sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    /// 12 pixels: all but titles.
    Normal,
    /// 16 pixels.
    Title,
}

impl Size {
    /// Pixels of a letter's side in the figure.
    pub fn pixels(self) -> f64 {
        self.times() as f64 * 8.0 / FINE
    }
    fn times(self) -> usize {
        match self {
            Self::Normal => 3,
            Self::Title => 4,
        }
    }
    /// Pixels that `text` is wide.
    pub fn width(self, text: &str) -> f64 {
        text.chars().count() as f64 * self.pixels()
    }
}

/// Which part of a text lies at the point given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// A rectangle: left, top, right, bottom.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Area {
    fn holds(&self, (x, y): Point) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }
}

/// See the module.
pub(super) struct Canvas<'a> {
    backend: BitMapBackend<'a>,
    clip: Option<Area>,
    /// The first thing that the backend had to say.
    fault: Option<String>,
}

/// A white picture of `width` x `height`, drawn by `draw`.
///
/// # Errors
/// No pixels, or too many; what the backend has to say.
pub(super) fn picture(width: u32, height: u32, draw: impl FnOnce(&mut Canvas<'_>)) -> Result<RgbImage> {
    if width == 0 || height == 0 || width.max(height) > MAX_SIDE {
        return Err(Error::Internal(format!("a figure of {width}x{height} pixels: sides are 1 to {MAX_SIDE} pixels")));
    }
    let (w, h) = (width * FINE as u32, height * FINE as u32);
    let mut pixels = vec![255u8; w as usize * h as usize * 3];
    let mut canvas = Canvas { backend: BitMapBackend::with_buffer(&mut pixels, (w, h)), clip: None, fault: None };
    draw(&mut canvas);
    let fault = canvas.fault.take();
    drop(canvas);
    if let Some(fault) = fault {
        return Err(Error::Internal(format!("a figure could not be drawn: {fault}")));
    }
    Ok(halved(&pixels, width, height))
}

fn halved(pixels: &[u8], width: u32, height: u32) -> RgbImage {
    let fine = FINE as usize;
    let row = width as usize * fine;
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(std::array::from_fn(|c| {
            let at = |dx, dy| u32::from(pixels[((y as usize * fine + dy) * row + x as usize * fine + dx) * 3 + c]);
            ((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4) as u8
        }))
    })
}

fn fine((x, y): Point) -> BackendCoord {
    let whole = |v: f64| (v * FINE).round().clamp(-1e6, 1e6) as i32;
    (whole(x), whole(y))
}

fn style(colour: Colour, width: f64, filled: bool) -> ShapeStyle {
    let [r, g, b] = colour.rgb;
    ShapeStyle { color: RGBAColor(r, g, b, colour.alpha), filled, stroke_width: (width * FINE).round().max(1.0) as u32 }
}

fn finite((x, y): &Point) -> bool {
    x.is_finite() && y.is_finite()
}

impl Canvas<'_> {
    /// Lines, polygons, discs and text centres outside `area` are cut off from here on.
    pub fn clip(&mut self, area: Option<Area>) {
        self.clip = area;
    }

    fn keep<E: std::fmt::Display>(&mut self, result: std::result::Result<(), E>) {
        if let Err(e) = result {
            self.fault.get_or_insert_with(|| e.to_string());
        }
    }

    /// A straight line, `width` pixels wide.
    pub fn line(&mut self, a: Point, b: Point, width: f64, colour: Colour) {
        if !(finite(&a) && finite(&b)) {
            return;
        }
        let Some((a, b)) = self.clip.map_or(Some((a, b)), |area| cut_line(a, b, area)) else { return };
        let (from, to) = (fine(a), fine(b));
        if from != to {
            let drawn = self.backend.draw_line(from, to, &style(colour, width, false));
            self.keep(drawn);
        }
    }

    /// Lines from point to point with round joints; a point that is not finite is a gap.
    pub fn path(&mut self, points: &[Point], width: f64, colour: Colour) {
        for pair in points.windows(2) {
            self.line(pair[0], pair[1], width, colour);
        }
        // Thick lines leave a notch where they meet; of thin ones nobody sees it.
        if width >= 1.5 && colour.alpha == 1.0 {
            for p in points.iter().skip(1).rev().skip(1).filter(|p| finite(p)) {
                self.disc(*p, width / 2.0 - 0.25, colour);
            }
        }
    }

    /// Lines of dashes.
    pub fn dashes(&mut self, points: &[Point], width: f64, colour: Colour) {
        const DASH: f64 = 7.0;
        const GAP: f64 = 5.0;
        let mut gone = 0.0;
        for pair in points.windows(2).filter(|p| finite(&p[0]) && finite(&p[1])) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            let length = (bx - ax).hypot(by - ay);
            let mut from = 0.0;
            // Far outside the figure there may be any number of dashes.
            while from < length && length < 1e5 {
                let phase = gone % (DASH + GAP);
                let run = if phase < DASH { DASH - phase } else { DASH + GAP - phase }.max(1e-3).min(length - from);
                let at = |s: f64| (ax + (bx - ax) * s / length, ay + (by - ay) * s / length);
                if phase < DASH {
                    self.line(at(from), at(from + run), width, colour);
                }
                from += run;
                gone += run;
            }
        }
    }

    /// A filled polygon.
    pub fn polygon(&mut self, points: &[Point], colour: Colour) {
        if points.len() < 3 || !points.iter().all(finite) {
            return;
        }
        let inside = self.clip.map_or_else(|| points.to_vec(), |area| cut_polygon(points, area));
        let corners: Vec<BackendCoord> = inside.into_iter().map(fine).collect();
        if corners.len() >= 3 {
            let drawn = self.backend.fill_polygon(corners, &style(colour, 0.0, true));
            self.keep(drawn);
        }
    }

    /// A filled rectangle between two corners, which are cut off at the clipping area.
    pub fn rectangle(&mut self, a: Point, b: Point, colour: Colour) {
        if !(finite(&a) && finite(&b)) {
            return;
        }
        let (mut low, mut high) = ((a.0.min(b.0), a.1.min(b.1)), (a.0.max(b.0), a.1.max(b.1)));
        if let Some(area) = self.clip {
            low = (low.0.max(area.left), low.1.max(area.top));
            high = (high.0.min(area.right), high.1.min(area.bottom));
        }
        let ((left, top), (right, bottom)) = (fine(low), fine(high));
        // The backend leaves out the last row and column, so rectangles that touch do not overlap.
        if left < right && top < bottom {
            let drawn = self.backend.draw_rect((left, top), (right, bottom), &style(colour, 0.0, true), true);
            self.keep(drawn);
        }
    }

    /// The outline of a rectangle.
    pub fn frame(&mut self, area: Area, width: f64, colour: Colour) {
        let Area { left, top, right, bottom } = area;
        self.path(&[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], width, colour);
    }

    /// A filled disc, whole if its centre is inside.
    pub fn disc(&mut self, centre: Point, radius: f64, colour: Colour) {
        if finite(&centre) && self.clip.is_none_or(|area| area.holds(centre)) {
            let radius = (radius * FINE).round().max(1.0) as u32;
            let drawn = self.backend.draw_circle(fine(centre), radius, &style(colour, 0.0, true), true);
            self.keep(drawn);
        }
    }

    /// A line of text. `y` is its middle.
    pub fn text(&mut self, (x, y): Point, text: &str, size: Size, align: Align, colour: Colour) {
        let left = x - size.width(text) * align.share();
        let (left, top) = fine((left, y - size.pixels() / 2.0));
        self.letters(text, size, colour, |dx, dy| (left + dx, top + dy));
    }

    /// Text that runs upwards around the point.
    pub fn upwards(&mut self, (x, y): Point, text: &str, size: Size, colour: Colour) {
        let (left, bottom) = fine((x - size.pixels() / 2.0, y + size.width(text) / 2.0));
        self.letters(text, size, colour, |dx, dy| (left + dy, bottom - dx));
    }

    fn letters(&mut self, text: &str, size: Size, colour: Colour, place: impl Fn(i32, i32) -> BackendCoord) {
        let ink = style(colour, 0.0, true).color.to_backend_color();
        for (i, c) in text.chars().enumerate() {
            let letter = Letter::new(c, size.times());
            let side = letter.side as i32;
            for (dy, dx) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                if letter.ink(i64::from(dx), i64::from(dy)) {
                    let drawn = self.backend.draw_pixel(place(i as i32 * side + dx, dy), ink);
                    self.keep(drawn);
                }
            }
        }
    }
}

impl Align {
    fn share(self) -> f64 {
        match self {
            Self::Left => 0.0,
            Self::Centre => 0.5,
            Self::Right => 1.0,
        }
    }
}

/// The part of a line that lies in the area (Liang and Barsky 1984).
fn cut_line((ax, ay): Point, (bx, by): Point, area: Area) -> Option<(Point, Point)> {
    let (dx, dy) = (bx - ax, by - ay);
    let (mut from, mut to) = (0.0f64, 1.0f64);
    for (p, q) in [(-dx, ax - area.left), (dx, area.right - ax), (-dy, ay - area.top), (dy, area.bottom - ay)] {
        if p == 0.0 && q < 0.0 {
            return None;
        } else if p < 0.0 {
            from = from.max(q / p);
        } else if p > 0.0 {
            to = to.min(q / p);
        }
    }
    let at = |s: f64| (ax + s * dx, ay + s * dy);
    (from <= to).then(|| (at(from), at(to)))
}

/// The part of a polygon that lies in the area (Sutherland and Hodgman 1974).
fn cut_polygon(points: &[Point], area: Area) -> Vec<Point> {
    // How far inside of each edge a point lies.
    let edges: [&dyn Fn(Point) -> f64; 4] =
        [&|p| p.0 - area.left, &|p| area.right - p.0, &|p| p.1 - area.top, &|p| area.bottom - p.1];
    edges.iter().fold(points.to_vec(), |points, inside| {
        let mut kept = Vec::with_capacity(points.len() + 4);
        for (i, &b) in points.iter().enumerate() {
            let a = points[(i + points.len() - 1) % points.len()];
            let (da, db) = (inside(a), inside(b));
            if (da < 0.0) != (db < 0.0) {
                let s = da / (da - db);
                kept.push((a.0 + s * (b.0 - a.0), a.1 + s * (b.1 - a.1)));
            }
            if db >= 0.0 {
                kept.push(b);
            }
        }
        kept
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: Area = Area { left: 10.0, top: 10.0, right: 20.0, bottom: 20.0 };

    #[test]
    fn lines_end_at_the_area() {
        assert_eq!(cut_line((0.0, 15.0), (30.0, 15.0), SQUARE), Some(((10.0, 15.0), (20.0, 15.0))));
        assert_eq!(cut_line((0.0, 0.0), (9.0, 30.0), SQUARE), None);
        assert_eq!(cut_line((12.0, 12.0), (18.0, 18.0), SQUARE), Some(((12.0, 12.0), (18.0, 18.0))));
    }

    /// Seen red with one edge not cut.
    #[test]
    fn polygons_end_at_the_area() {
        let cut = cut_polygon(&[(0.0, 0.0), (40.0, 0.0), (40.0, 40.0), (0.0, 40.0)], SQUARE);
        let area: f64 = cut.iter().zip(cut.iter().cycle().skip(1)).map(|(a, b)| (a.0 * b.1 - b.0 * a.1) / 2.0).sum();
        assert!((area.abs() - 100.0).abs() < 1e-9 && cut.iter().all(|p| SQUARE.holds(*p)), "{cut:?}");
    }

    #[test]
    fn a_size_that_no_picture_has_is_refused() {
        assert!(picture(0, 10, |_| ()).is_err() && picture(10, 1 << 20, |_| ()).is_err());
        let picture = picture(4, 3, |c| c.rectangle((1.0, 1.0), (3.0, 2.0), Colour::RED)).expect("a picture");
        let red: Vec<_> = picture.enumerate_pixels().filter(|p| p.2.0 == [255, 0, 0]).map(|p| (p.0, p.1)).collect();
        assert_eq!(red, [(1, 1), (2, 1)]);
    }
}
