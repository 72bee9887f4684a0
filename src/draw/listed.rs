//! `-p -`: prompts from standard input, one a line.

use crate::fault::Fault;
use std::io::Read;

/// Most bytes that are read: more pictures would take years.
const MOST: u64 = 64 << 20;

/// The lines that are not blank, without white space around them.
pub fn read(input: impl Read) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let wrong = |problem: String| Fault::Input(format!("-p -: standard input {problem}"));
    input.take(MOST + 1).read_to_end(&mut bytes).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MOST {
        return Err(wrong(format!("has more than {} MiB: draw in several calls", MOST >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8: convert it first".into()))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Err(wrong("has no prompt: write one a line".into()));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_prompt() {
        assert_eq!(read(&b"a cat\r\n\n  a dog \n\t\n"[..]), Ok("a cat\na dog".into()));
        for (bytes, part) in [(&b" \n"[..], "no prompt"), (b"", "no prompt"), (b"\xff", "not UTF-8")] {
            assert!(matches!(read(bytes), Err(Fault::Input(m)) if m.contains(part)), "{part}");
        }
    }
}
