//! A plan's shapes as the kernels take them.

use super::{AttentionShape, Conv2dShape, ImageShape};
use crate::graph::{Op, Shape};
use crate::plan::Slot;

/// A convolution's, whose output is `y`; `None` of anything else.
pub(super) fn conv_shape(op: &Op<Slot>, y: Shape) -> Option<Conv2dShape> {
    let Op::Conv2d { x, upsample, kernel, stride, pad, pad_end, .. } = *op else { return None };
    let Shape { n, h, w, c } = x.shape;
    Some(Conv2dShape { n, h, w, upsample, c_in: c, c_out: y.c, kernel, stride, pad, pad_end })
}

/// Of queries and keys, `(n, h, w, c)`.
pub(super) const fn attention_shape(
    q: Shape,
    k: Shape,
    heads: usize,
    causal: bool,
    scale: Option<f32>,
) -> AttentionShape {
    let kv_heads = k.c / (q.c / heads);
    AttentionShape { n: q.n, queries: q.h * q.w, keys: k.h * k.w, c: q.c, heads, kv_heads, causal, scale }
}

/// Rows of the matrix that an activation is, of its channels.
pub(super) const fn rows(s: Shape) -> usize {
    s.n * s.h * s.w
}

/// An activation as pictures.
pub(super) const fn image(s: Shape) -> ImageShape {
    ImageShape { n: s.n, h: s.h, w: s.w, c: s.c }
}
