//! Files of `.safetensors`: a length, a JSON header of names, types, shapes and byte ranges, and the numbers.
//!
//! The rules are those of the reference implementation (`safetensors` 0.7, `tensor.rs`), and each breach is refused:
//! the header has at most 100 MB, begins with `{`, names no tensor twice; every size is checked against its range;
//! ranges neither overlap nor leave holes, and end where the file ends. Numbers are read piecewise and never mapped,
//! so what is resident does not grow with the file, and a file that changes meanwhile is an error, not a crash.

use super::error::{ImportError, io};
use nijimi_runtime::gguf::open_regular;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest header read, as in the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// How a GGUF file of this program goes on after the counts of its header: with the key of what wrote it.
const GGUF: &[u8] = b"\x14\0\0\0\0\0\0\0general.architecture\x08\0\0\0\x06\0\0\0\0\0\0\0nijimi";

/// A tensor's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The type's name: `F16`, `F32`, `BF16`, …
    pub dtype: String,
    /// Dimensions, slowest first, as PyTorch has them.
    pub shape: Vec<usize>,
    /// Its bytes, from the end of the header.
    range: Range<u64>,
}

/// An opened file with a checked header.
#[derive(Debug)]
pub struct Safetensors {
    path: PathBuf,
    file: File,
    data: u64,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl Safetensors {
    /// Opens the file and checks its header against its length.
    ///
    /// # Errors
    /// A file that cannot be read, is empty, a pickle, or breaks a rule of the format.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let mut file = open_regular(path)?;
        let about = file.metadata().map_err(io("open", path))?;
        let refuse = |why: String| ImportError::Safetensors { path: path.into(), why };
        let len = about.len();
        if len == 0 {
            return Err(ImportError::Empty { path: path.into() });
        }
        let mut start = Vec::new();
        (&mut file).take(8).read_to_end(&mut start).map_err(io("read", path))?;
        if start.starts_with(b"GGUF") {
            (&mut file).take(GGUF.len() as u64 + 16).read_to_end(&mut start).map_err(io("read", path))?;
        }
        foreign(path, &start)?;
        let Ok(length) = <[u8; 8]>::try_from(start) else {
            return Err(refuse(format!(
                "it has {len} bytes, fewer than the length of a header takes: download it again"
            )));
        };
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length > len - 8 {
            let most = MAX_HEADER.min(len - 8);
            return Err(refuse(format!(
                "its header would have {length} bytes, at most {most} can be: download it again"
            )));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io("read", path))?;
        if header.first() != Some(&b'{') {
            return Err(refuse("its header does not begin with {".into()));
        }
        let header: Header = serde_json::from_slice(&header).map_err(|e| refuse(format!("its header: {e}")))?;
        let data_len = len - 8 - length;
        check(&header.tensors, data_len).map_err(refuse)?;
        let (tensors, metadata) = (header.tensors, header.metadata);
        Ok(Self { path: path.into(), file, data: 8 + length, tensors, metadata })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries, by name.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// Their shapes.
    pub(super) fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.tensors.iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect()
    }

    /// The texts of `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads elements `range` of the tensor `name`, row-major, and appends them to `out` as f32, which is exact. NaN
    /// and infinity come as they are.
    ///
    /// # Errors
    /// A name or a range that the file does not have, numbers that are not F32, F16 or BF16, or a file that cannot be
    /// read.
    pub fn read(&self, name: &str, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), ImportError> {
        let path = &self.path;
        let refuse = |why: String| ImportError::Safetensors { path: path.clone(), why };
        let entry = self.tensors.get(name).ok_or_else(|| refuse(format!("it has no tensor {name:?}")))?;
        let dtype = Floats::of(&entry.dtype).ok_or_else(|| ImportError::DType {
            path: path.clone(),
            name: name.into(),
            found: entry.dtype.clone(),
        })?;
        let elements = entry.shape.iter().product();
        if range.start > range.end || range.end > elements {
            return Err(refuse(format!("{name:?} has {elements} elements, not {range:?}")));
        }
        let size = dtype.bytes();
        let at = self.data + entry.range.start + (range.start * size) as u64;
        let mut bytes = vec![0; range.len() * size];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map_err(io("read", path))?;
        out.reserve(range.len());
        match dtype {
            Floats::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Floats::F16 => out.extend(bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
            Floats::BF16 => out.extend(bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32())),
        }
        Ok(())
    }

