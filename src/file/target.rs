//! Where pictures go: one file, or one file each.

use crate::fault::Fault;
use std::path::{Path, PathBuf};

/// The name given with `-o`.
#[derive(Debug, PartialEq)]
pub enum Target {
    /// One file for all.
    One(PathBuf),
    /// One file each: what comes before the number, its least width, what comes after it.
    Numbered(String, usize, String),
}

impl Target {
    /// Reads a name with or without `%d` or `%03d` (any width to 9) in it; `%%` is a percent sign.
    pub fn parse(name: &str) -> Result<Self, Fault> {
        let usage = |problem: &str| Err(Fault::Usage(format!("-o {name}: {problem}")));
        let file_name = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
        if !file_name.to_ascii_lowercase().ends_with(".png") || file_name.len() == 4 {
            return usage("pictures are written as PNG, so the name must end in .png");
        }
        let (mut before, mut after, mut width) = (String::new(), String::new(), None);
        let mut rest = name;
        while let Some((text, directive)) = rest.split_once('%') {
            let current = if width.is_none() { &mut before } else { &mut after };
            current.push_str(text);
            if let Some(end) = directive.strip_prefix('%') {
                current.push('%');
                rest = end;
                continue;
            }
            let Some((found, end)) = number(directive) else {
                return usage("% must be followed by d, as in %d or %03d, or by a second %");
            };
            if width.replace(found).is_some() {
                return usage("use only one number");
            }
            rest = end;
        }
        let current = if width.is_none() { &mut before } else { &mut after };
        current.push_str(rest);
        match width {
            None => Ok(Self::One(before.into())),
            Some(_) if Path::new(&after).components().count() > 1 => {
                usage("the number belongs in the name of the file, not of a folder")
            }
            Some(width) => Ok(Self::Numbered(before, width, after)),
        }
    }

    /// The files of so many pictures.
    pub fn paths(&self, pictures: usize) -> impl Iterator<Item = PathBuf> {
        (0..if matches!(self, Self::One(_)) { 1 } else { pictures }).map(|index| self.path(index))
    }

    /// The file of picture `index`, from 0.
    pub fn path(&self, index: usize) -> PathBuf {
        match self {
            Self::One(path) => path.clone(),
            Self::Numbered(before, width, after) => format!("{before}{index:0width$}{after}").into(),
        }
    }
}

/// The width of the number that `text`, what follows a percent sign, asks for, and what follows it.
fn number(text: &str) -> Option<(usize, &str)> {
    if let Some(rest) = text.strip_prefix('d') {
        return Some((1, rest));
    }
    let mut chars = text.strip_prefix('0')?.chars();
    let width = chars.next()?.to_digit(10)?;
    chars.as_str().strip_prefix('d').map(|rest| (width as usize, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str, index: usize) -> String {
        Target::parse(name).unwrap().path(index).to_str().unwrap().into()
    }

    #[test]
    fn numbers_in_names() {
        assert_eq!(path("a/b.png", 5), "a/b.png");
        assert_eq!(path("a-%03d.png", 5), "a-005.png");
        assert_eq!(path("%02dx.PNG", 1234), "1234x.PNG");
        assert_eq!(path("a/%d-100%%.png", 7), "a/7-100%.png");
        assert_eq!(path("100%%.png", 7), "100%.png");
    }

    #[test]
    fn names_that_cannot_be() {
        for name in ["a.jpg", "", ".png", "a/", "%s.png", "%3d.png", "%0d.png", "100%.png", "%d%d.png", "%d/a.png"] {
            assert!(matches!(Target::parse(name), Err(Fault::Usage(_))), "{name}");
        }
    }
}
