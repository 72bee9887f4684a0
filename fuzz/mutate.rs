//! Damage that goes deep: bytes, words and, where a file is text or begins with a JSON header, tokens.

#[path = "../runtime/tests/common/numbers.rs"]
mod numbers;

pub use numbers::Numbers;

/// What the bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Bytes,
    /// JSON, CSV or lists of words.
    Text,
    /// As [`Form::Text`], after a byte that chooses a file.
    Chosen,
    /// Eight bytes that count a JSON header, the header, and data.
    Safetensors,
}

const WORDS: [u64; 16] =
    [0, 1, 2, 4, 8, 9, 31, 32, 33, 64, 255, 1 << 31, 1 << 32, u64::MAX / 4, u64::MAX - 31, u64::MAX];

const TOKENS: [&str; 28] = [
    "0",
    "-1",
    "1",
    "3",
    "7",
    "8",
    "4096",
    "4294967296",
    "18446744073709551615",
    "1e308",
    "-1e999",
    "0.5",
    "NaN",
    "null",
    "true",
    "\"\"",
    "\"\\u001b[2J\"",
    "\"\\ud800\"",
    "[]",
    "{}",
    "[[[[[[[[",
    "\"v_prediction\"",
    "\"epsilon\"",
    ",",
    "\n",
    "\u{feff}",
    "\"a\"",
    "ﬀ",
];

pub fn mutated(form: Form, bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match form {
        Form::Bytes => damage(&mut bytes, numbers),
        Form::Text => bytes = text(&bytes, numbers),
        Form::Chosen => bytes = [&bytes[..1], &text(&bytes[1..], numbers)].concat(),
        Form::Safetensors => {
            let length = bytes.first_chunk().map_or(0, |n| u64::from_le_bytes(*n)) as usize;
            let data = bytes.get(8 + length..).unwrap_or_default();
            if numbers.below(4) > 0 && bytes.len() >= 8 + length {
                let header = text(&bytes[8..8 + length], numbers);
                // Mostly the length is right, so that what is within is read.
                let counted = if numbers.below(8) > 0 { header.len() as u64 } else { WORDS[numbers.below(16)] };
                bytes = [&counted.to_le_bytes()[..], &header, data].concat();
            } else {
                damage(&mut bytes, numbers);
            }
        }
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(6) {
        if bytes.is_empty() {
            return;
        }
        // The header is where damage matters: half of it goes to the first part.
        let reach = if numbers.below(2) == 0 { bytes.len() } else { bytes.len().min(400) };
        let at = numbers.below(reach);
        let end = bytes.len().min(at + 1 + numbers.below(40));
        match numbers.below(6) {
            0 => bytes[at] = numbers.bits() as u8,
            1 => bytes[at] ^= 1 << numbers.below(8),
            2 => {
                let width = [2, 4, 8][numbers.below(3)];
                let value = WORDS[numbers.below(16)];
                let value = if numbers.below(2) == 0 { value.to_le_bytes() } else { value.swap_bytes().to_le_bytes() };
                let end = bytes.len().min(at + width);
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            _ => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
}

/// Tokens of a text: numbers, words, strings, punctuation; each with where it lies.
fn tokens(text: &[u8]) -> Vec<(usize, usize)> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'+') || b >= 0x80;
    while at < text.len() {
        let start = at;
        at += 1;
        if text[start] == b'"' {
            while at < text.len() && text[at] != b'"' {
                at += 1 + usize::from(text[at] == b'\\');
            }
            at = text.len().min(at + 1);
        } else if word(text[start]) {
            while at < text.len() && word(text[at]) {
                at += 1;
            }
        }
        tokens.push((start, at));
    }
    tokens
}

fn text(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    if numbers.below(6) == 0 {
        let mut bytes = bytes.to_vec();
        damage(&mut bytes, numbers);
        return bytes;
    }
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + numbers.below(3) {
        let found = tokens(&bytes);
        if found.is_empty() {
            return bytes;
        }
        let (start, end) = found[numbers.below(found.len())];
        let (from, to) = found[numbers.below(found.len())];
        let with = match numbers.below(5) {
            0 => bytes[from..to].to_vec(),
            1 => Vec::new(),
            2 => [&bytes[start..end], &bytes[start..end]].concat(),
            _ => TOKENS[numbers.below(TOKENS.len())].as_bytes().to_vec(),
        };
        bytes.splice(start..end, with);
    }
    bytes
}
