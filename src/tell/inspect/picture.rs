//! What a PNG picture was drawn with.

use crate::fault::Fault;
use crate::file::infotext::Infotext;
use crate::file::picture::{Facts, MAGIC};
use png::ColorType;
use std::fs::File;
use std::io::{BufReader, Read, Write, stdout};
use std::path::Path;

/// Whether it is a PNG, by its first bytes. A file that cannot be read is none.
pub fn is(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    // Nothing is read from a pipe: it could not be read again.
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}

/// Tells it.
pub fn run(path: &Path) -> Result<(), Fault> {
    let name = path.display();
    let file = File::open(path).map_err(|e| Fault::Input(format!("cannot open {name}: {e}")))?;
    let bytes = file.metadata().map_or(0, |about| about.len());
    let facts = Facts::read(BufReader::new(file))
        .map_err(|e| Fault::Input(format!("{name} is a PNG picture, but broken ({e}): copy or download it again")))?;
    let mut text = String::new();
    for (key, value) in lines(format!("{name}, {bytes} bytes"), &facts) {
        text += &format!("{}: {}\n", plain(&key), plain(&value));
    }
    // A reader that has seen enough, as `head`, is no error.
    let _ = stdout().write_all(text.as_bytes());
    Ok(())
}

fn lines(file: String, facts: &Facts) -> Vec<(String, String)> {
    let color = match facts.color {
        ColorType::Grayscale => "gray",
        ColorType::GrayscaleAlpha => "gray with alpha",
        ColorType::Indexed => "a palette",
        ColorType::Rgb => "RGB",
        ColorType::Rgba => "RGB with alpha",
    };
    let interlaced = if facts.interlaced { ", interlaced" } else { "" };
    let picture = format!("{}x{}, {color}, {} bits{interlaced}", facts.width, facts.height, facts.bits);
    let mut lines = vec![("file".to_owned(), file), ("picture".into(), picture)];
    let Some(parameters) = &facts.parameters else {
        let others = match facts.keywords.join(", ") {
            others if others.is_empty() => String::new(),
            others => format!(" (of other names: {others})"),
        };
        let why = format!("none{others}: the picture was written, or changed, by a program that does not record them");
        lines.push(("parameters".into(), why));
        return lines;
    };
    let Infotext { prompt, negative, pairs } = Infotext::parse(parameters);
    let words = [("prompt", prompt), ("negative prompt", negative)];
    lines.extend(words.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.into(), text)));
    lines.extend(pairs);
    lines
}

/// Further lines of a text are indented. A picture is anybody's: what would steer the terminal is shown as escapes.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '\n' => plain += "\n  ",
            '\t' => plain.push('\t'),
            c if c.is_control() => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen red: control characters printed.
    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(plain("a\nb\u{1b}[2J\u{9b}\r數\t"), "a\n  b\\u{1b}[2J\\u{9b}\\u{d}數\t");
    }
}
