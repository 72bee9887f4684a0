//! Quantized kernels for AMX: a tile of activations and two of weights make, in two instructions, the integer sums of a block of
//! 32 channels for 12 rows and 32 outputs; vectors scale and add those of a block before meanwhile.
//!
//! The sums are those of every other kernel, exact, and what is done with them is done in the same order: the same bits.
#![allow(unsafe_code)] // instructions that the standard library does not offer yet, and reads through the tile's pointers

use super::pack::Format;
use super::quantize::ActBlock;
use super::{Acc, BLOCK, Kernel, MAX_ROWS, MAX_TAPS, NR, Taps, vnni};
use crate::cpu::Isa;
use crate::cpu::tiles::TileSizes;
use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};

pub(super) fn kernel(format: Format) -> Kernel {
    match format {
        Format::Q8 => Kernel { together: true, ..Kernel::new(R, rows, super::avx512::finish) },
        // Their blocks have minima, two scales, or codes to unpack.
        _ => vnni::kernel(format),
    }
}

/// Rows of a tile.
const R: usize = MAX_ROWS;
/// Of 4 channels each, that a block has.
const GROUPS: usize = BLOCK / 4;
/// Bytes of a block's codes, and of these with their scales.
const CODES: usize = NR * BLOCK;
const RECORD: usize = CODES + NR * 2;

/// Tiles 0 to 3 are sums of 16 outputs, two for each of two blocks; 4 is activations, 5 and 6 are weights.
static SIZES: TileSizes = {
    let (sums, weights) = ([64, R as u8], [64, GROUPS as u8]);
    TileSizes::new([sums, sums, sums, sums, [BLOCK as u8, R as u8], weights, weights, [0, 0]])
};

/// Integer sums of a block: of each half of the outputs, and each row.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Sums([[[i32; NR / 2]; R]; 2]);

/// A block of activations of each row.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Block([ActBlock; R]);

/// Where blocks of rows are that a tile can load at once.
#[derive(Clone, Copy)]
pub(super) struct Together {
    /// The first row's first.
    first: *const u8,
    /// Bytes from a row to the next.
    stride: usize,
    /// Bytes from a block to the next.
    block: usize,
}

/// Scratch memory in which tasks gather the blocks of the rows of a tile, one after the other.
pub(super) struct Room {
    base: *mut Block,
    /// Blocks of a task's.
    blocks: usize,
    /// A bit for each part that no task has.
    free: AtomicU64,
}
// SAFETY: a part of the memory is written by the one task that took its bit.
unsafe impl Sync for Room {}

impl Room {
    /// Bytes for products of that format on so many threads: a layer of one tap has its rows side by side already.
    pub fn bytes(isa: Isa, format: Format, [taps, inp]: [usize; 2], threads: usize) -> usize {
        let gathers = isa == Isa::Amx && kernel(format).together && (2..=MAX_TAPS).contains(&taps);
        if gathers { threads.min(64) * taps * inp.div_ceil(BLOCK) * size_of::<Block>() + 63 } else { 0 }
    }

    /// Of memory of so many [`Self::bytes`], wherever it begins.
    pub fn new(memory: &mut [u8], [taps, inp]: [usize; 2]) -> Self {
        let start = memory.as_ptr().align_offset(64).min(memory.len());
        let memory = &mut memory[start..];
        let blocks = taps * (inp / BLOCK);
        let parts = (memory.len() / size_of::<Block>() / blocks.max(1)).min(64);
        let free = if parts == 64 { u64::MAX } else { (1 << parts) - 1 };
        Self { base: memory.as_mut_ptr().cast(), blocks, free: AtomicU64::new(free) }
    }
}

/// Tiles of a task: while it is there, they have their sizes.
pub(super) struct Tiles<'a> {
    room: &'a Room,
    /// The part of the room that it took, if one was free.
    part: Option<u32>,
}

