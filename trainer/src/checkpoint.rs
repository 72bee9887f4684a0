//! Checkpoints: one safetensors file with weights, average, moments and counters, that appears whole or not at all.
use crate::error::{Error, Result};
use crate::param::{State, Values};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The fact that tells a damaged file from a whole one.
const SUM: &str = "crc32";

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
        let mut facts = self.facts.clone();
        facts.insert(SUM.into(), self.sum());
        let bytes = safetensors::serialize(views, Some(facts))
            .map_err(|e| Error::Checkpoint { path: path.into(), what: e.to_string() })?;
        write_atomic(path, &bytes)
    }

    /// A sum over all tensors and facts, with their names.
    fn sum(&self) -> String {
        let mut sum = flate2::Crc::new();
        let mut facts: Vec<(&String, &String)> = self.facts.iter().collect();
        facts.sort();
        let mut part = |bytes: &[u8]| {
            sum.update(&(bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        };
        for (name, value) in facts {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        for (name, v) in &self.tensors {
            part(name.as_bytes());
            v.shape.iter().for_each(|side| part(&(*side as u64).to_le_bytes()));
            part(bytemuck::cast_slice(&v.data));
        }
        format!("{:08x}", sum.sum())
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it is none, is damaged, or was written before checkpoints had a sum by which damage is seen.
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
        let mut new = Self { tensors, facts: header.metadata().clone().unwrap_or_default() };
        let what = match new.facts.remove(SUM) {
            Some(sum) if sum == new.sum() => return Ok(new),
            Some(_) => "it is damaged: its content is not what was written; remove it to start anew",
            None => {
                "it was made by an earlier version of nijimi-train, or is of another program: remove it to start anew"
            }
        };
        Err(Error::Checkpoint { path: path.into(), what: what.into() })
    }

    /// A fact that must be there and be of type `T`.
    pub fn fact<T: std::str::FromStr>(&self, path: &Path, key: &str) -> Result<T> {
        self.facts.get(key).and_then(|v| v.parse().ok()).ok_or_else(|| Error::Checkpoint {
            path: path.into(),
            what: format!("the entry {key} is missing or malformed; remove the file to start anew"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen red with the sum not looked at.
    #[test]
    fn a_flipped_bit_anywhere_is_seen() {
        let path = std::env::temp_dir().join(format!("nijimi-checkpoint-{}.safetensors", std::process::id()));
        let tensors =
            State::from([("weight".to_owned(), Values { shape: vec![2, 2], data: vec![1.0, 2.0, 3.0, 4.0] })]);
        let facts = HashMap::from([("step".to_owned(), "12".to_owned())]);
        Checkpoint { tensors, facts }.save(&path).expect("writing");
        let whole = std::fs::read(&path).expect("a file");
        assert_eq!(Checkpoint::load(&path).expect("whole").fact::<u64>(&path, "step").expect("a fact"), 12);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).expect("writing");
            let read = Checkpoint::load(&path);
            // Spaces fill the header up.
            assert!(read.is_err() || whole[at] == b' ', "byte {at} of {}", whole.len());
        }
        std::fs::remove_file(&path).expect("removal");
    }
}