    /// The first number of the tensor `name`, which has one, of any type of numbers.
    pub(super) fn number(&self, name: &str) -> Result<f64, ImportError> {
        let path = &self.path;
        let unread = |found: &str| ImportError::DType { path: path.clone(), name: name.into(), found: found.into() };
        let entry = self.tensors.get(name).ok_or_else(|| unread("nothing"))?;
        let mut bytes = [0; 8];
        let size = usize::try_from(entry.range.end - entry.range.start).unwrap_or(9);
        let own = bytes.get_mut(..size).ok_or_else(|| unread(&entry.dtype))?;
        let mut file = &self.file;
        let at = self.data + entry.range.start;
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(own)).map_err(io("read", path))?;
        let [b0, b1, b2, b3, ..] = bytes;
        let (two, four) = ([b0, b1], [b0, b1, b2, b3]);
        Ok(match entry.dtype.as_str() {
            "F64" => f64::from_le_bytes(bytes),
            "F32" => f64::from(f32::from_le_bytes(four)),
            "F16" => half::f16::from_le_bytes(two).to_f64(),
            "BF16" => half::bf16::from_le_bytes(two).to_f64(),
            "I64" => i64::from_le_bytes(bytes) as f64,
            "I32" => f64::from(i32::from_le_bytes(four)),
            "I16" => f64::from(i16::from_le_bytes(two)),
            "I8" => f64::from(i8::from_le_bytes([b0])),
            "U64" => u64::from_le_bytes(bytes) as f64,
            "U32" => f64::from(u32::from_le_bytes(four)),
            "U16" => f64::from(u16::from_le_bytes(two)),
            "U8" => f64::from(b0),
            other => return Err(unread(other)),
        })
    }
}

/// The types that are read.
enum Floats {
    F32,
    F16,
    BF16,
}

impl Floats {
    fn of(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::BF16),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
}

/// Whether the type is one that is read.
pub(super) fn is_read(dtype: &str) -> bool {
    Floats::of(dtype).is_some()
}

/// Refuses what is known to be something else, by its name or its first bytes.
fn foreign(path: &Path, start: &[u8]) -> Result<(), ImportError> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    // A zip archive, as torch writes since 1.6, or protocols 2 to 5 of bare pickle, as before.
    let pickled =
        start.starts_with(b"PK\x03\x04") || matches!(start, [0x80, 2..=5, b'}' | b']' | b'c' | 0x8a | 0x95, ..]);
    if pickled || matches!(extension.as_str(), "ckpt" | "bin" | "pt" | "pth" | "pkl") {
        return Err(ImportError::Pickle { path: path.into() });
    }
    let why = match start {
        start if start.starts_with(b"GGUF") && start.ends_with(GGUF) => {
            "it is a weight file of this program already: use it as it is, with -m"
        }
        start if start.starts_with(b"GGUF") => {
            "it is a GGUF file of another program, whose tensors have other names and another order: take the model as \
             .safetensors or as a folder of diffusers"
        }
        start if start.starts_with(b"version ") => "it is a pointer of Git LFS: run git lfs pull, or download the file",
        // Text: the length of a header that can be read has zeros among its bytes.
        start if start.starts_with(b"<") && !start.contains(&0) => "it is a web page: download the file itself",
        _ => return Ok(()),
    };
    Err(ImportError::NotAModel { path: path.into(), why: why.into() })
}

/// Sizes match their ranges, and the ranges fill the data.
fn check(tensors: &BTreeMap<String, Entry>, data_len: u64) -> Result<(), String> {
    let mut order: Vec<(&String, &Entry)> = tensors.iter().collect();
    order.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
    let mut end = 0;
    for (name, Entry { dtype, shape, range }) in order {
        if range.start > range.end || range.end > data_len {
            return Err(format!(
                "{name:?} has bytes {} to {} of {data_len}: it is truncated, download it again",
                range.start, range.end
            ));
        }
        if range.start != end {
            let what = if range.start < end { "overlap those of another tensor" } else { "leave a hole before them" };
            return Err(format!("the bytes of {name:?}, from {}, {what}", range.start));
        }
        end = range.end;
        let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
        // Types of later versions are known to nobody yet: they are refused when they are asked for.
        let Some(bits) = bits(dtype) else { continue };
        if elements.and_then(|n| n.checked_mul(bits)) != (range.end - range.start).checked_mul(8) {
            let bytes = range.end - range.start;
            return Err(format!("{name:?} of type {dtype} and shape {shape:?} does not take {bytes} bytes"));
        }
    }
    if end != data_len {
        return Err(format!("{} bytes follow the last tensor", data_len - end));
    }
    Ok(())
}

fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// The JSON of the header, in which no name occurs twice.
struct Header {
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
struct Stored {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { tensors: BTreeMap::new(), metadata: BTreeMap::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                        continue;
                    }
                    let Stored { dtype, shape, data_offsets: (start, end) } = map.next_value()?;
                    if header.tensors.contains_key(&name) {
                        return Err(A::Error::custom(format!("the tensor {name:?} occurs twice")));
                    }
                    header.tensors.insert(name, Entry { dtype, shape, range: start..end });
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
