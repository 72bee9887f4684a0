//! Files of anyone's: PNG and JPEG, within limits, upright, and whole.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use nijimi_runtime::gguf::open_regular;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

/// The most that is decoded: a small file may claim any size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest side, in pixels.
    pub side: u32,
    /// Bytes of the file, and of its pixels.
    pub bytes: u64,
}

impl Limits {
    /// For files of the user's own: 16384 pixels, and 1 GiB.
    pub const FILES: Self = Self { side: 16384, bytes: 1 << 30 };
}

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
    #[error("has sides of more than {} pixels, or takes more than {} MiB: make it smaller", .0.side, .0.bytes >> 20)]
    TooLarge(Limits),
    /// Pixels of a type that no PNG or JPEG picture of today has.
    #[error("has pixels of type {0}, which cannot be read: save it with 8 or 16 bits")]
    Pixels(String),
    /// It is cut short, or its data are damaged (which a JPEG does not always show: it has no sums).
    #[error("is a damaged picture ({0}): copy, download or save it again")]
    Broken(String),
}

/// Decodes a file, whatever its name, and turns it as its camera noted.
///
/// # Errors
/// As of [`Decoded::open`](crate::Decoded::open).
pub fn open(path: &Path) -> Result<DynamicImage, PictureError> {
    read(&bytes(path)?, Limits::FILES)
}

/// As [`open`], of a file's bytes.
pub(crate) fn read(bytes: &[u8], limits: Limits) -> Result<DynamicImage, PictureError> {
    // A JPEG's decoder makes gray of what is lacking.
    if bytes.starts_with(b"\xff\xd8") && !ends(bytes) {
        return Err(PictureError::Broken("it ends too soon".into()));
    }
    let (decoder, upright) = decoder(Cursor::new(bytes), limits)?;
    if decoder.total_bytes() > limits.bytes {
        return Err(PictureError::TooLarge(limits));
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| fault(e, limits))?;
    image.apply_orientation(upright);
    Ok(image)
}

/// Height and width, upright, of which no pixel is decoded.
///
/// # Errors
/// As of [`Decoded::open`](crate::Decoded::open), but that pixels are not looked at.
pub fn size(path: &Path) -> Result<[usize; 2], PictureError> {
    let (decoder, upright) = decoder(BufReader::new(file(path)?), Limits::FILES)?;
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

fn bytes(path: &Path) -> Result<Vec<u8>, PictureError> {
    let (mut bytes, limits) = (Vec::new(), Limits::FILES);
    file(path)?.take(limits.bytes + 1).read_to_end(&mut bytes).map_err(PictureError::Read)?;
    if bytes.len() as u64 > limits.bytes { Err(PictureError::TooLarge(limits)) } else { Ok(bytes) }
}

fn decoder<'a, R: io::BufRead + io::Seek + 'a>(
    bytes: R,
    limits: Limits,
) -> Result<(impl ImageDecoder + 'a, Orientation), PictureError> {
    let mut reader = ImageReader::new(bytes).with_guessed_format().map_err(PictureError::Read)?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(PictureError::NotAPicture);
    }
    let mut allowed = image::Limits::default();
    (allowed.max_image_width, allowed.max_image_height) = (Some(limits.side), Some(limits.side));
    allowed.max_alloc = Some(limits.bytes);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(|e| fault(e, limits))?;
    let upright = decoder.orientation().map_err(|e| fault(e, limits))?;
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

fn fault(e: ImageError, limits: Limits) -> PictureError {
    match e {
        ImageError::IoError(e) if e.kind() != io::ErrorKind::UnexpectedEof => PictureError::Read(e),
        ImageError::Limits(_) => PictureError::TooLarge(limits),
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

    /// Seen red without [`ends`].
    #[test]
    fn a_jpeg_that_is_cut_is_no_picture() {
        let photo = photo();
        assert!(read(&photo, Limits::FILES).is_ok());
        for len in (0..photo.len()).step_by(7).chain(photo.len() - 20..photo.len()) {
            let error = read(&photo[..len], Limits::FILES).unwrap_err();
            assert!(matches!(error, PictureError::Broken(_) | PictureError::NotAPicture), "{len}: {error}");
        }
    }

    /// What follows the end, and what cameras put before it, is not the picture's.
    #[test]
    fn a_jpeg_with_more_is_a_picture() {
        let photo = photo();
        let more = [&photo[..], b"more"].concat();
        assert!(read(&more, Limits::FILES).is_ok());
        // A thumbnail's end, in a segment of the camera's.
        let app = [&photo[..2], &[0xff, 0xe1, 0, 6, 0xff, 0xd9, 0xff, 0xd8], &photo[2..]].concat();
        assert!(read(&app, Limits::FILES).is_ok());
        assert!(read(&app[..app.len() - 2], Limits::FILES).is_err());
    }

    #[test]
    fn what_is_no_file_is_said() {
        assert!(matches!(open(&std::env::temp_dir()), Err(PictureError::NotAFile)));
        assert!(matches!(size(Path::new("nowhere.png")), Err(PictureError::Read(_))));
    }
}
