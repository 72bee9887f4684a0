//! `--mask-crop`: what the mask selects is drawn at a size of its own, and put back.

use crate::cli::TextOptions;
use crate::fault::Fault;
use crate::file::image_in;
use nijimi_runtime::model::{MaskCrop, RequestError};
use std::path::Path;

/// A part of a picture that is drawn by itself.
pub struct Crop {
    /// Height and width of the whole picture.
    pub size: [usize; 2],
    part: MaskCrop,
    /// 1 where it is repainted, 0 where it is kept, `(h, w)`.
    mask: Vec<f32>,
    /// `(h, w, 3)`.
    picture: Vec<u8>,
}

/// What is drawn of it: a run's init image and mask.
pub struct Cut {
    pub crop: Crop,
    pub init_image: Vec<f32>,
    pub mask: Vec<f32>,
}

impl Crop {
    /// Reads the picture and the mask that the command line names, and cuts out a part to be drawn at the size `drawn`.
    pub fn read(text: &TextOptions, drawn: [usize; 2]) -> Result<Option<Cut>, Fault> {
        let (Some(padding), Some(picture), Some(mask)) = (text.mask_crop, &text.init_img, &text.mask) else {
            return Ok(None);
        };
        let (values, size) = image_in::whole(picture)?;
        let mask = image_in::mask(mask, size)?;
        let part = MaskCrop::new(&mask, size, padding, drawn).map_err(|e| wrong(&e))?;
        let init_image = part.picture(&values).map_err(|e| wrong(&e))?;
        let small = part.mask(&mask).map_err(|e| wrong(&e))?;
        let picture = values.iter().map(|v| (v * 255.0).round() as u8).collect();
        Ok(Some(Cut { crop: Self { size, part, mask, picture }, init_image, mask: small }))
    }

    /// The part of what a ControlNet or a T2I-Adapter is shown, of the whole picture.
    pub fn control(&self, path: &Path) -> Result<Vec<f32>, Fault> {
        self.part.picture(&image_in::picture(path, self.size)?).map_err(|e| wrong(&e))
    }

    /// The whole picture, with what was drawn where the mask selects it.
    pub fn paste(&self, drawn: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut whole = self.picture.clone();
        self.part.paste(drawn, &self.mask, &mut whole).map_err(|e| wrong(&e))?;
        Ok(whole)
    }
}

fn wrong(e: &RequestError) -> Fault {
    Fault::Usage(format!("--mask-crop: {e}"))
}
