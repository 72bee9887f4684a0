//! Pictures from files of anyone's: PNG and JPEG, within limits, upright, and whole.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use nijimi_runtime::gguf::open_regular;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

/// The longest side, and the most bytes, that are decoded: a small file may claim any size.
const MAX_SIDE: u32 = 16384;
const MAX_BYTES: u64 = 1 << 30;

/// Why a file is no picture that can be used; each reads as the rest of a sentence that begins with the file's name.
#[derive(thiserror::Error, Debug)]
pub enum PictureError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// A folder, a pipe, a device.
    #[error("is not a regular file: give a PNG or JPEG picture")]
    NotAFile,
    /// Something else.
    #[error("is neither a PNG nor a JPEG picture: convert it to one of these")]
    NotAPicture,
    /// More than the limits.
    #[error("has sides of more than {MAX_SIDE} pixels, or takes more than 1 GiB: make it smaller")]
    TooLarge,
    /// It is cut short, or its data are damaged (which a JPEG does not always show: it has no sums).
    #[error("is a damaged picture ({0}): copy, download or save it again")]
    Broken(String),
}

/// Decodes a file, whatever its name, and turns it as its camera noted.
///
/// # Errors
/// A file that cannot be read, is no PNG or JPEG, is too large, or is not whole.
pub fn open(path: &Path) -> Result<DynamicImage, PictureError> {
    let bytes = read(path)?;
    // A JPEG's decoder makes gray of what is lacking.
    if bytes.starts_with(b"\xff\xd8") && !ends(&bytes) {
        return Err(PictureError::Broken("it ends too soon".into()));
    }
    let (decoder, upright) = decoder(Cursor::new(&bytes))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fault)?;
    image.apply_orientation(upright);
    Ok(image)
}

/// Height and width, upright, of which no pixel is decoded.
///
/// # Errors
/// As of [`open`], but that pixels are not looked at.
pub fn size(path: &Path) -> Result<[usize; 2], PictureError> {
    let (decoder, upright) = decoder(BufReader::new(file(path)?))?;
    let (width, height) = decoder.dimensions();
    let size = [height as usize, width as usize];
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let turned = matches!(upright, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    Ok(if turned { [size[1], size[0]] } else { size })
}

fn file(path: &Path) -> Result<File, PictureError> {
    open_regular(path).map_err(|e| match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => PictureError::NotAFile,
        _ => PictureError::Read(e.source),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    file(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(PictureError::Read)?;
    if bytes.len() as u64 > MAX_BYTES { Err(PictureError::TooLarge) } else { Ok(bytes) }
}

fn decoder<'a, R: io::BufRead + io::Seek + 'a>(
    bytes: R,
) -> Result<(impl ImageDecoder + 'a, Orientation), PictureError> {
    let mut reader = ImageReader::new(bytes).with_guessed_format().map_err(PictureError::Read)?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(PictureError::NotAPicture);
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let upright = decoder.orientation().map_err(fault)?;
    Ok((decoder, upright))
}

/// Whether a JPEG has its end: the marker EOI after the last scan (ITU-T T.81, B.1 and B.2).
fn ends(bytes: &[u8]) -> bool {
    const EOI: u8 = 0xd9;
    let mut at = 2;
    loop {
        // The next marker: 0xff, any number of times, and what is no escape (0) and no restart (0xd0 to 0xd7) of a scan.
        let Some(next) = bytes.get(at..).and_then(|rest| rest.windows(2).position(marks)) else {
            return false;
        };
        at += next + 2;
        if bytes[at - 1] == EOI {
            return true;
        }
        // A segment is passed by its length; after the header of a scan, its data are looked through.
        match bytes.get(at..at + 2) {
            Some(&[high, low]) => at += usize::from(u16::from_be_bytes([high, low])),
            _ => return false,
        }
    }
}

fn marks(pair: &[u8]) -> bool {
    pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd8)
}

fn fault(e: ImageError) -> PictureError {
    match e {
        ImageError::IoError(e) if e.kind() != io::ErrorKind::UnexpectedEof => PictureError::Read(e),
        ImageError::Limits(_) => PictureError::TooLarge,
        // Decoders' messages have lines of their own.
        e => PictureError::Broken(e.to_string().split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    /// A photograph of noise, so that every row has data.
    fn photo() -> Vec<u8> {
        let noise: Vec<u8> = (0u32..64 * 64).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut photo = Vec::new();
        JpegEncoder::new(&mut photo).write_image(&noise, 64, 64, ExtendedColorType::L8).unwrap();
        photo
    }

    struct Kept(std::path::PathBuf);

    impl Kept {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("nijimi-picture-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// Seen red without [`ends`].
    #[test]
    fn a_jpeg_that_is_cut_is_no_picture() {
        let photo = photo();
        assert!(open(&Kept::new("whole", &photo).0).is_ok());
        for len in (0..photo.len()).step_by(7).chain(photo.len() - 20..photo.len()) {
            let error = open(&Kept::new("cut", &photo[..len]).0).unwrap_err();
            assert!(matches!(error, PictureError::Broken(_) | PictureError::NotAPicture), "{len}: {error}");
        }
    }

    /// What follows the end, and what cameras put before it, is not the picture's.
    #[test]
    fn a_jpeg_with_more_is_a_picture() {
        let photo = photo();
        let more = [&photo[..], b"more"].concat();
        assert!(open(&Kept::new("after", &more).0).is_ok());
        // A thumbnail's end, in a segment of the camera's.
        let app = [&photo[..2], &[0xff, 0xe1, 0, 6, 0xff, 0xd9, 0xff, 0xd8], &photo[2..]].concat();
        assert!(open(&Kept::new("thumbnail", &app).0).is_ok());
        assert!(open(&Kept::new("thumbnail", &app[..app.len() - 2]).0).is_err());
    }

    #[test]
    fn what_is_no_file_is_said() {
        assert!(matches!(open(&std::env::temp_dir()), Err(PictureError::NotAFile)));
        assert!(matches!(size(Path::new("nowhere.png")), Err(PictureError::Read(_))));
    }
}
