//! Checkpoints: one safetensors file with weights, average, moments and counters, that appears whole or not at all.
use crate::error::{Error, Result};
use crate::param::{State, Values};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The tensors and the plain facts of a run.
pub struct Checkpoint {
    /// Tensors by name.
    pub tensors: State,
    /// Counters and settings, as text.
    pub facts: HashMap<String, String>,
}

/// Writes beside, syncs, renames: a reader sees the old file or the new one.
///
/// # Errors
/// If the system refuses; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(nijimi_runtime::gguf::write_atomic(path, bytes).map_err(nijimi_runtime::Error::from)?)
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
            what: format!(
                "{}: not a checkpoint, or damaged; remove it to start anew",
                // It quotes the file.
                e.to_string().replace(char::is_control, "\u{fffd}")
            ),
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
