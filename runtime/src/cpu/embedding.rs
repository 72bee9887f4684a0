//! A row of a table for every picture.

use crate::quant::{DType, QuantError, decode_blocks};
use alloc::borrow::Cow;

/// Values decoded at a time: whole blocks of every format.
const CHUNK: usize = 256;

/// An embedding, `[rows][dim]`, kept as it is stored: a vocabulary's is large, and few of its rows are read.
#[derive(Clone)]
pub struct Table {
    dtype: DType,
    data: Cow<'static, [u8]>,
    /// Elements of a row, and their bytes.
    dim: usize,
    row: usize,
}

impl Table {
    /// A table of rows of `dim` elements.
    ///
    /// # Errors
    /// Rows that are not whole blocks of the format, or data that is not whole rows.
    pub fn new(dtype: DType, data: &[u8], dim: usize) -> Result<Self, QuantError> {
        Self::stored(dtype, Cow::Owned(data.to_vec()), dim)
    }

    /// As [`Self::new`], of data that is read where it lies.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn stored(dtype: DType, data: Cow<'static, [u8]>, dim: usize) -> Result<Self, QuantError> {
        let row = dtype.row_bytes(dim).ok_or(QuantError::PartialBlock { dtype, len: dim })?;
        let rows = data.len().checked_div(row).unwrap_or(0);
        if rows * row != data.len() {
            return Err(QuantError::LengthMismatch { dtype, bytes: data.len(), len: rows * dim });
        }
        Ok(Self { dtype, data, dim, row })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.row).unwrap_or(0)
    }

    /// Bytes of memory held; borrowed ones are not.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Cow::Owned(data) => data.len(),
            Cow::Borrowed(_) => 0,
        }
    }

    /// `y += table[id]`; whether there is such a row.
    fn add(&self, id: u32, y: &mut [f32]) -> bool {
        let start = (id as usize).checked_mul(self.row);
        let Some(data) = start.and_then(|start| self.data.get(start..)?.get(..self.row)) else { return false };
        let bytes = CHUNK / self.dtype.block_len() * self.dtype.block_bytes();
        for (y, data) in y.chunks_mut(CHUNK).zip(data.chunks(bytes)) {
            let mut values = [0.0; CHUNK];
            decode_blocks(self.dtype, data, &mut values[..y.len()]);
            y.iter_mut().zip(values).for_each(|(y, e)| *y += e);
        }
        true
    }
}

/// `y[i] += table[ids[i]]`; `None` adds nothing, which is what a network trained with dropped labels knows as no label.
///
/// `y` is `[ids.len()][dim]`.
///
/// # Panics
/// Where a length does not fit, or an id is not a row of the table: whoever takes labels from a user checks them first.
pub fn embedding_add(table: &Table, ids: &[Option<u32>], y: &mut [f32]) {
    assert_eq!(y.len(), ids.len() * table.dim, "embedding_add: length of y");
    if table.dim == 0 {
        return;
    }
    for (y, id) in y.chunks_exact_mut(table.dim).zip(ids) {
        if let Some(id) = *id {
            assert!(table.add(id, y), "embedding_add: id {id} of a table of {} rows", table.rows());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::random;
    use super::*;
    use crate::quant::{decode, encode};
    use alloc::vec;
    use alloc::vec::Vec;

    fn table(values: &[f32], dim: usize) -> Table {
        Table::new(DType::F32, bytemuck::cast_slice(values), dim).unwrap()
    }

    /// Seen red with `=` in place of `+=`, and with `None` taken as row 0.
    #[test]
    fn adds_the_row_of_each_id_and_nothing_for_none() {
        let table = table(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], 3);
        let mut y = [0.5f32; 12];
        embedding_add(&table, &[Some(1), None, Some(0), Some(1)], &mut y);
        assert_eq!(y, [10.5, 20.5, 30.5, 0.5, 0.5, 0.5, 1.5, 2.5, 3.5, 10.5, 20.5, 30.5]);
        embedding_add(&Table::new(DType::F32, &[], 0).unwrap(), &[None], &mut []);
    }

    /// The bits of a table decoded whole. Seen red with the first chunk's data for all chunks.
    #[test]
    fn every_format_gives_its_values() {
        let (rows, dim) = (5, 512);
        let values = random(rows * dim, 1);
        for dtype in DType::ALL {
            let mut data = Vec::new();
            encode(dtype, &values, &mut data).unwrap();
            let mut whole = vec![0.0; rows * dim];
            decode(dtype, &data, &mut whole).unwrap();
            let table = Table::new(dtype, &data, dim).unwrap();
            assert_eq!((table.rows(), table.bytes()), (rows, data.len()));
            for id in [0, 3, 4] {
                let mut y = vec![0.0; dim];
                embedding_add(&table, &[Some(id as u32)], &mut y);
                assert_eq!(y, whole[id * dim..][..dim], "{dtype}");
            }
        }
        // A last chunk that is not full.
        let mut y = [0.0; 37];
        embedding_add(&table(&values[..74], 37), &[Some(1)], &mut y);
        assert_eq!(y, values[37..74]);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(matches!(Table::new(DType::Q8_0, &[0; 34], 31), Err(QuantError::PartialBlock { .. })));
        assert!(matches!(Table::new(DType::F32, &[0; 13], 3), Err(QuantError::LengthMismatch { .. })));
        assert!(matches!(Table::new(DType::F32, &[0; 8], 0), Err(QuantError::LengthMismatch { .. })));
    }

    #[test]
    #[should_panic(expected = "id 2 of a table of 2 rows")]
    fn an_id_past_the_table_is_named() {
        embedding_add(&table(&[1.0, 2.0], 1), &[Some(2)], &mut [0.0]);
    }
}