impl<'a> Tiles<'a> {
    /// On a machine that has them.
    pub fn new(room: &'a Room) -> Self {
        // SAFETY: this is made where the machine has tiles, for a kernel of theirs; what it reads is a whole configuration.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SIZES, options(nostack, readonly)) };
        let take = |free: u64| (free != 0).then(|| free & (free - 1));
        let taken = room.free.fetch_update(Ordering::Acquire, Ordering::Relaxed, take);
        Self { room, part: taken.ok().map(u64::trailing_zeros) }
    }

    /// Where the blocks of these rows are together, `steps` for each tap: of one tap whose rows lie evenly, where they are, and else where
    /// they are gathered, if there is room.
    ///
    /// # Safety
    /// As of [`Kernel::accumulate`].
    pub unsafe fn together(&mut self, rows: &[[*const u8; R]], steps: usize) -> Option<Together> {
        let apart = |two: &[*const u8]| two[1].addr().wrapping_sub(two[0].addr());
        if let [rows] = rows
            && rows.windows(2).all(|two| apart(two) == apart(rows))
        {
            return Some(Together { first: rows[0], stride: apart(rows), block: size_of::<ActBlock>() });
        }
        let part = self.part.filter(|_| rows.len() * steps <= self.room.blocks)?;
        let base = self.room.base.wrapping_add(part as usize * self.room.blocks).cast::<ActBlock>();
        let mut to = base;
        for tap in rows {
            for b in 0..steps {
                for row in tap {
                    // SAFETY: the caller's promise; the part has room for as many blocks, and is this task's alone.
                    unsafe {
                        to.copy_from_nonoverlapping(row.cast::<ActBlock>().add(b), 1);
                        to = to.add(1);
                    }
                }
            }
        }
        Some(Together { first: base.cast(), stride: size_of::<ActBlock>(), block: size_of::<Block>() })
    }
}

impl Drop for Tiles<'_> {
    fn drop(&mut self) {
        // SAFETY: the tiles hold nothing that is read again.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
        if let Some(part) = self.part {
            self.room.free.fetch_or(1 << part, Ordering::Release);
        }
    }
}

/// Few rows are the vectors' own.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn rows(t: &Taps, acc: &mut Acc) {
    // SAFETY: the caller's promise is the same; what is configured is released.
    unsafe {
        let Some(together) = t.together else {
            let (first, rest) = acc.0.split_at_mut(vnni::ROWS);
            vnni::rows::<false>(t, t.count.min(vnni::ROWS), 0, first);
            if t.count > vnni::ROWS {
                vnni::rows::<false>(t, t.count - vnni::ROWS, vnni::ROWS, rest);
            }
            return;
        };
        match together.block == size_of::<Block>() {
            true => tile::<true>(t, &together, acc),
            false => tile::<false>(t, &together, acc),
        }
    }
}

/// Loads a block's activations and weights.
macro_rules! load {
    ($x:expr, $stride:expr, $w:expr) => {
        asm!(
            "tileloadd tmm4, [{x} + {stride} * 1]",
            "tileloadd tmm5, [{w} + {row} * 1]",
            "tileloadd tmm6, [{w} + {row} * 1 + 64]",
            x = in(reg) $x, stride = in(reg) $stride, w = in(reg) $w, row = in(reg) 4 * NR,
            options(nostack, readonly),
        )
    };
}

/// Signed activations times unsigned weights, to the sums of an even block or of an odd one.
macro_rules! multiply {
    (even) => {
        multiply!("tmm0", "tmm1")
    };
    (odd) => {
        multiply!("tmm2", "tmm3")
    };
    ($first:literal, $second:literal) => {
        asm!(
            concat!("tilezero ", $first),
            concat!("tilezero ", $second),
            concat!("tdpbsud ", $first, ", tmm4, tmm5"),
            concat!("tdpbsud ", $second, ", tmm4, tmm6"),
            options(nostack, nomem),
        )
    };
}

/// Stores the sums of an even block or of an odd one.
macro_rules! store {
    (even, $sums:expr) => {
        store!("tmm0", "tmm1", $sums)
    };
    (odd, $sums:expr) => {
        store!("tmm2", "tmm3", $sums)
    };
    ($first:literal, $second:literal, $sums:expr) => {
        asm!(
            concat!("tilestored [{sums} + {line} * 1], ", $first),
            concat!("tilestored [{sums} + {line} * 1 + {half}], ", $second),
            sums = in(reg) $sums, line = in(reg) 64usize, half = const R * 64,
            options(nostack),
        )
    };
}

