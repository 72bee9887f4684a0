//! Bytes of a weight file that is larger than a package may be. `release/packages.py` fills `part.bin`; in the repository, where
//! the whole file is, it is empty.

/// A third of the file.
pub static PART: &[u8] = include_bytes!("../part.bin");
