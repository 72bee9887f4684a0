//! Pictures and noise that a run is given.

use super::crop::{Crop, Cut};
use crate::cli::TextOptions;
use crate::fault::Fault;
use crate::file::image_in;
use crate::file::latents;
use nijimi_cli::print::tell;
use nijimi_runtime::model::{
    Control, EncodedReferences, LatentInfo, LatentRequest, ReferenceImage, SessionOptions, TextToImage,
};
use nijimi_runtime::sampler::Calls;
use std::path::{Path, PathBuf};

/// All that is read before anything is drawn.
pub struct Inputs {
    /// The init image, `(h, w, 3)` in [0, 1].
    pub init_image: Option<Vec<f32>>,
    /// mask: 1 where it is repainted, `(h, w)`.
    pub mask: Option<Vec<f32>>,
    /// The depth picture, and its height and width.
    pub depth: Option<(Vec<f32>, [usize; 2])>,
    /// What is put together in the end, if only a part is drawn.
    pub crop: Option<Crop>,
    /// What each ControlNet and T2I-Adapter is shown, `(h, w, 3)` in [0, 1]; see [`as_read`].
    pub controls: Vec<Vec<f32>>,
    /// Pictures that are looked at, encoded.
    pub references: Option<EncodedReferences>,
    /// Noise for each picture.
    latents: Vec<Vec<f32>>,
}

/// Turns the pictures gray that are for networks of one channel.
pub fn as_read(controls: &[Control], shown: &mut [Vec<f32>]) {
    let gray = |control: &Control| control.info().network.picture_channels() == 1;
    for (_, picture) in controls.iter().zip(shown).filter(|(control, _)| gray(control)) {
        *picture = nijimi_pictures::gray(picture);
    }
}

/// A picture that is looked at, `(h, w, 3)` in [0, 1], with its height and width.
type Reference = (Vec<f32>, [usize; 2]);

/// Pixels of the largest picture that is looked at: larger ones are made smaller, as the reference does.
const MOST_PIXELS: usize = 1024 * 1024;

/// Pictures that are looked at, each in its own shape, which is cut to what the model can have.
pub fn references(info: &LatentInfo, text: &TextOptions) -> Result<Vec<Reference>, Fault> {
    if !text.ref_image.is_empty() && !info.sees_references() {
        return Err(Fault::Usage(
            "--ref-image is for models that look at pictures (FLUX.2-klein), and this is none".into(),
        ));
    }
    let read = |path: &PathBuf| {
        let size = reference_size(path, info.multiple())?;
        Ok((image_in::picture(path, size)?, size))
    };
    text.ref_image.iter().map(read).collect()
}

/// The same, encoded, if there are any.
pub fn encoded(
    model: &TextToImage,
    references: &[Reference],
    calls: &Calls,
    options: &SessionOptions,
) -> Result<Option<EncodedReferences>, Fault> {
    if references.is_empty() {
        return Ok(None);
    }
    let references = references.iter().map(|(picture, size)| ReferenceImage { picture, size: *size }).collect();
    let request = LatentRequest { references, options: *options, ..model.request("", 0, calls) };
    model.encode_references(&request).map(Some).map_err(super::asked)
}

/// Height and width at which a picture is looked at.
pub fn reference_size(path: &Path, multiple: usize) -> Result<[usize; 2], Fault> {
    let own = image_in::size(path, 1)?;
    let pixels = own[0] * own[1];
    let scale = if pixels > MOST_PIXELS { (MOST_PIXELS as f64 / pixels as f64).sqrt() } else { 1.0 };
    Ok(own.map(|side| ((side as f64 * scale) as usize / multiple).max(1) * multiple))
}

impl Inputs {
    /// Reads the files that the command line names; `size` is height and width of the pictures.
    pub fn read(model: &TextToImage, text: &TextOptions, batch: usize, size: [usize; 2]) -> Result<Self, Fault> {
        let picture = |path: &Path| image_in::picture(path, size);
        let channels = model.info().autoencoder.latent_channels();
        let [h, w] = size.map(|side| side / model.factor());
        let latents = match &text.latents {
            Some(file) => {
                let all = latents::read(file, [batch, channels, h, w])?;
                all.chunks_exact(channels * h * w).map(<[f32]>::to_vec).collect()
            }
            None => Vec::new(),
        };
        let channels = model.info().autoencoder.out_channels();
        if text.mask_crop.is_some() && channels != 3 {
            let message =
                format!("--mask-crop is for models of 3 channels, and this one draws {channels}: leave it out");
            return Err(Fault::Usage(message));
        }
        let (crop, init_image, mask) = match Crop::read(text, size)? {
            Some(Cut { crop, init_image, mask }) => (Some(crop), Some(init_image), Some(mask)),
            None => {
                let mask = text.mask.as_deref().map(|path| image_in::mask(path, size)).transpose()?;
                (None, text.init_img.as_deref().map(picture).transpose()?, mask)
            }
        };
        if let (Some(path), Some(picture), Some(mask)) = (&text.mask, &text.init_img, &mask) {
            let [[h, w], [height, width]] = [image_in::size(path, 1)?, image_in::size(picture, 1)?];
            let path = path.display();
            if [h, w] != [height, width] {
                let what = "the middle of each is cut to the picture's shape and resized";
                tell(&[format!("note: the mask {path} is {w}x{h}, and -i is {width}x{height}: {what}")]);
            }
            if mask.iter().all(|v| *v == 0.0) {
                tell(&[format!("note: the mask {path} selects nothing: what is white in it is repainted")]);
            }
        }
        let depth = text.depth_image.as_deref().map(|path| image_in::depth(path, size)).transpose()?;
        let shown = |path: &Path| crop.as_ref().map_or_else(|| picture(path), |crop| crop.control(path));
        let controls = text.controls.iter().map(|control| shown(&control.image)).collect::<Result<_, _>>()?;
        Ok(Self { init_image, mask, depth, crop, controls, references: None, latents })
    }

    /// The noise of picture `index`, if it was given: the same for each prompt.
    pub fn latents(&self, index: usize) -> Option<&[f32]> {
        self.latents.get(index % self.latents.len().max(1)).map(Vec::as_slice)
    }
}
