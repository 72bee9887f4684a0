//! Scaled dot-product attention with an online softmax: no matrix of scores is ever whole.
//!
//! A task is a head's block of queries. Keys come in blocks of [`BLOCK`]; for each, and for 32 queries at a time, one
//! product makes the scores `[keys][32 queries]`, which are a panel for the second product,
//! `out[channels][32 queries] += vᵀ[channels][keys] · weights[keys][32 queries]`: both run on the kernels of the matrix
//! product, a query is a lane, and no softmax needs a sum across lanes. The running maximum and sum follow Milakov and
//! Gimelshein (2018, "Online normalizer calculation for softmax"), the blocks Dao et al. (2022, "FlashAttention",
//! algorithm 1). Scores are in units of log2 e, so that a weight is 2^x.
//!
//! **The same bits everywhere.** A lane never meets another, and the blocks of keys begin at fixed multiples of
//! [`BLOCK`]: a query's result depends on its own values and the keys, not on threads, instruction set or batch.
#![allow(unsafe_code)] // threads that write interleaved parts of one output, each with scratch of its own

use super::epilogue::exp2;
use super::matmul::{Lanes, PanelProduct};
use super::pool::Parts;
use super::simd::vectorized;
use super::{Context, Isa};
use crate::sync::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

#[cfg(test)]
mod tests;

/// Keys whose scores are held at a time: whole tiles of every kernel, and with 32 queries a third of a first-level cache.
const BLOCK: usize = 96;
/// Most panels of 32 queries that see a block of keys one after the other, while it is in a near cache.
const PANELS: usize = 4;
/// Bytes of queries and sums of a task that stay in a second-level cache.
const CACHED: usize = 256 << 10;

/// Sizes of an attention.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AttentionShape {
    /// Pictures.
    pub n: usize,
    /// Tokens of `q` and of the output.
    pub queries: usize,
    /// Tokens of `k` and `v`.
    pub keys: usize,
    /// Channels of `q` and of the output.
    pub c: usize,
    /// Equal ranges of channels that attend each by itself; divides `c`.
    pub heads: usize,
    /// As many ranges of as many channels each do `k` and `v` have: each serves as many neighbouring heads as it takes; divides
    /// `heads`.
    pub kv_heads: usize,
    /// Query `i` sees only keys `0..=i`.
    pub causal: bool,
    /// What scores are multiplied by; none is `1 / sqrt(c / heads)`.
    pub scale: Option<f32>,
}

impl AttentionShape {
    /// Channels of `k` and `v`.
    fn kv_c(&self) -> usize {
        self.c / self.heads * self.kv_heads
    }
}

/// How the work is cut: of no influence on the result.
struct Cut {
    /// Channels of a head.
    d: usize,
    /// Panels of queries in a task.
    panels: usize,
    /// Tasks of one head.
    down: usize,
    tasks: usize,
    /// Threads with scratch.
    slots: usize,
}

impl Cut {
    fn new(ctx: &Context, s: &AttentionShape) -> Self {
        let (d, threads) = (s.c / s.heads, ctx.pool.threads());
        let all = s.queries.div_ceil(Lanes::COUNT);
        let down = |panels: usize| all.div_ceil(panels);
        let mut panels = (CACHED / (panel_rows(d) * size_of::<Lanes>())).clamp(1, PANELS);
        while panels > 1 && s.n * s.heads * down(panels) < 4 * threads {
            panels /= 2;
        }
        let tasks = s.n * s.heads * down(panels);
        Self { d, panels, down: down(panels), tasks, slots: threads.min(tasks) }
    }

    /// Rows of a thread's scratch: panels, and a block's scores.
    fn slot_rows(&self) -> usize {
        self.panels * panel_rows(self.d) + BLOCK + PanelProduct::SLACK
    }

    /// Values of v, transposed.
    fn transposed(&self, s: &AttentionShape) -> usize {
        s.n * s.kv_c() * s.keys.next_multiple_of(BLOCK)
    }
}

