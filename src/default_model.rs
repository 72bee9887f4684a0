//! The weights that are part of the program, so that it works from anywhere.

/// Handwritten digits; `weights/` has the card.
pub const BYTES: &[u8] = include_bytes!("../weights/digits-q8_0.gguf");

/// What they are called where a file would be named.
pub const NAME: &str = "digits-q8_0 (built in)";
