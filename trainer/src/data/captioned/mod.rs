//! Folders of pictures with captions.
//!
//! Two forms are read. A folder with `captions.tsv`, whose first line names its columns: `file` and `name` must be among
//! them, `category` and `tags` (divided by commas) may be; the pictures lie beside it or in `png/`, and those without a
//! row are loaded without a caption. Or a folder of pictures, each with its caption in the first line of a text file of
//! the same name (`cat.png`, `cat.txt`). Pictures are PNG or JPEG files of any size.

mod entries;
mod picture;
mod subject;
#[cfg(test)]
pub(crate) mod tests;

use crate::error::{Error, Result};
use nijimi_runtime::rng::Stream;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

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
    /// `(side, side, 3)`: red, green and blue in sRGB, rows from the top.
    pub pixels: Vec<u8>,
}

/// The pictures of a folder, by the names of their files.
#[derive(Clone, Debug)]
pub struct Captioned {
    /// Width and height of each picture.
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
    /// Broken or unreadable files, and pictures in a folder of pairs that have no caption, are listed in
    /// [`Captioned::skipped`].
    ///
    /// # Errors
    /// A folder or table that cannot be read, a table without one of its columns, no picture at all, or a side of 0 or
    /// above 4096.
    pub fn load(dir: &Path, side: usize) -> Result<Self> {
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(Error::Usage(format!("pictures of {side}x{side}: the side must be 1 to {MAX_SIDE} pixels")));
        }
        let (entries, mut skipped) = entries::list(dir)?;
        let decoded: Vec<_> = entries.par_iter().map(|entry| picture::read(&entry.path, side)).collect();
        let mut pictures = Vec::with_capacity(entries.len());
        for (entry, decoded) in entries.into_iter().zip(decoded) {
            match decoded {
                Ok(pixels) => {
                    let entries::Entry { file, name, category, tags, .. } = entry;
                    pictures.push(Picture { file, name, category, tags, subject: 0, pixels });
                }
                Err(why) => skipped.push((entry.path, why)),
            }
        }
        if pictures.is_empty() {
            return Err(Error::data(dir, nothing(&skipped)));
        }
        pictures.sort_by(|a, b| a.file.cmp(&b.file));
        skipped.sort();
        subject::number(&mut pictures);
        Ok(Self { side, pictures, skipped })
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
fn nothing(skipped: &[(PathBuf, String)]) -> String {
    let forms = "give a folder with captions.tsv (columns file, name, category, tags), or with pairs such as cat.png \
                 and cat.txt";
    match skipped.first() {
        None => format!("no PNG or JPEG pictures are there: {forms}"),
        Some((path, why)) => {
            let (n, path) = (skipped.len(), path.display());
            format!("no picture could be used; {n} were passed over, the first, {path}, because {why}: {forms}")
        }
    }
}
