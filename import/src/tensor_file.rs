//! Files of named tensors, of which a few rows are read at a time: `.safetensors`, and GGUF of other programs.
//!
//! Numbers are read piecewise and never mapped, so what is resident does not grow with the file, and a file that changes
//! meanwhile is an error, not a crash.

use super::error::{ImportError, io};
use super::llama::Llama;
use super::numbers::{self, Numbers};
use super::{gguf, safetensors};
use nijimi_runtime::gguf::{ElementType, open_regular};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A tensor's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The type's name: `F16`, `F32`, `BF16`, `F8_E4M3`, …; of a GGUF file ggml's, `q4_K`.
    pub dtype: String,
    /// Dimensions, slowest first, as PyTorch has them.
    pub shape: Vec<usize>,
    /// How its numbers are read, if they are.
    pub(super) numbers: Option<Numbers>,
    /// What they are multiplied by.
    pub(super) scale: f32,
    /// Its bytes, from [`Header::data`] on.
    pub(super) range: Range<u64>,
}

impl Entry {
    /// Bytes in its file.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Numbers that it holds.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    /// Whether its numbers are read.
    pub(super) fn is_read(&self) -> bool {
        self.numbers.is_some_and(Numbers::is_read)
    }
}

/// What a file says of itself, checked against its length.
#[derive(Debug)]
pub(super) struct Header {
    /// Where the bytes of tensors begin.
    pub data: u64,
    pub tensors: BTreeMap<String, Entry>,
    pub metadata: BTreeMap<String, String>,
    /// What a file of llama.cpp says beside them.
    pub llama: Option<Llama>,
}

/// An opened file with a checked header.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    header: Header,
    is_gguf: bool,
}

impl TensorFile {
    /// Opens the file and checks its header against its length.
    ///
    /// # Errors
    /// A file that cannot be read, is empty, a pickle, of neither format, or breaks a rule of its own.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let mut file = open_regular(path)?;
        let mut start = Vec::new();
        (&mut file).take(gguf::START).read_to_end(&mut start).map_err(io("read", path))?;
        if start.is_empty() {
            return Err(ImportError::Empty { path: path.into() });
        }
        let is_gguf = start.starts_with(b"GGUF");
        let header = match is_gguf {
            true => gguf::header(path, &start, &file)?,
            false => safetensors::header(path, &start, &mut file)?,
        };
        if let Some(name) = header.tensors.keys().find(|name| name.chars().any(char::is_control)) {
            let why = format!("the name {name:?} of a tensor has control characters: the file is damaged");
            return Err(ImportError::NotAModel { path: path.into(), why });
        }
        Ok(Self { path: path.into(), file, header, is_gguf })
    }

    /// Whether it is GGUF, of another program, and not safetensors.
    pub(super) fn is_gguf(&self) -> bool {
        self.is_gguf
    }

    /// What it says of a language model, as a file of llama.cpp.
    pub(super) fn llama(&self) -> Option<&Llama> {
        self.header.llama.as_ref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries, by name.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.header.tensors
    }

    /// The same, to be called otherwise or multiplied.
    pub(super) fn tensors_mut(&mut self) -> &mut BTreeMap<String, Entry> {
        &mut self.header.tensors
    }

    /// Their shapes.
    pub(super) fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.tensors().iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect()
    }

    /// The texts of its header.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Reads elements `range` of the tensor `name`, row-major, and appends them to `out` as f32: floats exactly, blocks as
    /// ggml decodes them. NaN and infinity come as they are.
    ///
    /// # Errors
    /// A name or a range that the file does not have, numbers of a type that is not read, or a file that cannot be read.
    pub fn read(&self, name: &str, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), ImportError> {
        let refuse = |why: String| ImportError::Range { path: self.path.clone(), why };
        let entry = self.tensors().get(name).ok_or_else(|| refuse(format!("it has no tensor {name:?}")))?;
        let numbers =
            entry.numbers.filter(|numbers| numbers.is_read()).ok_or_else(|| self.unread(name, &entry.dtype))?;
        let elements = entry.shape.iter().product();
        if range.start > range.end || range.end > elements {
            return Err(refuse(format!("{name:?} has {elements} elements, not {range:?}")));
        }
        let (len, size) = (numbers.block_len(), numbers.block_bytes());
        let blocks = range.start / len..range.end.div_ceil(len);
        let mut bytes = vec![0; blocks.len() * size];
        self.bytes_at(entry.range.start + (blocks.start * size) as u64, &mut bytes)?;
        let start = out.len();
        numbers.decode(&bytes, out);
        // Of the first and the last block, what is asked for.
        out.drain(start..start + range.start % len);
        out.truncate(start + range.len());
        if entry.scale != 1.0 {
            out[start..].iter_mut().for_each(|v| *v *= entry.scale);
        }
        Ok(())
    }

    /// The first number of the tensor `name`, which has one, of any type of numbers.
    pub(super) fn number(&self, name: &str) -> Result<f64, ImportError> {
        let dtype = self.tensors().get(name).map_or("nothing", |entry| &entry.dtype);
        let bytes = self.bytes(name, 8)?;
        let mut first = [0; 8];
        first[..bytes.len()].copy_from_slice(&bytes);
        numbers::number(dtype, first).ok_or_else(|| self.unread(name, dtype))
    }

    /// The bytes of the tensor `name`, of which there are at most so many.
    pub(super) fn bytes(&self, name: &str, most: usize) -> Result<Vec<u8>, ImportError> {
        let entry = self.tensors().get(name).ok_or_else(|| self.unread(name, "nothing"))?;
        let size = usize::try_from(entry.range.end - entry.range.start).ok().filter(|size| *size <= most);
        let mut bytes = vec![0; size.ok_or_else(|| self.unread(name, &entry.dtype))?];
        self.bytes_at(entry.range.start, &mut bytes)?;
        Ok(bytes)
    }

    fn bytes_at(&self, at: u64, bytes: &mut [u8]) -> Result<(), ImportError> {
        let mut file = &self.file;
        let from = SeekFrom::Start(self.header.data + at);
        file.seek(from).and_then(|_| file.read_exact(bytes)).map_err(io("read", &self.path))
    }

    fn unread(&self, name: &str, found: &str) -> ImportError {
        ImportError::DType { path: self.path.clone(), name: name.into(), found: found.into() }
    }
}
