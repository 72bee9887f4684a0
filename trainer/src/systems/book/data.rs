//! Where the data of the ladder lie.
use crate::checkpoint::write_atomic;
use crate::data::idx::{LabelledPictures, Split};
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

impl Sources {
    /// The same with no more than a few digits, kept in `folder`: for a quick run.
    ///
    /// # Errors
    /// Digits that cannot be read, or a folder that cannot be written.
    pub fn few(mut self, folder: &Path, counts: [usize; 2]) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        for (split, stem, count) in [(Split::Train, "train", counts[0]), (Split::Test, "t10k", counts[1])] {
            let all = LabelledPictures::load(&self.digits, split)?;
            let count = count.min(all.len());
            let pixels = &all.pixels[..count * all.width * all.height];
            write_idx(folder, stem, [count, all.height, all.width], pixels, &all.labels[..count])?;
        }
        self.digits = folder.to_path_buf();
        self.fingerprint += &format!(" first {counts:?} digits");
        Ok(self)
    }
}

/// Writes pictures `(n, height, width)` and their labels as IDX files.
pub(super) fn write_idx(folder: &Path, stem: &str, dims: [usize; 3], pixels: &[u8], labels: &[u8]) -> Result<()> {
    let idx = |dims: &[usize], values: &[u8]| {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend((*d as u32).to_be_bytes()));
        bytes.extend(values);
        bytes
    };
    write_atomic(&folder.join(format!("{stem}-images-idx3-ubyte")), &idx(&dims, pixels))?;
    write_atomic(&folder.join(format!("{stem}-labels-idx1-ubyte")), &idx(&dims[..1], labels))
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
    fn few_digits_are_the_first_ones() {
        let folder = std::env::temp_dir().join(format!("nijimi-few-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (stem, n) in [("train", 5), ("t10k", 2)] {
            let (pixels, labels): (Vec<u8>, Vec<u8>) = ((0..n * 6).collect(), (0..n).collect());
            write_idx(&folder, stem, [n.into(), 2, 3], &pixels, &labels).expect("IDX files");
        }
        let path = PathBuf::new;
        let (heights, height_weight, faithful, flower) = (path(), path(), path(), path());
        let digits = folder.clone();
        let all = Sources { heights, height_weight, faithful, flower, digits, made_up: false, fingerprint: "".into() };
        let few = all.few(&folder.join("few"), [3, 4]).expect("few");
        let (train, test) =
            (LabelledPictures::load(&few.digits, Split::Train), LabelledPictures::load(&few.digits, Split::Test));
        std::fs::remove_dir_all(&folder).expect("the folder is there");
        let (train, test) = (train.expect("pictures"), test.expect("pictures"));
        assert_eq!((train.width, train.height, train.labels), (3, 2, vec![0, 1, 2]));
        assert_eq!((train.pixels.len(), train.pixels.last(), test.len()), (18, Some(&17), 2));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = std::env::temp_dir().join(format!("nijimi-sources-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("mnist")).expect("a folder");
        let error = Sources::of(&folder).err().expect("no data").to_string();
        std::fs::remove_dir_all(&folder).expect("the folder is there");
        assert!(error.contains("height.txt is not there") && error.contains("made up"), "{error}");
    }
}
