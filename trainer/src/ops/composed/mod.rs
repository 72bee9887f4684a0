//! Every operation of [`super::Kit`] composed of dfdx's own: the oracle of the fused forms, and the form that runs on
//! CUDA.
use super::{Activation, BatchStats, Kit, Mask};
use crate::tensor::{T1, T2, T3, T4, Tp};
use dfdx::prelude::*;

mod transformer;
pub use transformer::{activate, add, geglu, linear, multi_head_attention, pictures, tokens};

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

/// See [`Kit::max_pool2`]. Ties send the gradient to each maximum (dfdx), not to the first (PyTorch, and the fused
/// form).
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

/// The matrix `(k * windows, side)` of zeros and ones that copies from a row of `side` values what each tap of each
/// window sees.
fn windows(side: usize, count: usize, k: usize, stride: usize, pad: usize) -> Vec<f32> {
    let mut m = vec![0f32; k * count * side];
    for tap in 0..k {
        for i in 0..count {
            if let Some(at) = (i * stride + tap).checked_sub(pad).filter(|at| *at < side) {
                m[(tap * count + i) * side + at] = 1.0;
            }
        }
    }
    m
}

/// See [`Kit::conv2d_stride2`]: windows picked by two products with matrices of zeros and ones, then times the weights.
pub fn conv2d_stride2<D: Kit, T: Tp<D>>(x: T4<D, T>, w: &T4<D>, b: &T1<D>, lead: usize) -> T4<D, T> {
    let device = x.device().clone();
    let (n, c, h, wd) = *x.shape();
    let (o, _, k, _) = *w.shape();
    let (oh, ow) = if lead == k / 2 { (h.div_ceil(2), wd.div_ceil(2)) } else { (h / 2, wd / 2) };
    let down: T2<D> = device.tensor_from_vec(windows(h, oh, k, 2, lead), (k * oh, h));
    let across: T2<D> = device.tensor_from_vec(windows(wd, ow, k, 2, lead), (k * ow, wd));
    let x = x.reshape_like(&(n * c * h, wd)).matmul(across.permute::<_, Axes2<1, 0>>());
    let x = x.reshape_like(&(n * c, h, k * ow));
    let x = down.retaped::<T>().broadcast_like::<_, Axis<0>>(&(n * c, k * oh, h)).matmul(x);
    let x = x.reshape_like(&(n, c, k, oh, k, ow)).permute::<_, Axes6<0, 1, 2, 4, 3, 5>>();
    let columns = x.reshape_like(&(n, c * k * k, oh * ow));
    let w = w.retaped::<T>().reshape_like(&(o, c * k * k)).broadcast_like::<_, Axis<0>>(&(n, o, c * k * k));
    let y = w.matmul(columns).reshape_like(&(n, o, oh, ow));
    y + b.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&(n, o, oh, ow))
}

/// See [`Kit::conv_transpose2d`]: the weights' product, then put where it belongs by two products with zeros and ones.
pub fn conv_transpose2d<D: Kit, T: Tp<D>>(x: T4<D, T>, w: &T4<D>, b: &T1<D>, stride: usize, pad: usize) -> T4<D, T> {
    let device = x.device().clone();
    let (n, c, h, wd) = *x.shape();
    let (_, o, k, _) = *w.shape();
    let (oh, ow) = ((h - 1) * stride + k - 2 * pad, (wd - 1) * stride + k - 2 * pad);
    let w = w.retaped::<T>().reshape_like(&(c, o * k * k)).permute::<_, Axes2<1, 0>>();
    let columns = w.broadcast_like::<_, Axis<0>>(&(n, o * k * k, c)).matmul(x.reshape_like(&(n, c, h * wd)));
    let y = columns.reshape_like(&(n, o, k, k, h, wd)).permute::<_, Axes6<0, 1, 2, 4, 3, 5>>();
    let down: T2<D> = device.tensor_from_vec(windows(oh, h, k, stride, pad), (k * h, oh));
    let across: T2<D> = device.tensor_from_vec(windows(ow, wd, k, stride, pad), (k * wd, ow));
    let y = y.reshape_like(&(n * o * k * h, k * wd)).matmul(across).reshape_like(&(n * o, k * h, ow));
    let down = down.retaped::<T>().permute::<_, Axes2<1, 0>>().broadcast_like::<_, Axis<0>>(&(n * o, oh, k * h));
    let y = down.matmul(y).reshape_like(&(n, o, oh, ow));
    y + b.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&(n, o, oh, ow))
}

