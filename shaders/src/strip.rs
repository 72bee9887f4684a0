//! A WGSL file without its comments, indents and empty lines, made by the compiler: a program carries all the files, and a
//! page that loads it waits for every byte. Directives (`//#`), which begin a line, stay.

/// The text of a file of this crate, by its path from the file that asks.
macro_rules! wgsl {
    ($path:expr) => {{
        const TEXT: &str = include_str!($path);
        const BYTES: [u8; $crate::strip::stripped(TEXT, [0; 0]).1] = $crate::strip::stripped(TEXT, [0; _]).0;
        match core::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("only whole characters are left out"),
        }
    }};
}
pub(crate) use wgsl;

/// What is left of `text`, as far as it fits in `out`, and how long it is.
pub(crate) const fn stripped<const N: usize>(text: &str, mut out: [u8; N]) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut at, mut len) = (0, 0);
    while at < text.len() {
        let mut end = at;
        while end < text.len() && text[end] != b'\n' {
            end += 1;
        }
        let next = end + 1;
        let directive = at + 2 < end && text[at] == b'/' && text[at + 1] == b'/' && text[at + 2] == b'#';
        let mut comment = at;
        while !directive && comment < end {
            if text[comment] == b'/' && comment + 1 < end && text[comment + 1] == b'/' {
                end = comment;
            }
            comment += 1;
        }
        while at < end && text[at] == b' ' {
            at += 1;
        }
        while at < end && text[end - 1] == b' ' {
            end -= 1;
        }
        if at < end {
            while at < end {
                if len < N {
                    out[len] = text[at];
                }
                at += 1;
                len += 1;
            }
            if len < N {
                out[len] = b'\n';
            }
            len += 1;
        }
        at = next;
    }
    (out, len)
}

#[cfg(test)]
mod tests {
    use super::stripped;

    /// Seen red with comments behind code kept, and with directives taken for comments.
    #[test]
    fn only_comments_and_spaces_go() {
        let text = "// What it does: 1 / 2.\n//#if A\n\nfn f() {\n  return a / b; // é\n  // no\n//#end\n}";
        let (bytes, len) = stripped(text, [0; 100]);
        assert_eq!(str::from_utf8(&bytes[..len]), Ok("//#if A\nfn f() {\nreturn a / b;\n//#end\n}\n"));
        assert_eq!(stripped(text, [0; 0]).1, len);
    }
}
