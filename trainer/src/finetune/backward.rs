//! The gradients of one operation: of what it reads, and of an adapter beside it.
use super::adapter::Factors;
use super::forward::attention_shape;
use super::walk::{Walk, no_gradient};
use super::{heads, norms};
use crate::error::Result;
use crate::ops::cpu::activate::{gelu_with_slope, quick_gelu_slope};
use crate::ops::cpu::exp::silu_slope;
use crate::ops::cpu::parallel::prelude::*;
use nijimi_runtime::raw::cpu::{self, Conv2dShape, Epilogue};
use nijimi_runtime::raw::graph::{Activation, Node, Op, Shape, ValueId, WeightId};

/// Numbers in one piece of work.
const CHUNK: usize = 1 << 13;

/// What an operation's gradients reach.
#[derive(Default)]
pub(super) struct Reached {
    /// What it reads, with what is added to the gradient there.
    pub values: Vec<(ValueId, Vec<f32>)>,
    /// An adapter's number, and its gradients.
    pub factors: Option<(usize, Factors)>,
}

/// The sum over the pixels of each picture.
fn over_pixels(s: Shape, go: &[f32]) -> Vec<f32> {
    let mut sums = vec![0f32; s.n * s.c];
    for (sums, go) in sums.chunks_exact_mut(s.c).zip(go.chunks_exact(s.h * s.w * s.c)) {
        let mut wide = vec![0f64; s.c];
        go.chunks_exact(s.c).for_each(|row| wide.iter_mut().zip(row).for_each(|(sum, g)| *sum += f64::from(*g)));
        sums.iter_mut().zip(wide).for_each(|(sum, w)| *sum = w as f32);
    }
    sums
}

/// `go` times what `slope` says of each `x`.
fn sloped(x: &[f32], go: &[f32], slope: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    let mut gx = go.to_vec();
    gx.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(gx, x)| {
        gx.iter_mut().zip(x).for_each(|(g, x)| *g *= slope(*x));
    });
    gx
}

