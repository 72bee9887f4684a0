//! A checkpoint becomes a file: streamed, a few megabytes at a time.

use super::checkpoint::{Checkpoint, Source};
use super::describe;
use super::error::{ImportError, io};
use super::types::Types;
use nijimi_runtime::gguf::{AtomicFile, Writer};
use nijimi_runtime::quant::{self, DType, QuantError};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Values read at a time; rows longer than that are read whole. The fixtures' tensors are small.
const CHUNK: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The tensor that was written.
    pub name: &'a str,
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of tensors written.
    pub bytes: u64,
    /// Bytes that there will be.
    pub of: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the file.
    pub bytes: u64,
    /// Tensors, values and bytes of each type, in the order in which the types occur.
    pub types: Vec<(DType, usize, u64, u64)>,
}

/// Writes the checkpoint to `out`, which appears when it is whole; `progress` is told of every tensor. At no time are
/// more than some megabytes, or one row of a tensor, or one transposed tensor, in memory.
///
/// # Errors
/// Numbers that are NaN or do not fit their type, with the tensor and the position; and whatever reading and writing
/// have against it. Nothing is left at `out` then.
pub fn convert(
    checkpoint: &Checkpoint,
    out: &Path,
    name: &str,
    types: &Types,
    progress: impl FnMut(Event<'_>),
) -> Result<Summary, ImportError> {
    let mut file = AtomicFile::create(out)?;
    let summary = write(checkpoint, |bytes| Ok(file.write(bytes)?), name, types, progress)?;
    file.commit()?;
    Ok(summary)
}

/// As [`convert`], into a file that is open already and may have no name. `path` is for errors.
///
/// # Errors
/// As [`convert`]; what was written so far stays in the file.
pub fn convert_into(
    checkpoint: &Checkpoint,
    mut file: &File,
    path: &Path,
    name: &str,
    types: &Types,
    progress: impl FnMut(Event<'_>),
) -> Result<Summary, ImportError> {
    write(checkpoint, |bytes| file.write_all(bytes).map_err(io("write", path)), name, types, progress)
}

/// As [`convert_into`], but of the tensors only their names, shapes and types: where their numbers would be, the file is empty.
/// It is enough to plan a run.
///
/// # Errors
/// As [`convert`].
pub fn outline_into(
    checkpoint: &Checkpoint,
    mut file: &File,
    path: &Path,
    name: &str,
    types: &Types,
) -> Result<(), ImportError> {
    let mut writer = Writer::new();
    describe::write(checkpoint, name, types.rest(), &mut writer)?;
    let mut len = 0;
    for tensor in checkpoint.tensors() {
        let dtype = types.of(&tensor.name, &tensor.shape);
        len += writer.declare(&tensor.name, &tensor.shape, dtype)?.next_multiple_of(32);
    }
    let header = writer.finish();
    let write = file.write_all(&header).and_then(|()| file.set_len(header.len() as u64 + len));
    write.map_err(io("write", path))
}

/// Hands the file's bytes to `out`, in their order.
fn write(
    checkpoint: &Checkpoint,
    mut out: impl FnMut(&[u8]) -> Result<(), ImportError>,
    name: &str,
    types: &Types,
    mut progress: impl FnMut(Event<'_>),
) -> Result<Summary, ImportError> {
    let mut writer = Writer::new();
    describe::write(checkpoint, name, types.rest(), &mut writer)?;
    let mut summary: Vec<(DType, usize, u64, u64)> = Vec::new();
    let (mut of, mut dtypes) = (0, Vec::new());
    for tensor in checkpoint.tensors() {
        let dtype = types.of(&tensor.name, &tensor.shape);
        let bytes = writer.declare(&tensor.name, &tensor.shape, dtype)?;
        let values: usize = tensor.shape.iter().product();
        let at = summary.iter().position(|kind| kind.0 == dtype).unwrap_or_else(|| {
            summary.push((dtype, 0, 0, 0));
            summary.len() - 1
        });
        let kind = &mut summary[at];
        (kind.1, kind.2, kind.3) = (kind.1 + 1, kind.2 + values as u64, kind.3 + bytes);
        of += bytes;
        dtypes.push((dtype, bytes));
    }
    let header = writer.finish();
    out(&header)?;
    let mut total = header.len() as u64;
    let (mut values, mut encoded, mut written) = (Vec::new(), Vec::new(), 0);
    for (i, (tensor, (dtype, bytes))) in checkpoint.tensors().iter().zip(dtypes).enumerate() {
        let row: usize = tensor.shape[1..].iter().product();
        // A transposed matrix is read whole for every piece.
        let rows = if checkpoint.is_transposed(i) { tensor.shape[0] } else { (CHUNK / row).max(1) };
        for start in (0..tensor.shape[0]).step_by(rows) {
            values.clear();
            encoded.clear();
            checkpoint.read(i, start..(start + rows).min(tensor.shape[0]), &mut values)?;
            if let Err(source) = quant::encode(dtype, &values, &mut encoded) {
                return Err(wrong(checkpoint, i, rows, moved(source, start * row))?);
            }
            out(&encoded)?;
        }
        let padding = [0; 32];
        let pad = bytes.next_multiple_of(32) - bytes;
        out(&padding[..pad as usize])?;
        total += bytes + pad;
        written += bytes;
        progress(Event { name: &tensor.name, tensors: i + 1, bytes: written, of });
    }
    Ok(Summary { bytes: total, types: summary })
}

/// What is wrong with a tensor's values: how many of them, where they are no numbers.
fn wrong(checkpoint: &Checkpoint, i: usize, rows: usize, source: QuantError) -> Result<ImportError, ImportError> {
    let tensor = &checkpoint.tensors()[i];
    let (path, name) = (checkpoint.file_of(i).into(), tensor.stored_name.clone());
    let stored = String::from(&tensor.stored_type);
    let QuantError::NonFinite { index: at, value, .. } = source else {
        return Ok(ImportError::Values { path, name, stored, source });
    };
    let (mut count, mut values) = (0, Vec::new());
    for start in (0..tensor.shape[0]).step_by(rows) {
        values.clear();
        checkpoint.read(i, start..(start + rows).min(tensor.shape[0]), &mut values)?;
        count += values.iter().filter(|value| !value.is_finite()).count();
    }
    let of = tensor.shape.iter().product();
    Ok(ImportError::NotFinite { path, name, stored, at, value, count, of })
}

/// The error of a piece, with its place in the whole tensor (in our layout).
fn moved(error: QuantError, by: usize) -> QuantError {
    match error {
        QuantError::NonFinite { dtype, index, value } => QuantError::NonFinite { dtype, index: index + by, value },
        QuantError::Overflow { dtype, index, value } => QuantError::Overflow { dtype, index: index + by, value },
        error => error,
    }
}
