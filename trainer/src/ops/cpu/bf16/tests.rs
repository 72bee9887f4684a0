//! Against sums in f64 over the rounded operands. Seen red: one tap's offset one off; the kernel not flipped; the odd channel
//! of a pair left out; the vectors of a tile all the first; rows of taps mirrored in the weight's gradient; cut instead of rounded;
//! the taps of small pictures not flipped. In tiles: a tap further; half the steps; the second outputs' gradients the first's; a
//! row that crosses blocks kept in one.
use super::{Bf16, Size, forward, input_gradient, pointwise, weight_gradient};
use half::bf16;

/// Values that look random, the same everywhere: multiples of 1/8 in [-4, 4) if `exact` (bf16 holds them), else any.
fn values(n: usize, seed: u32, exact: bool) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..n).map(|_| if exact { (next() % 64) as f32 / 8.0 - 4.0 } else { next() as f32 / 2f32.powi(31) - 1.0 }).collect()
}

fn rounded(v: &[f32]) -> Vec<f64> {
    v.iter().map(|v| f64::from(bf16::from_f32(*v).to_f32())).collect()
}

/// Output, gradient of the input and of the weight in f64, and for each the sum of absolute values that went into it.
struct Oracle {
    y: Vec<(f64, f64)>,
    gx: Vec<(f64, f64)>,
    gw: Vec<(f64, f64)>,
}

/// Of a kernel with `taps` taps, 1 or 9.
fn oracle(x: &[f64], w: &[f64], b: &[f32], go: &[f64], s: Size, taps: usize) -> Oracle {
    let hw = s.h * s.w;
    let mut y: Vec<(f64, f64)> =
        (0..s.n * s.o * hw).map(|i| f64::from(b[i / hw % s.o])).map(|b| (b, b.abs())).collect();
    let (mut gx, mut gw) = (vec![(0.0, 0.0); x.len()], vec![(0.0, 0.0); w.len()]);
    let add = |to: &mut (f64, f64), v: f64| *to = (to.0 + v, to.1 + v.abs());
    for i in 0..y.len() {
        let (n, o, py, px) = (i / hw / s.o, i / hw % s.o, i % hw / s.w, i % s.w);
        for c in 0..s.c {
            for tap in 0..taps {
                let (dy, dx) = if taps == 9 { (tap / 3, tap % 3) } else { (1, 1) };
                let (qy, qx) = ((py + dy).wrapping_sub(1), (px + dx).wrapping_sub(1));
                if qy < s.h && qx < s.w {
                    let (xi, wi) = ((n * s.c + c) * hw + qy * s.w + qx, (o * s.c + c) * taps + tap);
                    add(&mut y[i], x[xi] * w[wi]);
                    add(&mut gx[xi], go[i] * w[wi]);
                    add(&mut gw[wi], go[i] * x[xi]);
                }
            }
        }
    }
    Oracle { y, gx, gw }
}

type Forward = fn(Bf16, &[f32], &[f32], &[f32], Size) -> Vec<f32>;
/// Adds the gradient of the input or the weight, from the other and the output's.
type Backward = fn(Bf16, &[f32], &[f32], &mut [f32], Size);

/// Odd channel counts, rows that fill no tile, widths below, at and above a vector, more pictures than parts.
const SIZES: [Size; 15] = [
    Size { n: 1, c: 1, h: 1, w: 1, o: 1 },
    Size { n: 3, c: 5, h: 7, w: 7, o: 9 },
    Size { n: 2, c: 6, h: 4, w: 16, o: 8 },
    Size { n: 2, c: 3, h: 5, w: 33, o: 17 },
    Size { n: 19, c: 4, h: 3, w: 2, o: 4 },
    Size { n: 9, c: 16, h: 28, w: 28, o: 16 },
    // Small pictures that are unfolded, and so many that the weight's gradient goes by parts.
    Size { n: 5, c: 6, h: 4, w: 4, o: 19 },
    Size { n: 7, c: 5, h: 8, w: 8, o: 33 },
    Size { n: 4, c: 33, h: 2, w: 8, o: 5 },
    Size { n: 60, c: 44, h: 40, w: 40, o: 2 },
    // Whole tiles of 16 rows, 16 pairs and 16 columns, with and without something left over; one to four panels of outputs.
    Size { n: 3, c: 32, h: 16, w: 16, o: 80 },
    Size { n: 5, c: 64, h: 8, w: 8, o: 48 },
    Size { n: 6, c: 48, h: 4, w: 4, o: 32 },
    Size { n: 2, c: 32, h: 9, w: 20, o: 56 },
    Size { n: 4, c: 16, h: 5, w: 7, o: 112 },
];

