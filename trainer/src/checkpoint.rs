//! Checkpoints: one safetensors file with weights, average, moments and counters, that appears whole or not at all.
use crate::error::{Error, Result};
use crate::param::{State, Values};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The tensors and the plain facts of a run.
pub struct Checkpoint {
    /// Tensors by name.
    pub tensors: State,
    /// Counters and settings, as text.
    pub facts: HashMap<String, String>,
}

/// Writes beside, syncs, renames: a reader sees the old file or the new one.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let beside: PathBuf = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut f = File::create(&beside)?;
        f.write_all(bytes)?;
        f.sync_all()?;
        std::fs::rename(&beside, path)?;
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().inspect_err(|_| _ = std::fs::remove_file(&beside)).map_err(Error::io(path))
}

impl Checkpoint {
    /// Writes the file.
    pub fn save(&self, path: &Path) -> Result<()> {
        let views = self.tensors.iter().map(|(name, v)| {
            let view = TensorView::new(Dtype::F32, v.shape.clone(), bytemuck::cast_slice(&v.data));
            (name, view.expect("shape and values agree"))
        });
        // A sorted table, so that the same state is the same file.
        let bytes = safetensors::serialize(views, Some(self.facts.clone()))
            .map_err(|e| Error::Checkpoint { path: path.into(), what: e.to_string() })?;
        write_atomic(path, &bytes)
    }

    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let broken = |e: safetensors::SafeTensorError| Error::Checkpoint {
            path: path.into(),
            what: format!("{e}: not a checkpoint, or damaged; remove it to start anew"),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
        let mut tensors = State::new();
        for (name, t) in file.tensors() {
            if t.dtype() != Dtype::F32 {
                let what = format!("tensor {name} is {:?}, expected F32", t.dtype());
                return Err(Error::Checkpoint { path: path.into(), what });
            }
            let data = bytemuck::pod_collect_to_vec(t.data());
            tensors.insert(name, Values { shape: t.shape().to_vec(), data });
        }
        Ok(Self { tensors, facts: header.metadata().clone().unwrap_or_default() })
    }

    /// A fact that must be there and be of type `T`.
    pub fn fact<T: std::str::FromStr>(&self, path: &Path, key: &str) -> Result<T> {
        self.facts.get(key).and_then(|v| v.parse().ok()).ok_or_else(|| Error::Checkpoint {
            path: path.into(),
            what: format!("the entry {key} is missing or malformed; remove the file to start anew"),
        })
    }
}
