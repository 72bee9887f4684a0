//! Weights as the shaders read them: `[k4][column]`, still quantized. See `shaders/parts/weights.wgsl`.

use crate::quant::DType;
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
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
