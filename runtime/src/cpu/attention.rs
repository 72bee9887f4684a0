//! Scaled dot-product attention with an online softmax: no matrix of scores is ever whole.

use super::{Context, epilogue};

/// Sizes of an attention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttentionShape {
    /// Pictures.
    pub n: usize,
    /// Tokens of `q` and of the output.
    pub queries: usize,
    /// Tokens of `k` and `v`.
    pub keys: usize,
    /// Channels of all of them.
    pub c: usize,
    /// Equal ranges of channels that attend each by itself; divides `c`.
    pub heads: usize,
    /// Query `i` sees only keys `0..=i`.
    pub causal: bool,
}

/// Bytes of scratch [`attention`] needs.
pub fn attention_scratch(_ctx: &Context, _s: &AttentionShape) -> usize {
    0
}

/// `y = softmax(q kᵀ / sqrt(c / heads)) v` for each picture and head: `q` and `y` are `[n][queries][c]`, `k` and `v`
/// `[n][keys][c]`, head `i` the channels from `i * c / heads` (Vaswani et al. 2017, equation 1).
///
/// # Panics
/// Where a length does not fit `s`, or `scratch` is shorter than [`attention_scratch`] says.
pub fn attention(_ctx: &Context, s: &AttentionShape, qkv: [&[f32]; 3], _scratch: &mut [u8], y: &mut [f32]) {
    let [q, k, v] = qkv;
    let d = s.c / s.heads;
    let scale = (1.0 / libm::sqrt(d as f64)) as f32;
    for (i, y) in y.chunks_exact_mut(d).enumerate() {
        let (row, head) = (i / s.heads, i % s.heads);
        let (n, token) = (row / s.queries, row % s.queries);
        let q = &q[row * s.c + head * d..][..d];
        let (mut top, mut sum) = (f32::NEG_INFINITY, 0.0);
        y.fill(0.0);
        for key in 0..if s.causal { token + 1 } else { s.keys } {
            let at = (n * s.keys + key) * s.c + head * d;
            let score = q.iter().zip(&k[at..]).map(|(q, k)| q * scale * k).sum::<f32>();
            let new = if score > top { score } else { top };
            let (old, weight) = (epilogue::exp(top - new), epilogue::exp(score - new));
            (top, sum) = (new, sum * old + weight);
            y.iter_mut().zip(&v[at..]).for_each(|(y, v)| *y = *y * old + weight * v);
        }
        y.iter_mut().for_each(|y| *y /= sum);
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition;
    use super::super::rows::random;
    use super::*;
    use alloc::vec;

    /// Against the definition, on odd shapes.
    #[test]
    fn equals_the_definition_on_odd_shapes() {
        let shapes = [(1, 1, 1, 1, 1), (2, 35, 35, 12, 3), (1, 7, 77, 20, 2), (2, 64, 64, 40, 1), (1, 3, 130, 33, 11)];
        for (step, (n, queries, keys, c, heads)) in (0..).zip(shapes) {
            for causal in [false, true] {
                let s = AttentionShape { n, queries, keys, c, heads, causal };
                if causal && queries != keys {
                    continue;
                }
                let q: vec::Vec<f32> = random(n * queries * c, step).iter().map(|v| v * 5.0).collect();
                let (k, v) = (random(n * keys * c, step + 100), random(n * keys * c, step + 200));
                let want = definition::attention(&s, [&q, &k, &v]);
                let ctx = Context::new(2);
                let (mut y, mut scratch) = (vec![f32::NAN; q.len()], vec![0xff; attention_scratch(&ctx, &s)]);
                attention(&ctx, &s, [&q, &k, &v], &mut scratch, &mut y);
                for (i, (y, want)) in y.iter().zip(&want).enumerate() {
                    assert!((f64::from(*y) - want).abs() < 2e-6, "{s:?} [{i}]: {y}, not {want}");
                }
            }
        }
    }
}
