//! Folders of pictures with captions.
//!
//! Two forms are read. A folder with `captions.tsv`, whose first line names its columns: `file` and `name` must be among
//! them, `category` and `tags` (divided by commas) may be; the pictures lie beside it or in `png/`, and those without a
//! row are loaded without a caption. Or a folder of pictures, each with its caption in the first line of a text file of
//! the same name (`cat.png`, `cat.txt`), if captions are needed. Pictures are PNG or JPEG files of any size.

mod entries;
mod picture;
mod subject;
#[cfg(test)]
pub(crate) mod tests;

pub use entries::Captions;
pub(crate) use entries::is_picture;
pub use picture::Cut;

use crate::error::{Error, Result};
use crate::fingerprint::DataSum;
use crate::say::tell;
use nijimi_runtime::raw::rng::Stream;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Files passed over that are told one by one.
const MOST_TOLD: usize = 40;

/// The longest side that pictures are resized to.
const MAX_SIDE: usize = 4096;

/// A picture with what is said about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// The file's name, without its folder.
    pub file: String,
    /// The caption; empty if there is none.
    pub name: String,
    /// The kind of subject; empty if none is given.
    pub category: String,
    /// Other words for it, each once, in the order of the file.
    pub tags: Vec<String>,
    /// Which subject it shows, counted from 0: variants of one subject that differ by skin tone have the same.
    pub subject: u32,
    /// `(height, width, 3)`: red, green and blue in sRGB, rows from the top.
    pub pixels: Vec<u8>,
    /// Height and width.
    pub size: [usize; 2],
}

/// The pictures of a folder, by the names of their files.
#[derive(Clone, Debug)]
pub struct Captioned {
    /// Width and height of each picture, or of a square of as many pixels.
    pub side: usize,
    /// The pictures, at least one.
    pub pictures: Vec<Picture>,
    /// Files that were passed over, and why.
    pub skipped: Vec<(PathBuf, String)>,
}

impl Captioned {
    /// Reads the pictures of a folder and resizes them to `side`: the middle is cut out as a square, transparent pixels
    /// lie over white (mixed in sRGB values, as browsers do), and a Lanczos filter resizes.
    ///
    /// Broken or unreadable files, files of other types, folders, and pictures in a folder of pairs that have no caption where
    /// `captions` are needed, are listed in [`Captioned::skipped`].
    ///
    /// # Errors
    /// A folder or table that cannot be read, a table without one of its columns, no picture at all, or a side of 0 or
    /// above 4096.
    pub fn load(dir: &Path, side: usize, captions: Captions) -> Result<Self> {
        Self::load_cut(dir, Cut::Square(side), captions)
    }

    /// As [`Self::load`], with pictures of another size than a square's.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_cut(dir: &Path, cut: Cut, captions: Captions) -> Result<Self> {
        let side = cut.side();
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(Error::Usage(format!("pictures of {side}x{side}: the side must be 1 to {MAX_SIDE} pixels")));
        }
        let (entries, mut skipped) = entries::list(dir, captions)?;
        let decoded: Vec<_> = entries.par_iter().map(|entry| picture::read(&entry.path, cut)).collect();
        let mut pictures = Vec::with_capacity(entries.len());
        for (entry, decoded) in entries.into_iter().zip(decoded) {
            match decoded {
                Ok((pixels, size)) => {
                    let entries::Entry { file, name, category, tags, .. } = entry;
                    pictures.push(Picture { file, name, category, tags, subject: 0, pixels, size });
                }
                Err(why) => skipped.push((entry.path, why)),
            }
        }
        if pictures.is_empty() {
            return Err(Error::data(dir, nothing(&skipped, captions)));
        }
        pictures.sort_by(|a, b| a.file.cmp(&b.file));
        skipped.sort();
        subject::number(&mut pictures);
        Ok(Self { side, pictures, skipped })
    }

    /// [`Self::load`], and says what was passed over.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_telling(dir: &Path, side: usize, captions: Captions) -> Result<Self> {
        Self::load_cut_telling(dir, Cut::Square(side), captions)
    }

    /// [`Self::load_cut`], and says what was passed over.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_cut_telling(dir: &Path, cut: Cut, captions: Captions) -> Result<Self> {
        let new = Self::load_cut(dir, cut, captions)?;
        for (path, why) in new.skipped.iter().take(MOST_TOLD) {
            tell!("skipped {}: {why}", path.display());
        }
        if let Some(more) = new.skipped.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
            tell!("skipped {more} more");
        }
        Ok(new)
    }

    /// What tells these pictures, and what is said about them, from others.
    #[must_use]
    pub fn sum(&self) -> DataSum {
        let mut sum = DataSum::new();
        for p in &self.pictures {
            let tags = p.tags.join(",");
            sum.add(&[p.file.as_bytes(), p.name.as_bytes(), p.category.as_bytes(), tags.as_bytes(), &p.pixels], 1);
        }
        sum
    }

    /// The pictures that are held out where nothing else is asked for: at most a tenth, so that small sets are trained on too.
    #[must_use]
    pub fn hold_out_count(&self, asked: Option<usize>, most: usize) -> usize {
        asked.unwrap_or_else(|| most.min((self.pictures.len() / 10).max(usize::from(self.pictures.len() > 1))))
    }

    /// What to do where holding out so many leaves none.
    #[must_use]
    pub fn too_many_held_out(&self, count: usize) -> Error {
        let (n, fewer) = (self.pictures.len(), self.pictures.len() / 10);
        Error::Usage(format!(
            "--hold-out {count}: of {n} pictures none is left to train on; give a smaller number, as --hold-out {fewer}"
        ))
    }

    /// Number of different subjects.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.pictures.iter().map(|p| p.subject + 1).max().unwrap_or(0) as usize
    }

    /// Divides the pictures into those to train on and those held out, by index, both in ascending order. Whole subjects
    /// are held out, drawn by `seed`, until there are at least `count` pictures.
    #[must_use]
    pub fn hold_out(&self, count: usize, seed: u64) -> (Vec<u32>, Vec<u32>) {
        let mut sizes = vec![0usize; self.subjects()];
        self.pictures.iter().for_each(|p| sizes[p.subject as usize] += 1);
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        Stream::new(seed, "held-out subjects", 0).shuffle(&mut order);
        let mut held = vec![false; sizes.len()];
        let mut total = 0;
        for subject in order {
            if total >= count {
                break;
            }
            held[subject] = true;
            total += sizes[subject];
        }
        (0..self.pictures.len() as u32).partition(|i| !held[self.pictures[*i as usize].subject as usize])
    }
}

/// Why a folder yields no picture, with the remedy.
fn nothing(skipped: &[(PathBuf, String)], captions: Captions) -> String {
    let forms = match captions {
        Captions::Optional => "give a folder of PNG or JPEG pictures",
        Captions::Needed => {
            "give a folder with captions.tsv (columns file, name, category, tags), or with pairs such as cat.png and cat.txt"
        }
    };
    let pictures = || skipped.iter().filter(|(path, _)| is_picture(&path.to_string_lossy()));
    match pictures().next() {
        None => format!("no PNG or JPEG pictures are there: {forms}"),
        Some((path, why)) => {
            let (n, path) = (pictures().count(), path.display());
            format!("no picture could be used; {n} were passed over, the first, {path}, because {why}: {forms}")
        }
    }
}
