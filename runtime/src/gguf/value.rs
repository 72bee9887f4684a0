//! Metadata values, borrowed from the file.

use super::GgufError;
use super::cursor::Cursor;
use super::error::quoted;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Type of a metadata value; the discriminants are GGUF's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs, reason = "named by their Rust types")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Str,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    pub(super) fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u32 == id)
    }

    /// The type's name, as in Rust: `u8` … `f64`, `bool`, `str`, `array`.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Str => "str",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Bytes of an element; of a string, its length field, the least that it takes.
    fn least_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Str => 8,
            Self::Array => 12,
        }
    }
}

/// A metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "named by their Rust types")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// A metadata array, checked but not unpacked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    kind: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Type of the elements; never [`ValueType::Array`].
    pub fn kind(&self) -> ValueType {
        self.kind
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order. Strings are found by walking, so there is no access by index.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let kind = self.kind;
        let mut cursor = Cursor::new(self.bytes);
        // Checked when the file was opened, so none is lost here.
        (0..self.len).map_while(move |_| scalar(kind, "", &mut cursor).ok())
    }
}

impl<'a> Value<'a> {
    /// Type of the value.
    pub fn kind(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::Str(_) => ValueType::Str,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The type in words, with the element type of an array.
    pub fn describe(&self) -> String {
        match self {
            Self::Array(array) => format!("array of {}", array.kind.name()),
            other => other.kind().name().into(),
        }
    }

    /// Reads the value of `key`: its type, then itself.
    pub(super) fn read(key: &str, cursor: &mut Cursor<'a>) -> Result<Self, GgufError> {
        let kind = read_kind(key, cursor)?;
        if kind != ValueType::Array {
            return scalar(kind, key, cursor);
        }
        let kind = read_kind(key, cursor)?;
        if kind == ValueType::Array {
            return Err(GgufError::NestedArray { key: quoted(key) });
        }
        let count = cursor.u64("array length")?;
        let remaining = cursor.remaining();
        let len = match usize::try_from(count) {
            Ok(len) if len <= remaining / kind.least_bytes() => len,
            _ => return Err(GgufError::ArrayTooLong { key: quoted(key), count, remaining }),
        };
        let all = cursor.rest();
        let start = cursor.at();
        // Only strings and bools can be wrong in themselves; numbers are skipped at once.
        if matches!(kind, ValueType::Str | ValueType::Bool) {
            for _ in 0..len {
                scalar(kind, key, cursor)?;
            }
        } else {
            cursor.take((len * kind.least_bytes()) as u64);
        }
        Ok(Self::Array(Array { kind, len, bytes: &all[..cursor.at() - start] }))
    }
}

fn read_kind(key: &str, cursor: &mut Cursor<'_>) -> Result<ValueType, GgufError> {
    let id = cursor.u32("value type")?;
    ValueType::from_id(id).ok_or_else(|| GgufError::UnknownValueType { key: quoted(key), id })
}

/// Reads one value that is not an array.
fn scalar<'a>(kind: ValueType, key: &str, cursor: &mut Cursor<'a>) -> Result<Value<'a>, GgufError> {
    const WHAT: &str = "metadata value";
    Ok(match kind {
        ValueType::U8 => Value::U8(u8::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::U32 => Value::U32(u32::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::U64 => Value::U64(u64::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array(WHAT)?)),
        ValueType::Str => Value::Str(cursor.string("metadata string")?),
        ValueType::Bool => match cursor.array(WHAT)? {
            [byte @ 0..=1] => Value::Bool(byte == 1),
            [byte] => return Err(GgufError::InvalidBool { key: quoted(key), byte }),
        },
        ValueType::Array => return Err(GgufError::NestedArray { key: quoted(key) }),
    })
}

/// For people: numbers as they are, strings quoted, arrays in brackets with at most eight elements.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(v) => v.fmt(f),
            Self::I8(v) => v.fmt(f),
            Self::U16(v) => v.fmt(f),
            Self::I16(v) => v.fmt(f),
            Self::U32(v) => v.fmt(f),
            Self::I32(v) => v.fmt(f),
            Self::F32(v) => v.fmt(f),
            Self::Bool(v) => v.fmt(f),
            Self::Str(v) => write!(f, "{v:?}"),
            Self::U64(v) => v.fmt(f),
            Self::I64(v) => v.fmt(f),
            Self::F64(v) => v.fmt(f),
            Self::Array(array) => {
                f.write_str("[")?;
                for (i, v) in array.iter().take(8).enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    v.fmt(f)?;
                }
                if array.len > 8 { write!(f, ", ... {} in all]", array.len) } else { f.write_str("]") }
            }
        }
    }
}
