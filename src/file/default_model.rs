//! The weights that are part of the program, so that it works from anywhere.

use std::path::Path;

/// A model whose file is part of the program; `weights/` has the card.
#[derive(Clone, Copy)]
pub struct BuiltIn {
    /// What `-m` calls it, where no file is called so.
    pub name: &'static str,
    /// The weight file.
    pub bytes: &'static [u8],
}

// Statics: of a constant, the program may hold a copy for each use.

/// Handwritten digits.
pub static DIGITS: BuiltIn = BuiltIn { name: "digits", bytes: nijimi_weights::DIGITS };

/// Emoji, from prompts.
pub static EMOJI: BuiltIn = BuiltIn { name: "emoji", bytes: nijimi_weights::EMOJI };

impl BuiltIn {
    /// All of them, the default first.
    pub const ALL: [&Self; 2] = [&EMOJI, &DIGITS];
}

/// What is drawn with if nothing is named.
pub static DEFAULT: &BuiltIn = &EMOJI;

impl BuiltIn {
    /// The one that is named, unless there is a file of that name.
    pub fn named(path: &Path) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|model| path.as_os_str() == model.name);
        known.filter(|_| !path.exists()).copied()
    }
}
