//! Squares of pixels as channels, as PyTorch's `pixel_unshuffle` has them: done on the host, where pictures come from.

use alloc::vec::Vec;

/// A picture `(h, w, channels)` of `width` columns as `(h / u, w / u, channels u²)`, where the squares of u x u pixels of each
/// channel lie side by side, row by row. What is over of rows and columns is left out.
pub(super) fn pixel_unshuffle(picture: &[f32], width: usize, channels: usize, u: usize) -> Vec<f32> {
    if u == 1 {
        return picture.to_vec();
    }
    let rows = picture.len() / (width * channels).max(1) / u;
    let at = |y: usize, x: usize, k: usize| {
        let (channel, dy, dx) = (k / (u * u), k / u % u, k % u);
        picture[((y * u + dy) * width + x * u + dx) * channels + channel]
    };
    let places = (0..rows).flat_map(|y| (0..width / u).map(move |x| (y, x)));
    places.flat_map(|(y, x)| (0..channels * u * u).map(move |k| at(y, x, k))).collect()
}
