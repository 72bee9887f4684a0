//! Grids of small pictures: samples, reconstructions, noise.
use super::canvas::{Align, Canvas, Point, Size, picture};
use super::colour::Colour;
use super::figure::Figure;
use crate::error::{Error, Result};
use image::RgbImage;

/// How values become brightness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scale {
    Fixed,
    Batch,
    Each,
}

/// A grid of pictures of one size, from left to right and from top to bottom, as torchvision's `make_grid` lays it out.
#[derive(Clone, Debug)]
pub struct Pictures {
    size: (usize, usize, usize),
    values: Vec<f32>,
    columns: usize,
    padding: usize,
    background: Colour,
    scale: Scale,
    zoom: Option<usize>,
    title: String,
    labels: Vec<String>,
    row_labels: Vec<String>,
    column_labels: Vec<String>,
}

impl Pictures {
    /// Pictures of `width` x `height` pixels with 1 (gray) or 3 (RGB) channels: `values` is `(n, height, width,
    /// channels)`, 0 black to 1 white. Eight in a row, two pixels of black between them and around.
    pub fn new(width: usize, height: usize, channels: usize, values: Vec<f32>) -> Self {
        Self {
            size: (width, height, channels),
            values,
            columns: 8,
            padding: 2,
            background: Colour::BLACK,
            scale: Scale::Fixed,
            zoom: None,
            title: String::new(),
            labels: Vec::new(),
            row_labels: Vec::new(),
            column_labels: Vec::new(),
        }
    }

    /// Gray or RGB pictures of bytes, 0 to 255.
    pub fn of_bytes(width: usize, height: usize, channels: usize, bytes: &[u8]) -> Self {
        Self::new(width, height, channels, bytes.iter().map(|b| f32::from(*b) / 255.0).collect())
    }

    /// Pictures in a row.
    pub fn columns(mut self, n: usize) -> Self {
        self.columns = n.max(1);
        self
    }
    /// Pixels of the pictures between them and around.
    pub fn padding(mut self, pixels: usize) -> Self {
        self.padding = pixels;
        self
    }
    /// White instead of black between the pictures.
    pub fn on_white(mut self) -> Self {
        self.background = Colour::WHITE;
        self
    }
    /// Stretches the values from the least to the greatest of all pictures (`make_grid(normalize=True)`).
    pub fn normalized(mut self) -> Self {
        self.scale = Scale::Batch;
        self
    }
    /// Stretches each picture's own values, as matplotlib's `imshow` does with gray ones.
    pub fn autoscaled(mut self) -> Self {
        self.scale = Scale::Each;
        self
    }
    /// Pixels of the figure for a pixel of a picture; by default so many that the grid is about 700 wide.
    pub fn zoom(mut self, n: usize) -> Self {
        self.zoom = Some(n.max(1));
        self
    }
    /// A line above the grid.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }
    /// A text below each picture.
    pub fn labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        self
    }
    /// A text to the left of each row.
    pub fn row_labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.row_labels = labels.into_iter().map(Into::into).collect();
        self
    }
    /// A text above each column.
    pub fn column_labels<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.column_labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Bytes of the pictures: times 255, clamped, cut off, as the book shows its samples.
    fn bytes(&self) -> Vec<u8> {
        let (w, h, c) = self.size;
        let part = match self.scale {
            Scale::Each => w * h * c,
            _ => self.values.len().max(1),
        };
        let to_u8 = |v: f32| (v * 255.0).clamp(0.0, 255.0) as u8;
        let stretch = |chunk: &[f32]| {
            let finite = chunk.iter().copied().filter(|v| v.is_finite());
            let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
            // make_grid's own guard against constant pictures.
            let width = (high - low).max(1e-5);
            chunk.iter().map(|v| to_u8((v - low) / width)).collect::<Vec<_>>()
        };
        match self.scale {
            Scale::Fixed => self.values.iter().map(|v| to_u8(*v)).collect(),
            Scale::Batch | Scale::Each => self.values.chunks(part).flat_map(stretch).collect(),
        }
    }

    fn count(&self) -> Result<usize> {
        let (w, h, c) = self.size;
        let one = w * h * c;
        if one == 0 || !matches!(c, 1 | 3) || self.values.is_empty() || !self.values.len().is_multiple_of(one) {
            return Err(Error::Internal(format!(
                "a grid of pictures: {} values are not pictures of {w}x{h} with {c} channels (1 or 3)",
                self.values.len()
            )));
        }
        Ok(self.values.len() / one)
    }
}

/// Pixels between texts and pictures.
const GAP: f64 = 6.0;

