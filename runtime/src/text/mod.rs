//! From a prompt to token ids: CLIP's tokenizer, and prompts with weights and of any length.
//!
//! [`Tokenizer`] is byte-pair encoding as CLIP uses it (Radford et al. 2021, "Learning Transferable Visual Models From
//! Natural Language Supervision", section 2.4; Sennrich et al. 2016), to the ids of the published vocabularies. A text
//! encoder reads windows of 77 ids: [`Tokenizer::window`] makes the one that diffusers would, and [`Windows`] as many as
//! a prompt needs, with the weights that [`prompt::parse`] reads from `(word:1.2)`.
//!
//! [`ByteLevel`] is that of language models: every byte of a text is in a token, blanks too. [`Unigram`] is T5's, of the most
//! probable pieces of words.
//!
//! Letters, marks and compositions are those of the Unicode version of the crates of which the tables are made, 18. The reference's
//! libraries know older ones, and differ at code points that Unicode 14 had not assigned: 1,833 of the first 131,072.
//!
//! What comes from files is checked when a [`Tokenizer`] is made; texts of users cannot fail.

mod bpe;
mod byte_level;
mod error;
mod normalize;
pub mod prompt;
mod split;
#[cfg(test)]
mod tests;
mod tokenizer;
mod unicode;
mod unigram;
mod vocabulary;
mod windows;

pub use bpe::visible;
pub use byte_level::ByteLevel;
pub use error::TextError;
pub use normalize::normalize;
pub use split::pieces;
pub use tokenizer::{Special, Tokenizer};
pub use unigram::{Pieces, Unigram};
pub use vocabulary::Vocabulary;
pub use windows::{Window, Windows, weigh};
