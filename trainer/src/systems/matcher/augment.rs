//! Pictures as the matcher sees them in training: moved, mirrored, blurred, coloured and noisy, so that it does not take a
//! sample's softness for another subject.
use nijimi_runtime::raw::rng::Stream;

/// Largest shift, as a share of the side; range of sizes; of colours' gain and offset; of blur and of noise.
const SHIFT: f32 = 0.08;
const SIZE: [f32; 2] = [0.85, 1.12];
const GAIN: f32 = 0.2;
const OFFSET: f32 = 0.15;
const BLUR: f32 = 1.6;
const NOISE: f32 = 0.15;

/// A picture of bytes `(side, side, 3)` as values -1 to 1, `(3, side, side)`.
pub fn plain(pixels: &[u8], out: &mut [f32]) {
    let plane = out.len() / 3;
    for (i, pixel) in pixels.chunks_exact(3).enumerate() {
        (0..3).for_each(|c| out[c * plane + i] = f32::from(pixel[c]) / 127.5 - 1.0);
    }
}

/// As [`plain`], changed as `draw` says; mirrored half the time if it may be. What moves in is white.
pub fn changed(pixels: &[u8], side: usize, flip: bool, draw: &mut Stream, out: &mut [f32]) {
    let mut within = |[low, high]: [f32; 2]| low + (high - low) * draw.uniform();
    let size = within(SIZE);
    let reach = SHIFT * side as f32;
    let shift = [within([-reach, reach]), within([-reach, reach])];
    let mirrored = flip && within([0.0, 1.0]) < 0.5;
    let colours: [[f32; 2]; 3] = std::array::from_fn(|_| [1.0 + within([-GAIN, GAIN]), within([-OFFSET, OFFSET])]);
    let blur = (within([-1.0, 1.0]) * BLUR).max(0.0);
    let noise = (within([-1.0, 1.0]) * NOISE).max(0.0);
    let middle = (side as f32 - 1.0) / 2.0;
    let white = 1.0;
    let plane = side * side;
    for y in 0..side {
        for x in 0..side {
            let across = if mirrored { side - 1 - x } else { x };
            let from =
                [(y, shift[0]), (across, shift[1])].map(|(v, shift)| (v as f32 - middle - shift) / size + middle);
            for c in 0..3 {
                let at = |y: f32, x: f32| {
                    let inside = (0.0..side as f32).contains(&y) && (0.0..side as f32).contains(&x);
                    if !inside {
                        white
                    } else {
                        f32::from(pixels[(y as usize * side + x as usize) * 3 + c]) / 127.5 - 1.0
                    }
                };
                out[c * plane + y * side + x] = bilinear(at, from[0], from[1]);
            }
        }
    }
    for (plane, [gain, offset]) in out.chunks_exact_mut(plane).zip(colours) {
        if blur > 0.3 {
            soften(plane, side, blur);
        }
        plane.iter_mut().for_each(|v| *v = *v * gain + offset);
    }
    if noise > 0.0 {
        out.iter_mut().for_each(|v| *v += noise * draw.normal());
    }
}

fn bilinear(at: impl Fn(f32, f32) -> f32, y: f32, x: f32) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    let row = |y: f32| at(y, left) * (1.0 - right) + at(y, left + 1.0) * right;
    row(top) * (1.0 - down) + row(top + 1.0) * down
}

/// Gaussian blur of a plane; lines beyond its edges are as its edges.
pub fn soften(plane: &mut [f32], side: usize, deviation: f32) {
    let radius = (2.5 * deviation).ceil() as i64;
    let weights: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f32 / deviation).powi(2)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let mut line = vec![0f32; side];
    for [step, other] in [[1, side], [side, 1]] {
        for start in (0..side).map(|i| i * other) {
            (0..side).for_each(|i| line[i] = plane[start + i * step]);
            for i in 0..side {
                let at = |j: i64| line[(i as i64 + j).clamp(0, side as i64 - 1) as usize];
                plane[start + i * step] = (-radius..).zip(&weights).map(|(j, w)| w * at(j)).sum::<f32>() / sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_what_is_to_be_seen() {
        let side = 32;
        // Black in the upper left quarter.
        let pixels: Vec<u8> =
            (0..side * side).flat_map(|i| if i / side < 16 && i % side < 16 { [0; 3] } else { [255; 3] }).collect();
        let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
        let mut seen = [0, 0];
        for i in 0..100 {
            let mut out = vec![0f32; 3 * side * side];
            changed(&pixels, side, i % 2 == 0, &mut Stream::new(1, "augment", i), &mut out);
            assert!(out.iter().all(|v| v.is_finite() && v.abs() < 2.2));
            let at =
                |y: usize, x: usize| mean(&(0..3).map(|c| out[c * side * side + y * side + x]).collect::<Vec<_>>());
            assert!(at(8, 8) + 0.7 < at(24, 24) || at(8, 23) + 0.7 < at(24, 24), "the quarter is black: {i}");
            let left = at(8, 8) < at(8, 23);
            seen[usize::from(left)] += 1;
            assert!(left || i % 2 == 0, "only what may be is mirrored");
        }
        assert!(seen[0] > 12, "{seen:?}");
    }

    /// Seen red with the weights' sum left out.
    #[test]
    fn blur_spreads_a_point_and_keeps_its_sum() {
        let mut plane = vec![0f32; 17 * 17];
        plane[8 * 17 + 8] = 1.0;
        soften(&mut plane, 17, 1.0);
        assert!((plane.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((plane[8 * 17 + 8] - 0.159).abs() < 0.005 && (plane[8 * 17 + 9] - plane[9 * 17 + 8]).abs() < 1e-7);
        let mut out = [0f32; 3];
        plain(&[0, 255, 51], &mut out);
        assert_eq!(out, [-1.0, 1.0, -0.6]);
    }
}
