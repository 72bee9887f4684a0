//! In portable Rust: what the others are compared with.

use super::super::quantize::ActBlock;
use super::super::{Acc, BLOCK, NR, Taps};
use super::{add, code_bytes, factor_bytes, part_bytes, record_bytes, sums};
use crate::quant::super_block::PARTS;
use half::f16;

pub(in super::super) unsafe fn codes<const BITS: usize>(t: &Taps, acc: &mut Acc) {
    let mut weights = t.weights;
    for rows in t.rows {
        for s in 0..t.steps {
            // SAFETY: the panel has a record for each step.
            let record = unsafe { core::slice::from_raw_parts(weights, record_bytes(BITS)) };
            weights = weights.wrapping_add(record.len());
            let (factors, parts) = record.split_at(factor_bytes(BITS));
            for (part, record) in parts.chunks_exact(part_bytes(BITS)).enumerate() {
                for n in 0..NR {
                    let factor = |at: usize| match factors.get(at * NR * 2 + n * 2..) {
                        Some([a, b, ..]) => f16::from_bits(u16::from_ne_bytes([*a, *b])).to_f32_const(),
                        _ => 0.0,
                    };
                    let scales = &record[code_bytes(BITS)..];
                    let (factors, scales) = ([factor(0), factor(1)], [scales[n], scales[NR + n]]);
                    let codes = lane::<BITS>(record, n);
                    for (row, acc) in rows.iter().zip(&mut acc.0).take(t.count) {
                        // SAFETY: the pixel behind each pointer has `steps` times so many blocks.
                        let x = unsafe { &*row.cast::<ActBlock>().add(s * PARTS + part) };
                        acc[n] = add(BITS == 6, acc[n], factors, scales, sums(&codes, x), x);
                    }
                }
            }
        }
    }
}

/// The codes of an output.
fn lane<const BITS: usize>(record: &[u8], n: usize) -> [u8; BLOCK] {
    let upper = &record[code_bytes(4)..];
    core::array::from_fn(|k| {
        let (half, group, i) = (k / 16, k / 4 % 4, k % 4);
        let low = record[(group * NR + n) * 4 + i] >> (4 * half) & 15;
        match BITS {
            5 => low | (upper[n * 4 + i] >> (4 * half + group) & 1) << 4,
            6 => low | (upper[(half * NR + n) * 4 + i] >> (2 * group) & 3) << 4,
            _ => low,
        }
    })
}
