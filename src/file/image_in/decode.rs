//! From a file to pixels.

use crate::fault::Fault;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// The longest side, and the most bytes, that are decoded: a small file may claim any size.
const MAX_SIDE: u32 = 16384;
const MAX_BYTES: u64 = 1 << 30;

/// A decoded picture, upright.
pub struct Decoded {
    pub width: usize,
    pub height: usize,
    /// Gray or three colours, with alpha or without.
    channels: usize,
    /// Of 16 bits each, not 8.
    wide: bool,
    bytes: Vec<u8>,
    /// What transparent pixels lie over.
    background: f32,
}

impl Decoded {
    /// Reads a picture.
    pub fn open(path: &Path, background: f32) -> Result<Self, Fault> {
        let (image, upright) = decoder(path)?;
        let mut image = DynamicImage::from_decoder(image).map_err(|e| fault(path, e))?;
        image.apply_orientation(upright);
        let wide = match image.color() {
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => false,
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => true,
            color => return Err(Fault::Input(format!("{}: its pixels, {color:?}, are not read", path.display()))),
        };
        let (width, height) = (image.width() as usize, image.height() as usize);
        let channels = image.color().channel_count().into();
        Ok(Self { width, height, channels, wide, bytes: image.into_bytes(), background })
    }

    /// The colour at a place, in \[0, 1\].
    pub fn pixel(&self, x: usize, y: usize) -> [f32; 3] {
        let start = (y * self.width + x) * self.channels;
        let at = |channel: usize| {
            let i = start + channel;
            if self.wide {
                f32::from(u16::from_ne_bytes([self.bytes[2 * i], self.bytes[2 * i + 1]])) / 65535.0
            } else {
                f32::from(self.bytes[i]) / 255.0
            }
        };
        let (color, alpha) = match self.channels {
            1 => ([at(0); 3], 1.0),
            2 => ([at(0); 3], at(1)),
            3 => ([at(0), at(1), at(2)], 1.0),
            _ => ([at(0), at(1), at(2)], at(3)),
        };
        color.map(|v| v * alpha + self.background * (1.0 - alpha))
    }
}

/// Height and width, upright.
pub fn size(path: &Path) -> Result<[usize; 2], Fault> {
    let (decoder, upright) = decoder(path)?;
    let (width, height) = decoder.dimensions();
    let size = [height as usize, width as usize];
    use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let turned = matches!(upright, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    Ok(if turned { [size[1], size[0]] } else { size })
}

/// Opens a file within the limits, whatever its name; how to turn it comes with it, as cameras note it.
fn decoder(path: &Path) -> Result<(impl ImageDecoder, image::metadata::Orientation), Fault> {
    let unread = |e: io::Error| fault(path, ImageError::IoError(e));
    let file = BufReader::new(File::open(path).map_err(unread)?);
    let mut reader = ImageReader::new(file).with_guessed_format().map_err(unread)?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        let name = path.display();
        return Err(Fault::Input(format!("{name} is neither a PNG nor a JPEG picture: convert it to one of them")));
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| fault(path, e))?;
    let upright = decoder.orientation().map_err(|e| fault(path, e))?;
    Ok((decoder, upright))
}

fn fault(path: &Path, e: ImageError) -> Fault {
    let name = path.display();
    Fault::Input(match e {
        ImageError::IoError(e) if e.kind() != io::ErrorKind::UnexpectedEof => format!("cannot read {name}: {e}"),
        ImageError::Limits(_) => {
            format!("{name} has sides of more than {MAX_SIDE} pixels, or more than 1 GiB of them: make it smaller")
        }
        e => format!("{name} is a broken picture ({e}): copy or download it again, or save it anew"),
    })
}
