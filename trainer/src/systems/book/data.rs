//! Where the data of the ladder lie.
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// The data of the book, or others in their form.
pub(super) struct Sources {
    /// Heights, one a line.
    pub heights: PathBuf,
    /// Height and weight, two columns.
    pub height_weight: PathBuf,
    /// Eruptions and waiting times, two columns.
    pub faithful: PathBuf,
    /// An RGB picture.
    pub flower: PathBuf,
    /// Folder with IDX files of digits.
    pub digits: PathBuf,
    /// Whether this program drew them.
    pub made_up: bool,
    /// Tells these data from others.
    pub fingerprint: String,
}

impl Sources {
    /// The files in `book/` and `mnist/` below `folder`.
    ///
    /// # Errors
    /// Names the first file that is not there.
    pub fn of(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize().map_err(Error::io(folder))?;
        let file = |name: &str| {
            let path = folder.join("book").join(name);
            if path.is_file() { Ok(path) } else { Err(missing(&folder, &path)) }
        };
        let digits = folder.join("mnist");
        if !digits.is_dir() {
            return Err(missing(&folder, &digits));
        }
        let mut sources = Self {
            heights: file("height.txt")?,
            height_weight: file("height_weight.txt")?,
            faithful: file("old_faithful.txt")?,
            flower: file("flower.png")?,
            digits,
            made_up: false,
            fingerprint: folder.display().to_string(),
        };
        // A file that was exchanged is another file: sizes tell well enough what runs belong together.
        for path in [&sources.heights, &sources.height_weight, &sources.faithful, &sources.flower] {
            let length = path.metadata().map_err(Error::io(path))?.len();
            sources.fingerprint += &format!(" {length}");
        }
        Ok(sources)
    }
}

fn missing(folder: &Path, path: &Path) -> Error {
    let what = format!(
        "{} is not there; --data takes a folder with book/height.txt, book/height_weight.txt, book/old_faithful.txt, \
         book/flower.png and the IDX files of digits in mnist/; without --data they are made up",
        path.display()
    );
    Error::data(folder, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let folder = std::env::temp_dir().join(format!("nijimi-sources-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("mnist")).expect("a folder");
        let error = Sources::of(&folder).err().expect("no data").to_string();
        std::fs::remove_dir_all(&folder).expect("the folder is there");
        assert!(error.contains("height.txt is not there") && error.contains("made up"), "{error}");
    }
}
