//! Attention against its definition in f64; and the same bits, however it is computed.

use super::super::definition;
use super::super::rows::random;
use super::*;
use alloc::vec;
use alloc::vec::Vec;

struct Case {
    s: AttentionShape,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    bias: Option<Vec<f32>>,
    lengths: Option<Vec<Option<u32>>>,
}

impl Case {
    fn new(s: AttentionShape, step: u64) -> Self {
        // Large enough that weights differ by orders of magnitude, and growing, so that the maximum rises from block to
        // block.
        let mut q = random(s.n * s.queries * s.c, step);
        q.iter_mut().for_each(|v| *v *= 4.0);
        let mut k = random(s.n * s.keys * s.kv_c(), step + 100);
        for (i, k) in k.chunks_exact_mut(s.kv_c()).enumerate() {
            k.iter_mut().for_each(|v| *v *= 0.2 + (i % s.keys) as f32 / 100.0);
        }
        // Every other one leans.
        let bias = (step % 2 == 1).then(|| random(s.keys * s.queries * s.heads, step + 300));
        Self { q, k, v: random(s.n * s.keys * s.kv_c(), step + 200), bias, lengths: None, s }
    }

    /// With lengths from none to all keys, and one that is not said.
    fn with_lengths(mut self, first: usize) -> Self {
        let keys = self.s.keys;
        let all = [Some(keys / 2), Some(0), None, Some(keys - 1), Some(1), Some(keys), Some(keys.min(BLOCK))];
        let own = all.iter().cycle().skip(first).take(self.s.n);
        self.lengths = Some(own.map(|length| length.map(|length| length as u32)).collect());
        self
    }

    fn run(&self, ctx: &Context) -> Vec<f32> {
        // Stale scratch must not show; nor where it begins.
        let mut scratch = vec![0xff; attention_scratch(ctx, &self.s) + 4];
        let mut y = vec![f32::NAN; self.q.len()];
        let (bias, lengths) = (self.bias.as_deref(), self.lengths.as_deref());
        attention(ctx, &self.s, [&self.q, &self.k, &self.v], bias, lengths, &mut scratch[4..], &mut y);
        y
    }

    fn want(&self) -> Vec<f64> {
        let (bias, lengths) = (self.bias.as_deref(), self.lengths.as_deref());
        definition::attention(&self.s, [&self.q, &self.k, &self.v], bias, lengths)
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (n, queries, keys, c, heads, kv_heads) in [
        (1, 1, 1, 1, 1, 1),
        (2, 35, 35, 12, 3, 3),
        (1, 7, 77, 20, 2, 2),
        (2, 64, 64, 40, 1, 1),
        (1, 3, 130, 33, 11, 11),
        (1, 33, 96, 10, 2, 2),
        (2, 290, 290, 26, 2, 2),
        (1, 1, 400, 8, 1, 1),
        (1, 200, 97, 130, 1, 1),
        (2, 35, 35, 12, 6, 2),
        (1, 40, 130, 64, 8, 1),
        (3, 101, 101, 30, 6, 3),
    ] {
        for causal in [false, true] {
            if !causal || queries == keys {
                let scale = (all.len() % 3 == 2).then_some(0.3);
                let s = AttentionShape { n, queries, keys, c, heads, kv_heads, causal, scale };
                let step = all.len() as u64;
                all.extend([Case::new(s, step), Case::new(AttentionShape { n: 7, ..s }, step).with_lengths(0)]);
            }
        }
    }
    all
}

fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|v| v.to_bits()).collect()
}

/// Seen red with the output not rescaled, the sum not rescaled, one future key left in a causal mask, the first head of keys for
/// all queries, picture 0's length for all, and with sums of no keys divided.
#[test]
fn equals_the_definition_on_odd_shapes() {
    for case in cases() {
        for (i, (y, want)) in case.run(&Context::new(2)).iter().zip(&case.want()).enumerate() {
            let close = (f64::from(*y) - want).abs() < 4e-6;
            assert!(close, "{:?}, {:?} [{i}]: {y}, not {want}", case.s, case.lengths);
        }
    }
}

/// Seen red with one scratch for all threads, with a maximum that begins at 0 where a task has several panels, and with
/// one that does so on the scalar set.
#[test]
fn every_instruction_set_and_any_threads_give_the_same_bits() {
    for case in cases() {
        let want = bits(&case.run(&Context::with_isa(1, Isa::Scalar).unwrap()));
        for isa in Isa::available() {
            let same = bits(&case.run(&Context::with_isa(1, isa).unwrap())) == want;
            assert!(same, "{isa}, {:?}", case.s);
        }
        for threads in [2, 3, 8] {
            assert!(bits(&case.run(&Context::new(threads))) == want, "{threads} threads, {:?}", case.s);
        }
    }
}