/// Rows of a panel: maximum, sum, queries `[d]`, output `[d]` and its slack.
const fn panel_rows(d: usize) -> usize {
    2 + 2 * d + PanelProduct::SLACK
}

/// Bytes of scratch [`attention`] needs: `v` transposed, and for each thread a few panels of 32 queries.
pub fn attention_scratch(ctx: &Context, s: &AttentionShape) -> usize {
    let cut = Cut::new(ctx, s);
    // Wherever the scratch begins, a row's alignment is within 63 bytes.
    cut.slots * cut.slot_rows() * size_of::<Lanes>() + cut.transposed(s) * size_of::<f32>() + 63
}

/// `y = softmax(scale q kᵀ + bias) v` for each picture and head: `q` and `y` are `[n][queries][c]`, `k` and `v`
/// `[n][keys][c / heads * kv_heads]`, head `i` the channels from `i * c / heads` (Vaswani et al. 2017, equation 1), `bias`, if
/// there is one, `[keys][queries][heads]`. With `lengths`, one a picture, only as many keys as a picture's says are seen, or all;
/// where it is 0, `y` is zeros. What is not a number stays so.
///
/// # Panics
/// Where a length does not fit `s`, or `scratch` is shorter than [`attention_scratch`] says.
pub fn attention(
    ctx: &Context,
    s: &AttentionShape,
    qkv: [&[f32]; 3],
    bias: Option<&[f32]>,
    lengths: Option<&[Option<u32>]>,
    scratch: &mut [u8],
    y: &mut [f32],
) {
    assert!(s.c.is_multiple_of(s.heads), "attention: heads do not divide the channels");
    assert!(s.heads.is_multiple_of(s.kv_heads), "attention: heads of keys do not divide those of queries");
    let [queries, keys] = [s.n * s.queries * s.c, s.n * s.keys * s.kv_c()];
    assert_eq!(qkv.map(<[f32]>::len), [queries, keys, keys], "attention: lengths of q, k and v");
    assert_eq!(y.len(), queries, "attention: length of y");
    assert!(lengths.is_none_or(|lengths| lengths.len() == s.n), "attention: number of lengths");
    assert!(!s.causal || s.queries == s.keys, "attention: causal with other keys than queries");
    assert!(bias.is_none_or(|bias| bias.len() == s.keys * s.queries * s.heads), "attention: length of the bias");
    let (cut, [q, k, v]) = (Cut::new(ctx, s), qkv);
    let start = scratch.as_ptr().align_offset(align_of::<Lanes>());
    let scratch = &mut scratch[start..];
    let slot_bytes = cut.slot_rows() * size_of::<Lanes>();
    let (slots, transposed) = scratch.split_at_mut(cut.slots * slot_bytes);
    let transposed: &mut [f32] = bytemuck::cast_slice_mut(&mut transposed[..cut.transposed(s) * size_of::<f32>()]);
    // A picture's keys that are seen.
    let seen = |n: usize| {
        let length = lengths.and_then(|lengths| lengths[n]);
        length.map_or(s.keys, |length| s.keys.min(length as usize))
    };
    transpose(ctx, s, &seen, v, transposed);

    let (product, isa) = (PanelProduct::new(ctx.isa()), ctx.isa());
    let tasks = Tasks { s, cut: &cut, product, isa, q, k, v: transposed, bias };
    let (slots, y) = (Parts(slots.as_mut_ptr().cast::<Lanes>()), Parts(y.as_mut_ptr()));
    let next = AtomicUsize::new(0);
    let work = |slot: usize| {
        let rows = cut.slot_rows();
        // SAFETY: the rows of slot `slot`, which lie within `slots`, aligned, and are this call's alone.
        let rows = unsafe { core::slice::from_raw_parts_mut(slots.get().add(slot * rows), rows) };
        loop {
            let task = next.fetch_add(1, Relaxed);
            if task >= cut.tasks {
                return;
            }
            tasks.run(task, seen(task / cut.down / s.heads), rows, &y);
        }
    };
    ctx.pool.run(cut.slots, &work);
}

