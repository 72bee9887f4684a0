//! Prompts with weights, in AUTOMATIC1111's notation.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// What round brackets multiply by; square ones divide by it.
const BRACKET: f64 = 1.1;

/// One part of a prompt.
#[derive(Clone, PartialEq, Debug)]
pub enum Part {
    /// Text with one weight.
    Text {
        /// The text, without the notation.
        text: String,
        /// 1 where nothing is said.
        weight: f64,
    },
    /// The window ends here: `BREAK`.
    Break,
}

/// Reads `(word)` as a weight of 1.1, `((word))` of 1.21, `[word]` of 1 / 1.1, `(word:1.5)` of 1.5, `\(` as a bracket and
/// `BREAK`, a word by itself, as the end of a window (`prompt_parser.parse_prompt_attention` of AUTOMATIC1111's web UI).
///
/// Brackets that nothing closes weigh what follows, to the end. No text is refused. A `BREAK` inside brackets still breaks,
/// and two that follow each other are two, where the model's own parser makes text of them.
pub fn parse(prompt: &str) -> Vec<Part> {
    let mut parser = Parser { parts: Vec::new(), round: Vec::new(), square: Vec::new() };
    let mut rest = prompt;
    while !rest.is_empty() {
        let len = parser.token(rest);
        rest = &rest[len..];
    }
    let Parser { mut parts, round, square } = parser;
    round.into_iter().for_each(|from| multiply(&mut parts[from..], BRACKET));
    square.into_iter().for_each(|from| multiply(&mut parts[from..], 1.0 / BRACKET));
    merged(parts)
}

struct Parser {
    parts: Vec<Part>,
    /// Where the brackets that are open begin, among the parts.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parser {
    /// Takes one token off a text that is not empty; its length.
    fn token(&mut self, rest: &str) -> usize {
        let mut chars = rest.chars();
        match chars.next() {
            Some('\\') => {
                let escaped = chars.next().filter(|c| matches!(c, '(' | ')' | '[' | ']' | '\\'));
                self.parts.extend(escaped.map(|c| Part::Text { text: String::from(c), weight: 1.0 }));
                return 1 + escaped.map_or(0, char::len_utf8);
            }
            Some('(') => self.round.push(self.parts.len()),
            Some('[') => self.square.push(self.parts.len()),
            Some(':') => match weight(rest).and_then(|(len, weight)| Some((len, weight, self.round.pop()?))) {
                Some((len, weight, from)) => {
                    multiply(&mut self.parts[from..], weight);
                    return len;
                }
                None => self.text(":"),
            },
            Some(')') => match self.round.pop() {
                Some(from) => multiply(&mut self.parts[from..], BRACKET),
                None => self.text(")"),
            },
            Some(']') => match self.square.pop() {
                Some(from) => multiply(&mut self.parts[from..], 1.0 / BRACKET),
                None => self.text("]"),
            },
            _ => {
                let len = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                self.text(&rest[..len]);
                return len;
            }
        }
        1
    }

    /// Text, cut at each `BREAK`.
    fn text(&mut self, text: &str) {
        const WORD: &str = "BREAK";
        let part = |text: &str| Part::Text { text: String::from(text), weight: 1.0 };
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let (mut rest, mut from) = (text, 0);
        while let Some(at) = rest[from..].find(WORD).map(|at| at + from) {
            let end = at + WORD.len();
            if rest[..at].ends_with(in_word) || rest[end..].starts_with(in_word) {
                from = end;
                continue;
            }
            self.parts.extend([part(rest[..at].trim_end()), Part::Break]);
            (rest, from) = (rest[end..].trim_start(), 0);
        }
        self.parts.push(part(rest));
    }
}

/// `: 1.5 )` with its length.
fn weight(text: &str) -> Option<(usize, f64)> {
    let number = text.strip_prefix(':')?.trim_start();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let after = digits.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let value = number[..number.len() - after.len()].parse().ok()?;
    let after = after.trim_start().strip_prefix(')')?;
    Some((text.len() - after.len(), value))
}

fn multiply(parts: &mut [Part], by: f64) {
    for part in parts {
        if let Part::Text { weight, .. } = part {
            *weight *= by;
        }
    }
}

/// Neighbours of one weight joined.
fn merged(parts: Vec<Part>) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::new();
    for part in parts {
        match (out.last_mut(), part) {
            (Some(Part::Text { text, weight }), Part::Text { text: more, weight: same }) if *weight == same => {
                *text += &more
            }
            (_, part) => out.push(part),
        }
    }
    if out.is_empty() { vec![Part::Text { text: String::new(), weight: 1.0 }] } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(prompt: &str, want: &[(&str, f64)]) {
        let found = parse(prompt);
        let want: Vec<(&str, f64)> = want.to_vec();
        let texts: Vec<(&str, f64)> = found
            .iter()
            .map(|part| match part {
                Part::Text { text, weight } => (text.as_str(), *weight),
                Part::Break => ("BREAK", -1.0),
            })
            .collect();
        assert_eq!(texts.len(), want.len(), "{prompt:?}: {texts:?}");
        for (found, want) in texts.iter().zip(&want) {
            assert!(found.0 == want.0 && (found.1 - want.1).abs() < 1e-12, "{prompt:?}: {texts:?}");
        }
    }

    /// The examples in the docstring of `parse_prompt_attention`.
    /// Seen red with brackets that multiply by 1.05, and with an escaped bracket read a second time.
    #[test]
    fn the_examples_of_automatic1111() {
        is("normal text", &[("normal text", 1.0)]);
        is("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
        is("(unbalanced", &[("unbalanced", 1.1)]);
        is(r"\(literal\]", &[("(literal]", 1.0)]);
        is("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
        let parts = [
            ("a ", 1.0),
            ("house", 1.573),
            (" ", 1.1),
            ("on", 1.0),
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ];
        is("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", &parts);
    }

    /// Seen red with a `BREAK` found inside of words, and with brackets that are not closed left unweighted.
    #[test]
    fn the_corners_of_the_notation() {
        is("", &[("", 1.0)]);
        is("a BREAK b", &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]);
        is("(a BREAK b:2)", &[("a", 2.0), ("BREAK", -1.0), ("b", 2.0)]);
        is("BREAK BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0), ("BREAK", -1.0), ("", 1.0)]);
        is("BREAKFAST aBREAK BREAK_ break", &[("BREAKFAST aBREAK BREAK_ break", 1.0)]);
        is("time: 3", &[("time: 3", 1.0)]);
        is("(a: 1.5 )b", &[("a", 1.5), ("b", 1.0)]);
        is("(a:-1)", &[("a", -1.0)]);
        is("(a:+.5)", &[("a", 0.5)]);
        is("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        is("a:1.5)", &[("a:1.5)", 1.0)]);
        is("[a] ] )", &[("a", 1.0 / 1.1), (" ] )", 1.0)]);
        is("[(a]", &[("a", 1.0)]);
        is(r"back\\slash \x \", &[(r"back\slash x ", 1.0)]);
        is("((é:2):3)", &[("é", 6.0)]);
    }
}