/// Keys beyond a picture's length change nothing, not even where they are not numbers: the bits are those of as many keys. Seen
/// red with a block of keys too many, and with what lies beyond the last of a block.
#[test]
fn what_lies_beyond_a_length_is_not_looked_at() {
    let ctx = Context::new(2);
    for (length, causal) in [(1, false), (95, false), (96, true), (97, false), (150, true), (192, false), (199, true)] {
        let keys = 200;
        let s = AttentionShape { n: 1, queries: keys, keys, c: 24, heads: 6, kv_heads: 2, causal, scale: None };
        let mut case = Case { lengths: Some(vec![Some(length as u32)]), ..Case::new(s, 8) };
        let mut short = Case { s: AttentionShape { keys: length, ..s }, lengths: None, ..Case::new(s, 8) };
        for (x, short) in [(&mut case.k, &mut short.k), (&mut case.v, &mut short.v)] {
            x[length * s.kv_c()..].fill(f32::NAN);
            short.truncate(length * s.kv_c());
        }
        let (got, rows) = (case.run(&ctx), if causal { length } else { s.queries });
        // Causal attention to fewer keys has as many queries, the first.
        if causal {
            (short.s.queries, short.q) = (length, short.q[..length * s.c].to_vec());
        }
        assert!(bits(&got[..rows * s.c]) == bits(&short.run(&ctx)), "{length}, causal {causal}");
        assert!(got.iter().all(|v| v.is_finite()), "{length}, causal {causal}");
    }
}

/// One head of keys for several of queries is as if each had its own copy. Seen red with neighbouring heads of queries on
/// different heads of keys.
#[test]
fn shared_keys_are_copies() {
    let ctx = Context::new(2);
    let s = AttentionShape { n: 2, queries: 70, keys: 130, c: 48, heads: 6, kv_heads: 2, causal: false, scale: None };
    let case = Case::new(s, 3).with_lengths(3);
    let copied = |x: &[f32]| x.chunks_exact(8).flat_map(|head| [head; 3]).flatten().copied().collect::<Vec<f32>>();
    let (q, k, v) = (case.q.clone(), copied(&case.k), copied(&case.v));
    let (bias, lengths) = (case.bias.clone(), case.lengths.clone());
    let whole = Case { s: AttentionShape { kv_heads: 6, ..s }, q, k, v, bias, lengths };
    assert!(bits(&case.run(&ctx)) == bits(&whole.run(&ctx)));
}

/// Seen red with the values, and with the length, of picture 0 for all.
#[test]
fn a_batch_is_its_pictures() {
    let ctx = Context::new(2);
    for causal in [false, true] {
        let s = AttentionShape { n: 3, queries: 130, keys: 130, c: 24, heads: 3, kv_heads: 1, causal, scale: None };
        let case = Case::new(s, 7).with_lengths(2);
        let all = case.run(&ctx);
        for (i, want) in all.chunks_exact(all.len() / 3).enumerate() {
            let part = |v: &[f32]| v[i * v.len() / 3..(i + 1) * v.len() / 3].to_vec();
            let s = AttentionShape { n: 1, ..s };
            let (bias, lengths) = (case.bias.clone(), case.lengths.as_ref().map(|lengths| vec![lengths[i]]));
            let single = Case { s, q: part(&case.q), k: part(&case.k), v: part(&case.v), bias, lengths };
            assert!(bits(&single.run(&ctx)) == bits(want), "picture {i}, causal {causal}");
        }
    }
}

/// A causal query does not see what comes after it, at all. Seen red with a mask that begins one key late.
#[test]
fn the_future_changes_nothing() {
    let ctx = Context::new(1);
    let s = AttentionShape { n: 1, queries: 205, keys: 205, c: 8, heads: 2, kv_heads: 2, causal: true, scale: None };
    let mut case = Case::new(s, 3);
    let want = case.run(&ctx);
    for cut in [1, 31, 32, 95, 96, 97, 150] {
        for x in [&mut case.q, &mut case.k, &mut case.v] {
            x[cut * 8..].iter_mut().for_each(|v| *v = 3.0 - *v);
        }
        let got = case.run(&ctx);
        assert!(bits(&got[..cut * 8]) == bits(&want[..cut * 8]), "{cut}");
        assert!(bits(&got[cut * 8..]) != bits(&want[cut * 8..]), "{cut}");
        case = Case::new(s, 3);
    }
}

/// What is not a number must reach the queries that see it, and no other head. Seen red with `f32::max` in
/// `exp2`.
#[test]
fn nan_and_infinity_are_not_hidden() {
    let s = AttentionShape { n: 1, queries: 5, keys: 120, c: 6, heads: 2, kv_heads: 2, causal: false, scale: None };
    for bad in [f32::NAN, f32::INFINITY] {
        for (which, at) in [(0, 3 * 6), (1, 119 * 6), (2, 40 * 6)] {
            let mut case = Case::new(s, 5);
            [&mut case.q, &mut case.k, &mut case.v][which][at] = bad;
            for (i, y) in case.run(&Context::new(1)).chunks_exact(6).enumerate() {
                // An infinite key may have any sign for a query: infinity takes all weight, minus infinity none.
                let sees = which == 2 || which == 1 && bad.is_nan() || which == 0 && i == 3;
                assert!(!sees || y[..3].iter().any(|v| !v.is_finite()), "{bad} in {which}, query {i}: {y:?}");
                assert!(y[3..].iter().all(|v| v.is_finite()), "{bad} in {which}, query {i}: {y:?}");
            }
        }
    }
}

/// Scores far outside the range of an exponential. Seen red with the maximum not subtracted.
#[test]
fn large_scores_do_not_overflow() {
    let s = AttentionShape { n: 1, queries: 40, keys: 300, c: 16, heads: 1, kv_heads: 1, causal: false, scale: None };
    let mut case = Case::new(s, 5);
    case.q.iter_mut().for_each(|v| *v *= 1e4);
    for (y, want) in case.run(&Context::new(1)).iter().zip(case.want()) {
        // A score of 1e5 has an error of some 1e-2.
        assert!((f64::from(*y) - want).abs() < 5e-2, "{y}, not {want}");
    }
}
