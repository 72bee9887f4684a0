//! Weights as the shaders read them: `[k4][column]`, still quantized. See `shaders/parts/weights.wgsl`.

use crate::quant::DType;
use crate::quant::super_block::{LEN, PARTS, Part, factors, part};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// A weight matrix in a file: `[out][taps][inp]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub dtype: DType,
    pub data: &'a [u8],
    pub taps: usize,
    pub inp: usize,
}

/// Some columns of a matrix, packed.
pub(super) struct Packed {
    pub codes: Vec<u32>,
    /// Of quantized weights, two f16 in a word.
    pub scales: Option<Vec<u32>>,
}

/// Inputs of a quantization block.
const BLOCK: usize = 32;
/// Words of the scales of a block of 256.
const SCALES: usize = 1 + PARTS / 2;
/// Columns that are read side by side, so that what is written is contiguous.
const SIDE: usize = 16;

/// Bytes of one packed column, scales among them.
pub(super) fn column_bytes(dtype: DType, taps: usize, inp: usize) -> u64 {
    let c4 = inp.div_ceil(4);
    let bytes = match dtype {
        DType::F32 => 16 * c4,
        DType::F16 | DType::BF16 => 8 * c4,
        DType::Q8_0 => inp + inp / BLOCK * 2,
        DType::Q4_0 => inp / 2 + inp / BLOCK * 2,
        DType::Q4K | DType::Q5K | DType::Q6K => inp / LEN * (PARTS * part_words(dtype) + SCALES) * 4,
    };
    (taps * bytes) as u64
}

impl Matrix<'_> {
    /// Packs columns. The data's length was checked by whoever made this.
    pub fn pack(&self, columns: Range<usize>) -> Packed {
        match self.dtype {
            DType::F32 => self.float::<4>(columns, 4),
            DType::F16 | DType::BF16 => self.float::<2>(columns, 2),
            DType::Q8_0 => self.blocks(columns, 34, 8, |codes, i| word(&codes[4 * i..])),
            DType::Q4_0 => self.blocks(columns, 18, 4, |codes, i| {
                // Byte b holds element b in its low nibble and element b + 16 in its high one.
                let (bytes, shift) = (&codes[8 * (i % 2)..], 4 * (i as u32 / 2));
                (0..8).fold(0, |word, k| word | (u32::from(bytes[k]) >> shift & 15) << (4 * k))
            }),
            DType::Q4K | DType::Q5K | DType::Q6K => self.super_blocks(columns),
        }
    }

    /// Floats of `WORDS / 4` words each: four of them make a unit, padded with zeros.
    fn float<const WORDS: usize>(&self, columns: Range<usize>, bytes: usize) -> Packed {
        let (n, c4) = (columns.len(), self.inp.div_ceil(4));
        let mut codes = vec![0u32; self.taps * c4 * n * WORDS];
        for first in (0..n).step_by(SIDE) {
            let side = first..n.min(first + SIDE);
            for tap in 0..self.taps {
                for k4 in 0..c4 {
                    let count = 4.min(self.inp - 4 * k4);
                    for column in side.clone() {
                        let at = ((columns.start + column) * self.taps + tap) * self.inp + 4 * k4;
                        let mut unit = [0u8; 16];
                        unit[..count * bytes].copy_from_slice(&self.data[at * bytes..][..count * bytes]);
                        let to = ((tap * c4 + k4) * n + column) * WORDS;
                        codes[to..to + WORDS].iter_mut().enumerate().for_each(|(i, w)| *w = word(&unit[4 * i..]));
                    }
                }
            }
        }
        Packed { codes, scales: None }
    }

    /// Blocks of an f16 scale and codes, of which `code` gives the words.
    fn blocks(&self, columns: Range<usize>, bytes: usize, words: usize, code: impl Fn(&[u8], usize) -> u32) -> Packed {
        let (n, blocks) = (columns.len(), self.taps * self.inp / BLOCK);
        let mut codes = vec![0u32; blocks * words * n];
        let mut scales = vec![0u32; (blocks * n).div_ceil(2)];
        for first in (0..n).step_by(SIDE) {
            let side = first..n.min(first + SIDE);
            for block in 0..blocks {
                for column in side.clone() {
                    let data = &self.data[((columns.start + column) * blocks + block) * bytes..][..bytes];
                    let (scale, data) = data.split_at(2);
                    let at = block * n + column;
                    scales[at / 2] |= u32::from(u16::from_le_bytes([scale[0], scale[1]])) << (16 * (at % 2));
                    for i in 0..words {
                        codes[(block * words + i) * n + column] = code(data, i);
                    }
                }
            }
        }
        Packed { codes, scales: Some(scales) }
    }

    /// Blocks of 256: of each part the words of its codes, of each block those of its scales.
    fn super_blocks(&self, columns: Range<usize>) -> Packed {
        let (n, blocks, words) = (columns.len(), self.taps * self.inp / LEN, part_words(self.dtype));
        let bytes = self.dtype.block_bytes();
        let mut codes = vec![0u32; blocks * PARTS * words * n];
        let mut scales = vec![0u32; blocks * SCALES * n];
        for first in (0..n).step_by(SIDE) {
            let side = first..n.min(first + SIDE);
            for block in 0..blocks {
                for column in side.clone() {
                    let data = &self.data[((columns.start + column) * blocks + block) * bytes..][..bytes];
                    let [d, dmin] = factors(self.dtype, data).map(|factor| u32::from(factor.to_bits()));
                    let mut scale = |word: usize, bits: u32| scales[(block * SCALES + word) * n + column] |= bits;
                    scale(0, d | dmin << 16);
                    for i in 0..PARTS {
                        let part = part(self.dtype, data, i);
                        scale(1 + i / 2, u32::from(u16::from_le_bytes(part.scales)) << (16 * (i % 2)));
                        let to = (block * PARTS + i) * words;
                        let put = |(word, bits): (usize, u32)| codes[(to + word) * n + column] = bits;
                        words_of(&part, words).into_iter().take(words).enumerate().for_each(put);
                    }
                }
            }
        }
        Packed { codes, scales: Some(scales) }
    }
}

/// Words of the codes of 32 inputs.
const fn part_words(dtype: DType) -> usize {
    match dtype {
        DType::Q6K => 6,
        DType::Q5K => 5,
        _ => 4,
    }
}

/// Four words of the lower four bits, and what remains in one word or in two.
fn words_of(part: &Part, words: usize) -> [u32; 6] {
    let mut all = [0; 6];
    for (k, code) in part.codes.iter().map(|code| u32::from(*code)).enumerate() {
        all[k / 8] |= (code & 15) << (4 * (k % 8));
        match words {
            5 => all[4] |= code >> 4 << k,
            6 => all[4 + k / 16] |= code >> 4 << (2 * (k % 16)),
            _ => {}
        }
    }
    all
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
