//! IDX files (MNIST, Fashion-MNIST), gzip-compressed or not: magic, counts and sizes are checked.
use crate::data::captioned::is_picture;
use crate::error::{Error, Result};
use crate::fingerprint::DataSum;
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Gray pictures with labels.
pub struct LabelledPictures {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `count * height * width` bytes.
    pub pixels: Vec<u8>,
    /// A label for each picture.
    pub labels: Vec<u8>,
}

/// Which half of a data set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Split {
    /// `train-…`
    Train,
    /// `t10k-…`
    Test,
}

/// Pictures that a file may hold at most: what it takes in memory stays below 4 GiB of pixels.
const MAX_BYTES: u64 = 4 << 30;

impl LabelledPictures {
    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
    /// The pixels of picture `i`.
    pub fn picture(&self, i: usize) -> &[u8] {
        let n = self.width * self.height;
        &self.pixels[i * n..(i + 1) * n]
    }

    /// What tells these pictures from others.
    pub fn sum(&self) -> DataSum {
        let mut sum = DataSum::new();
        let size = [self.width, self.height].map(|side| side as u64);
        sum.add(&[bytemuck::bytes_of(&size), &self.pixels, &self.labels], self.len());
        sum
    }

    /// Reads a split from a folder with the usual file names, each plain or with `.gz`.
    ///
    /// # Errors
    /// If a file is missing, truncated, of the wrong kind, or the two do not belong together.
    pub fn load(folder: &Path, split: Split) -> Result<Self> {
        let stem = if split == Split::Train { "train" } else { "t10k" };
        let (path, dims, pixels) = read(&find(folder, &format!("{stem}-images-idx3-ubyte"))?, 3)?;
        let (label_path, label_dims, labels) = read(&find(folder, &format!("{stem}-labels-idx1-ubyte"))?, 1)?;
        if dims[0] != label_dims[0] {
            let what = format!("{} labels, but {} holds {} pictures", label_dims[0], path.display(), dims[0]);
            return Err(Error::data(label_path, what));
        }
        if dims.contains(&0) {
            return Err(Error::data(path, format!("no pictures: the header says {dims:?}")));
        }
        Ok(Self { width: dims[2], height: dims[1], pixels, labels })
    }
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let plain = folder.join(name);
    let zipped = folder.join(format!("{name}.gz"));
    // Some copies of the set write the first hyphen of the extension as a dot.
    let dotted = folder.join(name.replacen("-idx", ".idx", 1));
    [plain, zipped, dotted].into_iter().find(|p| p.is_file()).ok_or_else(|| {
        let what = format!("neither {name} nor {name}.gz is there; --data takes a folder with IDX files");
        let pictures = folder
            .read_dir()
            .is_ok_and(|mut files| files.any(|f| f.is_ok_and(|f| is_picture(&f.file_name().to_string_lossy()))));
        let way = if pictures {
            ": of PNG and JPEG pictures, `nijimi-train autoencoder` and then `nijimi-train text2image` make a model (docs/text2image.md)"
        } else {
            ""
        };
        Error::data(folder, what + way)
    })
}

/// Reads one file of unsigned bytes with `rank` dimensions.
fn read(path: &Path, rank: usize) -> Result<(PathBuf, Vec<usize>, Vec<u8>)> {
    let raw = std::fs::read(path).map_err(Error::io(path))?;
    let bytes = if raw.starts_with(&[0x1f, 0x8b]) {
        let mut out = Vec::new();
        let mut limited = GzDecoder::new(&raw[..]).take(MAX_BYTES + 1);
        limited.read_to_end(&mut out).map_err(|e| Error::data(path, format!("damaged or cut off gzip data: {e}")))?;
        out
    } else {
        raw
    };
    let header = 4 + 4 * rank;
    if bytes.len() < header {
        return Err(Error::data(path, format!("{} bytes: shorter than the header of an IDX file", bytes.len())));
    }
    let magic = [0, 0, 8, rank as u8];
    if bytes[..4] != magic {
        let found = &bytes[..4];
        let what = format!("begins with {found:02x?}, expected {magic:02x?} (IDX, unsigned bytes, {rank} dimensions)");
        return Err(Error::data(path, what));
    }
    let dims: Vec<usize> =
        bytes[4..header].chunks_exact(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]) as usize).collect();
    let size = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64)).filter(|n| *n <= MAX_BYTES);
    let Some(size) = size else {
        return Err(Error::data(path, format!("the header says {dims:?}: more than {MAX_BYTES} bytes")));
    };
    let found = (bytes.len() - header) as u64;
    if found != size {
        let word = if found < size { "cut off" } else { "too long" };
        let what = format!("{word}: the header says {dims:?} = {size} bytes, the file holds {found}");
        return Err(Error::data(path, what));
    }
    Ok((path.into(), dims, bytes[header..].to_vec()))
}
