//! Every operation of [`super::Kit`] composed of dfdx's own: the oracle of the fused forms, and the form that runs on CUDA.
use super::{BatchStats, Kit};
use crate::tensor::{T1, T2, T4, Tp};
use dfdx::prelude::*;

/// Zero padding of height and width by `p` (dfdx has no padding).
fn pad<D: Kit, T: Tp<D>>(x: T4<D, T>, p: usize) -> T4<D, T> {
    if p == 0 {
        return x;
    }
    let device = x.device().clone();
    let (n, c, h, w) = *x.shape();
    let rows: T4<D> = device.zeros_like(&(n, c, p, w));
    let x = (x, rows.clone()).concat_along(Axis::<2>);
    let x = (rows.retaped::<T>(), x).concat_along(Axis::<2>);
    let columns: T4<D> = device.zeros_like(&(n, c, h + 2 * p, p));
    let x = (x, columns.clone()).concat_along(Axis::<3>);
    (columns.retaped::<T>(), x).concat_along(Axis::<3>)
}

/// Convolution as k*k shifted copies, concatenated along channels, times the weights.
pub fn conv2d<D: Kit, T: Tp<D>>(x: T4<D, T>, w: &T4<D>, b: &T1<D>) -> T4<D, T> {
    let (o, c, k, _) = *w.shape();
    let (n, _, h, wd) = *x.shape();
    let (x, mut tape) = pad(x, k / 2).split_tape();
    let mut columns: Option<T4<D, T>> = None;
    for ky in 0..k {
        for kx in 0..k {
            // dfdx's CPU gradient of `slice` overwrites instead of adding: a fresh id for each slice keeps it right.
            let shifted = x.clone().put_tape(std::mem::take(&mut tape)) * 1.0;
            let shifted: T4<D, T> = shifted.slice((.., .., ky..ky + h, kx..kx + wd)).reshape_like(&(n, c, h, wd));
            let (shifted, t) = shifted.split_tape();
            columns = Some(match columns {
                None => shifted.put_tape(t),
                Some(seen) => (seen, shifted.put_tape(t)).concat_along(Axis::<1>),
            });
        }
    }
    let columns = columns.expect("a kernel has at least one tap").reshape_like(&(n, k * k * c, h * wd));
    let w = w.retaped::<T>().permute::<_, Axes4<0, 2, 3, 1>>().reshape_like(&(o, k * k * c));
    let y = w.broadcast_like::<_, Axis<0>>(&(n, o, k * k * c)).matmul(columns).reshape_like(&(n, o, h, wd));
    let shape = *y.shape();
    y + b.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&shape)
}

/// See [`Kit::batch_norm_relu`].
pub fn batch_norm_relu<D: Kit, T: Tp<D>>(x: T4<D, T>, gamma: &T1<D>, beta: &T1<D>, eps: f32) -> (T4<D, T>, BatchStats) {
    let shape = *x.shape();
    let count = (shape.0 * shape.2 * shape.3) as f32;
    let (x, tape) = x.split_tape();
    let (mean_values, tape) = x.clone().put_tape(tape).mean::<(usize,), Axes3<0, 2, 3>>().split_tape();
    let mean = mean_values.clone().put_tape(tape).broadcast_like::<_, Axes3<0, 2, 3>>(&shape);
    let centred = x.retaped::<T>() - mean;
    let (c, tape) = centred.split_tape();
    let var = c.clone().put_tape(tape).square().mean::<(usize,), Axes3<0, 2, 3>>();
    let (var_values, tape) = var.split_tape();
    let std = (var_values.clone().put_tape(tape) + eps).sqrt().broadcast_like::<_, Axes3<0, 2, 3>>(&shape);
    let (std, tape) = std.split_tape();
    let y = c.put_tape(tape) / std;
    let y = y * gamma.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&shape)
        + beta.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&shape);
    let unbiased = count / (count - 1.0).max(1.0);
    let var = var_values.as_vec().iter().map(|v| v * unbiased).collect();
    (y.relu(), BatchStats { mean: mean_values.as_vec(), var })
}

/// See [`Kit::add_channels`].
pub fn add_channels<D: Kit, T: Tp<D>>(x: T4<D, T>, v: T2<D, T>) -> T4<D, T> {
    let shape = *x.shape();
    x + v.broadcast_like::<_, Axes2<2, 3>>(&shape)
}

/// See [`Kit::max_pool2`]. Ties send the gradient to each maximum (dfdx), not to the first (PyTorch, and the fused form).
pub fn max_pool2<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T4<D, T> {
    let (n, c, h, w) = *x.shape();
    x.reshape_like(&(n, c, h / 2, 2usize, w / 2, 2usize)).max::<_, Axes2<3, 5>>()
}

/// The matrix `(2n, n)` that interpolates a row of `n` values to `2n`, half-pixel centres, edges clamped.
fn interpolation(n: usize) -> Vec<f32> {
    let mut m = vec![0f32; 2 * n * n];
    for o in 0..2 * n {
        let s = ((o as f32 + 0.5) / 2.0 - 0.5).max(0.0);
        let (i, f) = (s.floor() as usize, s.fract());
        m[o * n + i] += 1.0 - f;
        m[o * n + (i + 1).min(n - 1)] += f;
    }
    m
}

/// See [`Kit::upsample_bilinear2`]: two products with interpolation matrices.
pub fn upsample_bilinear2<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T4<D, T> {
    let device = x.device().clone();
    let (n, c, h, w) = *x.shape();
    let down: T2<D> = device.tensor_from_vec(interpolation(h), (2 * h, h));
    let across: T2<D> = device.tensor_from_vec(interpolation(w), (2 * w, w));
    let x = x.reshape_like(&(n * c * h, w)).matmul(across.permute::<_, Axes2<1, 0>>()).reshape_like(&(n * c, h, 2 * w));
    let down = down.retaped::<T>().broadcast_like::<_, Axis<0>>(&(n * c, 2 * h, h));
    down.matmul(x).reshape_like(&(n, c, 2 * h, 2 * w))
}

/// See [`Kit::concat`].
pub fn concat<D: Kit, T: Tp<D>>(a: T4<D, T>, b: T4<D, T>) -> T4<D, T> {
    (a, b).concat_along(Axis::<1>)
}

/// See [`Kit::mse`].
pub fn mse<D: Kit, T: Tp<D>>(x: T4<D, T>, target: &T4<D>) -> (Tensor<Rank0, f32, D, T>, f64) {
    let loss = (x - target.clone()).square().mean::<Rank0, _>();
    let value = f64::from(loss.as_vec()[0]);
    (loss, value)
}
