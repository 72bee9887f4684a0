//! Why a file was refused.

use super::{MAX_ALIGNMENT, MAX_DIMS};
use alloc::string::String;

/// Why a GGUF file was refused, or what it does not hold. Positions are bytes from the start of the file; names and
/// keys in a message are cut to 80 characters.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum GgufError {
    /// Fewer bytes than a header has.
    #[error("not a GGUF file: {len} bytes are fewer than the 24 of a header")]
    TooShort { len: usize },
    /// Another kind of file.
    #[error("not a GGUF file: it starts with {found:?} instead of \"GGUF\"")]
    BadMagic { found: [u8; 4] },
    /// A version other than 3.
    #[error("GGUF version {found} is not read, only 3 (not 1 or 2): convert the file with a current tool")]
    UnsupportedVersion { found: u32 },
    /// The version makes sense only with its bytes reversed.
    #[error("big-endian GGUF (version {version}) is not read: convert the file to little-endian")]
    BigEndian { version: u32 },
    /// More entries than the rest of the file could hold in their shortest encoding.
    #[error("the header claims {count} {what}, more than the remaining {remaining} bytes can hold: damaged file")]
    CountExceedsFile { what: &'static str, count: u64, remaining: usize },
    /// More entries than this reader accepts.
    #[error("the header claims {count} {what}, the limit is {limit}")]
    TooMany { what: &'static str, count: u64, limit: usize },
    /// The header ends inside a fixed-size field.
    #[error("the file ends inside the {what} at byte {at}: truncated, copy it again")]
    Truncated { what: &'static str, at: usize },
    /// A string longer than the rest of the file.
    #[error("the {what} at byte {at} claims {len} bytes, {remaining} remain: truncated or damaged file")]
    StringTooLong { what: &'static str, at: usize, len: u64, remaining: usize },
    /// A key, name or string that is not UTF-8.
    #[error("the {what} at byte {at} is not valid UTF-8: damaged file")]
    InvalidUtf8 { what: &'static str, at: usize },
    /// A key or tensor name of no characters.
    #[error("the {what} at byte {at} is empty")]
    EmptyName { what: &'static str, at: usize },
    /// A metadata value of a type that GGUF does not have.
    #[error("the value of key {key:?} has the unknown type {id}")]
    UnknownValueType { key: String, id: u32 },
    /// An array of arrays.
    #[error("the value of key {key:?} is an array of arrays, which is not read")]
    NestedArray { key: String },
    /// A bool that is neither 0 nor 1.
    #[error("the value of key {key:?} holds the bool {byte}, which must be 0 or 1")]
    InvalidBool { key: String, byte: u8 },
    /// An array with more elements than the rest of the file could hold.
    #[error("the array of key {key:?} claims {count} elements, more than the remaining {remaining} bytes can hold")]
    ArrayTooLong { key: String, count: u64, remaining: usize },
    /// The same key twice.
    #[error("the key {key:?} occurs twice")]
    DuplicateKey { key: String },
    /// The same tensor name twice.
    #[error("the tensor {name:?} occurs twice")]
    DuplicateTensor { name: String },
    /// No dimensions, or more than four.
    #[error("tensor {name:?} has {n_dims} dimensions, must be 1 to {MAX_DIMS}")]
    BadDimCount { name: String, n_dims: u32 },
    /// A dimension of zero.
    #[error("dimension {dim} of tensor {name:?} is zero")]
    ZeroDimension { name: String, dim: usize },
    /// More elements than can be addressed, as stored or as f32.
    #[error("tensor {name:?} has more elements than this machine can address")]
    TensorTooLarge { name: String },
    /// An element type that is unknown or not supported.
    #[error("tensor {name:?} has the type {id}; read are f32 (0), f16 (1), q4_0 (2), q8_0 (8), bf16 (30): convert it")]
    UnsupportedTensorType { name: String, id: u32 },
    /// A row that does not consist of whole blocks.
    #[error("tensor {name:?} has rows of {row}, not a multiple of the {block} values of a block of its type")]
    PartialBlock { name: String, row: u64, block: usize },
    /// An alignment that is not a power of two, or out of range.
    #[error("general.alignment is {value}, must be a power of two from 8 to {MAX_ALIGNMENT}")]
    InvalidAlignment { value: u32 },
    /// A tensor that does not start at a multiple of the alignment.
    #[error("tensor {name:?} starts at offset {offset}, not a multiple of the alignment {alignment}")]
    UnalignedOffset { name: String, offset: u64, alignment: u32 },
    /// Offset plus size is beyond 64 bits.
    #[error("tensor {name:?} at offset {offset} ends beyond 64 bits: damaged file")]
    OffsetOverflow { name: String, offset: u64 },
    /// The file ends before the data section begins.
    #[error("the data section should begin at byte {start}, the file has {len}: truncated, copy it again")]
    DataMissing { start: u64, len: usize },
    /// A tensor that ends beyond the file.
    #[error("tensor {name:?} needs bytes {offset} to {end} of a data section of {len}: truncated, copy it again")]
    OutOfRange { name: String, offset: u64, end: u64, len: u64 },
    /// Two tensors that share bytes.
    #[error("tensors {first:?} and {second:?} overlap: damaged file")]
    Overlap { first: String, second: String },
    /// Bytes that belong to no tensor.
    #[error("{bytes} unused bytes before tensor {name:?}: tensors must follow each other, padded to the alignment")]
    Hole { name: String, bytes: u64 },
    /// Bytes after the last tensor and its padding.
    #[error("{bytes} bytes follow the end of the data: not the file that was written")]
    TrailingBytes { bytes: u64 },
    /// The file has no such key.
    #[error("the file has no key {key:?}")]
    MissingKey { key: String },
    /// The value of a key is of another type.
    #[error("key {key:?} is {found}, expected {expected}")]
    WrongType { key: String, expected: &'static str, found: String },
    /// The file has no such tensor.
    #[error("the file has no tensor {name:?}")]
    MissingTensor { name: String },
}

/// A name for a message: at most 80 characters of it, so that a hostile file cannot make messages long.
pub(super) fn quoted(name: &str) -> String {
    name.chars().take(80).collect()
}
