//! What is known of a target before any work begins: it can be written, and is no input.

use nijimi_runtime::gguf::AtomicFile;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why nothing is begun: one line with the remedy.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Two uses of one file.
    #[error("{0}")]
    Usage(String),
    /// No file can be written there.
    #[error("{0}")]
    Place(String),
}

/// A file, and the option or argument that names it.
pub type Named<'a> = (&'a str, &'a Path);

/// That every output can be written, now and not after an hour of drawing, and that none of them is an input, or another
/// output, by whatever name. Of an input that is a folder, all files are looked at that `is_read` takes, three folders deep.
///
/// # Errors
/// The first output that cannot be.
pub fn check(outputs: &[Named<'_>], inputs: &[Named<'_>], is_read: impl Fn(&Path) -> bool) -> Result<(), Refused> {
    let mut taken: HashMap<Identity, String> = HashMap::new();
    for (option, path) in inputs {
        files(path, 3, &mut |file| {
            if (file == *path || is_read(file))
                && let Some(id) = identity(file)
            {
                taken.entry(id).or_insert_with(|| format!("read: {option}"));
            }
        });
    }
    for (option, path) in outputs {
        writable(option, path)?;
        let Some(id) = identity(path) else { continue };
        if let Some(use_) = taken.get(&id) {
            let path = path.display();
            return Err(Refused::Usage(format!(
                "{option} {path} is a file that is also {use_}: write to another file"
            )));
        }
        taken.insert(id, format!("written: {option}"));
    }
    Ok(())
}

/// That a file can be written there: one is begun, and nothing is left of it.
fn writable(option: &str, path: &Path) -> Result<(), Refused> {
    let wrong = |problem: String| Err(Refused::Place(format!("{option} {}: {problem}", path.display())));
    if path.is_dir() {
        return Err(Refused::Place(format!("{option} {} is a folder: name a file in it", path.display())));
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

#[cfg(test)]
mod tests {
    use super::*;

    // Seen red: paths compared in place of files; the files of a folder not looked at; outputs not compared; links to
    // what is not there yet not followed; all files of a folder taken for inputs.
    #[cfg(unix)]
    #[test]
    fn an_output_is_no_input() {
        use std::os::unix::fs::symlink;
        let folder = std::env::temp_dir().join(format!("nijimi-{}-targets", std::process::id()));
        let at = |name: &str| folder.join(name);
        fs::create_dir_all(at("model/unet")).unwrap();
        fs::write(at("a"), "").unwrap();
        fs::write(at("model/unet/weights"), "").unwrap();
        fs::write(at("model/passed-over"), "").unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        symlink("a", at("soft")).unwrap();
        symlink("new", at("soft-new")).unwrap();
        symlink("model", at("soft-model")).unwrap();
        let refused = |outputs: &[Named<'_>], inputs: &[Named<'_>]| match check(outputs, inputs, |file| {
            !file.ends_with("passed-over")
        }) {
            Ok(()) => String::new(),
            Err(Refused::Usage(problem)) => problem,
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
        for name in ["new", "model/passed-over"] {
            assert_eq!(refused(&[("-o", &at(name))], &[("-m", &at("model")), ("-i", &at("a"))]), "");
        }
        for name in ["./new", "soft-new"] {
            let problem = refused(&[("--preview", &at("new")), ("-o", &at(name))], &[]);
            assert!(problem.contains("written: --preview"), "{name}: {problem}");
        }
        assert!(
            matches!(check(&[("-o", &at("none/a"))], &[], |_| true), Err(Refused::Place(m)) if m.contains("create it first"))
        );
        assert!(
            matches!(check(&[("-o", &at("model"))], &[], |_| true), Err(Refused::Place(m)) if m.contains("is a folder"))
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
