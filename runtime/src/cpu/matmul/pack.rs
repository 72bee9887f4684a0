//! Weights laid out once for the kernels, in panels of 32 output channels, aligned to cache lines; or as they are stored.

use super::quantize::Start;
use super::{BLOCK, NR, k};
use crate::cpu::Context;
use crate::cpu::pool::Parts;
use crate::plan::KernelError;
use crate::quant::{self, DType};
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
struct Line([u8; 64]);

/// What a panel holds for each tap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// For each input channel 32 f32.
    F32,
    /// For each input channel 32 f16.
    F16,
    /// For each block of 32 input channels: codes + 128 as u8, `[8 groups][32 outputs][4 inputs]`, then 32 f16 scales.
    Q8,
    /// For each block of 32 input channels: codes 0..16, `[4 groups][32 outputs][4 inputs]`, in the low half byte input
    /// `4 group + i`, in the high one input `16 + 4 group + i`; then 32 f16 scales.
    Q4,
    /// For each block of 256 input channels: what [`k`] lays out, of q4_K, q5_K and q6_K.
    K4,
    K5,
    K6,
}

impl Format {
    pub const fn of(dtype: DType) -> Self {
        match dtype {
            DType::F32 | DType::BF16 => Format::F32,
            DType::F16 => Format::F16,
            DType::Q8_0 => Format::Q8,
            DType::Q4_0 => Format::Q4,
            DType::Q4K => Format::K4,
            DType::Q5K => Format::K5,
            DType::Q6K => Format::K6,
        }
    }

    pub const fn is_quantized(self) -> bool {
        !matches!(self, Format::F32 | Format::F16)
    }

    /// Input channels that share a record.
    pub const fn step(self) -> usize {
        match self {
            Format::F32 | Format::F16 => 1,
            Format::Q8 | Format::Q4 => BLOCK,
            Format::K4 | Format::K5 | Format::K6 => k::INPUTS,
        }
    }

    /// Bytes of a panel for [`Self::step`] input channels; whole cache lines.
    pub const fn step_bytes(self) -> usize {
        match self {
            Format::F32 => NR * 4,
            Format::F16 => NR * 2,
            Format::Q8 => NR * BLOCK + NR * 2,
            Format::Q4 => NR * BLOCK / 2 + NR * 2,
            Format::K4 => k::record_bytes(4),
            Format::K5 => k::record_bytes(5),
            Format::K6 => k::record_bytes(6),
        }
    }

    /// What an activation block says of the sum of its codes: the stored unsigned codes of weights exceed the signed ones, or
    /// a minimum multiplies that sum.
    pub const fn start(self) -> Start {
        match self {
            Format::Q8 => Start::Times(-128),
            Format::Q4 => Start::Times(-8),
            Format::K4 | Format::K5 => Start::Times(-1),
            Format::K6 => Start::Halves,
            Format::F32 | Format::F16 => Start::Times(0),
        }
    }
}

/// Where the numbers are.
#[derive(Clone)]
enum Layout {
    /// All panels, one after the other.
    Panels(Vec<Line>),
    /// As in a weight file.
    Rows(Cow<'static, [u8]>),
}

/// Weights of a linear layer or a convolution, `[out][taps][inp]`: packed for the kernels of any instruction set, or in
/// the bytes of a weight file, for a portable kernel. Either gives the same bits.
#[derive(Clone)]
pub struct Matrix {
    dtype: DType,
    out: usize,
    taps: usize,
    inp: usize,
    layout: Layout,
}

impl core::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { dtype, out, taps, inp, .. } = self;
        write!(f, "Matrix({} {out} x {taps} x {inp})", dtype.name())
    }
}

impl Matrix {
    /// Packs `data`: `out` x `taps` rows of `inp` elements of `dtype`, little-endian, as they lie in a weight file.
    /// `taps` is kernel height times width, 1 for a linear layer. bf16 weights are kept as f32, their exact value.
    ///
    /// # Errors
    /// [`KernelError`] if a size is 0, a product of sizes overflows, `inp` is not whole blocks of a quantized format,
    /// or `data` is not exactly as long as the sizes say.
    pub fn pack(dtype: DType, data: &[u8], out: usize, taps: usize, inp: usize) -> Result<Self, KernelError> {
        let row = row_bytes(dtype, data, out, taps, inp)?;
        let bytes = Self::bytes_of(dtype, out, taps, inp).ok_or(KernelError::TooLarge { out, taps, inp })?;
        let mut lines = vec![Line([0; 64]); bytes / 64];
        let mut m = Self { dtype, out, taps, inp, layout: Layout::Panels(Vec::new()) };
        m.fill(data, row, bytemuck::cast_slice_mut(&mut lines));
        m.layout = Layout::Panels(lines);
        Ok(m)
    }

