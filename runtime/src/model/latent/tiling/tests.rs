//! Against diffusers' algorithm, transcribed line by line, on decoders made up for the test.

use super::*;
use crate::rng::normal_fill;

/// `(height, width, channels)`.
#[derive(Clone)]
struct Image {
    h: usize,
    w: usize,
    c: usize,
    data: Vec<f32>,
}

impl Image {
    fn at(&mut self, y: usize, x: usize, c: usize) -> &mut f32 {
        &mut self.data[(y * self.w + x) * self.c + c]
    }

    fn crop(&mut self, y: usize, x: usize, h: usize, w: usize) -> Self {
        let (h, w, c) = (h.min(self.h - y), w.min(self.w - x), self.c);
        let mut data = Vec::new();
        for i in 0..h * w * c {
            data.push(*self.at(y + i / c / w, x + i / c % w, i % c));
        }
        Self { h, w, c, data }
    }
}

/// `blend_v` of autoencoder_kl.py (diffusers 0.35): `a` lies above `b`.
fn blend_v(a: &mut Image, b: &mut Image, extent: usize) {
    let extent = a.h.min(b.h).min(extent);
    for y in 0..extent {
        for i in 0..b.w * b.c {
            let (x, c) = (i / b.c, i % b.c);
            let share = y as f64 / extent as f64;
            *b.at(y, x, c) = *a.at(a.h - extent + y, x, c) * (1.0 - share) as f32 + *b.at(y, x, c) * share as f32;
        }
    }
}

/// `blend_h`: `a` lies left of `b`.
fn blend_h(a: &mut Image, b: &mut Image, extent: usize) {
    let extent = a.w.min(b.w).min(extent);
    for x in 0..extent {
        for i in 0..b.h * b.c {
            let (y, c) = (i / b.c, i % b.c);
            let share = x as f64 / extent as f64;
            *b.at(y, x, c) = *a.at(y, a.w - extent + x, c) * (1.0 - share) as f32 + *b.at(y, x, c) * share as f32;
        }
    }
}

/// `tiled_decode` and `tiled_encode`, which differ in their sizes: `from` of what is cut, `to` of what comes out.
fn reference(whole: &mut Image, from: usize, to: usize, f: impl Fn(&mut Image) -> Image) -> Image {
    let overlap_size = (from as f64 * (1.0 - 0.25)) as usize;
    let blend_extent = (to as f64 * 0.25) as usize;
    let row_limit = to - blend_extent;
    let mut rows: Vec<Vec<Image>> = Vec::new();
    for i in (0..whole.h).step_by(overlap_size) {
        let mut row = Vec::new();
        for j in (0..whole.w).step_by(overlap_size) {
            row.push(f(&mut whole.crop(i, j, from, from)));
        }
        rows.push(row);
    }
    let mut result = Image { h: 0, w: 0, c: 0, data: Vec::new() };
    for i in 0..rows.len() {
        let mut result_row: Vec<Image> = Vec::new();
        for j in 0..rows[i].len() {
            let mut tile = rows[i][j].clone();
            if i > 0 {
                blend_v(&mut rows[i - 1][j], &mut tile, blend_extent);
            }
            if j > 0 {
                blend_h(&mut rows[i][j - 1], &mut tile, blend_extent);
            }
            // In place, there.
            rows[i][j] = tile.clone();
            result_row.push(tile.crop(0, 0, row_limit, row_limit));
        }
        let h = result_row[0].h;
        result.w = result_row.iter().map(|tile| tile.w).sum();
        result.c = result_row[0].c;
        result.h += h;
        for y in 0..h {
            for tile in &result_row {
                result.data.extend_from_slice(&tile.data[y * tile.w * tile.c..][..tile.w * tile.c]);
            }
        }
    }
    result
}

/// Each pixel depends on its place in the tile, and on the tile's size and first value.
fn decoder(factor: usize) -> impl Fn(&mut Image) -> Image {
    move |z: &mut Image| {
        let (h, w, c) = (z.h * factor, z.w * factor, 3);
        let mut data = Vec::new();
        for i in 0..h * w * c {
            let (y, x) = (i / c / w, i / c % w);
            let place = (y * 7 + x * 3 + h * 11 + w * 5 + i % c) % 101;
            data.push(*z.at(y / factor, x / factor, i % c % z.c) + z.data[0] + 0.03 * place as f32);
        }
        Image { h, w, c, data }
    }
}

