//! Pictures that a run begins with, by the names of their files.

use crate::fault::Fault;
use nijimi_pictures::{Decoded, Fit, PictureError};
use std::path::Path;

/// Height and width of a picture, each rounded down to a multiple, of which it is at least one. Nothing is decoded.
pub fn size(path: &Path, multiple: usize) -> Result<[usize; 2], Fault> {
    let (size, multiple) = (nijimi_pictures::size(path).map_err(|e| fault(path, &e))?, multiple.max(1));
    Ok(size.map(|side| (side / multiple).max(1) * multiple))
}

/// A picture of the size `[height, width]`: see [`Decoded::picture`].
pub fn picture(path: &Path, size: [usize; 2]) -> Result<Vec<f32>, Fault> {
    Ok(Decoded::open(path).map_err(|e| fault(path, &e))?.picture(size, Fit::Crop))
}

/// A picture as it is, and its height and width.
pub fn whole(path: &Path) -> Result<(Vec<f32>, [usize; 2]), Fault> {
    let decoded = Decoded::open(path).map_err(|e| fault(path, &e))?;
    Ok((decoded.picture(decoded.size(), Fit::Crop), decoded.size()))
}

/// A picture of depth, at its own size: see [`Decoded::gray`].
pub fn depth(path: &Path, shape: [usize; 2]) -> Result<(Vec<f32>, [usize; 2]), Fault> {
    Ok(Decoded::open(path).map_err(|e| fault(path, &e))?.gray(shape))
}

/// A mask of the size `[height, width]`: see [`Decoded::mask`].
pub fn mask(path: &Path, size: [usize; 2]) -> Result<Vec<f32>, Fault> {
    Ok(Decoded::open(path).map_err(|e| fault(path, &e))?.mask(size, Fit::Crop))
}

fn fault(path: &Path, e: &PictureError) -> Fault {
    Fault::Input(format!("{} {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_and_files_named() {
        let bytes = nijimi_pictures::png([4, 6, 1], &[0; 24], String::new()).unwrap();
        let path = std::env::temp_dir().join(format!("nijimi-{}-size.png", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let sizes = [1, 4, 64].map(|multiple| size(&path, multiple));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sizes, [Ok([4, 6]), Ok([4, 4]), Ok([64, 64])]);
        let nowhere = Path::new("nowhere.png");
        assert!(matches!(size(nowhere, 1), Err(Fault::Input(m)) if m.starts_with("nowhere.png cannot be read: ")));
        assert!(matches!(mask(nowhere, [1, 1]), Err(Fault::Input(m)) if m.starts_with("nowhere.png cannot be read: ")));
    }
}
