//! Down-sampling convolution: unfold every second window, then one matrix product a group of pictures.
use super::bf16::Bf16;
use super::conv2d::BF16_CHANNELS;
use super::parallel::prelude::*;
use super::product::add_product;
use super::storage::{data, take_gradient};
use super::window::{Windows, add_all, gather, owned_parts, scatter_add};
use crate::ops::Precision;
use crate::tensor::{T1, T4, Tp};
use dfdx::prelude::*;

fn forward(x: &[f32], w: &[f32], b: &[f32], n: usize, o: usize, s: Windows, bf16: Option<Bf16>) -> Vec<f32> {
    let (pixels, depth, group) = (s.total(), s.depth(), s.group(n));
    let mut y = vec![0f32; n * o * pixels];
    let pictures = y.par_chunks_mut(group * o * pixels).zip(x.par_chunks(group * s.picture()));
    let init = || (vec![0f32; depth * group * pixels], vec![0f32; o * group * pixels]);
    pictures.for_each_init(init, |(columns, product), (y, x)| {
        let row = y.len() / o;
        let (columns, product) = (&mut columns[..depth * row], &mut product[..o * row]);
        s.unfold(x, columns);
        product.fill(0.0);
        add_product(bf16, (w, (depth, 1)), (columns, (1, row)), [o, row, depth], product);
        for (i, plane) in y.chunks_exact_mut(pixels).enumerate() {
            plane.fill(b[i % o]);
        }
        scatter_add(product, o, pixels, y);
    });
    y
}

/// Adds the gradient of the input to `gx` and returns those of the weight and the bias.
fn backward(
    x: &[f32],
    w: &[f32],
    go: &[f32],
    gx: &mut [f32],
    n: usize,
    o: usize,
    s: Windows,
    bf16: Option<Bf16>,
) -> (Vec<f32>, Vec<f32>) {
    let (pixels, depth, group, picture) = (s.total(), s.depth(), s.group(n), s.picture());
    let work = |(range, gx): (std::ops::Range<usize>, &mut [f32])| {
        let mut columns = vec![0f32; depth * group * pixels];
        let mut gathered = vec![0f32; o * group * pixels];
        let (mut gw, mut gb) = (vec![0f32; o * depth], vec![0f32; o]);
        let (x, go) =
            (&x[range.start * picture..range.end * picture], &go[range.start * o * pixels..range.end * o * pixels]);
        let groups = x.chunks(group * picture).zip(go.chunks(group * o * pixels)).zip(gx.chunks_mut(group * picture));
        for ((x, go), gx) in groups {
            let row = go.len() / o;
            let (columns, gathered) = (&mut columns[..depth * row], &mut gathered[..o * row]);
            s.unfold(x, columns);
            gather(go, o, pixels, gathered);
            add_product(bf16, (gathered, (row, 1)), (columns, (row, 1)), [o, depth, row], &mut gw);
            columns.fill(0.0);
            add_product(bf16, (w, (1, depth)), (gathered, (1, row)), [depth, row, o], columns);
            s.fold(columns, gx);
            for (i, plane) in go.chunks_exact(pixels).enumerate() {
                gb[i % o] += plane.iter().sum::<f32>();
            }
        }
        (gw, gb)
    };
    let partial: Vec<_> = owned_parts(gx, n, picture).into_par_iter().map(work).collect();
    let (mut gw, mut gb) = (vec![0f32; o * depth], vec![0f32; o]);
    for (pw, pb) in &partial {
        add_all(&mut gw, pw);
        add_all(&mut gb, pb);
    }
    (gw, gb)
}

/// See [`crate::ops::Kit::conv2d_stride2`].
pub fn conv2d_stride2<T: Tp<Cpu>>(
    x: T4<Cpu, T>,
    w: &T4<Cpu>,
    b: &T1<Cpu>,
    lead: usize,
    precision: Precision,
) -> T4<Cpu, T> {
    let (n, c, h, wd) = *x.shape();
    let (o, _, k, _) = *w.shape();
    let bf16 =
        if let Precision::Bf16(cpu) = precision { Some(cpu).filter(|_| c.min(o) >= BF16_CHANNELS) } else { None };
    assert!(lead == k / 2 || lead == 0, "lead is half the kernel ({}) or 0, not {lead}", k / 2);
    let trail = if lead == k / 2 { lead } else { k - 2 };
    assert!(h.min(wd) + lead + trail >= k, "no window of {k} fits a picture of {h}x{wd} with {lead} and {trail} zeros");
    let s = Windows { c, h, w: wd, k, stride: 2, pad: lead, trail };
    let (oh, ow) = s.count();
    let (x, mut tape) = x.split_tape();
    let (w, b) = (w.clone(), b.clone());
    let out = x.device().tensor_from_vec(forward(data(&x), data(&w), data(&b), n, o, s, bf16), (n, o, oh, ow));
    let og = out.ghost();
    tape.add_backward_op(move |g| {
        let go = take_gradient!(g, og);
        let (gw, gb) = backward(data(&x), data(&w), &go, g.get_or_alloc_mut(&x)?, n, o, s, bf16);
        add_all(g.get_or_alloc_mut(&w)?, &gw);
        add_all(g.get_or_alloc_mut(&b)?, &gb);
        Ok(())
    });
    out.put_tape(tape)
}
