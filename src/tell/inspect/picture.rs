//! What a PNG picture was drawn with.

use crate::fault::Fault;
use nijimi_cli::print::{cut, plain_lines, print};
use nijimi_pictures::{Facts, Infotext, MAGIC};
use nijimi_runtime::gguf::open_regular;
use png::ColorType;
use std::fs::File;
use std::io::{BufReader, Read};
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
    let file = open_regular(path).map_err(|e| Fault::Input(e.to_string()))?;
    let bytes = file.metadata().map_or(0, |about| about.len());
    let facts = Facts::read(BufReader::new(file))
        .map_err(|e| Fault::Input(format!("{name} is a damaged PNG picture ({e}): copy or download it again")))?;
    let mut text = String::new();
    for (key, value) in lines(format!("{name}, {bytes} bytes"), &facts) {
        text += &format!("{}: {}\n", plain_lines(&cut(&key)), plain_lines(&cut(&value)));
    }
    Ok(print(&text)?)
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
            others => format!(" (other texts: {others})"),
        };
        let why = format!("none{others}: the program that wrote the picture, or changed it, does not record them");
        lines.push(("parameters".into(), why));
        return lines;
    };
    let Infotext { prompt, negative, pairs } = Infotext::parse(parameters);
    let words = [("prompt", prompt), ("negative prompt", negative)];
    lines.extend(words.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.into(), text)));
    lines.extend(pairs);
    lines
}
