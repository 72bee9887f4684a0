//! What can be wrong with a vocabulary.

use alloc::string::String;

/// A vocabulary that makes no tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// Two ids for one token.
    #[error("the vocabulary has {token:?} twice, as {first} and {second}")]
    Twice {
        /// The token.
        token: String,
        /// Its first id.
        first: usize,
        /// Its second.
        second: usize,
    },
    /// A rule that is not two tokens with a blank between them.
    #[error("merge {rule} is {found:?}: it must be two tokens with a blank between them")]
    Merge {
        /// Its number, from 0.
        rule: usize,
        /// The line.
        found: String,
    },
    /// A rule that joins, or makes, what the vocabulary does not have.
    #[error("merge {rule} needs the token {token:?}, which the vocabulary lacks: the two are not of one model")]
    Unknown {
        /// Its number, from 0.
        rule: usize,
        /// What is missing.
        token: String,
    },
    /// A byte that no token is.
    #[error("the vocabulary, of {tokens} tokens, has none for the byte {byte}: it is not one of all bytes")]
    Byte {
        /// The byte.
        byte: u8,
        /// How many tokens there are.
        tokens: usize,
    },
    /// A special token that is not in the vocabulary.
    #[error("the {what} token is {found}, but the vocabulary has {tokens} tokens")]
    Special {
        /// Which.
        what: &'static str,
        /// Its id, or its text.
        found: String,
        /// How many there are.
        tokens: usize,
    },
    /// Probabilities that are not one a token, or no numbers.
    #[error("the vocabulary has {tokens} tokens and {scores} scores: it must be one finite number a token")]
    Scores {
        /// How many scores there are.
        scores: usize,
        /// How many tokens.
        tokens: usize,
    },
    /// A table of characters that is none.
    #[error("the table of how characters are written alike (precompiled_charsmap), of {bytes} bytes, is damaged")]
    CharsMap {
        /// Its length.
        bytes: usize,
    },
    /// An added token that is not in the vocabulary.
    #[error("the added token {token:?} is not among the vocabulary's {tokens} tokens, or is empty")]
    Added {
        /// Its text.
        token: String,
        /// How many there are.
        tokens: usize,
    },
    /// A window without room for a single token of text.
    #[error(
        "windows of {found} tokens: there must be room for the start, the end and a token between them, 3 to 65536"
    )]
    Length {
        /// Ids of a window.
        found: usize,
    },
}