/// Each instruction for tiles finds ready what those of the block before have made: while a block is loaded, the one before is
/// multiplied, the sums of the one before that are stored, and those of the one before that again are scaled and added.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn tile<const GATHERED: bool>(t: &Taps, together: &Together, acc: &mut Acc) {
    let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
    // SAFETY: there are as many gathered blocks, and records of codes and scales, as taps have steps, these aligned to 64 bytes; tiles
    // are loaded and stored within those and the arrays above, and what is read of these was written before. The compiler uses no tile
    // register, so that they keep what they have from one instruction to the next.
    unsafe {
        let [even, odd] = [0, 1].map(|i| sums.as_mut_ptr().add(i).cast::<i32>());
        let blocks = t.rows.len() * t.steps;
        let (x, w) = (together.first, t.weights);
        let (stride, step) = match GATHERED {
            true => (size_of::<ActBlock>(), size_of::<Block>()),
            false => (together.stride, size_of::<ActBlock>()),
        };
        let rows: [*const u8; R] = core::array::from_fn(|i| x.wrapping_add(i * stride));
        let last = blocks - 1;
        // Beyond the last, the last again, which is not used.
        macro_rules! load_block {
            ($k:expr) => {
                let k = last.min($k);
                load!(x.add(k * step), stride, w.add(k * RECORD));
            };
        }
        let mut f = [[_mm512_setzero_ps(); 2]; R];
        for (f, acc) in f.iter_mut().zip(&acc.0) {
            *f = [_mm512_load_ps(acc.as_ptr()), _mm512_load_ps(acc.as_ptr().add(16))];
        }
        // Written out, so that all of `f` stays in registers.
        macro_rules! add {
            ($k:expr, $sums:expr) => {
                let scales = w.add($k * RECORD + CODES);
                let d = [0, 32].map(|at| _mm512_cvtph_ps(_mm256_load_si256(scales.add(at).cast())));
                add!(d, $k, $sums, 0 1 2 3 4 5 6 7 8 9 10 11);
            };
            ($d:ident, $k:expr, $sums:expr, $($i:literal)*) => {$(
                let row = rows[$i].wrapping_add($k * step).cast::<ActBlock>();
                let (scale, start) = (_mm512_set1_ps((*row).scale), _mm512_set1_epi32((*row).start));
                let s0 = _mm512_add_epi32(_mm512_load_si512($sums.add($i * 16).cast()), start);
                let s1 = _mm512_add_epi32(_mm512_load_si512($sums.add((R + $i) * 16).cast()), start);
                let p0 = _mm512_mul_ps(_mm512_mul_ps($d[0], scale), _mm512_cvtepi32_ps(s0));
                let p1 = _mm512_mul_ps(_mm512_mul_ps($d[1], scale), _mm512_cvtepi32_ps(s1));
                f[$i] = [_mm512_add_ps(f[$i][0], p0), _mm512_add_ps(f[$i][1], p1)];
            )*};
        }
        load_block!(0);
        multiply!(even);
        load_block!(1);
        multiply!(odd);
        store!(even, even);
        load_block!(2);
        let mut k = 0;
        while k + 3 < blocks {
            multiply!(even);
            store!(odd, odd);
            load_block!(k + 3);
            add!(k, even);
            multiply!(odd);
            store!(even, even);
            load_block!(k + 4);
            add!(k + 1, odd);
            k += 2;
        }
        // One to three are left.
        add!(k, even);
        if k + 1 < blocks {
            store!(odd, odd);
            add!(k + 1, odd);
        }
        if k + 2 < blocks {
            multiply!(even);
            store!(even, even);
            add!(k + 2, even);
        }
        for (f, acc) in f.iter().zip(&mut acc.0) {
            _mm512_store_ps(acc.as_mut_ptr(), f[0]);
            _mm512_store_ps(acc.as_mut_ptr().add(16), f[1]);
        }
    }
}
