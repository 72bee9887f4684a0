//! Large pictures in tiles, so that the autoencoder's memory stays that of a tile: diffusers'
//! `AutoencoderKL.tiled_decode` and `tiled_encode`, to the number.
//!
//! Tiles overlap; where they do, they fade into each other. Each is normalized by itself, so a tiled picture is not the
//! whole one's.

#[cfg(test)]
mod tests;

use crate::nn::{NetworkError, range};
use alloc::vec;
use alloc::vec::Vec;

/// How latents are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiling {
    /// Side of a tile's latents (`tile_latent_min_size`). Tiles at the right and lower edge are as small as what is left.
    pub tile: usize,
    /// Latents that a tile shares with the next.
    pub overlap: usize,
    /// How many times a picture's side is that of its latents.
    pub factor: usize,
}

/// A tile: where its latents begin, and how many they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tile {
    /// Row and column of the first one.
    pub at: [usize; 2],
    /// Rows and columns.
    pub size: [usize; 2],
}

impl Tile {
    /// Copies the tile out of `whole`, `(height, width, channels)`, each of whose sides is `scale` times the latents'.
    ///
    /// # Panics
    /// Where the tile does not lie within `whole`.
    pub fn cut(&self, whole: &[f32], width: usize, channels: usize, scale: usize) -> Vec<f32> {
        let [top, left, height, columns] = [self.at[0], self.at[1], self.size[0], self.size[1]].map(|n| n * scale);
        let rows = (top..top + height).map(|y| &whole[(y * width + left) * channels..][..columns * channels]);
        rows.flatten().copied().collect()
    }
}

impl Tiling {
    /// Tiles of `tile` latents, a quarter of which overlap (`tile_overlap_factor`).
    ///
    /// # Errors
    /// Tiles below 4 latents or above 4096.
    pub fn new(tile: usize, factor: usize) -> Result<Self, NetworkError> {
        range("tile", tile, 4, 4096)?;
        Ok(Self { tile, overlap: tile - tile * 3 / 4, factor: factor.max(1) })
    }

    /// Whether latents of this height and width are more than a tile.
    pub const fn cuts(&self, [height, width]: [usize; 2]) -> bool {
        height > self.tile || width > self.tile
    }

    /// Latents from one tile's begin to the next one's.
    const fn step(&self) -> usize {
        let step = self.tile.saturating_sub(self.overlap);
        if step == 0 { 1 } else { step }
    }

    /// The tiles of latents of this height and width, row by row.
    pub fn tiles(&self, [height, width]: [usize; 2]) -> impl Iterator<Item = Tile> + use<> {
        let (tile, step) = (self.tile, self.step());
        (0..height).step_by(step).flat_map(move |y| {
            let size = move |x: usize| [tile.min(height - y), tile.min(width - x)];
            (0..width).step_by(step).map(move |x| Tile { at: [y, x], size: size(x) })
        })
    }

    /// The different sizes among [`Self::tiles`], at most nine; each needs a plan of its own.
    pub fn sizes(&self, size: [usize; 2]) -> Vec<[usize; 2]> {
        let mut sizes: Vec<[usize; 2]> = Vec::new();
        for tile in self.tiles(size) {
            if !sizes.contains(&tile.size) {
                sizes.push(tile.size);
            }
        }
        sizes
    }

    /// [`Self::tiles`], each with the place of its size among [`Self::sizes`].
    pub(super) fn sized(&self, size: [usize; 2]) -> impl Iterator<Item = (usize, Tile)> + use<> {
        let sizes = self.sizes(size);
        self.tiles(size).map(move |tile| (sizes.iter().position(|size| *size == tile.size).unwrap_or(0), tile))
    }

    /// What puts decoded tiles of latents of this height and width together.
    pub fn decoded(&self, size: [usize; 2], channels: usize) -> Blend {
        Blend::new(*self, size, channels, self.factor)
    }

    /// What puts encoded tiles together, where the whole picture's latents have this height and width.
    pub fn encoded(&self, size: [usize; 2], channels: usize) -> Blend {
        Blend::new(*self, size, channels, 1)
    }
}

