//! What is done to a text before it is cut.

use super::unicode::{combining_class, compose, decompose};
use alloc::string::String;
use alloc::vec::Vec;

/// Composed (NFC), runs of white space as one blank, in lower case; what `CLIPTokenizer` of transformers does.
///
/// Each character is lowered by itself: a capital sigma at a word's end becomes σ, as there, not ς.
pub fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in composed(text) {
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

/// In NFC (UAX 15).
pub(super) fn composed(text: &str) -> Vec<char> {
    let mut decomposed: Vec<char> = Vec::with_capacity(text.len());
    text.chars().for_each(|c| decompose(c, &mut decomposed));
    // Marks in the order of their classes, those of one class as they came; a letter is of class 0.
    let runs = decomposed.chunk_by_mut(|_, next| combining_class(*next) > 0);
    runs.for_each(|run| run.sort_by_key(|c| combining_class(*c)));
    let (mut out, mut starter) = (Vec::<char>::with_capacity(decomposed.len()), None);
    for c in decomposed {
        let class = combining_class(c);
        if let Some(first) = starter {
            // What lies between hides a mark of its own class, and what is no mark.
            let next = out.len() == first + 1;
            let free = next || out.last().is_some_and(|last| combining_class(*last) < class);
            if let Some(both) = Some(c).filter(|_| free).and_then(|c| compose(out[first], c)) {
                out[first] = both;
                continue;
            }
        }
        if class == 0 {
            starter = Some(out.len());
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use alloc::string::ToString;
    use unicode_normalization::UnicodeNormalization;

    fn assert_composed(text: &str) {
        assert!(composed(text).into_iter().eq(text.nfc()), "{text:?}: {:?}", composed(text));
    }

    /// Every character alone, and what each is made of. Seen red with neighbours not joined.
    #[test]
    fn characters_are_composed_as_the_standard_says() {
        for c in '\0'..=char::MAX {
            assert_composed(&c.to_string());
            assert_composed(&c.nfd().collect::<String>());
        }
    }

    /// Letters, syllables of Hangul, and marks that are joined, that hide each other, and that change places. Seen red with
    /// marks in the order of the text, and with hidden marks joined.
    #[test]
    fn texts_are_composed_as_the_standard_says() {
        let letters = "aAoeuẢǖσ가각ᆩ각क़เ\u{1100}\u{11a8}\u{9c7}\u{9be}";
        let marks = "\u{300}\u{301}\u{302}\u{308}\u{323}\u{327}\u{328}\u{31b}\u{345}\u{9be}\u{93c}\u{5b0}\u{5b1}";
        let all: Vec<char> = letters.chars().chain(marks.chars().cycle().take(40)).collect();
        let mut stream = Stream::new(1, "texts", 0);
        for _ in 0..20_000 {
            let length = stream.below(8);
            let text: String = (0..length).map(|_| all[stream.below(all.len() as u64) as usize]).collect();
            assert_composed(&text);
        }
    }
}
