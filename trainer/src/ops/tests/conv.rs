use super::{Form, check, finish, normal};
use crate::ops::{Kit, Precision, composed};
use crate::tensor::{T1, T4};
use dfdx::prelude::*;

/// `(n, c, h, w)`, output channels, kernel, stride.
fn strided(shape: (usize, usize, usize, usize), o: usize, k: usize, stride: usize) {
    led(shape, o, k, stride, k / 2);
}

/// The same with `lead` lines of zeros above and left.
fn led(shape: (usize, usize, usize, usize), o: usize, k: usize, stride: usize, lead: usize) {
    let (n, c, h, w) = shape;
    let inputs = [normal("x", n * c * h * w), normal("w", o * c * k * k), normal("b", o)];
    check(&inputs, 1e-2, |v, form| {
        let d = Cpu::default();
        let x: T4<Cpu> = d.tensor_from_vec(v[0].clone(), shape);
        let w: T4<Cpu> = d.tensor_from_vec(v[1].clone(), (o, c, k, k));
        let b: T1<Cpu> = d.tensor_from_vec(v[2].clone(), (o,));
        let t = x.leaky_trace();
        let y = match (form, stride) {
            (Form::Fused, 1) => Cpu::conv2d(t, &w, &b),
            (Form::Composed, 1) => composed::conv2d(t, &w, &b),
            (Form::Fused, _) => Cpu::conv2d_stride2(t, &w, &b, lead, Precision::F32),
            (Form::Composed, _) => composed::conv2d_stride2(t, &w, &b, lead),
        };
        finish(y, &[&x, &w, &b])
    });
}

/// Seen red with the kernel not flipped for the input's gradient (`unfold(go, .., false, ..)`).
#[test]
fn conv2d() {
    strided((2, 3, 5, 4), 4, 1, 1);
    strided((11, 3, 7, 5), 4, 1, 1);
    strided((1, 1, 3, 3), 1, 3, 1);
    strided((11, 3, 7, 5), 5, 3, 1);
    strided((17, 2, 1, 9), 3, 3, 1);
    strided((2, 2, 30, 29), 3, 3, 1);
    // Several products in each part of the batch.
    strided((17, 1, 20, 21), 2, 3, 1);
}

/// Seen red with the weight's gradient overwritten by each group of pictures instead of accumulated.
#[test]
fn conv2d_stride2() {
    strided((1, 1, 4, 4), 1, 3, 2);
    strided((11, 3, 7, 6), 5, 3, 2);
    strided((2, 3, 5, 5), 4, 1, 2);
    strided((9, 2, 6, 9), 3, 5, 2);
    strided((2, 2, 1, 3), 3, 3, 2);
    strided((17, 1, 40, 41), 2, 3, 2);
}

/// Zeros below and right only. Seen red with zeros above and left all the same (`pad: 1`).
#[test]
fn conv2d_stride2_without_lead() {
    led((1, 1, 4, 4), 1, 3, 2, 0);
    led((11, 3, 7, 6), 5, 3, 2, 0);
    led((2, 1, 2, 3), 4, 3, 2, 0);
    led((9, 2, 6, 9), 3, 5, 2, 0);
    led((17, 1, 40, 41), 2, 3, 2, 0);
}

/// `(n, c, h, w)`, output channels, kernel, stride, padding.
fn transposed(shape: (usize, usize, usize, usize), o: usize, k: usize, stride: usize, pad: usize) {
    let (n, c, h, w) = shape;
    let inputs = [normal("x", n * c * h * w), normal("w", c * o * k * k), normal("b", o)];
    check(&inputs, 1e-2, |v, form| {
        let d = Cpu::default();
        let x: T4<Cpu> = d.tensor_from_vec(v[0].clone(), shape);
        let w: T4<Cpu> = d.tensor_from_vec(v[1].clone(), (c, o, k, k));
        let b: T1<Cpu> = d.tensor_from_vec(v[2].clone(), (o,));
        let t = x.leaky_trace();
        let y = match form {
            Form::Fused => Cpu::conv_transpose2d(t, &w, &b, stride, pad),
            Form::Composed => composed::conv_transpose2d(t, &w, &b, stride, pad),
        };
        finish(y, &[&x, &w, &b])
    });
}

/// Seen red with the bias' gradient taken from the first output channel only (`gb[0]`).
#[test]
fn conv_transpose2d() {
    transposed((1, 1, 2, 2), 1, 2, 2, 0);
    transposed((11, 3, 5, 4), 4, 2, 2, 0);
    transposed((3, 3, 4, 5), 2, 4, 2, 1);
    transposed((3, 2, 3, 4), 3, 3, 1, 1);
    transposed((2, 2, 3, 2), 3, 3, 3, 0);
    transposed((17, 1, 20, 21), 2, 2, 2, 0);
}