/// Puts tiles together, in the order of [`Tiling::tiles`]. Beside the finished whole it holds a tile, its right edge, and
/// the lower edges of a row of tiles.
pub struct Blend {
    /// Of all, height and width in the unit of what comes in.
    size: [usize; 2],
    channels: usize,
    /// From one tile's begin to the next one's, and what they share.
    step: usize,
    overlap: usize,
    across: usize,
    /// Tiles so far.
    next: usize,
    tile: Vec<f32>,
    /// The right edge of the tile before, and its width.
    left: (Vec<f32>, usize),
    /// The lower edges of the row before, and of this row as far as it is, with their heights.
    above: Vec<(Vec<f32>, usize)>,
}

impl Blend {
    fn new(tiling: Tiling, size: [usize; 2], channels: usize, scale: usize) -> Self {
        let across = size[1].div_ceil(tiling.step());
        Self {
            size: size.map(|n| n * scale),
            channels,
            step: tiling.step() * scale,
            overlap: tiling.overlap * scale,
            across,
            next: 0,
            tile: Vec::new(),
            left: (Vec::new(), 0),
            above: vec![(Vec::new(), 0); across],
        }
    }

    /// The most bytes that it holds, for tiles of `tile` rows and columns.
    pub fn bytes(&self, tile: usize) -> u64 {
        let [height, width] = self.size.map(|n| tile.min(n));
        let edges = self.above.len() * self.overlap.min(height) * width + self.overlap.min(width) * height;
        ((edges + height * width) * self.channels) as u64 * 4
    }

    /// Takes the next tile, `(rows, columns, channels)`, and writes what it adds to `whole`, `(height, width, channels)`.
    ///
    /// # Panics
    /// Where a length does not fit, or there is no next tile.
    pub fn push(&mut self, tile: &[f32], whole: &mut [f32]) {
        let (c, [height, width]) = (self.channels, self.size);
        assert_eq!(whole.len(), height * width * c, "tiles: length of the whole");
        let (row, column) = (self.next / self.across, self.next % self.across);
        let [top, left] = [row, column].map(|n| n * self.step);
        assert!(top < height, "tiles: more than there are");
        let columns = (self.step + self.overlap).min(width - left);
        let rows = (self.step + self.overlap).min(height - top);
        assert_eq!(tile.len(), rows * columns * c, "tiles: length of tile {}", self.next);
        self.tile.clear();
        self.tile.extend_from_slice(tile);
        if row > 0 {
            let (edge, rows_above) = &self.above[column];
            let extent = self.overlap.min(*rows_above).min(rows);
            let edge = edge[(rows_above - extent) * columns * c..].chunks_exact(columns * c);
            for (y, (b, a)) in self.tile.chunks_exact_mut(columns * c).zip(edge).enumerate() {
                fade(a, b, y, extent);
            }
        }
        if column > 0 {
            let (edge, columns_left) = &self.left;
            let extent = self.overlap.min(*columns_left).min(columns);
            for (b, a) in self.tile.chunks_exact_mut(columns * c).zip(edge.chunks_exact(columns_left * c)) {
                let a = a[(columns_left - extent) * c..].chunks_exact(c);
                b.chunks_exact_mut(c).zip(a).enumerate().for_each(|(x, (b, a))| fade(a, b, x, extent));
            }
        }
        let kept = self.step.min(columns);
        for (y, tile) in self.tile.chunks_exact(columns * c).take(self.step).enumerate() {
            whole[((top + y) * width + left) * c..][..kept * c].copy_from_slice(&tile[..kept * c]);
        }
        let (edge, last) = (&mut self.left, self.overlap.min(columns));
        edge.0.clear();
        edge.0.extend(self.tile.chunks_exact(columns * c).flat_map(|row| &row[(columns - last) * c..]));
        edge.1 = last;
        let (edge, last) = (&mut self.above[column], self.overlap.min(rows));
        edge.0.clear();
        edge.0.extend_from_slice(&self.tile[(rows - last) * columns * c..]);
        edge.1 = last;
        self.next += 1;
    }

    /// Whether all tiles are there.
    pub const fn is_done(&self) -> bool {
        self.next / self.across * self.step >= self.size[0]
    }
}

/// `b` becomes `b * share + a * (1 - share)`, the share being `i / extent`.
fn fade(a: &[f32], b: &mut [f32], i: usize, extent: usize) {
    let share = i as f64 / extent as f64;
    let [old, new] = [1.0 - share, share].map(|share| share as f32);
    b.iter_mut().zip(a).for_each(|(b, a)| *b = *a * old + *b * new);
}
