//! Compiled pipelines on disk, one file for each adapter and driver.

use super::{GpuError, trusted};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::path::{Path, PathBuf};
use wgpu::Features;

/// Starts the file; a change of its form changes this.
const MAGIC: [u8; 8] = *b"nijimi01";

/// More than any driver's pipelines take.
const MAX_BYTES: u64 = 1 << 28;

/// A pipeline cache, where the device has one.
pub(super) struct Cache {
    pub pipelines: Option<wgpu::PipelineCache>,
    file: Option<PathBuf>,
    /// What the file held.
    stored: Option<u64>,
}

impl Cache {
    pub fn open(folder: Option<&Path>, device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Self {
        // Of the other APIs wgpu has no caches; their drivers keep their own.
        let has =
            device.features().contains(Features::PIPELINE_CACHE) && wgpu::util::pipeline_cache_key(info).is_some();
        let file = folder.filter(|_| has).map(|folder| folder.join(format!("{}.pipelines", name(info))));
        let data = file.as_ref().and_then(|file| read(file, MAX_BYTES)).and_then(|bytes| checked(&bytes));
        let pipelines = file.is_some().then(|| trusted::pipeline_cache(device, data.as_deref()));
        Self { pipelines, file, stored: data.map(|data| fnv(&data)) }
    }

    /// Writes the file, if there is something new.
    pub fn store(&self) -> Result<(), GpuError> {
        let Some((file, data)) = self.file.as_ref().zip(self.pipelines.as_ref().and_then(|cache| cache.get_data()))
        else {
            return Ok(());
        };
        if self.stored == Some(fnv(&data)) {
            return Ok(());
        }
        let wrong =
            |e: &dyn core::fmt::Display| GpuError::Cache { path: file.display().to_string(), reason: e.to_string() };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        }
        let whole = [&MAGIC[..], &fnv(&data).to_le_bytes(), &data].concat();
        crate::gguf::write_atomic(file, &whole).map_err(|e| wrong(&e))
    }
}

/// A file's name for what belongs to one adapter and driver.
pub(super) fn name(info: &wgpu::AdapterInfo) -> String {
    let driver = fnv(format!("{} {} {}", info.name, info.driver, info.driver_info).as_bytes());
    format!("{:?}-{:x}-{:x}-{driver:016x}", info.backend, info.vendor, info.device).to_ascii_lowercase()
}

/// The data of a file that is whole.
pub(super) fn checked(bytes: &[u8]) -> Option<Vec<u8>> {
    let (sum, data) = bytes.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*sum) == fnv(data)).then(|| data.to_vec())
}

/// A regular file of at most so many bytes; anything else is as if it were not there.
pub(super) fn read(file: &Path, most: u64) -> Option<Vec<u8>> {
    let found = std::fs::metadata(file).ok()?;
    (found.is_file() && found.len() <= most).then(|| std::fs::read(file).ok())?
}

/// FNV-1a: against accidents, not against enemies.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_used() {
        let data = b"pipelines".to_vec();
        let mut file = [&MAGIC[..], &fnv(&data).to_le_bytes(), &data].concat();
        assert_eq!(checked(&file), Some(data));
        for cut in 0..file.len() {
            assert_eq!(checked(&file[..cut]), None);
        }
        for i in 0..file.len() {
            file[i] ^= 1;
            assert_eq!(checked(&file), None);
            file[i] ^= 1;
        }
    }
}
