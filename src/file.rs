//! What is read and written: weight files, pictures and their texts, latents.

pub mod canvas;
pub mod convert;
pub mod default_model;
pub mod grid;
pub mod image_in;
pub mod latents;
pub mod source;
pub mod target;

use std::path::Path;

/// A file's name, without its folders.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
