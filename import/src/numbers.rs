//! Numbers as other programs store them: floats, those of 8 bits that PyTorch has, and ggml's blocks.
//!
//! Blocks are ggml's (ggml-quants.h, ggml-common.h): a block of `len` values is so many bytes, little-endian, whose scales
//! are f16. Of the k-quants a block is 256 values in parts of 16 or 32, each with a scale of its own, which the block's multiplies.

use half::{bf16, f16};
use nijimi_runtime::gguf::ElementType;
use nijimi_runtime::quant::{self, DType};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    F32,
    F16,
    BF16,
    /// Four bits of exponent, three of mantissa, no infinities (`float8_e4m3fn`).
    F8E4M3,
    /// An f16 without the lower half of its bits.
    F8E5M2,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    /// What no weight is stored as, of so many bytes: it may lie beside them.
    Other(u8),
}

use Numbers::{
    BF16, F8E4M3, F8E5M2, F16, F32, Iq4Nl, Iq4Xs, Other, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0,
};

/// ggml's types by id and name: those that are read, and those whose size is known.
const GGML: [(u32, &str, Numbers); 20] = [
    (0, "f32", F32),
    (1, "f16", F16),
    (2, "q4_0", Q4_0),
    (3, "q4_1", Q4_1),
    (6, "q5_0", Q5_0),
    (7, "q5_1", Q5_1),
    (8, "q8_0", Q8_0),
    (10, "q2_K", Q2K),
    (11, "q3_K", Q3K),
    (12, "q4_K", Q4K),
    (13, "q5_K", Q5K),
    (14, "q6_K", Q6K),
    (20, "iq4_nl", Iq4Nl),
    (23, "iq4_xs", Iq4Xs),
    (24, "i8", Other(1)),
    (25, "i16", Other(2)),
    (26, "i32", Other(4)),
    (27, "i64", Other(8)),
    (28, "f64", Other(8)),
    (30, "bf16", BF16),
];

/// Those that are refused by name.
const GGML_UNREAD: [(u32, &str); 13] = [
    (9, "q8_1"),
    (15, "q8_K"),
    (16, "iq2_xxs"),
    (17, "iq2_xs"),
    (18, "iq3_xxs"),
    (19, "iq1_s"),
    (21, "iq3_s"),
    (22, "iq2_s"),
    (29, "iq1_m"),
    (34, "tq1_0"),
    (35, "tq2_0"),
    (39, "mxfp4"),
    (40, "nvfp4"),
];

/// What of ggml's `id` a message says.
pub(super) fn ggml_name(id: u32) -> String {
    let known = GGML_UNREAD.iter().find(|known| known.0 == id);
    known.map_or_else(|| format!("ggml's type {id}"), |(_, name)| (*name).into())
}

