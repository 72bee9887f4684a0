//! Files of `.safetensors`: a length, a JSON header of names, types, shapes and byte ranges, and the numbers.
//!
//! The rules are those of the reference implementation (`safetensors` 0.7, `tensor.rs`), and each breach is refused:
//! the header has at most 100 MB, begins with `{`, names no tensor twice; every size is checked against its range;
//! ranges neither overlap nor leave holes, and end where the file ends.

use super::error::{ImportError, io};
use super::numbers::Numbers;
use super::tensor_file::{self, Entry};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Longest header read, as in the reference implementation.
pub const MAX_HEADER: u64 = 100_000_000;

/// Reads the header of a file that begins so.
pub(super) fn header(path: &Path, start: &[u8], file: &mut File) -> Result<tensor_file::Header, ImportError> {
    let refuse = |why: String| ImportError::Safetensors { path: path.into(), why };
    foreign(path, start)?;
    let len = file.metadata().map_err(io("open", path))?.len();
    let Some(length) = start.first_chunk() else {
        return Err(refuse(format!("it has {len} bytes, fewer than the length of a header takes: download it again")));
    };
    let length = u64::from_le_bytes(*length);
    let rest = len.saturating_sub(8);
    if length > MAX_HEADER || length > rest {
        let most = MAX_HEADER.min(rest);
        return Err(refuse(format!("its header would have {length} bytes, at most {most} can be: download it again")));
    }
    let mut header = vec![0; length as usize];
    file.seek(SeekFrom::Start(8)).and_then(|_| file.read_exact(&mut header)).map_err(io("read", path))?;
    if header.first() != Some(&b'{') {
        return Err(refuse("its header does not begin with {".into()));
    }
    let Header { tensors, metadata } =
        serde_json::from_slice(&header).map_err(|e| refuse(format!("its header: {e}")))?;
    check(&tensors, rest - length).map_err(refuse)?;
    Ok(tensor_file::Header { data: 8 + length, tensors, metadata, llama: None })
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
        start if start.starts_with(b"version ") => "it is a pointer of Git LFS: run git lfs pull, or download the file",
        // Text: the length of a header that can be read has zeros among its bytes.
        start if start.starts_with(b"<") && !start[..start.len().min(8)].contains(&0) => {
            "it is a web page: download the file itself"
        }
        _ => return Ok(()),
    };
    Err(ImportError::NotAModel { path: path.into(), why: why.into() })
}

/// Sizes match their ranges, and the ranges fill the data.
fn check(tensors: &BTreeMap<String, Entry>, data_len: u64) -> Result<(), String> {
    let mut order: Vec<(&String, &Entry)> = tensors.iter().collect();
    order.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
    let mut end = 0;
    for (name, Entry { dtype, shape, range, .. }) in order {
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
                    let numbers = Numbers::of_safetensors(&dtype);
                    let entry = Entry { dtype, shape, numbers, scale: 1.0, range: start..end };
                    header.tensors.insert(name, entry);
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
