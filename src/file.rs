//! What is read and written: weight files, pictures and their texts, latents.

pub mod canvas;
pub mod convert;
pub mod default_model;
pub mod grid;
pub mod image_in;
pub mod infotext;
pub mod latents;
pub mod picture;
pub mod source;
pub mod target;