/// The values of iq4_nl's and iq4_xs's nibbles.
const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Numbers {
    /// By the name that a `.safetensors` file has; what is not read is `None`.
    pub(super) fn of_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => F32,
            "F16" => F16,
            "BF16" => BF16,
            "F8_E4M3" => F8E4M3,
            "F8_E5M2" => F8E5M2,
            _ => return None,
        })
    }

    /// ggml's name.
    pub(super) fn ggml_name(self) -> &'static str {
        GGML.iter().find(|known| known.2 == self).map_or("", |known| known.1)
    }

    /// Whether it is one of weights.
    pub(super) fn is_read(self) -> bool {
        !matches!(self, Other(_))
    }

    /// Appends the values of whole blocks.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        let start = out.len();
        let (len, size) = (self.block_len(), self.block_bytes());
        out.resize(start + bytes.len() / size * len, 0.0);
        let values = &mut out[start..];
        let ours = match self {
            F32 => Some(DType::F32),
            F16 => Some(DType::F16),
            BF16 => Some(DType::BF16),
            Q4_0 => Some(DType::Q4_0),
            Q8_0 => Some(DType::Q8_0),
            Q4K => Some(DType::Q4K),
            Q5K => Some(DType::Q5K),
            Q6K => Some(DType::Q6K),
            _ => None,
        };
        match (ours, self) {
            // As many as there are.
            (Some(dtype), _) => quant::decode(dtype, bytes, values).unwrap_or_default(),
            (None, F8E4M3) => values.iter_mut().zip(bytes).for_each(|(v, b)| *v = e4m3(*b)),
            (None, F8E5M2) => values.iter_mut().zip(bytes).for_each(|(v, b)| *v = e5m2(*b)),
            (None, _) => {
                let blocks = values.chunks_exact_mut(len).zip(bytes.chunks_exact(size));
                blocks.for_each(|(values, block)| self.block(block, values));
            }
        }
    }

    /// Decodes one of ggml's blocks that are not this program's.
    fn block(self, b: &[u8], out: &mut [f32]) {
        let half = |at: usize| f16::from_le_bytes([b[at], b[at + 1]]).to_f32();
        // Of 32 values: which nibble of the 16 bytes from `at` on is value `i`.
        let nibble = |at: usize, i: usize| b[at + i % 16] >> (i / 16 * 4) & 15;
        let fifth = |at: usize, i: usize| (b[at + i / 8] >> (i % 8) & 1) << 4;
        let values = out.iter_mut().enumerate();
        match self {
            Q4_1 => {
                let (d, m) = (half(0), half(2));
                values.for_each(|(i, v)| *v = d * f32::from(nibble(4, i)) + m);
            }
            Q5_0 => {
                let d = half(0);
                let q = |i| (nibble(6, i) | fifth(2, i)).cast_signed() - 16;
                values.for_each(|(i, v)| *v = d * f32::from(q(i)));
            }
            Q5_1 => {
                let (d, m) = (half(0), half(2));
                values.for_each(|(i, v)| *v = d * f32::from(nibble(8, i) | fifth(4, i)) + m);
            }
            Iq4Nl => {
                let d = half(0);
                values.for_each(|(i, v)| *v = d * f32::from(IQ4[usize::from(nibble(2, i))]));
            }
            Iq4Xs => {
                let (d, high) = (half(0), u16::from_le_bytes([b[2], b[3]]));
                values.for_each(|(i, v)| {
                    let part = i / 32;
                    let low = b[4 + part / 2] >> (part % 2 * 4) & 15;
                    let scale = i16::from(low) | ((high >> (2 * part) & 3) << 4).cast_signed();
                    let q = IQ4[usize::from(nibble(8 + 16 * part, i % 32))];
                    *v = d * f32::from(scale - 32) * f32::from(q);
                });
            }
            Q2K => {
                let (d, min) = (half(80), half(82));
                values.for_each(|(i, v)| {
                    let scale = b[i / 16];
                    let q = b[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
                    *v = d * f32::from(scale & 15) * f32::from(q) - min * f32::from(scale >> 4);
                });
            }
            Q3K => {
                let d = half(108);
                values.for_each(|(i, v)| {
                    let part = i / 16;
                    let low = b[96 + part % 8] >> (part / 8 * 4) & 15;
                    let high = b[104 + part % 4] >> (part / 4 * 2) & 3;
                    let scale = (low | high << 4).cast_signed() - 32;
                    let low = b[32 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
                    // Where the third bit is not set, four less.
                    let q = low.cast_signed() - 4 * (1 - (b[i % 32] >> (i / 32) & 1).cast_signed());
                    *v = d * f32::from(scale) * f32::from(q);
                });
            }
            // None that is read: `decode` has the rest.
            F32 | F16 | BF16 | F8E4M3 | F8E5M2 | Q4_0 | Q8_0 | Q4K | Q5K | Q6K | Other(_) => {}
        }
    }
}

impl ElementType for Numbers {
    fn from_id(id: u32) -> Option<Self> {
        GGML.iter().find(|known| known.0 == id).map(|known| known.2)
    }

    fn block_len(self) -> usize {
        match self {
            F32 | F16 | BF16 | F8E4M3 | F8E5M2 | Other(_) => 1,
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Iq4Nl => 32,
            Q2K | Q3K | Q4K | Q5K | Q6K | Iq4Xs => 256,
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            F32 => 4,
            F16 | BF16 => 2,
            F8E4M3 | F8E5M2 => 1,
            Q4_0 | Iq4Nl => 18,
            Q4_1 => 20,
            Q5_0 => 22,
            Q5_1 => 24,
            Q8_0 => 34,
            Q2K => 84,
            Q3K => 110,
            Q4K => 144,
            Q5K => 176,
            Q6K => 210,
            Iq4Xs => 136,
            Other(bytes) => bytes.into(),
        }
    }
}

fn e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (bits >> 3 & 15, f32::from(bits & 7));
    let size = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (8.0 + mantissa) * 2f32.powi(i32::from(exponent) - 10),
    };
    if bits & 0x80 == 0 { size } else { -size }
}

fn e5m2(bits: u8) -> f32 {
    f16::from_bits(u16::from(bits) << 8).to_f32()
}

/// The first number of a tensor of one, of any type that `.safetensors` files have, by its bytes with zeros behind them.
pub(super) fn number(dtype: &str, bytes: [u8; 8]) -> Option<f64> {
    let [b0, b1, b2, b3, ..] = bytes;
    let (two, four) = ([b0, b1], [b0, b1, b2, b3]);
    Some(match dtype {
        "F64" => f64::from_le_bytes(bytes),
        "F32" => f64::from(f32::from_le_bytes(four)),
        "F16" => f16::from_le_bytes(two).to_f64(),
        "BF16" => bf16::from_le_bytes(two).to_f64(),
        "F8_E4M3" => e4m3(b0).into(),
        "F8_E5M2" => e5m2(b0).into(),
        "I64" => i64::from_le_bytes(bytes) as f64,
        "I32" => f64::from(i32::from_le_bytes(four)),
        "I16" => f64::from(i16::from_le_bytes(two)),
        "I8" => f64::from(i8::from_le_bytes([b0])),
        "U64" => u64::from_le_bytes(bytes) as f64,
        "U32" => f64::from(u32::from_le_bytes(four)),
        "U16" => f64::from(u16::from_le_bytes(two)),
        "U8" => f64::from(b0),
        _ => return None,
    })
}
