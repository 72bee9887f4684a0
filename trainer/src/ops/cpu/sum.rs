//! Sums that vectorize and round little: sixteen f32 lanes over a block, blocks added in f64.

/// Elements after which the lanes are emptied into the f64 total.
const BLOCK: usize = 4096;

/// The sum of `f(x)`.
pub fn sum_by(x: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0f64;
    for block in x.chunks(BLOCK) {
        let mut lanes = [0f32; 16];
        let mut chunks = block.chunks_exact(16);
        for c in &mut chunks {
            for (l, x) in lanes.iter_mut().zip(c) {
                *l += f(*x);
            }
        }
        let tail: f32 = chunks.remainder().iter().map(|x| f(*x)).sum();
        total += f64::from(lanes.iter().sum::<f32>()) + f64::from(tail);
    }
    total
}

/// The sum of `f(a, b)` over two slices of one length.
pub fn sum_by2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0f64;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [0f32; 16];
        let (mut ca, mut cb) = (a.chunks_exact(16), b.chunks_exact(16));
        for (a, b) in (&mut ca).zip(&mut cb) {
            for ((l, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *l += f(*a, *b);
            }
        }
        let tail: f32 = ca.remainder().iter().zip(cb.remainder()).map(|(a, b)| f(*a, *b)).sum();
        total += f64::from(lanes.iter().sum::<f32>()) + f64::from(tail);
    }
    total
}

/// The sum of squares, all of it in f64.
pub fn sum_squares(x: &[f32]) -> f64 {
    super::wide(|| {
        let (mut lanes, (chunks, rest)) = ([0f64; 32], x.as_chunks::<32>());
        for c in chunks {
            lanes.iter_mut().zip(c).for_each(|(l, x)| *l += f64::from(*x) * f64::from(*x));
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>()
    })
}

/// The largest value; `-inf` of none. NaN is passed over.
pub fn largest(x: &[f32]) -> f32 {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 16];
    let mut chunks = x.chunks_exact(16);
    for c in &mut chunks {
        for (l, x) in lanes.iter_mut().zip(c) {
            *l = pick(*l, *x);
        }
    }
    chunks.remainder().iter().chain(&lanes).fold(f32::NEG_INFINITY, |a, b| pick(a, *b))
}
