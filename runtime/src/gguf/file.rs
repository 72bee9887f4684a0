//! The reader: untrusted bytes in, a file that cannot fail out.

use super::cursor::Cursor;
use super::error::quoted;
use super::tensor::{ElementType, Entry, LEAST_BYTES, check_layout};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, MAX_METADATA, MAX_TENSORS, VERSION};
use super::{GgufError, Tensor, Value, align_up};
use crate::order::order;
use crate::quant::DType;
use alloc::vec::Vec;

/// Bytes of magic, version and the two counts.
const HEADER_BYTES: usize = 24;
/// Bytes of the shortest metadata entry: a key of one byte, a type, a value of one byte.
const LEAST_METADATA_BYTES: usize = 8 + 1 + 4 + 1;

/// A GGUF file, borrowed from its bytes; every accessor was proven safe by [`File::new_checked`]. `T` is what its tensors
/// may be stored as: this program's formats, unless one reads files of others.
///
/// Holds 52 bytes a metadata entry and 76 a tensor (152 while it is opened) beside the borrowed bytes, so at most about
/// five times the header, and 13.4 MB for a file at both limits. Lookups are binary searches.
#[derive(Debug, Clone)]
pub struct File<'a, T = DType> {
    alignment: u32,
    metadata: Vec<(&'a str, Value<'a>)>,
    tensors: Vec<Tensor<'a, T>>,
    /// Positions in `metadata` and `tensors`, sorted by name.
    by_key: Vec<u32>,
    by_name: Vec<u32>,
    /// The bytes, if they stay.
    lasting: Option<&'static [u8]>,
    /// Where the bytes come from, if it can take them back.
    #[cfg(feature = "std")]
    pub(super) map: Option<&'a super::MappedFile>,
}

impl<'a> File<'a> {
    /// Checks the header and the layout of `bytes`, all of it, and nothing of the data: time O(n log n) in the number
    /// of entries, whatever the size of the tensors.
    ///
    /// # Errors
    /// One [`GgufError`] for each way in which a file can be wrong; never panics.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, GgufError> {
        Self::of(bytes)
    }

    /// As [`Self::new_checked`], of bytes that stay for as long as the program runs, in flash for instance: models can leave
    /// their weights there ([`crate::model::Device::CpuInPlace`]).
    ///
    /// # Errors
    /// As [`Self::new_checked`].
    pub fn new_static(bytes: &'static [u8]) -> Result<Self, GgufError> {
        Ok(Self { lasting: Some(bytes), ..Self::new_checked(bytes)? })
    }
}

impl<'a, T: ElementType> File<'a, T> {
    /// As [`File::new_checked`], with tensors of these types.
    ///
    /// # Errors
    /// As [`File::new_checked`].
    pub fn of(bytes: &'a [u8]) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(bytes);
        let (tensor_count, metadata_count) = read_header(&mut cursor)?;

        let metadata_count =
            cursor.check_count("metadata entries", metadata_count, LEAST_METADATA_BYTES, 0, MAX_METADATA)?;
        let least = metadata_count * LEAST_METADATA_BYTES;
        let tensor_count = cursor.check_count("tensors", tensor_count, LEAST_BYTES, least, MAX_TENSORS)?;

        let mut metadata = Vec::with_capacity(metadata_count);
        for _ in 0..metadata_count {
            let key = cursor.name("metadata key")?;
            metadata.push((key, Value::read(key, &mut cursor)?));
        }
        let by_key =
            sorted(metadata.len(), |i| metadata[i].0).map_err(|key| GgufError::DuplicateKey { key: quoted(key) })?;

        let mut entries = Vec::with_capacity(tensor_count);
        for _ in 0..tensor_count {
            entries.push(Entry::<T>::read(&mut cursor)?);
        }

        let mut file = Self {
            alignment: DEFAULT_ALIGNMENT,
            metadata,
            by_key,
            tensors: Vec::new(),
            by_name: Vec::new(),
            lasting: None,
            #[cfg(feature = "std")]
            map: None,
        };
        file.alignment = file.stated_alignment()?;
        let start = align_up(cursor.at() as u64, file.alignment);
        let data = match usize::try_from(start).ok().and_then(|start| bytes.get(start..)) {
            Some(data) => data,
            // A file of metadata alone need not be padded.
            None if entries.is_empty() => &[],
            None => return Err(GgufError::DataMissing { start, len: bytes.len() }),
        };
        file.tensors.reserve_exact(entries.len());
        for entry in &entries {
            file.tensors.push(entry.place(data, file.alignment)?);
        }
        check_layout(&entries, data.len() as u64, file.alignment)?;
        file.by_name = sorted(file.tensors.len(), |i| file.tensors[i].name)
            .map_err(|name| GgufError::DuplicateTensor { name: quoted(name) })?;
        Ok(file)
    }

