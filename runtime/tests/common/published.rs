//! Published files, as they lie or made from those that do, and what they become.
#![allow(dead_code, reason = "not every test file uses everything")]

use nijimi_import::{Checkpoint, Options, Types, convert};
use nijimi_runtime::gguf::File;
use nijimi_runtime::quant::DType;
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that goes away.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nijimi-published-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A checkpoint as one of our files.
pub fn converted(path: &Path, types: &Types) -> Result<Vec<u8>, String> {
    let folder = Folder::new();
    let out = folder.join("out.gguf");
    let checkpoint = Checkpoint::open(path, &Options::default()).map_err(|e| e.to_string())?;
    convert(&checkpoint, &out, "test", types, |_| {}).map_err(|e| e.to_string())?;
    Ok(fs::read(out).unwrap())
}

pub fn whole(path: &Path) -> Vec<u8> {
    converted(path, &Types::new(DType::F32)).unwrap_or_else(|e| panic!("{e}"))
}

/// The tensors and the sizes of a file; where it came from is another matter.
pub fn contents(bytes: &[u8]) -> Vec<String> {
    let file = File::new_checked(bytes).unwrap();
    let own = |key: &&str| !key.starts_with("nijimi.import.");
    let keys = file.metadata().filter(|(key, _)| own(key)).map(|(key, value)| format!("{key} {value:?}"));
    keys.chain(file.tensors().map(|t| format!("{} {} {:?} {:?}", t.name, t.dtype, t.shape(), t.data))).collect()
}

/// Rewrites a `.safetensors` file with other names; tensors that get none are left out.
pub fn renamed(from: &Path, to: &Path, name: impl Fn(&str) -> Option<String>) {
    let bytes = fs::read(from).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views = tensors.iter().filter_map(|(old, view)| Some((name(old)?, view)));
    fs::write(to, safetensors::serialize(views.collect::<Vec<(String, TensorView<'_>)>>(), None).unwrap()).unwrap();
}

/// The same with one tensor more.
pub fn with_extra(from: &Path, to: &Path, extra: &str) {
    let bytes = fs::read(from).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let one = TensorView::new(safetensors::Dtype::F16, vec![1], &[0, 0]).unwrap();
    let views = tensors.iter().map(|(name, view)| (name.to_owned(), view)).chain([(extra.to_owned(), one)]);
    fs::write(to, safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()).unwrap();
}

pub fn whole_of(path: &Path, dtype: DType) -> Vec<u8> {
    converted(path, &Types::new(dtype)).unwrap_or_else(|e| panic!("{e}"))
}

/// A file of these shapes, f16, whose numbers take no room on the disk.
pub fn sparse(path: &Path, shapes: impl Iterator<Item = (String, Vec<usize>)>) {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in shapes {
        let bytes = 2 * shape.iter().product::<usize>() as u64;
        header.insert(name, json!({"dtype": "F16", "shape": shape, "data_offsets": [end, end + bytes]}));
        end += bytes;
    }
    let header = Value::Object(header).to_string();
    fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(8 + header.len() as u64 + end).unwrap();
}

pub fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}
