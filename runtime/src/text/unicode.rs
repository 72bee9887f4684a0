//! What is asked of Unicode's data: letters and numbers, how characters are made of others, and the order of marks.
//!
//! The tables are made by the example `unicode_tables` of what the crates `unicode-normalization` and `unicode-properties` answer.
//! Their own tables, made to be fast, were a tenth of what a browser loads; these are an eighth of them, and are read from their
//! beginning, which takes some microseconds for a character that is not Latin.

use alloc::vec::Vec;
use core::iter;
use core::ops::Range;

/// Runs of letters and of numbers: the distance from the last one's end, doubled, and one more if they are numbers; how many
/// more than one they are.
static CLASSES: &[u8] = include_bytes!("unicode/classes.bin");

/// Runs of marks of one class, other than 0: the distance from the last one's end, how many more than one they are, the class.
static MARKS: &[u8] = include_bytes!("unicode/marks.bin");
/// Where they are.
const MARKED: Range<u32> = 0x300..0x1e94b;

/// Characters that are made of one or two others: the distance from the last one, doubled, and one more if these two are composed
/// again; how the first and the second differ from those before. A second one of 0 is none. Without the syllables of Hangul.
static PAIRS: &[u8] = include_bytes!("unicode/pairs.bin");
/// Where they are.
const MADE: Range<u32> = 0xc0..0x2fa1e;

/// Numbers of seven bits a byte, the lowest first; all but a number's last byte have the eighth bit.
fn numbers(bytes: &'static [u8]) -> impl Iterator<Item = u32> {
    let mut bytes = bytes.iter();
    iter::from_fn(move || {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = u32::from(*bytes.next()?);
            number |= (byte & 127) << shift;
            if byte < 128 {
                return Some(number);
            }
            shift += 7;
        }
    })
}

/// A difference, whose sign is its lowest bit.
fn signed(number: u32) -> u32 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    Letter,
    Number,
}

/// Whether a character is of the category L or N.
pub(super) fn kind(c: char) -> Option<Kind> {
    if c.is_ascii() {
        let number = c.is_ascii_digit().then_some(Kind::Number);
        return if c.is_ascii_alphabetic() { Some(Kind::Letter) } else { number };
    }
    let (mut numbers, mut end) = (numbers(CLASSES), 0);
    while let (Some(gap), Some(more)) = (numbers.next(), numbers.next()) {
        let first = end + (gap >> 1);
        end = first + more + 1;
        if (c as u32) < end {
            let kind = if gap & 1 == 0 { Kind::Letter } else { Kind::Number };
            return (c as u32 >= first).then_some(kind);
        }
    }
    None
}

/// Its canonical combining class: 0 of what is no mark.
pub(super) fn combining_class(c: char) -> u8 {
    if !MARKED.contains(&(c as u32)) {
        return 0;
    }
    let (mut numbers, mut end) = (numbers(MARKS), 0);
    while let (Some(gap), Some(more), Some(class)) = (numbers.next(), numbers.next(), numbers.next()) {
        let first = end + gap;
        end = first + more + 1;
        if (c as u32) < end {
            return if c as u32 >= first { class as u8 } else { 0 };
        }
    }
    0
}

struct Pair {
    made: u32,
    first: u32,
    second: u32,
    composes: bool,
}

fn pairs() -> impl Iterator<Item = Pair> {
    let mut numbers = numbers(PAIRS);
    let (mut made, mut first, mut second) = (0, 0, 0);
    iter::from_fn(move || {
        let distance = numbers.next()?;
        made += distance >> 1;
        first = signed(numbers.next()?).wrapping_add(first);
        second = signed(numbers.next()?).wrapping_add(second);
        Some(Pair { made, first, second, composes: distance & 1 == 1 })
    })
}

/// The first syllable of Hangul; the first consonant that begins one, the first vowel, and no consonant at its end.
const SYLLABLE: u32 = 0xac00;
const LEADING: u32 = 0x1100;
const VOWEL: u32 = 0x1161;
const TRAILING: u32 = 0x11a7;
/// How many there are of them.
const LEADINGS: u32 = 19;
const VOWELS: u32 = 21;
const TRAILINGS: u32 = 28;

/// Appends what a character is made of, and that of what, to the end (UAX 15: canonical decomposition); itself if of nothing.
pub(super) fn decompose(c: char, out: &mut Vec<char>) {
    match parts(c as u32) {
        Some((first, second)) => {
            // What is second is never made of others.
            decompose(first, out);
            out.extend(second);
        }
        None => out.push(c),
    }
}

fn parts(c: u32) -> Option<(char, Option<char>)> {
    if !MADE.contains(&c) {
        return None;
    }
    let syllable = c.wrapping_sub(SYLLABLE);
    let (first, second) = if syllable < LEADINGS * VOWELS * TRAILINGS {
        match (syllable / TRAILINGS, syllable % TRAILINGS) {
            (open, 0) => (LEADING + open / VOWELS, VOWEL + open % VOWELS),
            (_, trailing) => (c - trailing, TRAILING + trailing),
        }
    } else {
        let pair = pairs().take_while(|pair| pair.made <= c).find(|pair| pair.made == c)?;
        (pair.first, pair.second)
    };
    Some((char::from_u32(first)?, char::from_u32(second).filter(|c| *c != '\0')))
}

/// The character that is made of these two.
pub(super) fn compose(first: char, second: char) -> Option<char> {
    let (first, second) = (first as u32, second as u32);
    // Before it there is nothing that is added.
    if second < 0x300 {
        return None;
    }
    let (leading, vowel) = (first.wrapping_sub(LEADING), second.wrapping_sub(VOWEL));
    let (syllable, trailing) = (first.wrapping_sub(SYLLABLE), second.wrapping_sub(TRAILING));
    let open = syllable < LEADINGS * VOWELS * TRAILINGS && syllable.is_multiple_of(TRAILINGS);
    char::from_u32(if leading < LEADINGS && vowel < VOWELS {
        SYLLABLE + (leading * VOWELS + vowel) * TRAILINGS
    } else if open && (1..TRAILINGS).contains(&trailing) {
        first + trailing
    } else {
        pairs().find(|pair| pair.composes && (pair.first, pair.second) == (first, second))?.made
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

    /// Every character, against the crates of which the tables were made. Seen red with runs that end a character early, with
    /// what doubles a distance left in it, with distances from 0, with a range that ends early, and without syllables.
    #[test]
    fn characters_are_what_the_standard_says() {
        for c in '\0'..=char::MAX {
            let group = match c.general_category_group() {
                GeneralCategoryGroup::Letter => Some(Kind::Letter),
                GeneralCategoryGroup::Number => Some(Kind::Number),
                _ => None,
            };
            assert_eq!(kind(c), group, "{c:?}");
            assert_eq!(combining_class(c), canonical_combining_class(c), "{c:?}");
            let (mut own, mut theirs) = (Vec::new(), Vec::new());
            decompose(c, &mut own);
            decompose_canonical(c, |c| theirs.push(c));
            assert_eq!(own, theirs, "{c:?}");
        }
    }
}
