//! The weight files that programs carry with them; each has a card beside it, with its data and its licence.
//!
//! ```
//! assert!(nijimi_weights::DIGITS.starts_with(b"GGUF"));
//! ```
#![no_std]

/// Handwritten digits, 28 x 28: `digits-q8_0.gguf`.
pub static DIGITS: &[u8] = include_bytes!("../digits-q8_0.gguf");

/// Emoji from prompts, 64 x 64: `emoji-q8_0.gguf`.
#[cfg(feature = "emoji")]
pub static EMOJI: &[u8] = include_bytes!(env!("NIJIMI_EMOJI"));