fn encoder(factor: usize) -> impl Fn(&mut Image) -> Image {
    move |x: &mut Image| {
        let (h, w, c) = (x.h / factor, x.w / factor, 2);
        let mut data = Vec::new();
        for i in 0..h * w * c {
            let (row, column) = (i / c / w, i / c % w);
            let place = (row * 7 + column * 3 + h * 11 + w * 5) % 101;
            data.push(*x.at(row * factor + 1, column * factor, i % c) - x.data[0] + 0.03 * place as f32);
        }
        Image { h, w, c, data }
    }
}

fn random(h: usize, w: usize, c: usize) -> Image {
    let mut data = vec![0.0; h * w * c];
    normal_fill((h * 1000 + w) as u64, 0, &mut data);
    Image { h, w, c, data }
}

const SIZES: [[usize; 2]; 12] =
    [[8, 8], [9, 8], [6, 40], [16, 16], [13, 29], [31, 12], [7, 7], [25, 26], [40, 3], [1, 1], [1, 23], [14, 20]];

/// Seen red with: extents that a small tile does not shorten; shares half a pixel on; edges kept before they are blended;
/// no fading into the second column; half of a tile shared.
#[test]
fn decoded_tiles_are_put_together_as_in_the_reference_implementation() {
    for (tile, factor) in [(8, 8), (8, 2), (4, 2), (12, 1), (16, 4)] {
        let tiling = Tiling::new(tile, factor).unwrap();
        for [h, w] in SIZES {
            let mut latents = random(h, w, 2);
            let want = reference(&mut latents, tile, tile * factor, decoder(factor));
            assert_eq!([want.h, want.w], [h * factor, w * factor]);
            let mut whole = vec![f32::NAN; want.data.len()];
            let mut blend = tiling.decoded([h, w], want.c);
            let (sizes, bytes) = (tiling.sizes([h, w]), blend.bytes(tile * factor));
            for tile in tiling.tiles([h, w]) {
                assert!(!blend.is_done() && sizes.contains(&tile.size));
                let data = tile.cut(&latents.data, w, 2, 1);
                let mut z = Image { h: tile.size[0], w: tile.size[1], c: 2, data };
                blend.push(&decoder(factor)(&mut z).data, &mut whole);
            }
            assert!(blend.is_done());
            let edges: usize = blend.above.iter().map(|(edge, _)| edge.len()).sum();
            let held = 4 * (edges + blend.left.0.len() + tile.min(h) * tile.min(w) * factor * factor * want.c);
            assert!(held as u64 <= bytes, "{held} {bytes}");
            assert_eq!(whole, want.data, "{tile} {factor} {h}x{w}");
        }
    }
}

/// Seen red with the decoder's sizes.
#[test]
fn encoded_tiles_are_put_together_as_in_the_reference_implementation() {
    for (tile, factor) in [(8, 8), (8, 2), (4, 4)] {
        let tiling = Tiling::new(tile, factor).unwrap();
        for [h, w] in SIZES {
            let mut picture = random(h * factor, w * factor, 3);
            let want = reference(&mut picture, tile * factor, tile, encoder(factor));
            let mut whole = vec![f32::NAN; want.data.len()];
            let mut blend = tiling.encoded([h, w], want.c);
            for tile in tiling.tiles([h, w]) {
                let [rows, columns] = tile.size.map(|n| n * factor);
                let data = tile.cut(&picture.data, w * factor, 3, factor);
                let mut x = Image { h: rows, w: columns, c: 3, data };
                blend.push(&encoder(factor)(&mut x).data, &mut whole);
            }
            assert_eq!(whole, want.data, "{tile} {factor} {h}x{w}");
        }
    }
}

#[test]
fn tiles_of_published_sizes() {
    let tiling = Tiling::new(64, 8).unwrap();
    assert_eq!((tiling.overlap, tiling.cuts([64, 64]), tiling.cuts([64, 65])), (16, false, true));
    assert_eq!(tiling.sizes([64, 64]), [[64, 64], [64, 16], [16, 64], [16, 16]]);
    assert_eq!(tiling.sizes([128, 96]), [[64, 64], [64, 48], [32, 64], [32, 48]]);
    assert!(tiling.sizes([129, 129]).len() <= 9);
    assert!(Tiling::new(3, 8).is_err() && Tiling::new(5000, 8).is_err());
}
