//! How characters are written alike: SentencePiece's `precompiled_charsmap`, NFKC and its own rules for white space and control
//! characters.

use super::super::TextError;
use alloc::string::String;
use alloc::vec::Vec;

/// A table from the beginnings of a text to what stands in their place: a double array (Aoe 1989, as darts-clone stores it), and
/// the texts, each up to a zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CharsMap {
    units: Vec<u32>,
    texts: Vec<u8>,
}

const fn has_leaf(unit: u32) -> bool {
    (unit >> 8) & 1 == 1
}

const fn label(unit: u32) -> u32 {
    unit & (0x8000_0000 | 0xff)
}

const fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

impl CharsMap {
    /// As it is stored: bytes of the array, the array, the texts; of nothing one that changes nothing.
    ///
    /// # Errors
    /// An array that is longer than what there is; texts that are no UTF-8.
    pub fn new(bytes: &[u8]) -> Result<Self, TextError> {
        let Some((length, rest)) = bytes.split_at_checked(4) else {
            return if bytes.is_empty() {
                Ok(Self::default())
            } else {
                Err(TextError::CharsMap { bytes: bytes.len() })
            };
        };
        let length = length.iter().rev().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        let wrong = TextError::CharsMap { bytes: bytes.len() };
        if !length.is_multiple_of(4) || core::str::from_utf8(rest.get(length..).unwrap_or(&[0xff])).is_err() {
            return Err(wrong);
        }
        let (units, texts) = rest.split_at(length);
        let unit = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Ok(Self { units: units.as_chunks().0.iter().map(unit).collect(), texts: texts.to_vec() })
    }

    /// The text with what stands in the table exchanged, at each place the longest.
    pub fn normalize(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            match self.longest(rest.as_bytes()) {
                Some((length, new)) if rest.is_char_boundary(length) => {
                    out.push_str(new);
                    rest = &rest[length..];
                }
                _ => {
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        out
    }

    /// The longest beginning that is in the table: its bytes, and what stands in its place.
    fn longest(&self, text: &[u8]) -> Option<(usize, &str)> {
        let mut found = None;
        let mut at = offset(*self.units.first()?);
        for (i, byte) in text.iter().enumerate().take_while(|(_, byte)| **byte != 0) {
            at ^= usize::from(*byte);
            let Some(&unit) = self.units.get(at).filter(|unit| label(**unit) == u32::from(*byte)) else { break };
            at ^= offset(unit);
            if has_leaf(unit) {
                let value = self.units.get(at).map(|unit| (unit & 0x7fff_ffff) as usize);
                found = value.and_then(|value| self.text(value)).map(|new| (i + 1, new)).or(found);
            }
        }
        found
    }

    fn text(&self, from: usize) -> Option<&str> {
        let rest = self.texts.get(from..)?;
        let length = rest.iter().position(|byte| *byte == 0)?;
        core::str::from_utf8(&rest[..length]).ok()
    }
}
