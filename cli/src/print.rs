//! What is printed: standard output, and lines on standard error.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write, stderr, stdout};

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}: send the output elsewhere")]
pub struct Unprinted(io::Error);

/// Writes to standard output. A reader that has seen enough, such as `head`, is no error; anything else is.
///
/// # Errors
/// A full disk, as a rule.
pub fn print(text: &str) -> Result<(), Unprinted> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Unprinted(e)),
        _ => Ok(()),
    }
}

/// Writes lines to standard error; nobody to tell if that is closed.
pub fn tell(lines: &[String]) {
    for line in lines {
        let _ = writeln!(stderr(), "{}", plain(&cut(line)));
    }
}

/// A text of a file, or a name, on one line: control characters, which would steer the terminal, and those that turn the order
/// of letters around are shown as escapes.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::new();
    text.chars().for_each(|c| if steers(c) { plain.extend(c.escape_default()) } else { plain.push(c) });
    plain
}

/// As much of a text as anybody reads: that of a file may be as large as the file.
pub fn cut(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 20_000;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}... ({} more bytes)", &text[..at], text.len() - at).into(),
        None => text.into(),
    }
}

/// As [`plain`], with the lines of the text, all but the first indented.
pub fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen red: control characters printed.
    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(plain_lines("a\nb\u{1b}[2J\u{9b}\r數\t"), "a\n  b\\u{1b}[2J\\u{9b}\\r數\\t");
        assert_eq!(plain("a\nb\u{202e}c\u{7f}é"), "a\\nb\\u{202e}c\\u{7f}é");
        assert_eq!((cut("é"), cut(&"é".repeat(20_001)).len()), ("é".into(), 40_000 + "... (2 more bytes)".len()));
    }
}
