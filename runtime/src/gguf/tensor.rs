//! Tensors: their entries in the header, and the layout of their data.

use super::cursor::Cursor;
use super::error::quoted;
use super::{GgufError, MAX_DIMS, align_up};
use crate::order::order;
use crate::quant::{DType, decode_blocks};
use alloc::vec;
use alloc::vec::Vec;

/// How the numbers of a tensor are stored: this program's formats, or more of ggml's where files of others are read.
pub trait ElementType: Copy {
    /// The format with ggml's type id; `None` of one that is not read.
    fn from_id(id: u32) -> Option<Self>;
    /// Values in a block.
    fn block_len(self) -> usize;
    /// Bytes of a block.
    fn block_bytes(self) -> usize;
}

impl ElementType for DType {
    fn from_id(id: u32) -> Option<Self> {
        Self::from_id(id)
    }

    fn block_len(self) -> usize {
        self.block_len()
    }

    fn block_bytes(self) -> usize {
        self.block_bytes()
    }
}

/// A tensor of a file: what the header says of it, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor<'a, T = DType> {
    /// Its name, unique in the file.
    pub name: &'a str,
    /// How its numbers are stored.
    pub dtype: T,
    /// Its dimensions in GGUF's order, fastest first, padded with 1; none is 0.
    pub ne: [u64; MAX_DIMS],
    /// How many of `ne` the file states, 1 to 4.
    pub n_dims: u32,
    /// Its data: whole blocks, rows one after the other. Not necessarily aligned in memory.
    pub data: &'a [u8],
}

impl<T: ElementType> Tensor<'_, T> {
    /// Number of values.
    pub fn elements(&self) -> usize {
        self.data.len() / self.dtype.block_bytes() * self.dtype.block_len()
    }

    /// Dimensions in row-major order, slowest first: the reverse of `ne`.
    pub fn shape(&self) -> Vec<usize> {
        self.ne.iter().take(self.n_dims as usize).rev().map(|&n| n as usize).collect()
    }
}

impl Tensor<'_> {
    /// The values, row-major. A damaged file may hold NaN or infinity: data is not examined when a file is opened.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.elements()];
        decode_blocks(self.dtype, self.data, &mut out);
        out
    }
}

/// A tensor's entry in the header, checked in itself.
#[derive(Debug)]
pub(super) struct Entry<'a, T> {
    name: &'a str,
    dtype: T,
    ne: [u64; MAX_DIMS],
    n_dims: u32,
    offset: u64,
    bytes: u64,
}

/// Bytes of the shortest entry: a name of one byte, one dimension.
pub(super) const LEAST_BYTES: usize = 8 + 1 + 4 + 8 + 4 + 8;

impl<'a, T: ElementType> Entry<'a, T> {
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, GgufError> {
        let name = cursor.name("tensor name")?;
        let n_dims = cursor.u32("dimension count")?;
        if n_dims == 0 || n_dims > MAX_DIMS as u32 {
            return Err(GgufError::BadDimCount { name: quoted(name), n_dims });
        }
        let mut ne = [1; MAX_DIMS];
        for (dim, n) in ne.iter_mut().enumerate().take(n_dims as usize) {
            *n = cursor.u64("dimension")?;
            if *n == 0 {
                return Err(GgufError::ZeroDimension { name: quoted(name), dim });
            }
        }
        let id = cursor.u32("tensor type")?;
        let dtype = T::from_id(id).ok_or_else(|| GgufError::UnsupportedTensorType { name: quoted(name), id })?;
        let offset = cursor.u64("tensor offset")?;
        if !ne[0].is_multiple_of(dtype.block_len() as u64) {
            return Err(GgufError::PartialBlock { name: quoted(name), row: ne[0], block: dtype.block_len() });
        }
        let bytes = size_of(dtype, ne).ok_or_else(|| GgufError::TensorTooLarge { name: quoted(name) })?;
        Ok(Self { name, dtype, ne, n_dims, offset, bytes })
    }

    /// The tensor with its bytes out of the data section, which starts at a multiple of `alignment`.
    pub fn place(&self, data: &'a [u8], alignment: u32) -> Result<Tensor<'a, T>, GgufError> {
        let &Self { name, dtype, ne, n_dims, offset, bytes } = self;
        if !offset.is_multiple_of(u64::from(alignment)) {
            return Err(GgufError::UnalignedOffset { name: quoted(name), offset, alignment });
        }
        let end = offset.checked_add(bytes).ok_or_else(|| GgufError::OffsetOverflow { name: quoted(name), offset })?;
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        let data = range.and_then(|(start, end)| data.get(start..end)).ok_or_else(|| GgufError::OutOfRange {
            name: quoted(name),
            offset,
            end,
            len: data.len() as u64,
        })?;
        Ok(Tensor { name, dtype, ne, n_dims, data })
    }
}

/// Bytes of a tensor as stored, if those and the bytes of its values as f32 can be addressed.
fn size_of<T: ElementType>(dtype: T, ne: [u64; MAX_DIMS]) -> Option<u64> {
    let elements = ne.into_iter().try_fold(1u64, u64::checked_mul)?;
    isize::try_from(elements.checked_mul(4)?).ok()?;
    // Rows are whole blocks, so the product is.
    Some(elements / dtype.block_len() as u64 * dtype.block_bytes() as u64)
}

/// Tensors must fill the data section: one after the other, padded to the alignment, nothing shared and nothing left.
pub(super) fn check_layout<T>(entries: &[Entry<'_, T>], data_len: u64, alignment: u32) -> Result<(), GgufError> {
    let order = order(entries.len(), &|a, b| entries[a].offset.cmp(&entries[b].offset));
    let (mut end, mut previous) = (0, "");
    for entry in order.into_iter().map(|i| &entries[i as usize]) {
        if entry.offset < end {
            return Err(GgufError::Overlap { first: quoted(previous), second: quoted(entry.name) });
        }
        let expected = align_up(end, alignment);
        if entry.offset > expected {
            return Err(GgufError::Hole { name: quoted(entry.name), bytes: entry.offset - expected });
        }
        (end, previous) = (entry.offset + entry.bytes, entry.name);
    }
    match data_len.saturating_sub(align_up(end, alignment)) {
        0 => Ok(()),
        bytes => Err(GgufError::TrailingBytes { bytes }),
    }
}
