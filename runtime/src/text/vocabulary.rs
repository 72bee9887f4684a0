//! A vocabulary as the weight file keeps it.

use alloc::string::String;
use alloc::vec::Vec;

/// Tokens and merges: `tokenizer.ggml.tokens`, `.merges` and `.added_tokens` of a weight file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vocabulary {
    /// By id, in the visible form (`the</w>`).
    pub tokens: Vec<String>,
    /// `left right`, the first joined first.
    pub merges: Vec<String>,
    /// Those of [`Self::tokens`] that came after the training of the pairs: each is one token wherever it stands, found
    /// before any pair is joined. They are written as in a text.
    pub added: Vec<String>,
}

impl Vocabulary {
    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokens.iter().position(|t| t == token).map(|id| id as u32)
    }
}