/// PyTorch's definition, one value at a time, so that the two forms cannot be wrong together.
#[test]
fn values_equal_the_definitions() {
    let (n, c, h, w, o) = (2, 3, 5, 6, 4);
    let d = Cpu::default();
    let (xs, bs) = (normal("x", n * c * h * w), normal("b", o));
    let x: T4<Cpu> = d.tensor_from_vec(xs.clone(), (n, c, h, w));
    let b: T1<Cpu> = d.tensor_from_vec(bs.clone(), (o,));
    let at = |i: usize, ci: usize, y: isize, x: isize| {
        let inside = y >= 0 && x >= 0 && y < h as isize && x < w as isize;
        if inside { f64::from(xs[((i * c + ci) * h + y as usize) * w + x as usize]) } else { 0.0 }
    };
    let k = 3;
    let ws = normal("w", o * c * k * k);
    let weight: T4<Cpu> = d.tensor_from_vec(ws.clone(), (o, c, k, k));
    for (stride, lead) in [(1, 1usize), (2, 1), (2, 0)] {
        let y = match stride {
            1 => Cpu::conv2d(x.clone(), &weight, &b),
            _ => Cpu::conv2d_stride2(x.clone(), &weight, &b, lead, Precision::F32),
        };
        let (_, _, oh, ow) = *y.shape();
        assert_eq!((oh, ow), if lead == 0 { (h / 2, w / 2) } else { (h.div_ceil(stride), w.div_ceil(stride)) });
        let mut expected = Vec::new();
        for i in 0..n * o * oh * ow {
            let (p, oi, oy, ox) = (i / (o * oh * ow), i / (oh * ow) % o, i / ow % oh, i % ow);
            let lead = lead as isize;
            let taps = (0..c * k * k).map(|t| {
                let (ci, ky, kx) = (t / (k * k), t / k % k, t % k);
                let (sy, sx) = ((oy * stride + ky) as isize - lead, (ox * stride + kx) as isize - lead);
                at(p, ci, sy, sx) * f64::from(ws[oi * c * k * k + t])
            });
            expected.push(taps.sum::<f64>() + f64::from(bs[oi]));
        }
        super::assert_close(&super::wide(&y.as_vec()), &expected, 1e-6, "convolution");
    }
    let (k, s) = (2, 2);
    let ws = normal("w", c * o * k * k);
    let y = Cpu::conv_transpose2d(x.clone(), &d.tensor_from_vec(ws.clone(), (c, o, k, k)), &b, s, 0);
    let mut expected = Vec::new();
    for i in 0..n * o * h * s * w * s {
        let (p, oi, oy, ox) = (i / (o * h * s * w * s), i / (h * s * w * s) % o, i / (w * s) % (h * s), i % (w * s));
        let sum: f64 = (0..c)
            .map(|ci| {
                let tap = ((ci * o + oi) * k + oy % 2) * k + ox % 2;
                at(p, ci, (oy / 2) as isize, (ox / 2) as isize) * f64::from(ws[tap])
            })
            .sum();
        expected.push(sum + f64::from(bs[oi]));
    }
    super::assert_close(&super::wide(&y.as_vec()), &expected, 1e-6, "transposed convolution");
}

/// In bf16: the values and gradients of the composed form with rounded operands. Seen red with the weights not turned for the
/// input's gradient.
#[test]
fn stride2_in_bf16() {
    let Ok(precision) = Cpu::precision("bf16") else {
        eprintln!("skipped: this CPU has no AVX-512 BF16");
        return;
    };
    let round = super::transformer::round;
    for ((n, c, h, w), o, lead) in [((11, 16, 8, 8), 17, 1), ((2, 19, 6, 10), 16, 0), ((3, 32, 16, 16), 32, 1)] {
        let (x, weight, b) = (normal("x", n * c * h * w), normal("w", o * c * 9), normal("b", o));
        let run = |form: Form, x: &[f32], weight: &[f32]| {
            let d = Cpu::default();
            let x: T4<Cpu> = d.tensor_from_vec(x.to_vec(), (n, c, h, w));
            let weight: T4<Cpu> = d.tensor_from_vec(weight.to_vec(), (o, c, 3, 3));
            let b: T1<Cpu> = d.tensor_from_vec(b.clone(), (o,));
            let t = x.leaky_trace();
            let y = match form {
                Form::Fused => Cpu::conv2d_stride2(t, &weight, &b, lead, precision),
                Form::Composed => composed::conv2d_stride2(t, &weight, &b, lead),
            };
            super::finish_with(y, &[&x, &weight, &b], round)
        };
        let (fused, expected) = (run(Form::Fused, &x, &weight), run(Form::Composed, &round(&x), &round(&weight)));
        super::assert_close(&fused.y, &expected.y, 1e-5, "output");
        for (i, (f, e)) in fused.gradients.iter().zip(&expected.gradients).enumerate() {
            super::assert_close(&super::wide(f), &super::wide(e), 1e-5, &format!("gradient {i}"));
        }
    }
}
