//! Where the fixtures are, and `.safetensors` files made for a test.

use crate::{Checkpoint, Config, ImportError, Options, Source, TensorFile};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

/// The project's own fixtures, and a larger set beside the project if there is one.
pub fn fixtures() -> [PathBuf; 2] {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    [project.join("tests/fixtures"), project.join("../shared/fixtures")]
}

/// Families that are read today; a larger set has others, which the importer is yet to know.
const READ: [&str; 14] = [
    "sd1",
    "sd1full",
    "sd2",
    "sdxl",
    "inpaint",
    "tinysd",
    "bksdm",
    "ssd1b",
    "vega",
    "sdxs",
    "pix2pix",
    "playground25",
    "sd3",
    "sd35",
];

/// The pipeline folders that are found of those that are read, each once, by name.
pub fn families() -> BTreeMap<String, PathBuf> {
    let folders = fixtures().into_iter().map(|folder| folder.join("pipelines")).filter(|folder| folder.is_dir());
    let entries = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut families = BTreeMap::new();
    for path in entries.filter(|path| path.join("model_index.json").is_file()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if READ.contains(&&*name) {
            families.entry(name).or_insert(path);
        }
    }
    assert!(!families.is_empty(), "no pipelines in {:?}", fixtures());
    families
}

/// One of the fixtures, or a line that says that it is not there.
pub fn find(name: &str) -> Option<PathBuf> {
    let found = fixtures().into_iter().map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: {name} is not among the fixtures");
    }
    found
}

/// A folder that is removed with this value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("nijimi-import-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A copy of a pipeline to damage.
    pub fn copy_of(family: &str) -> Self {
        Self::copy_at(&families()[family])
    }

    /// A copy of any folder to damage.
    pub fn copy_at(path: &Path) -> Self {
        let folder = Self::new();
        copy(path, &folder.0);
        folder
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.join(name).parent().unwrap()).unwrap();
        fs::write(self.join(name), bytes).unwrap();
    }

    /// Rewrites a JSON file.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
        let text = fs::read_to_string(self.join(name)).unwrap();
        let Value::Object(mut map) = serde_json::from_str(&text).unwrap() else { panic!("{name} is an object") };
        edit(&mut map);
        self.write(name, Value::Object(map).to_string());
    }

    pub fn open(&self) -> Result<Checkpoint, ImportError> {
        Checkpoint::open(&self.0, &Options::default())
    }

    /// The message with which it is refused, without the folder's own name.
    pub fn refused(&self) -> String {
        let message = self.open().unwrap_err().to_string();
        message.replace(self.0.to_str().unwrap(), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        // The fixtures may be read-only: their bytes are copied, not their permissions.
        if path.is_dir() { copy(&path, &to) } else { fs::write(to, fs::read(&path).unwrap()).unwrap() }
    }
}

/// A tensor for a file: its type, shape and bytes.
pub type Stored = (String, Vec<usize>, Vec<u8>);

/// The bytes of a `.safetensors` file.
pub fn safetensors(tensors: &BTreeMap<String, Stored>) -> Vec<u8> {
    marked(tensors, &[])
}

/// The same, with texts in its header.
pub fn marked(tensors: &BTreeMap<String, Stored>, texts: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    if !texts.is_empty() {
        let texts = texts.iter().map(|(key, text)| (key.to_string(), json!(text))).collect();
        header.insert("__metadata__".into(), Value::Object(texts));
    }
    for (name, (dtype, shape, bytes)) in tensors {
        let start = data.len();
        data.extend(bytes);
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}));
    }
    raw(&Value::Object(header).to_string(), &data)
}

/// A file of this header.
pub fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// All tensors of a file as stored there.
pub fn stored(path: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let data = &bytes[8 + length..];
    let entry = |(name, v): (&String, &Value)| {
        let at = |i: usize| v["data_offsets"][i].as_u64().unwrap() as usize;
        let shape = v["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        (name.clone(), (v["dtype"].as_str().unwrap().to_string(), shape, data[at(0)..at(1)].to_vec()))
    };
    header.iter().filter(|(name, _)| *name != "__metadata__").map(entry).collect()
}

/// Rewrites a weight file.
pub fn edit_weights(path: &Path, edit: impl FnOnce(&mut BTreeMap<String, Stored>)) {
    let mut tensors = stored(path);
    edit(&mut tensors);
    fs::write(path, safetensors(&tensors)).unwrap();
}

/// The configuration of a latent diffusion model.
pub fn config(checkpoint: &Checkpoint) -> &Config {
    checkpoint.latent_diffusion().expect("a latent diffusion model")
}

/// A whole tensor of a checkpoint, read in pieces of `rows`.
pub fn values(checkpoint: &Checkpoint, index: usize, rows: usize) -> Vec<f32> {
    let mut out = Vec::new();
    let height = checkpoint.tensors()[index].shape[0];
    for start in (0..height).step_by(rows) {
        checkpoint.read(index, start..(start + rows).min(height), &mut out).unwrap();
    }
    out
}

/// The values of a tensor of a file, in the file's order.
pub fn numbers(path: &Path, name: &str) -> Vec<f32> {
    let file = TensorFile::open(path).unwrap();
    let mut out = Vec::new();
    file.read(name, 0..file.tensors()[name].shape.iter().product(), &mut out).unwrap();
    out
}
