//! A model at any path, ready to be loaded.

use super::checkpoint::{Checkpoint, Options};
use super::convert::convert_into;
use super::error::ImportError;
use super::temporary::{Temporary, is_checkpoint};
use super::types::Types;
use nijimi_runtime::gguf::MappedFile;
use nijimi_runtime::model::Stored;
use std::path::Path;
use std::sync::Arc;

/// The weight file at `path`, mapped into memory; a checkpoint (a folder of diffusers, a `.safetensors` file) is first converted
/// into a temporary file, with weights of the types that are given.
///
/// # Errors
/// A file that cannot be read; a checkpoint that cannot be imported; no room in the folder for temporary files.
pub fn stored(path: impl AsRef<Path>, options: &Options, types: &Types) -> Result<Arc<dyn Stored>, ImportError> {
    let path = path.as_ref();
    if !is_checkpoint(path) {
        return Ok(Arc::new(MappedFile::open(path)?));
    }
    let checkpoint = Checkpoint::open(path, options)?;
    let temporary = Temporary::create()?;
    convert_into(&checkpoint, temporary.file(), temporary.path(), &stem(path), types, |_| {})?;
    temporary.map()
}

/// What a checkpoint is called: its folder's name, or its file's without the ending.
pub fn stem(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    // `.` and `..` have no name of their own.
    let whole = || path.canonicalize().ok().and_then(|path| path.file_name().map(ToOwned::to_owned));
    name.map(ToOwned::to_owned).or_else(whole).map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}
