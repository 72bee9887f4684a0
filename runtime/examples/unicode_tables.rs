//! Makes the tables of `src/text/unicode.rs`, which says what is in them:
//!
//! `cargo run -p nijimi-runtime --example unicode_tables runtime/src/text/unicode`

use std::collections::BTreeMap;
use std::path::Path;
use unicode_normalization::char::{canonical_combining_class, compose, decompose_canonical};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("which folder?")?;
    for (name, numbers) in [("classes", classes()), ("marks", marks()), ("pairs", pairs())] {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(varint).collect();
        println!("{name}: {} bytes", bytes.len());
        std::fs::write(Path::new(&folder).join(name).with_extension("bin"), bytes)?;
    }
    Ok(())
}

fn varint(mut number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

/// The distance from the last run's end, how many more than one, what it is.
fn runs<T: PartialEq>(of: impl Fn(char) -> Option<T>) -> Vec<(u32, u32, T)> {
    let mut runs: Vec<(u32, u32, T)> = Vec::new();
    for (c, what) in ('\0'..=char::MAX).filter_map(|c| Some((c as u32, of(c)?))) {
        match runs.last_mut() {
            Some((_, end, last)) if *end == c && *last == what => *end += 1,
            _ => runs.push((c, c + 1, what)),
        }
    }
    let mut last = 0;
    let relative = |(first, end, what)| (first - std::mem::replace(&mut last, end), end - first - 1, what);
    runs.into_iter().map(relative).collect()
}

fn classes() -> Vec<u32> {
    let number = |c: char| match c.general_category_group() {
        GeneralCategoryGroup::Letter => Some(0),
        GeneralCategoryGroup::Number => Some(1),
        _ => None,
    };
    runs(number).into_iter().flat_map(|(gap, more, number)| [2 * gap + number, more]).collect()
}

fn marks() -> Vec<u32> {
    let class = |c| Some(u32::from(canonical_combining_class(c))).filter(|class| *class > 0);
    runs(class).into_iter().flat_map(|(gap, more, class)| [gap, more, class]).collect()
}

fn pairs() -> Vec<u32> {
    // A syllable of Hangul is computed.
    let characters = ('\0'..=char::MAX).filter(|c| !('가'..='힣').contains(c));
    let whole: BTreeMap<char, Vec<char>> = characters
        .filter_map(|c| {
            let mut parts = Vec::new();
            decompose_canonical(c, |part| parts.push(part));
            (parts != [c]).then_some((c, parts))
        })
        .collect();
    let mut last = [0; 3];
    let mut out = Vec::new();
    for (made, parts) in &whole {
        let (first, second) = match parts[..] {
            [only] => (only, '\0'),
            [first, second] => (first, second),
            [ref first @ .., second] => {
                let mut made_of = whole.iter().filter(|(_, parts)| *parts == first).map(|(c, _)| *c);
                let composing = made_of.clone().find(|c| compose(*c, second) == Some(*made));
                (composing.or_else(|| made_of.next()).expect("a character of all but the last part"), second)
            }
            [] => panic!("{made:?} is made of nothing"),
        };
        let composes = u32::from(compose(first, second) == Some(*made));
        let now = [*made, first, second].map(|c| c as i64);
        let [distance, first, second] = [0, 1, 2].map(|i| now[i] - last[i]);
        let signed = |difference: i64| ((difference << 1) ^ (difference >> 63)) as u32;
        out.extend([2 * distance as u32 + composes, signed(first), signed(second)]);
        last = now;
    }
    out
}