impl Walk<'_> {
    /// The gradients that go on from a node, where `go` is that of its output and `pre` what a gated layer is made of.
    pub(super) fn through(
        &self,
        node: &Node,
        values: &[Option<Vec<f32>>],
        pre: Option<&[f32]>,
        ids: &[Vec<Option<u32>>],
        go: Vec<f32>,
    ) -> Result<Reached> {
        let shape = |v: ValueId| self.graph.shape(v);
        let get = |v: ValueId| values[v.index()].as_deref().expect("what was read is there");
        let wanted = |v: ValueId| self.depends[v.index()];
        let one = |x: ValueId, g: Vec<f32>| Ok(Reached { values: vec![(x, g)], factors: None });
        let out = shape(node.output);
        match node.op {
            Op::Conv2d { x, weight, kernel, stride, pad, pad_end, activation: Activation::None, .. } => {
                let pads = [kernel, stride, pad, pad_end];
                let back = || self.convolved_back(weight, shape(x), out, pads, &go);
                self.layer(weight, x, get(x), &go, back)
            }
            Op::Linear { x, weight, activation, .. } => {
                let go = match (activation, pre) {
                    (Activation::None, _) => go,
                    (Activation::Geglu, Some(pre)) => ungated(out.c, pre, &go),
                    _ => return Err(no_gradient(node)),
                };
                let back = || {
                    let (s, w) = (shape(x), self.frozen.adjoint(weight)?);
                    let rows = s.n * s.h * s.w;
                    let mut gx = vec![0f32; s.elements()];
                    let mut scratch = vec![0u8; cpu::linear_scratch(self.ctx, rows, w.inp(), w.dtype())];
                    cpu::linear(self.ctx, rows, &go, &w, &Epilogue::NONE, &mut scratch, &mut gx);
                    Ok(gx)
                };
                self.layer(weight, x, get(x), &go, back)
            }
            Op::Activate { x, activation } => match activation {
                Activation::None => one(x, go),
                Activation::Silu => one(x, sloped(get(x), &go, silu_slope)),
                Activation::Gelu => one(x, sloped(get(x), &go, |x| gelu_with_slope(x).1)),
                Activation::QuickGelu => one(x, sloped(get(x), &go, quick_gelu_slope)),
                _ => Err(no_gradient(node)),
            },
            Op::Add { a, b } => Ok(match [a, b].map(wanted) {
                [true, true] => Reached { values: vec![(a, go.clone()), (b, go)], factors: None },
                [true, false] => Reached { values: vec![(a, go)], factors: None },
                _ => Reached { values: vec![(b, go)], factors: None },
            }),
            Op::AddChannels { x, v } => {
                let mut reached = Reached::default();
                if wanted(v) {
                    reached.values.push((v, over_pixels(out, &go)));
                }
                reached.values.push((x, go));
                Ok(reached)
            }
            Op::Concat { a, b, add: None } => {
                let (first, c) = (shape(a).c, out.c);
                let part = |range: std::ops::Range<usize>| -> Vec<f32> {
                    go.chunks_exact(c).flat_map(|row| row[range.clone()].iter().copied()).collect()
                };
                Ok(Reached { values: vec![(a, part(0..first)), (b, part(first..c))], factors: None })
            }
            Op::UpsampleNearest2 { x } => {
                let s = shape(x);
                let mut gx = vec![0f32; s.elements()];
                gx.par_chunks_mut(s.w * s.c).enumerate().for_each(|(row, gx)| {
                    let (n, y) = (row / s.h, row % s.h);
                    for above in (2 * y..2 * y + 2).filter(|y| *y < out.h) {
                        let line = &go[(n * out.h + above) * out.w * s.c..][..out.w * s.c];
                        for (column, pixel) in line.chunks_exact(s.c).enumerate() {
                            let gx = &mut gx[column / 2 * s.c..][..s.c];
                            gx.iter_mut().zip(pixel).for_each(|(gx, g)| *gx += g);
                        }
                    }
                });
                one(x, gx)
            }
            Op::GroupNorm { x, groups, eps, scale, activation: Activation::None, .. } => {
                one(x, norms::group_norm(shape(x), groups, eps, self.frozen.values(scale), get(x), &go))
            }
            Op::LayerNorm { x, eps, scale, .. } => {
                one(x, norms::layer_norm(shape(x).c, eps, self.frozen.values(scale), get(x), &go))
            }
            Op::Attention { q, k, v, heads, causal, .. } => {
                let s = attention_shape(shape(q), shape(k), heads, causal);
                let [gq, gk, gv] = heads::backward(&s, [q, k, v].map(get), &go);
                Ok(Reached { values: vec![(q, gq), (k, gk), (v, gv)], factors: None })
            }
            Op::SelectToken { x, ids: input } => {
                let s = shape(x);
                let mut gx = vec![0f32; s.elements()];
                let places = ids[input.index()].chunks(out.w).zip(go.chunks_exact(out.w * s.c)).enumerate();
                for (n, (ids, go)) in places {
                    for (id, go) in ids.iter().zip(go.chunks_exact(s.c)) {
                        if let Some(id) = id {
                            let at = (n * s.h * s.w + *id as usize) * s.c;
                            gx[at..][..s.c].iter_mut().zip(go).for_each(|(gx, g)| *gx += g);
                        }
                    }
                }
                one(x, gx)
            }
            _ => Err(no_gradient(node)),
        }
    }

    /// Of a layer with a matrix: `back` is what goes through the frozen one.
    fn layer(
        &self,
        weight: WeightId,
        x: ValueId,
        values: &[f32],
        go: &[f32],
        back: impl FnOnce() -> Result<Vec<f32>>,
    ) -> Result<Reached> {
        let mut gx = if self.depends[x.index()] { Some(back()?) } else { None };
        let factors = self.adapter(weight).map(|a| (a.index, a.backward(values, go, gx.as_deref_mut())));
        Ok(Reached { values: gx.into_iter().map(|gx| (x, gx)).collect(), factors })
    }

    /// Through a convolution: another one, with the kernel turned, of the gradient with zeros between its pixels where the first
    /// one left pixels out.
    fn convolved_back(
        &self,
        weight: WeightId,
        x: Shape,
        out: Shape,
        [kernel, stride, pad, pad_end]: [usize; 4],
        go: &[f32],
    ) -> Result<Vec<f32>> {
        let w = self.frozen.adjoint(weight)?;
        let mut shape = Conv2dShape {
            n: x.n,
            h: out.h,
            w: out.w,
            upsample: false,
            c_in: out.c,
            c_out: x.c,
            kernel,
            stride: 1,
            pad: kernel - 1 - pad,
            pad_end: kernel - 1 - pad_end,
        };
        let mut spread = Vec::new();
        if stride > 1 {
            let first = kernel - 1 - pad;
            (shape.h, shape.w, shape.pad, shape.pad_end) = (x.h + kernel - 1, x.w + kernel - 1, 0, 0);
            spread.resize(x.n * shape.h * shape.w * out.c, 0f32);
            for (i, pixel) in go.chunks_exact(out.c).enumerate() {
                let (column, row, n) = (i % out.w, i / out.w % out.h, i / out.w / out.h);
                let at = ((n * shape.h + first + row * stride) * shape.w + first + column * stride) * out.c;
                spread[at..][..out.c].copy_from_slice(pixel);
            }
        }
        let mut gx = vec![0f32; x.elements()];
        let mut scratch = vec![0u8; cpu::conv2d_scratch(self.ctx, &shape, w.dtype())];
        let go = if stride > 1 { &spread[..] } else { go };
        cpu::conv2d(self.ctx, &shape, go, &w, &Epilogue::NONE, &mut scratch, &mut gx);
        Ok(gx)
    }
}

/// The gradient of a gated layer's `2 c` features.
fn ungated(c: usize, pre: &[f32], go: &[f32]) -> Vec<f32> {
    let mut g = vec![0f32; pre.len()];
    let rows = g.par_chunks_mut(2 * c).zip(pre.par_chunks(2 * c)).zip(go.par_chunks(c));
    rows.for_each(|((g, pre), go)| {
        let ((value, gate), (g_value, g_gate)) = (pre.split_at(c), g.split_at_mut(c));
        for i in 0..c {
            let (y, slope) = gelu_with_slope(gate[i]);
            (g_value[i], g_gate[i]) = (go[i] * y, go[i] * value[i] * slope);
        }
    });
    g
}
