//! The text that picture browsers read: the prompt, what it shall not show, and a last line of pairs.
//!
//! It is the format of AUTOMATIC1111's web UI (`infotext`, `modules/infotext_utils.py`), which stable-diffusion.cpp and
//! others write, too:
//!
//! ```text
//! an astronaut riding a horse
//! Negative prompt: blurry
//! Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x512, Model: "a, b"
//! ```

use std::fmt;

/// What begins the line of what shall not be shown.
const NEGATIVE: &str = "Negative prompt:";

/// With fewer pairs, a last line belongs to the prompt: as the web UI has it.
const LEAST: usize = 3;

/// A text, taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Infotext {
    /// What the picture shows.
    pub prompt: String,
    /// What it does not show.
    pub negative: String,
    /// Keys and values, in their order.
    pub pairs: Vec<(String, String)>,
}

impl Infotext {
    /// Takes a text apart. Any text will do: where no line of pairs ends it, all of it is the prompt.
    ///
    /// It is the inverse of [`fmt::Display`], with at least 3 pairs of usual keys, for all prompts that have no line
    /// which begins with `Negative prompt:`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (words, pairs) = match text.trim_end().rsplit_once('\n') {
            Some((words, last)) => (Some(words), pairs(last)),
            None => (None, pairs(text)),
        };
        let (words, pairs) = if pairs.len() < LEAST { (Some(text), Vec::new()) } else { (words, pairs) };
        let words = words.unwrap_or_default();
        let (prompt, negative) = match words.strip_prefix(NEGATIVE) {
            Some(negative) => ("", negative),
            None => words.split_once(&format!("\n{NEGATIVE}")).unwrap_or((words, "")),
        };
        let negative = negative.strip_prefix(' ').unwrap_or(negative);
        Self { prompt: prompt.into(), negative: negative.into(), pairs }
    }
}

impl fmt::Display for Infotext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prompt, negative, pairs } = self;
        if !prompt.is_empty() {
            writeln!(f, "{prompt}")?;
        }
        if !negative.is_empty() {
            writeln!(f, "{NEGATIVE} {negative}")?;
        }
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {}", quoted(value))).collect();
        f.write_str(&pairs.join(", "))
    }
}

/// The pairs of a line; none if it does not begin with one. A piece between commas that is no pair belongs to the value
/// before it: not all programs put such values in quotes.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let pair = rest.split_once(':').filter(|(key, _)| is_key(key.trim()));
        let (value, after) = value(pair.map_or(rest, |(_, value)| value).trim_start());
        match (pair, pairs.last_mut()) {
            (Some((key, _)), _) => pairs.push((key.trim().into(), value)),
            (None, Some((_, last))) => *last += &format!(", {value}"),
            (None, None) => return Vec::new(),
        }
        rest = after.trim_start();
    }
    pairs
}

/// A letter or digit, then some more, with spaces, dashes and slashes: as the web UI's regular expression has it.
fn is_key(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.chars().count() > 1 && text.starts_with(word) && text.chars().all(|c| word(c) || [' ', '-', '/'].contains(&c))
}

/// The value that `text` begins with, out of its quotes, and what follows the comma after it.
fn value(text: &str) -> (String, &str) {
    if let Some((value, after)) = text.strip_prefix('"').and_then(unquoted) {
        let after = after.trim_start();
        if let Some(after) = after.strip_prefix(',').or(after.is_empty().then_some("")) {
            return (value, after);
        }
    }
    let (value, after) = text.split_once(',').unwrap_or((text, ""));
    (value.trim().into(), after)
}

/// A value that would be taken for something else is put in quotes, as JSON has them.
fn quoted(value: &str) -> String {
    if !value.contains(|c: char| matches!(c, ',' | ':' | '"') || c.is_control()) && value.trim() == value {
        return value.into();
    }
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text += "\\n",
            '\r' => text += "\\r",
            '\t' => text += "\\t",
            c if c.is_control() => text += &format!("\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// What stands before the closing quote, its escapes resolved, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((value, rest)),
            '\\' => {
                let escape = rest.chars().next()?;
                rest = &rest[escape.len_utf8()..];
                match escape {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    'b' => value.push('\u{8}'),
                    'f' => value.push('\u{c}'),
                    'u' => {
                        let (c, after) = code_point(rest)?;
                        value.push(c);
                        rest = after;
                    }
                    c => value.push(c),
                }
            }
            c => value.push(c),
        }
    }
}

