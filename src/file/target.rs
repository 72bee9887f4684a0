//! Where pictures go: one file, or one file each; and what is known of a target before any work begins.

use crate::fault::Fault;
use nijimi_runtime::gguf::AtomicFile;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
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

/// A file, and the option or argument that names it.
pub type Named<'a> = (&'a str, &'a Path);

/// That every output can be written, now and not after an hour of drawing, and that none of them is an input, or another
/// output, by whatever name. Of an input that is a folder, all files are looked at.
pub fn check(outputs: &[Named<'_>], inputs: &[Named<'_>]) -> Result<(), Fault> {
    let mut taken: HashMap<Identity, String> = HashMap::new();
    for (option, path) in inputs {
        files(path, 3, &mut |file| {
            if let Some(id) = identity(file) {
                taken.entry(id).or_insert_with(|| format!("read: {option}"));
            }
        });
    }
    for (option, path) in outputs {
        writable(option, path)?;
        let Some(id) = identity(path) else { continue };
        if let Some(use_) = taken.get(&id) {
            let path = path.display();
            return Err(Fault::Usage(format!("{option} {path} is a file that is also {use_}: write to another file")));
        }
        taken.insert(id, format!("written: {option}"));
    }
    Ok(())
}

/// That a file can be written there: one is begun, and nothing is left of it.
fn writable(option: &str, path: &Path) -> Result<(), Fault> {
    let wrong = |problem: String| Err(Fault::Input(format!("{option} {}: {problem}", path.display())));
    if path.is_dir() {
        return Err(Fault::Input(format!("{option} {} is a folder: name a file in it", path.display())));
    }
    match path.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            wrong(format!("there is no folder {}: create it first", folder.display()))
        }
        _ => AtomicFile::prove(path).or_else(|e| wrong(format!("{e}: write to another place"))),
    }
}

/// What tells a file from others, whatever its name.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    /// Device and number.
    #[cfg(unix)]
    Inode(u64, u64),
    Path(PathBuf),
}

/// Of a file that is there, or could be. Pipes and devices are none: what is written there replaces nothing.
fn identity(path: &Path) -> Option<Identity> {
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => None,
        #[cfg(unix)]
        Ok(about) => {
            use std::os::unix::fs::MetadataExt;
            Some(Identity::Inode(about.dev(), about.ino()))
        }
        #[cfg(not(unix))]
        Ok(_) => fs::canonicalize(path).ok().map(Identity::Path),
        Err(e) => {
            let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
            // A link to what is not there yet is what it leads to, as it is to the writer.
            if e.kind() == ErrorKind::NotFound
                && let Ok(to) = fs::read_link(path)
            {
                return identity(&folder.join(to));
            }
            Some(Identity::Path(fs::canonicalize(folder).ok()?.join(path.file_name()?)))
        }
    }
}

/// Every file of a folder, so many folders deep; or the file.
fn files(path: &Path, depth: usize, each: &mut impl FnMut(&Path)) {
    match fs::read_dir(path) {
        Ok(entries) if depth > 0 => entries.flatten().for_each(|entry| files(&entry.path(), depth - 1, each)),
        _ => each(path),
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

    // Seen red: paths compared in place of files; the files of a folder not looked at; outputs not compared; links to
    // what is not there yet not followed.
    #[cfg(unix)]
    #[test]
    fn an_output_is_no_input() {
        use std::os::unix::fs::symlink;
        let folder = std::env::temp_dir().join(format!("nijimi-{}-targets", std::process::id()));
        let at = |name: &str| folder.join(name);
        fs::create_dir_all(at("model/unet")).unwrap();
        fs::write(at("a"), "").unwrap();
        fs::write(at("model/unet/weights"), "").unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        symlink("a", at("soft")).unwrap();
        symlink("new", at("soft-new")).unwrap();
        symlink("model", at("soft-model")).unwrap();
        let refused = |outputs: &[Named<'_>], inputs: &[Named<'_>]| match check(outputs, inputs) {
            Ok(()) => String::new(),
            Err(Fault::Usage(problem)) => problem,
            Err(other) => panic!("{other:?}"),
        };
        for name in ["a", "hard", "soft", "./a", "model/../a"] {
            let problem = refused(&[("-o", &at(name))], &[("-m", &at("b")), ("-i", &at("a"))]);
            assert!(problem.contains(name) && problem.contains("read: -i"), "{name}: {problem}");
        }
        for model in ["model", "soft-model", "model/unet/weights"] {
            let problem = refused(&[("-o", &at("model/unet/weights"))], &[("-m", &at(model))]);
            assert!(problem.contains("read: -m"), "{model}: {problem}");
        }
        assert_eq!(refused(&[("-o", &at("new"))], &[("-m", &at("model")), ("-i", &at("a"))]), "");
        for name in ["./new", "soft-new"] {
            let problem = refused(&[("--preview", &at("new")), ("-o", &at(name))], &[]);
            assert!(problem.contains("written: --preview"), "{name}: {problem}");
        }
        assert!(matches!(check(&[("-o", &at("none/a"))], &[]), Err(Fault::Input(m)) if m.contains("create it first")));
        assert!(matches!(check(&[("-o", &at("model"))], &[]), Err(Fault::Input(m)) if m.contains("is a folder")));
        fs::remove_dir_all(folder).unwrap();
    }
}
