//! GGUF files of other programs: stable-diffusion.cpp's, which have tensors and nothing else, and ComfyUI-GGUF's, which cut
//! convolutions into rows of 256 and say what shape they had, and llama.cpp's, which say what a language model is.

use super::error::ImportError;
use super::llama::Llama;
use super::numbers::{self, Numbers};
use super::tensor_file::{Entry, Header};
use nijimi_runtime::gguf::{File, GgufError, MappedFile, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// How many bytes of a file tell whose it is.
pub(super) const START: u64 = 1 << 12;

/// The key and value of a file of this program.
const OWN: &[u8] = b"general.architecture\x08\0\0\0\x06\0\0\0\0\0\0\0nijimi";

/// ComfyUI-GGUF's key of the shape of a tensor that was cut.
const SHAPE: &str = "comfy.gguf.orig_shape.";

/// Whether a file that begins so is a GGUF file of another program. One that is cut so short tells nothing.
pub(super) fn is_foreign(start: &[u8]) -> bool {
    start.starts_with(b"GGUF") && start.len() >= 128 && !is_own(start)
}

fn is_own(start: &[u8]) -> bool {
    start.windows(OWN.len()).any(|at| at == OWN)
}

/// Reads the header of a file that begins so.
pub(super) fn header(path: &Path, start: &[u8], file: &std::fs::File) -> Result<Header, ImportError> {
    if is_own(start) {
        let why = "it is a weight file of this program already: use it as it is, with -m".into();
        return Err(ImportError::NotAModel { path: path.into(), why });
    }
    let map = MappedFile::of(file, path)?;
    let file = File::<Numbers>::of(map.bytes()).map_err(|e| match e {
        GgufError::UnsupportedTensorType { name, id } => {
            let name = name.escape_debug().to_string();
            ImportError::DType { path: path.into(), name, found: numbers::ggml_name(id) }
        }
        source => ImportError::Gguf { path: path.into(), source },
    })?;
    let mut tensors = BTreeMap::new();
    for tensor in file.tensors() {
        let shape = match file.get(&format!("{SHAPE}{}", tensor.name)) {
            Some(value) => original(value, tensor.elements()).ok_or_else(|| ImportError::Config {
                path: path.into(),
                key: format!("{SHAPE}{}", tensor.name),
                found: value.describe(),
                expected: format!("whole numbers whose product is {}, as many as it has values", tensor.elements()),
            })?,
            None => tensor.shape(),
        };
        let at = (tensor.data.as_ptr().addr() - map.bytes().as_ptr().addr()) as u64;
        let range = at..at + tensor.data.len() as u64;
        let dtype = tensor.dtype.ggml_name().into();
        tensors.insert(tensor.name.into(), Entry { dtype, shape, numbers: Some(tensor.dtype), scale: 1.0, range });
    }
    // What is not of a format or of its architecture is told, as that of other files is.
    let own = |key: &str| key.starts_with("general.") || key.starts_with(SHAPE);
    let text = |(key, value): (&str, Value<'_>)| match value {
        Value::Str(text) if !own(key) => Some((key.to_owned(), text.to_owned())),
        _ => None,
    };
    Ok(Header { data: 0, tensors, metadata: file.metadata().filter_map(text).collect(), llama: Llama::read(&file) })
}

/// A whole number of 32 or 64 bits.
pub(super) fn whole(value: Value<'_>) -> Option<i64> {
    match value {
        Value::U32(n) => Some(n.into()),
        Value::I32(n) => Some(n.into()),
        Value::U64(n) => i64::try_from(n).ok(),
        Value::I64(n) => Some(n),
        _ => None,
    }
}

/// The shape that it says, if that is one of so many values.
fn original(value: Value<'_>, elements: usize) -> Option<Vec<usize>> {
    let Value::Array(array) = value else { return None };
    let size = |value| whole(value).and_then(|n| usize::try_from(n).ok());
    let shape = array.iter().map(size).collect::<Option<Vec<_>>>()?;
    (shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) == Some(elements)).then_some(shape)
}