fn check(exact: bool, taps: usize) {
    let cpus = Bf16::each();
    if cpus.is_empty() {
        eprintln!("skipped: this CPU has no AVX-512 BF16");
    }
    let (forward, input, weight): (Forward, Backward, Backward) = if taps == 9 {
        (forward, input_gradient, weight_gradient)
    } else {
        (pointwise::forward, pointwise::input_gradient, pointwise::weight_gradient)
    };
    for (cpu, s) in cpus.iter().flat_map(|cpu| SIZES.map(|s| (*cpu, s))) {
        let hw = s.h * s.w;
        let (x, w) = (values(s.n * s.c * hw, 1, exact), values(s.o * s.c * taps, 2, exact));
        let (go, b) = (values(s.n * s.o * hw, 3, exact), values(s.o, 4, exact));
        let want = oracle(&rounded(&x), &rounded(&w), &b, &rounded(&go), s, taps);
        let y = forward(cpu, &x, &w, &b, s);
        let (mut gx, mut gw) = (vec![1.0; x.len()], vec![1.0; w.len()]);
        input(cpu, &w, &go, &mut gx, s);
        weight(cpu, &x, &go, &mut gw, s);
        gx.iter_mut().chain(&mut gw).for_each(|g| *g -= 1.0);
        for (name, got, want) in [("y", &y, &want.y), ("gx", &gx, &want.gx), ("gw", &gw, &want.gw)] {
            assert_eq!(got.len(), want.len());
            for (i, (got, (sum, of_absolutes))) in got.iter().zip(want).enumerate() {
                // Multiples of 1/64 below 2^18 are exact in f32 whatever the order. Else each of the at most 2^13 sums rounds by
                // 2^-24 of its size, and the test's own `1.0` by as much.
                let bound =
                    if exact { 0.0 } else { of_absolutes * 9.0 * 2f64.powi(-24) * f64::from(s.h as u32).sqrt() + 2e-7 };
                let error = (f64::from(*got) - sum).abs();
                assert!(error <= bound, "{name}[{i}] of {}x{}x{}x{} to {}: {got}, not {sum}", s.n, s.c, s.h, s.w, s.o);
            }
        }
    }
}

#[test]
fn exact_where_bf16_is_exact() {
    check(true, 9);
}

#[test]
fn near_f64_sums_of_rounded_operands() {
    check(false, 9);
}

/// Both seen red with one pass only over what is summed (`panels`), and with no more than nine rows of a panel packed.
#[test]
fn pointwise_is_exact_where_bf16_is_exact() {
    check(true, 1);
}

#[test]
fn pointwise_near_f64_sums_of_rounded_operands() {
    check(false, 1);
}

/// Rounding to bf16 moves what a layer learns from by less than 1 %: against f64 with nothing rounded.
#[test]
fn gradients_near_those_of_full_precision() {
    let Some(cpu) = Bf16::detect() else {
        eprintln!("skipped: this CPU has no AVX-512 BF16");
        return;
    };
    let s = Size { n: 9, c: 18, h: 14, w: 14, o: 20 };
    let (x, w) = (values(s.n * s.c * 196, 1, false), values(s.o * s.c * 9, 2, false));
    let (go, b) = (values(s.n * s.o * 196, 3, false), values(s.o, 4, false));
    let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let want = oracle(&wide(&x), &wide(&w), &b, &wide(&go), s, 9);
    let y = forward(cpu, &x, &w, &b, s);
    let (mut gx, mut gw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    input_gradient(cpu, &w, &go, &mut gx, s);
    weight_gradient(cpu, &x, &go, &mut gw, s);
    for (name, got, want) in [("y", &y, &want.y), ("gx", &gx, &want.gx), ("gw", &gw, &want.gw)] {
        let error: f64 = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w.0).powi(2)).sum();
        let size: f64 = want.iter().map(|w| w.0.powi(2)).sum();
        let relative = (error / size).sqrt();
        assert!((1e-4..1e-2).contains(&relative), "{name}: relative error {relative}");
    }
}

#[test]
fn rounds_to_nearest_even() {
    let Some(cpu) = Bf16::detect() else {
        eprintln!("skipped: this CPU has no AVX-512 BF16");
        return;
    };
    // 1 + 2^-8 lies halfway between 1 and 1 + 2^-7: even is 1. 1 + 3 * 2^-8 lies halfway too: even is 1 + 2^-6.
    for (x, want) in
        [(1.0 + 2f32.powi(-8), 1.0), (1.0 + 3.0 * 2f32.powi(-8), 1.0 + 2f32.powi(-6)), (f32::NAN, f32::NAN)]
    {
        let mut w = [0.0; 9];
        w[4] = 1.0;
        let y = forward(cpu, &[x], &w, &[0.0], Size { n: 1, c: 1, h: 1, w: 1, o: 1 });
        assert!(y[0] == want || (y[0].is_nan() && want.is_nan()), "{x}: {}, not {want}", y[0]);
    }
}