    /// Whether the file was opened by [`Self::new_static`].
    pub fn is_static(&self) -> bool {
        self.lasting.is_some()
    }

    /// `part` for as long as the program runs, if it is some of the bytes of [`Self::new_static`].
    pub(crate) fn lasting(&self, part: &[u8]) -> Option<&'static [u8]> {
        let bytes = self.lasting?;
        let start = part.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
        bytes.get(start..start.checked_add(part.len())?)
    }

    fn stated_alignment(&self) -> Result<u32, GgufError> {
        match self.u32(ALIGNMENT_KEY) {
            Err(GgufError::MissingKey { .. }) => Ok(DEFAULT_ALIGNMENT),
            Ok(value) if !(value.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&value)) => {
                Err(GgufError::InvalidAlignment { value })
            }
            other => other,
        }
    }

    /// Says that `data`, some of the file's bytes, is not used for now: of a mapped file ([`super::MappedFile::file`]), it
    /// then takes no memory of this process. Without this, loading a model would take its file's size beside the model's.
    pub fn release(&self, data: &[u8]) {
        #[cfg(feature = "std")]
        if let Some(map) = self.map {
            map.release(data);
        }
        #[cfg(not(feature = "std"))]
        let _ = data;
    }

    /// Alignment of the data section, and of each tensor within it.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// The tensor `name`; O(log n).
    ///
    /// # Errors
    /// If there is none.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'a, T>, GgufError> {
        let found = self.by_name.binary_search_by_key(&name, |&i| self.tensors[i as usize].name);
        let i = found.map_err(|_| GgufError::MissingTensor { name: quoted(name) })?;
        Ok(self.tensors[self.by_name[i] as usize])
    }

    /// All tensors, in the order of the header.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'a, T>> {
        self.tensors.iter().copied()
    }

    /// The value of `key`, if the file has it; O(log n).
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let found = self.by_key.binary_search_by_key(&key, |&i| self.metadata[i as usize].0);
        found.ok().map(|i| self.metadata[self.by_key[i] as usize].1)
    }

    /// All metadata, in the order of the header.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> {
        self.metadata.iter().copied()
    }

    fn typed<V>(
        &self,
        key: &str,
        expected: &'static str,
        pick: impl FnOnce(Value<'a>) -> Option<V>,
    ) -> Result<V, GgufError> {
        let value = self.get(key).ok_or_else(|| GgufError::MissingKey { key: quoted(key) })?;
        pick(value).ok_or_else(|| GgufError::WrongType { key: quoted(key), expected, found: value.describe() })
    }
}

