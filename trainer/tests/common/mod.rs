//! A tiny data set in a folder of its own.
use nijimi_runtime::raw::rng::Stream;
use std::path::{Path, PathBuf};

/// Names of the two files of a training split.
pub const PICTURES: &str = "train-images-idx3-ubyte";
/// See [`PICTURES`].
pub const LABELS: &str = "train-labels-idx1-ubyte";

/// A folder that is gone when the test is over.
pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty folder; `name` is one test's own.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nijimi-trainer-{}-{name}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The bytes of an IDX file.
pub fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// `count` pictures 8x8 with one of three labels: a bright bar whose place tells the label, on a little noise.
pub fn write_data(folder: &Path, count: usize) {
    let mut stream = Stream::new(11, "pictures", 0);
    let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
    let mut pixels = Vec::new();
    for label in &labels {
        for y in 0..8u8 {
            let bright = if y / 2 == *label { 200.0 } else { 0.0 };
            (0..8).for_each(|_| pixels.push((bright + 50.0 * stream.uniform()) as u8));
        }
    }
    std::fs::write(folder.join(PICTURES), idx(&[count as u32, 8, 8], &pixels)).expect("writing the pictures");
    std::fs::write(folder.join(LABELS), idx(&[count as u32], &labels)).expect("writing the labels");
}