    /// As [`Self::pack`], of `data` that is read where it lies, in flash for instance, and never copied; of any alignment. On
    /// WebAssembly, where there is only memory, it is [`Self::pack`]: a page would load code that it cannot use.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub fn stored(
        dtype: DType,
        data: Cow<'static, [u8]>,
        out: usize,
        taps: usize,
        inp: usize,
    ) -> Result<Self, KernelError> {
        if !super::IN_PLACE {
            return Self::pack(dtype, &data, out, taps, inp);
        }
        row_bytes(dtype, &data, out, taps, inp)?;
        Ok(Self { dtype, out, taps, inp, layout: Layout::Rows(data) })
    }

    /// One of these sizes that has no numbers, and cannot be multiplied with; `bytes` are those that it would be packed from.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub(in crate::cpu) fn unfilled(
        dtype: DType,
        bytes: usize,
        [out, taps, inp]: [usize; 3],
    ) -> Result<Self, KernelError> {
        stored_bytes(dtype, bytes, out, taps, inp)?;
        Self::bytes_of(dtype, out, taps, inp).ok_or(KernelError::TooLarge { out, taps, inp })?;
        Ok(Self { dtype, out, taps, inp, layout: Layout::Panels(Vec::new()) })
    }

    /// Room for any one that takes so many bytes, packed.
    pub(in crate::cpu) fn room(bytes: usize) -> Self {
        let layout = Layout::Panels(vec![Line([0; 64]); bytes.div_ceil(64)]);
        Self { dtype: DType::F32, out: 0, taps: 0, inp: 0, layout }
    }

    /// Bytes that it takes, packed.
    pub(in crate::cpu) fn packed_bytes(&self) -> usize {
        self.panels() * self.panel_bytes()
    }

    /// Becomes one of these sizes, packed from `data`, which was found to be as long as they say. What it has is used again.
    pub(in crate::cpu) fn refill(&mut self, context: &Context, sizes: &Self, data: &[u8]) {
        let Self { dtype, out, taps, inp, .. } = *sizes;
        let bytes = sizes.packed_bytes();
        let mut lines = match core::mem::replace(&mut self.layout, Layout::Panels(Vec::new())) {
            Layout::Panels(lines) => lines,
            Layout::Rows(_) => Vec::new(),
        };
        if lines.len() < bytes / 64 {
            lines.resize(bytes / 64, Line([0; 64]));
        }
        let (row, panel) = (data.len() / (out * taps), sizes.panel_bytes());
        let all: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut lines)[..bytes];
        let parts = Parts(all.as_mut_ptr());
        let task = |i: usize| {
            // SAFETY: each task has a panel of its own, and `all` is whole panels.
            let bytes = unsafe { core::slice::from_raw_parts_mut(parts.get().add(i * panel), panel) };
            // As fresh memory is.
            bytes.fill(0);
            let rows = i * NR * taps * row..((i + 1) * NR * taps * row).min(data.len());
            sizes.fill(&data[rows], row, bytes);
        };
        context.pool.run(sizes.panels(), &task);
        *self = Self { dtype, out, taps, inp, layout: Layout::Panels(lines) };
    }

    /// [`Self::bytes`] of a matrix of these sizes, which nobody needs to make for it; `None` where they overflow.
    pub fn bytes_of(dtype: DType, out: usize, taps: usize, inp: usize) -> Option<usize> {
        let format = Format::of(dtype);
        (inp / format.step()).checked_mul(format.step_bytes())?.checked_mul(taps)?.checked_mul(out.div_ceil(NR))
    }

    /// Copies each stored row to its lane of each record.
    fn fill(&self, data: &[u8], row: usize, bytes: &mut [u8]) {
        let (dtype, format) = (self.dtype, self.format());
        let (panel_bytes, tap_bytes) = (self.panel_bytes(), self.tap_bytes());
        let (step, record) = (dtype.block_bytes(), format.step_bytes());
        if format == Format::Q8 {
            bytes.fill(128); // lanes beyond `out`: code 0, and below, scale 0
            bytes.chunks_exact_mut(record).for_each(|r| r[NR * BLOCK..].fill(0));
        }
        for (i, row) in data.chunks_exact(row).enumerate() {
            let (n, tap) = (i / self.taps, i % self.taps);
            let tap = &mut bytes[n / NR * panel_bytes + tap * tap_bytes..][..tap_bytes];
            for (src, dst) in row.chunks_exact(step).zip(tap.chunks_exact_mut(record)) {
                put(dtype, src, dst, n % NR);
            }
        }
    }

    pub(crate) fn format(&self) -> Format {
        Format::of(self.dtype)
    }

    /// Bytes of one tap of one panel.
    pub(crate) fn tap_bytes(&self) -> usize {
        self.inp / self.format().step() * self.format().step_bytes()
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        self.tap_bytes() * self.taps
    }

    pub(crate) fn panels(&self) -> usize {
        self.out.div_ceil(NR)
    }

    /// All panels, from a cache line's start; none if the weights are [`Self::rows`].
    pub(crate) fn packed(&self) -> &[u8] {
        match &self.layout {
            Layout::Panels(lines) => bytemuck::cast_slice(lines),
            Layout::Rows(_) => &[],
        }
    }

    /// All rows as they are stored, if they are not packed: row `n * taps + t` is tap `t` of output `n`.
    pub(super) fn rows(&self) -> Option<&[u8]> {
        match &self.layout {
            Layout::Panels(_) => None,
            Layout::Rows(data) => Some(data),
        }
    }

    /// Bytes of memory held; borrowed ones are not.
    pub fn bytes(&self) -> usize {
        match &self.layout {
            Layout::Panels(lines) => lines.len() * 64,
            Layout::Rows(Cow::Owned(data)) => data.len(),
            Layout::Rows(Cow::Borrowed(_)) => 0,
        }
    }

    /// Output channels.
    pub fn out(&self) -> usize {
        self.out
    }

    /// Kernel height times width.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Input channels.
    pub fn inp(&self) -> usize {
        self.inp
    }

    /// The type whose scratch memory suffices: stored weights quantize activations as they are met, and need none.
    pub(in crate::cpu) fn scratch_dtype(&self) -> DType {
        if self.rows().is_some() { DType::F32 } else { self.dtype }
    }

    /// Format the weights were stored in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
}