/// Typed metadata. No number is converted: a `u64` is not a `u32`, however small.
///
/// # Errors
/// Each names the key if it is missing or of another type.
impl<'a, T: ElementType> File<'a, T> {
    /// The string of `key`.
    pub fn str(&self, key: &str) -> Result<&'a str, GgufError> {
        self.typed(key, "str", |v| if let Value::Str(v) = v { Some(v) } else { None })
    }

    /// The `u32` of `key`.
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        self.typed(key, "u32", |v| if let Value::U32(v) = v { Some(v) } else { None })
    }

    /// The `u64` of `key`.
    pub fn u64(&self, key: &str) -> Result<u64, GgufError> {
        self.typed(key, "u64", |v| if let Value::U64(v) = v { Some(v) } else { None })
    }

    /// The `i32` of `key`.
    pub fn i32(&self, key: &str) -> Result<i32, GgufError> {
        self.typed(key, "i32", |v| if let Value::I32(v) = v { Some(v) } else { None })
    }

    /// The `f32` of `key`.
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        self.typed(key, "f32", |v| if let Value::F32(v) = v { Some(v) } else { None })
    }

    /// The `f64` of `key`.
    pub fn f64(&self, key: &str) -> Result<f64, GgufError> {
        self.typed(key, "f64", |v| if let Value::F64(v) = v { Some(v) } else { None })
    }

    /// The bool of `key`.
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        self.typed(key, "bool", |v| if let Value::Bool(v) = v { Some(v) } else { None })
    }

    /// The array of `u8` of `key`.
    pub fn u8s(&self, key: &str) -> Result<Vec<u8>, GgufError> {
        self.array(key, "array of u8", |v| if let Value::U8(v) = v { Some(v) } else { None })
    }

    /// The array of `u32` of `key`.
    pub fn u32s(&self, key: &str) -> Result<Vec<u32>, GgufError> {
        self.array(key, "array of u32", |v| if let Value::U32(v) = v { Some(v) } else { None })
    }

    /// The array of `f32` of `key`.
    pub fn f32s(&self, key: &str) -> Result<Vec<f32>, GgufError> {
        self.array(key, "array of f32", |v| if let Value::F32(v) = v { Some(v) } else { None })
    }

    /// The array of `f64` of `key`.
    pub fn f64s(&self, key: &str) -> Result<Vec<f64>, GgufError> {
        self.array(key, "array of f64", |v| if let Value::F64(v) = v { Some(v) } else { None })
    }

    /// The array of strings of `key`.
    pub fn strs(&self, key: &str) -> Result<Vec<&'a str>, GgufError> {
        self.array(key, "array of str", |v| if let Value::Str(v) = v { Some(v) } else { None })
    }

    fn array<V>(
        &self,
        key: &str,
        expected: &'static str,
        pick: impl Fn(Value<'a>) -> Option<V>,
    ) -> Result<Vec<V>, GgufError> {
        // `expected` ends with the name of the element type: it tells an empty array of strings from one of numbers.
        let is_expected = |kind: &str| expected.strip_prefix("array of ") == Some(kind);
        self.typed(key, expected, |v| match v {
            Value::Array(array) if is_expected(array.kind().name()) => array.iter().map(pick).collect(),
            _ => None,
        })
    }
}

/// Checks magic and version; returns the counts of tensors and metadata entries.
fn read_header(cursor: &mut Cursor<'_>) -> Result<(u64, u64), GgufError> {
    let len = cursor.remaining();
    if let Some(&found) = cursor.rest().first_chunk()
        && found != MAGIC
    {
        return Err(GgufError::BadMagic { found });
    }
    if len < HEADER_BYTES {
        return Err(GgufError::TooShort { len });
    }
    cursor.take(MAGIC.len() as u64);
    match cursor.u32("version")? {
        VERSION => {}
        found if (1..=VERSION).contains(&found.swap_bytes()) => {
            return Err(GgufError::BigEndian { version: found.swap_bytes() });
        }
        found => return Err(GgufError::UnsupportedVersion { found }),
    }
    Ok((cursor.u64("tensor count")?, cursor.u64("metadata count")?))
}

/// The numbers below `len` sorted by what `name` says of them, or a name that two have.
fn sorted<'a>(len: usize, name: impl Fn(usize) -> &'a str) -> Result<Vec<u32>, &'a str> {
    let order = order(len, &|a, b| name(a).cmp(name(b)));
    match order.windows(2).find(|pair| name(pair[0] as usize) == name(pair[1] as usize)) {
        Some(pair) => Err(name(pair[0] as usize)),
        None => Ok(order),
    }
}