/// `[n][head][block][channel][BLOCK keys]` from `[n][keys][head][channel]`; what lies beyond the last key that is `seen` is not
/// written, nor read.
fn transpose(ctx: &Context, s: &AttentionShape, seen: &(impl Fn(usize) -> usize + Sync), v: &[f32], out: &mut [f32]) {
    let (blocks, d) = (s.keys.div_ceil(BLOCK), s.c / s.heads);
    ctx.pool.for_chunks(out, d * BLOCK, &|i, out| {
        let (head, block) = (i / blocks, i % blocks);
        let (n, head, first) = (head / s.kv_heads, head % s.kv_heads, block * BLOCK);
        for key in first..(first + BLOCK).min(seen(n)) {
            let v = &v[((n * s.keys + key) * s.kv_heads + head) * d..][..d];
            out[key - first..].iter_mut().step_by(BLOCK).zip(v).for_each(|(out, v)| *out = *v);
        }
    });
}

/// What all tasks read.
struct Tasks<'a> {
    s: &'a AttentionShape,
    cut: &'a Cut,
    product: PanelProduct,
    isa: Isa,
    q: &'a [f32],
    k: &'a [f32],
    /// Transposed.
    v: &'a [f32],
    bias: Option<&'a [f32]>,
}

impl Tasks<'_> {
    /// Does a task; its picture's queries see the first `seen` keys.
    fn run(&self, task: usize, seen: usize, rows: &mut [Lanes], y: &Parts<f32>) {
        let (s, d, kv_c) = (self.s, self.cut.d, self.s.kv_c());
        let (head, first) = (task / self.cut.down, task % self.cut.down * self.cut.panels * Lanes::COUNT);
        let (n, head) = (head / s.heads, head % s.heads);
        let kv_head = head / (s.heads / s.kv_heads);
        let last = (first + self.cut.panels * Lanes::COUNT).min(s.queries);
        let (panels, scores) = rows.split_at_mut(self.cut.panels * panel_rows(d));
        let queries = || (first..last).step_by(Lanes::COUNT);

        let scale = match s.scale {
            None => (core::f64::consts::LOG2_E / libm::sqrt(d as f64)) as f32,
            Some(scale) => (core::f64::consts::LOG2_E * f64::from(scale)) as f32,
        };
        for (panel, first) in panels.chunks_exact_mut(panel_rows(d)).zip(queries()) {
            panel[0] = Lanes([f32::NEG_INFINITY; Lanes::COUNT]);
            panel[1..].fill(Lanes::ZERO);
            for (lane, query) in (first..last.min(first + Lanes::COUNT)).enumerate() {
                let q = &self.q[(n * s.queries + query) * s.c + head * d..][..d];
                panel[2..].iter_mut().zip(q).for_each(|(row, q)| row.0[lane] = q * scale);
            }
        }
        let blocks = s.keys.div_ceil(BLOCK);
        for block in 0..seen.div_ceil(BLOCK) {
            let key = block * BLOCK;
            let count = BLOCK.min(seen - key);
            let k = &self.k[(n * s.keys + key) * kv_c + kv_head * d..];
            let v = &self.v[((n * s.kv_heads + kv_head) * blocks + block) * d * BLOCK..][..d * BLOCK];
            for (panel, first) in panels.chunks_exact_mut(panel_rows(d)).zip(queries()) {
                if s.causal && key >= first + Lanes::COUNT {
                    continue;
                }
                let [top, sum, panel @ ..] = panel else { return };
                let (q, out) = panel.split_at_mut(d);
                scores[..count].fill(Lanes::ZERO);
                self.product.add(k, kv_c, count, q, scores);
                let scores = &mut scores[..count];
                if let Some(bias) = self.bias {
                    lean(bias, [s.queries, s.heads, head], scores, key, first);
                }
                if s.causal {
                    mask(scores, key, first);
                }
                weigh(self.isa, scores, top, sum, &mut out[..d.next_multiple_of(4)]);
                self.product.add(v, BLOCK, d, scores, out);
            }
        }
        for (panel, first) in panels.chunks_exact_mut(panel_rows(d)).zip(queries()) {
            let (sum, out) = (panel[1], &mut panel[2 + d..][..d.next_multiple_of(4)]);
            // Of no keys at all the sums are zeros.
            if seen > 0 {
                divide(self.isa, out, &sum);
            }
            for (lane, query) in (first..last.min(first + Lanes::COUNT)).enumerate() {
                // SAFETY: a head's channels of a query, within y; no other task has this head and query.
                let y = unsafe {
                    core::slice::from_raw_parts_mut(y.get().add((n * s.queries + query) * s.c + head * d), d)
                };
                y.iter_mut().zip(out.iter()).for_each(|(y, row)| *y = row.0[lane]);
            }
        }
    }
}

