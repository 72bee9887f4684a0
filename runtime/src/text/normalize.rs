//! What is done to a text before it is cut.

use alloc::string::String;
use unicode_normalization::UnicodeNormalization;

/// Composed (NFC), runs of white space as one blank, in lower case; what `CLIPTokenizer` of transformers does.
///
/// Each character is lowered by itself: a capital sigma at a word's end becomes σ, as there, not ς.
pub fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.nfc() {
        if c.is_whitespace() {
            if !blank {
                out.push(' ');
            }
            blank = true;
        } else {
            out.extend(c.to_lowercase());
            blank = false;
        }
    }
    out
}
