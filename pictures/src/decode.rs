//! From a file to pixels.

use crate::open::{self, Limits, PictureError};
use image::{ColorType, DynamicImage};
use std::path::Path;

/// A decoded picture, upright.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Gray or three colours, with alpha or without.
    channels: usize,
    /// Of 16 bits each, not 8.
    wide: bool,
    bytes: Vec<u8>,
}

impl Decoded {
    /// Reads a file, whatever its name.
    ///
    /// # Errors
    /// A file that cannot be read, is no PNG or JPEG, is larger than [`Limits::FILES`], or is not whole.
    pub fn open(path: &Path) -> Result<Self, PictureError> {
        Self::new(open::open(path)?)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// As of [`Self::open`], with these limits.
    pub fn read(bytes: &[u8], limits: Limits) -> Result<Self, PictureError> {
        Self::new(open::read(bytes, limits)?)
    }

    fn new(image: DynamicImage) -> Result<Self, PictureError> {
        let wide = match image.color() {
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => false,
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => true,
            color => return Err(PictureError::Pixels(format!("{color:?}"))),
        };
        let (width, height) = (image.width() as usize, image.height() as usize);
        let channels = image.color().channel_count().into();
        Ok(Self { width, height, channels, wide, bytes: image.into_bytes() })
    }

    /// Height and width.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Whether a pixel is not opaque.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        self.channels.is_multiple_of(2)
            && (0..self.width * self.height).any(|i| self.value_and_alpha(i % self.width, i / self.width).1 < 1.0)
    }

    /// The color at a place, over white, in \[0, 1\].
    pub(crate) fn pixel(&self, x: usize, y: usize) -> [f32; 3] {
        let (color, alpha) = self.value_and_alpha(x, y);
        color.map(|v| v * alpha + (1.0 - alpha))
    }

    /// How opaque a place is, in \[0, 1\].
    pub(crate) fn alpha(&self, x: usize, y: usize) -> f32 {
        self.value_and_alpha(x, y).1
    }

    fn value_and_alpha(&self, x: usize, y: usize) -> ([f32; 3], f32) {
        let start = (y * self.width + x) * self.channels;
        let at = |channel: usize| {
            let i = start + channel;
            if self.wide {
                f32::from(u16::from_ne_bytes([self.bytes[2 * i], self.bytes[2 * i + 1]])) / 65535.0
            } else {
                f32::from(self.bytes[i]) / 255.0
            }
        };
        match self.channels {
            1 => ([at(0); 3], 1.0),
            2 => ([at(0); 3], at(1)),
            3 => ([at(0), at(1), at(2)], 1.0),
            _ => ([at(0), at(1), at(2)], at(3)),
        }
    }
}