/// The four digits after `\u`, or two of these for a character that takes two.
fn code_point(text: &str) -> Option<(char, &str)> {
    let unit = |text: &str| u16::from_str_radix(text.get(..4).filter(|d| !d.starts_with('+'))?, 16).ok();
    let first = unit(text)?;
    let rest = &text[4..];
    if let Some(c) = char::from_u32(first.into()) {
        return Some((c, rest));
    }
    let second = unit(rest.strip_prefix("\\u")?)?;
    Some((char::decode_utf16([first, second]).next()?.ok()?, &rest[6..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infotext(prompt: &str, negative: &str, pairs: &[(&str, &str)]) -> Infotext {
        let pairs = pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        Infotext { prompt: prompt.into(), negative: negative.into(), pairs }
    }

    /// Texts of up to 12 characters, those with a meaning more often than others.
    fn texts(count: usize) -> Vec<String> {
        let alphabet: Vec<char> = "aZ0 ,,::\"\"\\\\\n\n\r\tun-/_<>()é数🙂\u{301}\u{1b}\u{7f}".chars().collect();
        let mut state = 1u64;
        let mut next = move || {
            // Knuth's generator, MMIX.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        (0..count).map(|_| (0..next() % 13).map(|_| alphabet[next() % alphabet.len()]).collect()).collect()
    }

    // Seen red: quotes written without escapes; quotes not read; the prompt trimmed.
    #[test]
    fn what_is_written_is_read() {
        let texts = texts(3000);
        for of in texts.windows(3) {
            let pairs = [("Steps", "20"), ("Model", &of[0]), ("CFG scale", "7"), ("Lora", &of[1]), ("Version", "x")];
            let text = infotext(&of[2], &of[0], &pairs);
            assert_eq!(Infotext::parse(&text.to_string()), text, "{text}");
        }
    }

    #[test]
    fn any_text_is_read_and_none_is_lost() {
        for text in texts(3000) {
            let read = Infotext::parse(&text);
            if read.pairs.is_empty() && read.negative.is_empty() {
                assert_eq!(read.prompt, text);
            }
        }
        for text in ["", "a", "a\nb: c, d", "Steps: 1, Seed: 2", "Steps: \"1, Seed: \"2, x", "\n\n", "\"\\u12", ":,:,:"]
        {
            assert_eq!(Infotext::parse(text), infotext(text, "", &[]), "{text}");
        }
    }

    // Seen red: a piece without a key dropped; surrogates refused.
    #[test]
    fn texts_of_other_programs() {
        let text = "a <lora:b:0.8>, (c:1.2)\nd\nNegative prompt: e\nf\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, \
                    CFG scale: 7.0, Size: 512x512, Model hash: 00aa, ControlNet 0: \"Module: none, Weight: 1\", \
                    Template: \"x\\ny \\u00e9\\ud83d\\ude42\", Version: v1.10.1";
        let want = [
            ("Steps", "20"),
            ("Sampler", "DPM++ 2M"),
            ("Schedule type", "Karras"),
            ("CFG scale", "7.0"),
            ("Size", "512x512"),
            ("Model hash", "00aa"),
            ("ControlNet 0", "Module: none, Weight: 1"),
            ("Template", "x\ny é🙂"),
            ("Version", "v1.10.1"),
        ];
        assert_eq!(Infotext::parse(text), infotext("a <lora:b:0.8>, (c:1.2)\nd", "e\nf", &want));

        let text = "a\nNegative prompt: \nSteps: 20, CFG scale: 7.000000, Seed: 42, Model: b, c.gguf, RNG: cuda, \
                    Sampler: euler_a karras, Version: stable-diffusion.cpp\n";
        let read = Infotext::parse(text);
        assert_eq!((read.prompt.as_str(), read.negative.as_str()), ("a", ""));
        assert_eq!(read.pairs[3..5], [("Model".into(), "b, c.gguf".into()), ("RNG".into(), "cuda".to_owned())]);
    }
}