/// Adds what a head's keys from `key` have for queries from `query`.
fn lean(bias: &[f32], [queries, heads, head]: [usize; 3], scores: &mut [Lanes], key: usize, query: usize) {
    let lanes = Lanes::COUNT.min(queries - query);
    for (key, row) in (key..).zip(scores) {
        let bias = bias[(key * queries + query) * heads + head..].iter().step_by(heads);
        row.0[..lanes].iter_mut().zip(bias).for_each(|(score, bias)| *score += bias * core::f32::consts::LOG2_E);
    }
}

/// Takes out the scores of keys from `key` that lie after their query, from `query`.
fn mask(scores: &mut [Lanes], key: usize, query: usize) {
    for (key, row) in (key..).zip(scores) {
        let hidden = key.saturating_sub(query).min(Lanes::COUNT);
        row.0[..hidden].fill(f32::NEG_INFINITY);
    }
}

vectorized!(
    /// Turns scores into weights relative to the new maximum, and sum and output with them.
    weigh(scores: &mut [Lanes], top: &mut Lanes, sum: &mut Lanes, out: &mut [Lanes]) = weigh_portable
);

#[inline(always)]
fn weigh_portable(scores: &mut [Lanes], top: &mut Lanes, sum: &mut Lanes, out: &mut [Lanes]) {
    let mut new = top.0;
    for row in scores.iter() {
        new.iter_mut().zip(&row.0).for_each(|(new, s)| *new = if *s > *new { *s } else { *new });
    }
    let factor: [f32; Lanes::COUNT] = core::array::from_fn(|i| exp2(top.0[i] - new[i]));
    // From some block on, the maximum seldom changes.
    if factor.iter().any(|f| *f != 1.0) {
        scale_rows(out, &factor);
    }
    let mut total: [f32; Lanes::COUNT] = core::array::from_fn(|i| sum.0[i] * factor[i]);
    for row in scores {
        row.0.iter_mut().zip(&new).for_each(|(s, new)| *s = exp2(*s - new));
        total.iter_mut().zip(&row.0).for_each(|(total, s)| *total += s);
    }
    (*top, *sum) = (Lanes(new), Lanes(total));
}

vectorized!(divide(out: &mut [Lanes], sum: &Lanes) = divide_portable);

#[inline(always)]
fn divide_portable(out: &mut [Lanes], sum: &Lanes) {
    scale_rows(out, &sum.0.map(|sum| 1.0 / sum));
}

/// Four rows at a time, and those of the slack that fill the last four: a loop that is short enough to be unrolled would
/// be vectorized across rows, with gathers.
#[inline(always)]
fn scale_rows(rows: &mut [Lanes], factor: &[f32; Lanes::COUNT]) {
    const FOUR: usize = 4 * Lanes::COUNT;
    let factor: [f32; FOUR] = core::array::from_fn(|i| factor[i % Lanes::COUNT]);
    for rows in bytemuck::cast_slice_mut::<Lanes, f32>(rows).as_chunks_mut::<FOUR>().0 {
        rows.iter_mut().zip(&factor).for_each(|(v, f)| *v *= f);
    }
}
