//! The writer: the same calls give the same bytes, on every machine.

use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, MAX_METADATA, MAX_TENSOR_NAME, MAX_TENSORS, VERSION};
use super::{ValueType, align_up};
use crate::quant::{self, DType, QuantError};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// A metadata value to be written; `From` exists for each kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named by their Rust types")]
pub enum MetaValue {
    U32(u32),
    U64(u64),
    I32(i32),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(String),
    U8s(Vec<u8>),
    U32s(Vec<u32>),
    F32s(Vec<f32>),
    F64s(Vec<f64>),
    Strs(Vec<String>),
}

macro_rules! from {
    ($($variant:ident($t:ty)),*) => {
        $(impl From<$t> for MetaValue {
            fn from(value: $t) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

from!(
    U32(u32),
    U64(u64),
    I32(i32),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(String),
    U8s(Vec<u8>),
    U32s(Vec<u32>),
    F32s(Vec<f32>),
    F64s(Vec<f64>),
    Strs(Vec<String>)
);

impl From<&str> for MetaValue {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<&[&str]> for MetaValue {
    fn from(values: &[&str]) -> Self {
        Self::Strs(values.iter().map(|&s| s.to_owned()).collect())
    }
}

/// Why something cannot be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum WriteError {
    /// A key that is not 1 to 65535 characters of `a-z A-Z 0-9 . _ -`.
    #[error("{key:?} is not a metadata key: use 1 to 65535 of the characters a-z A-Z 0-9 . _ -")]
    InvalidKey { key: String },
    /// A key that only the writer may write.
    #[error("{key} is the writer's own: it always aligns to {DEFAULT_ALIGNMENT}")]
    ReservedKey { key: String },
    /// A key that was already written.
    #[error("the key {key} was already written")]
    DuplicateKey { key: String },
    /// NaN or infinity as metadata.
    #[error("the value of {key} is not a finite number")]
    NonFiniteValue { key: String },
    /// A name that is empty, too long for ggml, or holds control characters.
    #[error("{name:?} is not a tensor name: use 1 to {MAX_TENSOR_NAME} bytes without control characters")]
    InvalidTensorName { name: String },
    /// A tensor that was already written.
    #[error("the tensor {name} was already written")]
    DuplicateTensor { name: String },
    /// A shape without elements, or with more dimensions than four.
    #[error("tensor {name} has the shape {shape:?}: must be 1 to {MAX_DIMS} dimensions, none of them zero")]
    InvalidShape { name: String, shape: Vec<usize> },
    /// More or fewer values than the shape has.
    #[error("tensor {name} of shape {shape:?} was given {len} values")]
    WrongLength { name: String, shape: Vec<usize>, len: usize },
    /// Rows that are not whole blocks.
    #[error("tensor {name} has rows of {row}, not a multiple of the {} of {dtype}: use f16 or f32", dtype.block_len())]
    PartialBlock { name: String, row: usize, dtype: DType },
    /// Values that the format cannot hold.
    #[error("tensor {name}: {source}")]
    Values { name: String, source: QuantError },
    /// More entries than a reader accepts.
    #[error("a file holds at most {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
}

/// Collects metadata and tensors, then writes them in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    metadata: Vec<(String, MetaValue)>,
    tensors: Vec<Pending>,
}

#[derive(Debug, Clone)]
struct Pending {
    name: String,
    /// GGUF's order, fastest first.
    ne: Vec<u64>,
    dtype: DType,
    /// Bytes of the data, which are here or written by the caller.
    len: u64,
    data: Vec<u8>,
}

impl Writer {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata entry.
    ///
    /// # Errors
    /// A key that is malformed, taken or reserved; a number that is not finite; too many entries.
    pub fn meta(&mut self, key: &str, value: impl Into<MetaValue>) -> Result<(), WriteError> {
        let value = value.into();
        let is_key_char = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let key = key.to_owned();
        if key.is_empty() || key.len() > usize::from(u16::MAX) || !key.bytes().all(is_key_char) {
            return Err(WriteError::InvalidKey { key: super::error::quoted(&key) });
        }
        if key == ALIGNMENT_KEY {
            return Err(WriteError::ReservedKey { key });
        }
        if self.metadata.iter().any(|(k, _)| *k == key) {
            return Err(WriteError::DuplicateKey { key });
        }
        if !value.is_finite() {
            return Err(WriteError::NonFiniteValue { key });
        }
        if self.metadata.len() == MAX_METADATA {
            return Err(WriteError::TooMany { what: "metadata entries", limit: MAX_METADATA });
        }
        self.metadata.push((key, value));
        Ok(())
    }

    /// As [`Self::meta`], the entry standing behind that of another key, or last if there is none.
    ///
    /// # Errors
    /// As of [`Self::meta`].
    pub fn meta_behind(&mut self, other: &str, key: &str, value: impl Into<MetaValue>) -> Result<(), WriteError> {
        self.meta(key, value)?;
        let last = self.metadata.len() - 1;
        if let Some(at) = self.metadata[..last].iter().position(|(k, _)| k == other) {
            self.metadata[at + 1..].rotate_right(1);
        }
        Ok(())
    }

    /// Adds a tensor: `data` in row-major order of `shape`, slowest dimension first, encoded as `dtype` with its blocks
    /// along the last dimension.
    ///
    /// # Errors
    /// A name that is malformed or taken; a shape that is empty, has a zero, or is not that of `data`; rows that are not
    /// whole blocks; values that `dtype` cannot hold; too many tensors.
    pub fn tensor(&mut self, name: &str, shape: &[usize], dtype: DType, data: &[f32]) -> Result<(), WriteError> {
        let elements = self.check(name, shape, dtype)?;
        if elements != Some(data.len()) {
            let (name, len) = (super::error::quoted(name), data.len());
            return Err(WriteError::WrongLength { name, shape: shape.to_vec(), len });
        }
        let mut bytes = Vec::new();
        let quoted = |source| WriteError::Values { name: super::error::quoted(name), source };
        quant::encode(dtype, data, &mut bytes).map_err(quoted)?;
        self.push(name, shape, dtype, bytes.len() as u64, bytes);
        Ok(())
    }

    /// Adds the entry of a tensor whose data the caller writes behind [`Self::finish`]'s bytes, each tensor padded with
    /// zeros to a multiple of 32: for files larger than memory. Returns the bytes that the data takes. A file has either
    /// such tensors or those of [`Self::tensor`].
    ///
    /// # Errors
    /// As of [`Self::tensor`].
    pub fn declare(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<u64, WriteError> {
        let elements = self.check(name, shape, dtype)?;
        let bytes = elements
            .and_then(|n| dtype.row_bytes(n))
            .ok_or_else(|| WriteError::InvalidShape { name: super::error::quoted(name), shape: shape.to_vec() })?;
        self.push(name, shape, dtype, bytes as u64, Vec::new());
        Ok(bytes as u64)
    }

    /// Checks all but the data; the number of elements, unless it overflows.
    fn check(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Option<usize>, WriteError> {
        let quoted = || super::error::quoted(name);
        if name.is_empty() || name.len() > MAX_TENSOR_NAME || name.chars().any(char::is_control) {
            return Err(WriteError::InvalidTensorName { name: quoted() });
        }
        if self.tensors.iter().any(|t| t.name == name) {
            return Err(WriteError::DuplicateTensor { name: quoted() });
        }
        let row = match shape {
            [.., row] if shape.len() <= MAX_DIMS && !shape.contains(&0) => *row,
            _ => return Err(WriteError::InvalidShape { name: quoted(), shape: shape.to_vec() }),
        };
        if dtype.row_bytes(row).is_none() {
            return Err(WriteError::PartialBlock { name: quoted(), row, dtype });
        }
        if self.tensors.len() == MAX_TENSORS {
            return Err(WriteError::TooMany { what: "tensors", limit: MAX_TENSORS });
        }
        Ok(shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)))
    }

    fn push(&mut self, name: &str, shape: &[usize], dtype: DType, len: u64, data: Vec<u8>) {
        let ne = shape.iter().rev().map(|&n| n as u64).collect();
        self.tensors.push(Pending { name: name.to_owned(), ne, dtype, len, data });
    }

    /// The bytes of the file, without the data of declared tensors.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_str(&mut out, key);
            value.put(&mut out);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            put_str(&mut out, &tensor.name);
            out.extend((tensor.ne.len() as u32).to_le_bytes());
            out.extend(tensor.ne.iter().flat_map(|n| n.to_le_bytes()));
            out.extend(tensor.dtype.id().to_le_bytes());
            out.extend(u64::to_le_bytes(offset));
            offset += align_up(tensor.len, DEFAULT_ALIGNMENT);
        }
        pad(&mut out);
        out.reserve_exact(self.tensors.iter().map(|t| t.data.len() + DEFAULT_ALIGNMENT as usize).sum());
        for tensor in self.tensors {
            out.extend(tensor.data);
            // The last one too: ggml reads whole padded tensors.
            pad(&mut out);
        }
        out
    }
}

impl MetaValue {
    fn is_finite(&self) -> bool {
        match self {
            Self::F32(v) => v.is_finite(),
            Self::F64(v) => v.is_finite(),
            Self::F32s(v) => v.iter().all(|v| v.is_finite()),
            Self::F64s(v) => v.iter().all(|v| v.is_finite()),
            _ => true,
        }
    }

    /// Appends the type and the value.
    fn put(&self, out: &mut Vec<u8>) {
        let mut put = |kind: ValueType, bytes: &[u8]| {
            out.extend((kind as u32).to_le_bytes());
            out.extend(bytes);
        };
        match self {
            Self::U32(v) => put(ValueType::U32, &v.to_le_bytes()),
            Self::U64(v) => put(ValueType::U64, &v.to_le_bytes()),
            Self::I32(v) => put(ValueType::I32, &v.to_le_bytes()),
            Self::F32(v) => put(ValueType::F32, &v.to_le_bytes()),
            Self::F64(v) => put(ValueType::F64, &v.to_le_bytes()),
            Self::Bool(v) => put(ValueType::Bool, &[u8::from(*v)]),
            Self::Str(v) => {
                put(ValueType::Str, &[]);
                put_str(out, v);
            }
            Self::U8s(v) => {
                put_array(out, ValueType::U8, v.len());
                out.extend(v);
            }
            Self::U32s(v) => {
                put_array(out, ValueType::U32, v.len());
                out.extend(v.iter().flat_map(|v| v.to_le_bytes()));
            }
            Self::F32s(v) => {
                put_array(out, ValueType::F32, v.len());
                out.extend(v.iter().flat_map(|v| v.to_le_bytes()));
            }
            Self::F64s(v) => {
                put_array(out, ValueType::F64, v.len());
                out.extend(v.iter().flat_map(|v| v.to_le_bytes()));
            }
            Self::Strs(v) => {
                put_array(out, ValueType::Str, v.len());
                v.iter().for_each(|s| put_str(out, s));
            }
        }
    }
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

fn put_array(out: &mut Vec<u8>, kind: ValueType, len: usize) {
    out.extend((ValueType::Array as u32).to_le_bytes());
    out.extend((kind as u32).to_le_bytes());
    out.extend((len as u64).to_le_bytes());
}

fn pad(out: &mut Vec<u8>) {
    out.resize(align_up(out.len() as u64, DEFAULT_ALIGNMENT) as usize, 0);
}