impl Figure for Pictures {
    fn render(&self) -> Result<RgbImage> {
        let n = self.count()?;
        let (w, h, _) = self.size;
        let columns = self.columns.min(n);
        let rows = n.div_ceil(columns);
        let (cell, natural) = (w + self.padding, columns * (w + self.padding) + self.padding);
        let zoom = self.zoom.unwrap_or_else(|| (760 / natural.max(1)).clamp(1, 8));
        let text = Size::Normal.pixels() + GAP;
        let heading = if self.title.is_empty() { 0.0 } else { Size::Title.pixels() + 2.0 * GAP };
        let above = heading + if self.column_labels.is_empty() { 0.0 } else { text + GAP };
        let widest = self.row_labels.iter().map(|l| Size::Normal.width(l)).fold(0.0, f64::max);
        let left = if widest > 0.0 { widest + 2.0 * GAP } else { 0.0 };
        let below = if self.labels.is_empty() { 0.0 } else { text };
        let row_height = ((h + self.padding) * zoom) as f64 + below;
        let (pad, cell) = ((self.padding * zoom) as f64, (cell * zoom) as f64);
        let grid_width = (natural * zoom) as f64;
        let width = (left + grid_width).max(Size::Title.width(&self.title));
        let height = above + pad + rows as f64 * row_height;
        let bytes = self.bytes();
        picture(width.ceil() as u32, height.ceil() as u32, |canvas| {
            let centre = left + grid_width / 2.0;
            canvas.text((centre, heading / 2.0), &self.title, Size::Title, Align::Centre, Colour::BLACK);
            // Labels are black on white.
            if self.labels.is_empty() {
                canvas.rectangle((left, above), (left + grid_width, height), self.background);
            }
            for i in 0..n {
                let (x, y) =
                    (left + pad + (i % columns) as f64 * cell, above + pad + (i / columns) as f64 * row_height);
                self.draw(canvas, (x, y), zoom, i, &bytes);
                if let Some(label) = self.labels.get(i) {
                    let middle = (x + (w * zoom) as f64 / 2.0, y + (h * zoom) as f64 + text / 2.0);
                    canvas.text(middle, label, Size::Normal, Align::Centre, Colour::BLACK);
                }
            }
            for (i, label) in self.row_labels.iter().take(rows).enumerate() {
                let middle = above + pad + i as f64 * row_height + (h * zoom) as f64 / 2.0;
                canvas.text((left - GAP, middle), label, Size::Normal, Align::Right, Colour::BLACK);
            }
            for (i, label) in self.column_labels.iter().take(columns).enumerate() {
                let middle = left + pad + i as f64 * cell + (w * zoom) as f64 / 2.0;
                canvas.text(
                    (middle, above - text / 2.0 - GAP / 2.0),
                    label,
                    Size::Normal,
                    Align::Centre,
                    Colour::BLACK,
                );
            }
        })
    }
}

impl Pictures {
    fn draw(&self, canvas: &mut Canvas<'_>, (left, top): Point, zoom: usize, index: usize, bytes: &[u8]) {
        let (w, h, c) = self.size;
        for (i, pixel) in bytes[index * w * h * c..][..w * h * c].chunks_exact(c).enumerate() {
            let colour = Colour::new(pixel[0], pixel[c / 2], pixel[c - 1]);
            let (x, y) = (left + (i % w * zoom) as f64, top + (i / w * zoom) as f64);
            canvas.rectangle((x, y), (x + zoom as f64, y + zoom as f64), colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torchvision: `make_grid` of 64 pictures of 28x28 is 242x242 with black around. Seen red with the left padding
    /// left out.
    #[test]
    fn the_grid_is_make_grids() {
        let grid = Pictures::new(28, 28, 1, vec![1.0; 64 * 784]).zoom(1).render().expect("a grid");
        assert_eq!(grid.dimensions(), (242, 242));
        let row: Vec<u8> = (0..242).map(|x| grid.get_pixel(x, 5).0[0]).collect();
        let column: Vec<u8> = (0..242).map(|y| grid.get_pixel(5, y).0[0]).collect();
        let expected: Vec<u8> = (0..242).map(|i| if i % 30 < 2 { 0 } else { 255 }).collect();
        assert!(row == expected && column == expected, "{row:?}, {column:?}");
    }

    /// Seen red with every picture stretched as the batch is.
    #[test]
    fn values_are_cut_off_and_stretched() {
        let grid = Pictures::new(2, 1, 1, vec![0.5, 1.7, -1.0, 0.999]);
        assert_eq!(grid.bytes(), [127, 255, 0, 254]);
        assert_eq!(grid.clone().normalized().bytes(), [141, 255, 0, 188]);
        assert_eq!(grid.autoscaled().bytes(), [0, 255, 0, 255]);
    }

    #[test]
    fn values_that_are_no_pictures_are_refused() {
        assert!(Pictures::new(2, 2, 1, vec![0.0; 7]).render().is_err());
        assert!(Pictures::new(2, 2, 2, vec![0.0; 8]).render().is_err());
        assert!(Pictures::new(2, 2, 1, Vec::new()).render().is_err());
    }
}
