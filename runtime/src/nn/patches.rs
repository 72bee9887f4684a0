//! What transformers of pictures share: patches of latents, vectors of a modulation, angles of rotary positions.

use crate::graph::{Graph, GraphError, Shape, ValueId};
use alloc::format;
use alloc::vec::Vec;

/// Sides of a patch, in pixels of latents.
pub(crate) const PATCH: usize = 2;

/// Patches of `(2, 2, channels)` to a picture: of each row of patches first all upper rows of pixels, then all lower ones.
pub(crate) fn unpatch(g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
    let s = g.shape(x);
    let half = s.c / PATCH;
    let [upper, lower] = [0, half].map(|from| {
        let row = g.slice(name, x, from, half)?;
        g.reshape(name, row, Shape::new(s.n, s.h, 1, s.w * half))
    });
    let lines = g.concat(name, upper?, lower?)?;
    g.reshape(name, lines, Shape::new(s.n, PATCH * s.h, PATCH * s.w, half / PATCH))
}

/// Vectors of `d` numbers of a modulation, from number `first` on.
pub(crate) fn rows<const N: usize>(
    g: &mut Graph,
    name: &str,
    m: ValueId,
    first: usize,
    d: usize,
) -> Result<[ValueId; N], GraphError> {
    let mut vectors = [m; N];
    for (i, vector) in vectors.iter_mut().enumerate() {
        *vector = g.slice(&format!("{name}.{}", first + i), m, (first + i) * d, d)?;
    }
    Ok(vectors)
}

/// Frequencies of rotary positions along an axis of `dim` channels, in pairs: `theta^(-2 i / dim)` (Su et al. 2021, "RoFormer",
/// section 3.2.2).
pub(crate) fn frequencies(theta: f64, dim: usize) -> impl Iterator<Item = f64> {
    (0..dim / 2).map(move |i| libm::pow(theta, -2.0 * i as f64 / dim as f64))
}

/// Appends a token's row of [`Graph::rotary`]'s angles: the cosines of all pairs, then the sines.
pub(crate) fn write_angles(angles: impl Iterator<Item = f32> + Clone, out: &mut Vec<f32>) {
    out.extend(angles.clone().map(|angle| libm::cos(f64::from(angle)) as f32));
    out.extend(angles.map(|angle| libm::sin(f64::from(angle)) as f32));
}