/// See [`Kit::avg_pool2`].
pub fn avg_pool2<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T4<D, T> {
    let (n, c, h, w) = *x.shape();
    x.reshape_like(&(n, c, h / 2, 2usize, w / 2, 2usize)).mean::<_, Axes2<3, 5>>()
}

/// See [`Kit::upsample_nearest2`].
pub fn upsample_nearest2<D: Kit, T: Tp<D>>(x: T4<D, T>) -> T4<D, T> {
    let (n, c, h, w) = *x.shape();
    x.broadcast_like::<_, Axes2<3, 5>>(&(n, c, h, 2usize, w, 2usize)).reshape_like(&(n, c, 2 * h, 2 * w))
}

/// See [`Kit::group_norm`].
pub fn group_norm<D: Kit, T: Tp<D>>(
    x: T4<D, T>,
    gamma: &T1<D>,
    beta: &T1<D>,
    groups: usize,
    eps: f32,
    activation: Activation,
) -> T4<D, T> {
    let shape = *x.shape();
    let (n, c, h, w) = shape;
    let y = x.reshape_like(&(n, groups, c / groups * h * w)).normalize::<Axis<2>>(eps).reshape_like(&shape);
    let y = y * gamma.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&shape)
        + beta.retaped::<T>().broadcast_like::<_, Axes3<0, 2, 3>>(&shape);
    match activation {
        Activation::None => y,
        Activation::Silu => silu(y),
    }
}

/// See [`Kit::layer_norm`].
pub fn layer_norm<D: Kit, T: Tp<D>>(x: T3<D, T>, gamma: &T1<D>, beta: &T1<D>, eps: f32) -> T3<D, T> {
    let shape = *x.shape();
    x.normalize::<Axis<2>>(eps) * gamma.retaped::<T>().broadcast_like::<_, Axes2<0, 1>>(&shape)
        + beta.retaped::<T>().broadcast_like::<_, Axes2<0, 1>>(&shape)
}

/// See [`Kit::silu`].
pub fn silu<S: Shape, D: Kit, T: Tp<D>>(x: Tensor<S, f32, D, T>) -> Tensor<S, f32, D, T> {
    let (x, tape) = x.split_tape();
    x.clone().put_tape(tape).sigmoid() * x
}

/// See [`Kit::attention`].
pub fn attention<D: Kit, T: Tp<D>>(q: T4<D, T>, k: T4<D, T>, v: T4<D, T>, mask: Mask<D>) -> T4<D, T> {
    let device = q.device().clone();
    let (b, heads, queries, d) = *q.shape();
    let keys = k.shape().2;
    let scores = q.matmul(k.permute::<_, Axes4<0, 1, 3, 2>>()) * (1.0 / (d as f32).sqrt());
    // Far below any score, yet finite: infinities turn into NaN where they meet.
    let unseen = |i: usize| if i % keys > i / keys { -1e30 } else { 0.0 };
    let mask = match mask {
        Mask::None => None,
        Mask::Causal => Some(device.tensor_from_vec((0..queries * keys).map(unseen).collect(), (queries, keys))),
        Mask::Add(m) => Some(m.clone()),
    };
    let scores = match mask {
        Some(m) => scores + m.broadcast_like::<_, Axes2<0, 1>>(&(b, heads, queries, keys)),
        None => scores,
    };
    scores.softmax::<Axis<3>>().matmul(v)
}

/// See [`Kit::embedding`].
pub fn embedding<D: Kit, T: Tp<D>>(table: T2<D, T>, ids: &[usize], shape: (usize, usize)) -> T3<D, T> {
    let ids: Tensor<(usize, usize), usize, D> = table.device().tensor_from_vec(ids.to_vec(), shape);
    table.gather(ids)
}
