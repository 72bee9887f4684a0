//! One operation, by the runtime's kernel.
use super::walk::{Walk, no_gradient};
use crate::error::Result;
use crate::ops::cpu::activate::gelu;
use crate::ops::cpu::parallel::prelude::*;
use nijimi_runtime::raw::cpu::{self, AttentionShape, Conv2dShape, Epilogue, ImageShape};
use nijimi_runtime::raw::graph::{Activation, Node, Op, Shape, ValueId};

/// An activation as pictures.
pub(super) fn image(s: Shape) -> ImageShape {
    ImageShape { n: s.n, h: s.h, w: s.w, c: s.c }
}

/// What attention's kernel is told.
pub(super) fn attention_shape(q: Shape, k: Shape, heads: usize, causal: bool) -> AttentionShape {
    AttentionShape { n: q.n, queries: q.h * q.w, keys: k.h * k.w, c: q.c, heads, kv_heads: heads, causal, scale: None }
}

/// value * gelu(gate) of rows of `2 c` features.
fn geglu(c: usize, pre: &[f32]) -> Vec<f32> {
    let mut y = vec![0f32; pre.len() / 2];
    y.par_chunks_mut(c).zip(pre.par_chunks(2 * c)).for_each(|(y, pre)| {
        let (value, gate) = pre.split_at(c);
        y.iter_mut().zip(value).zip(gate).for_each(|((y, v), g)| *y = v * gelu(*g));
    });
    y
}

impl Walk<'_> {
    /// What a node makes, and of a gated layer what it is made of.
    pub(super) fn compute(
        &self,
        node: &Node,
        values: &[Option<Vec<f32>>],
        ids: &[Vec<Option<u32>>],
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let (ctx, shape) = (self.ctx, |v: ValueId| self.graph.shape(v));
        let get = |v: ValueId| values[v.index()].as_deref().expect("an operation comes after what it reads");
        let out = shape(node.output);
        let mut y = vec![0f32; out.elements()];
        match node.op {
            Op::Conv2d {
                x,
                upsample: false,
                weight,
                bias,
                kernel,
                stride,
                pad,
                pad_end,
                residual: None,
                activation,
            } => {
                let (s, w) = (shape(x), self.frozen.matrix(weight));
                let s = Conv2dShape {
                    n: s.n,
                    h: s.h,
                    w: s.w,
                    upsample: false,
                    c_in: s.c,
                    c_out: out.c,
                    kernel,
                    stride,
                    pad,
                    pad_end,
                };
                let bias = bias.map_or(&[][..], |b| self.frozen.values(b));
                let e = Epilogue { bias, residual: None, activation };
                let mut scratch = vec![0u8; cpu::conv2d_scratch(ctx, &s, w.dtype())];
                cpu::conv2d(ctx, &s, get(x), w, &e, &mut scratch, &mut y);
                if let Some(adapter) = self.adapter(weight) {
                    adapter.add(get(x), &mut y);
                }
            }
            Op::Linear { x, weight, bias, residual: None, activation } => {
                let (s, w) = (shape(x), self.frozen.matrix(weight));
                let rows = s.n * s.h * s.w;
                let bias = bias.map_or(&[][..], |b| self.frozen.values(b));
                let e = Epilogue { bias, ..Epilogue::NONE };
                let mut scratch = vec![0u8; cpu::linear_scratch(ctx, rows, s.c, w.dtype())];
                let gated = activation == Activation::Geglu;
                if gated {
                    y.resize(2 * out.elements(), 0.0);
                }
                cpu::linear(ctx, rows, get(x), w, &e, &mut scratch, &mut y);
                if let Some(adapter) = self.adapter(weight) {
                    adapter.add(get(x), &mut y);
                }
                match activation {
                    Activation::None => {}
                    Activation::Geglu => return Ok((geglu(out.c, &y), Some(y))),
                    _ => return Err(no_gradient(node)),
                }
            }
            Op::Activate { x, activation } => {
                y.copy_from_slice(get(x));
                cpu::activate(ctx, activation, &mut y);
            }
            Op::Add { a, b } => {
                y.copy_from_slice(get(a));
                cpu::add(ctx, get(b), &mut y);
            }
            Op::AddChannels { x, v } => cpu::add_channels(ctx, image(shape(x)), get(x), get(v), &mut y),
            Op::Concat { a, b, add: None } => {
                cpu::concat(ctx, image(shape(a)), get(a), shape(b).c, get(b), None, &mut y);
            }
            Op::UpsampleNearest2 { x } => {
                cpu::upsample_nearest2(ctx, image(shape(x)), [out.h, out.w], get(x), &mut y);
            }
            Op::GroupNorm { x, groups, eps, scale, bias, activation } => {
                let (s, affine) = (image(shape(x)), [scale, bias].map(|w| self.frozen.values(w)));
                let mut scratch = vec![0u8; cpu::group_norm_scratch(s, groups)];
                cpu::group_norm(ctx, s, groups, eps, affine, activation, Some(get(x)), &mut scratch, &mut y);
            }
            Op::LayerNorm { x, eps, scale, bias } => {
                let affine = [scale, bias].map(|w| self.frozen.values(w));
                cpu::layer_norm(ctx, shape(x).c, eps, affine, Some(get(x)), &mut y);
            }
            Op::Attention { q, k, v, heads, causal, scale: None, bias: None, lengths: None } => {
                let s = attention_shape(shape(q), shape(k), heads, causal);
                let mut scratch = vec![0u8; cpu::attention_scratch(ctx, &s)];
                cpu::attention(ctx, &s, [q, k, v].map(get), None, None, &mut scratch, &mut y);
            }
            Op::TokenEmbedding { ids: input, table, positions } => {
                let (table, positions) = (self.frozen.table(table), positions.map(|w| self.frozen.table(w)));
                cpu::token_embedding([out.w, out.c], table, positions, &ids[input.index()], &mut y);
            }
            Op::SelectToken { x, ids: input } => {
                let s = shape(x);
                cpu::select_token([s.h * s.w, s.c], get(x), &ids[input.index()], &mut y);
            }
            _ => return Err(no_gradient(node)),
        }
        Ok((y, None))
    }
}