/// Bytes of a stored row, if `data` is as many as the sizes say.
fn row_bytes(dtype: DType, data: &[u8], out: usize, taps: usize, inp: usize) -> Result<usize, KernelError> {
    stored_bytes(dtype, data.len(), out, taps, inp)
}

/// Bytes of a stored row, if `got` bytes are as many as the sizes say.
fn stored_bytes(dtype: DType, got: usize, out: usize, taps: usize, inp: usize) -> Result<usize, KernelError> {
    if out == 0 || taps == 0 || inp == 0 {
        return Err(KernelError::EmptyMatrix { out, taps, inp });
    }
    let too_large = KernelError::TooLarge { out, taps, inp };
    let block = dtype.block_len();
    if !inp.is_multiple_of(block) {
        return Err(KernelError::PartialBlock { dtype: dtype.name(), block, inp });
    }
    let row = dtype.row_bytes(inp).ok_or(too_large.clone())?;
    let expected = row.checked_mul(taps).and_then(|n| n.checked_mul(out)).ok_or(too_large)?;
    if got != expected {
        return Err(KernelError::WeightBytes { dtype: dtype.name(), out, taps, inp, expected, got });
    }
    Ok(row)
}

/// Copies one stored block (or element) `src` to lane `lane` of the record `dst`.
fn put(dtype: DType, src: &[u8], dst: &mut [u8], lane: usize) {
    match dtype {
        DType::F32 => {
            dst[lane * 4..][..4].copy_from_slice(&f32_ne(f32::from_le_bytes([src[0], src[1], src[2], src[3]])))
        }
        DType::BF16 => {
            let mut v = [0.0];
            // Cannot fail: one element of two bytes.
            let _ = quant::decode(dtype, src, &mut v);
            dst[lane * 4..][..4].copy_from_slice(&f32_ne(v[0]));
        }
        DType::F16 => dst[lane * 2..][..2].copy_from_slice(&u16::from_le_bytes([src[0], src[1]]).to_ne_bytes()),
        DType::Q8_0 | DType::Q4_0 => {
            let codes = dst.len() - NR * 2;
            for (group, q) in src[2..].chunks_exact(4).enumerate() {
                for (d, q) in dst[(group * NR + lane) * 4..][..4].iter_mut().zip(q) {
                    // + 128; half-byte codes are unsigned already, in the order the panel wants
                    *d = if dtype == DType::Q8_0 { q ^ 0x80 } else { *q };
                }
            }
            let scale = u16::from_le_bytes([src[0], src[1]]);
            dst[codes + lane * 2..][..2].copy_from_slice(&scale.to_ne_bytes());
        }
        DType::Q4K => k::put::<4>(dtype, src, dst, lane),
        DType::Q5K => k::put::<5>(dtype, src, dst, lane),
        DType::Q6K => k::put::<6>(dtype, src, dst, lane),
    }
}

fn f32_ne(v: f32) -> [u8; 4] {
    v.to_ne_bytes()
}
