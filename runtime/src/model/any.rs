//! One way from a weight file to a picture, whatever the file holds.

use super::wait::wait;
use super::{
    Classifier, Control, Device, Diffusion, FirstStage, Hvae, ImageEncoder, IpAdapter, ModelError, Numbers,
    OpenOptions, RequestError, Stored, TextToImage, TinyAutoencoder, Upscaler, Vae, info,
};
use crate::Error;
use crate::gguf::File;
use crate::sync::Arc;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// A loaded model of any kind: [`Self::draw`] makes a picture as the program `nijimi` does, with the size, solver, steps
/// and guidance that the file recommends; the types inside do the same step by step, and with everything chosen.
///
/// ```no_run
/// use nijimi_runtime::{Device, Model};
///
/// let model = Model::open("weights/emoji-q8_0.gguf", &Device::Cpu)?;
/// let picture = model.draw("a red apple", 1)?;
/// assert_eq!(picture.bytes.len(), picture.width * picture.height * picture.channels);
/// # Ok::<(), nijimi_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model {
    /// `latent-diffusion`: pictures from prompts.
    TextToImage(TextToImage),
    /// `ddpm`: pictures of labels, or of nothing in particular, in pixels.
    Diffusion(Diffusion),
    /// `vae`: pictures of a latent vector.
    Vae(Vae),
    /// `hvae`: pictures of two levels of latent vectors.
    Hvae(Hvae),
    /// `normal`, `mvn`, `mixture`, `descent`, `regression`, `mlp`: rows of numbers.
    Numbers(Numbers),
    /// `classifier`: labels of noised pictures, and gradients that guide to them.
    Classifier(Classifier),
    /// `control-net`, `t2i-adapter`: guides a text-to-image model by a picture.
    ControlNet(Control),
    /// `ip-adapter`: guides a text-to-image model by pictures, as its prompt does.
    IpAdapter(IpAdapter),
    /// `image-encoder`: what such an adapter reads of pictures.
    ImageEncoder(ImageEncoder),
    /// `autoencoder-tiny`: previews of a text-to-image model's latents.
    TinyAutoencoder(TinyAutoencoder),
    /// `upscaler`: pictures of twice or four times the size.
    Upscaler(Upscaler),
    /// `autoencoder-kl`: the first stage of a text-to-image model, for its training. It is described and not loaded.
    Autoencoder(FirstStage),
}

/// What a weight file holds, without loading it; the variants are those of [`Model`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is told at the variant of Model of the same name")]
pub enum ModelKind {
    TextToImage,
    Diffusion,
    Vae,
    Hvae,
    Numbers,
    Classifier,
    ControlNet,
    IpAdapter,
    ImageEncoder,
    TinyAutoencoder,
    Upscaler,
    Autoencoder,
}

impl ModelKind {
    /// What the file's `nijimi.system` says.
    ///
    /// # Errors
    /// No file of nijimi's, or a system that this version does not know.
    pub fn of(file: &File<'_>) -> Result<Self, Error> {
        info::kind(file, &[])?;
        let (key, name) = ("nijimi.system", file.str("nijimi.system")?);
        Ok(match name {
            "latent-diffusion" => Self::TextToImage,
            "ddpm" => Self::Diffusion,
            "vae" => Self::Vae,
            "hvae" => Self::Hvae,
            "normal" | "mvn" | "mixture" | "descent" | "regression" | "mlp" => Self::Numbers,
            "classifier" => Self::Classifier,
            "control-net" | "t2i-adapter" => Self::ControlNet,
            "ip-adapter" => Self::IpAdapter,
            "image-encoder" => Self::ImageEncoder,
            "autoencoder-tiny" => Self::TinyAutoencoder,
            "upscaler" => Self::Upscaler,
            FirstStage::SYSTEM => Self::Autoencoder,
            _ => {
                let expected = "latent-diffusion, ddpm, vae, hvae, normal, mvn, mixture, descent, regression, mlp, \
                                classifier, control-net, t2i-adapter, ip-adapter, image-encoder, autoencoder-tiny, \
                                upscaler or autoencoder-kl";
                return Err(ModelError::Unsupported { key, found: format!("{name:?}"), expected }.into());
            }
        })
    }
}

/// A picture, as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (gray) or 3 (red, green, blue).
    pub channels: usize,
    /// `(height, width, channels)`: row by row from the top, a pixel's channels side by side.
    pub bytes: Vec<u8>,
}

/// Whether all pixels of `channels` values are the same.
#[must_use]
pub fn is_of_one_color<T: PartialEq>(pixels: &[T], channels: usize) -> bool {
    pixels.chunks_exact(channels.max(1)).all(|pixel| pixels.starts_with(pixel))
}

impl Picture {
    /// Whether all pixels are the same, which few models mean: see [`TextToImage::check_constant`] and
    /// [`Diffusion::check_constant`].
    #[must_use]
    pub fn is_of_one_color(&self) -> bool {
        is_of_one_color(&self.bytes, self.channels)
    }

    /// The bytes with three channels, `(height, width, 3)`: gray three times, where the picture is gray.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        match self.channels {
            1 => self.bytes.iter().flat_map(|&gray| [gray; 3]).collect(),
            _ => self.bytes.clone(),
        }
    }
}

impl Model {
    /// Opens a weight file: maps it, and loads what it holds for a device. A model of any kind that nijimi writes;
    /// published checkpoints are converted first.
    ///
    /// # Errors
    /// A file that cannot be read or is no model; as [`Self::load`].
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>, device: &Device) -> Result<Self, Error> {
        let mapped = crate::gguf::MappedFile::open(path)?;
        Self::load(&mapped.file()?, device)
    }

    /// Loads a file by what its `nijimi.system` says; numbers have no network, and use no device.
    ///
    /// # Errors
    /// A system that this version does not know; metadata or tensors that are missing, too many or unfit; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        Ok(match ModelKind::of(file)? {
            ModelKind::TextToImage => Self::TextToImage(TextToImage::load(file, device)?),
            ModelKind::Diffusion => Self::Diffusion(Diffusion::load(file, device)?),
            ModelKind::Vae => Self::Vae(Vae::load(file, device)?),
            ModelKind::Hvae => Self::Hvae(Hvae::load(file, device)?),
            ModelKind::Numbers => Self::Numbers(Numbers::load(file)?),
            ModelKind::Classifier => Self::Classifier(Classifier::load(file, device)?),
            ModelKind::ControlNet => Self::ControlNet(Control::load(file, device)?),
            ModelKind::IpAdapter => Self::IpAdapter(IpAdapter::load(file, device)?),
            ModelKind::ImageEncoder => Self::ImageEncoder(ImageEncoder::load(file, device)?),
            ModelKind::TinyAutoencoder => Self::TinyAutoencoder(TinyAutoencoder::load(file, device)?),
            ModelKind::Upscaler => Self::Upscaler(Upscaler::load(file, device)?),
            ModelKind::Autoencoder => Self::Autoencoder(FirstStage::read(file)?),
        })
    }

    /// [`Self::load`], of a file that stays at hand, with changes to its tensors, LoRAs, and words that it is taught.
    ///
    /// # Errors
    /// As [`Self::load`]; what a patch says; patches and embeddings of a model that reads no prompts.
    pub fn load_with(stored: Arc<dyn Stored>, options: OpenOptions) -> Result<Self, Error> {
        match ModelKind::of(&stored.file()?)? {
            ModelKind::TextToImage => Ok(Self::TextToImage(TextToImage::open(stored, options)?.hold_all()?)),
            _ if options.patches.is_empty() && options.embeddings.is_empty() => {
                Self::load(&stored.file()?, &options.device)
            }
            _ => {
                let what = if options.patches.is_empty() { "an embedding" } else { "a LoRA" };
                Err(RequestError::NotOf { what, of: "models that read prompts" }.into())
            }
        }
    }

    /// Channels of its pictures, 1 (gray) or 3 (red, green, blue); 0 of what draws none.
    #[must_use]
    pub fn channels(&self) -> usize {
        match self {
            Self::TextToImage(model) => model.info().autoencoder.out_channels(),
            Self::Diffusion(model) => model.info().network.channels(),
            Self::Vae(model) => model.info().network.channels,
            Self::Hvae(model) => model.info().network.channels,
            _ => 0,
        }
    }

    /// Draws a picture of a prompt with a seed: what `nijimi PROMPT -s SEED` draws with this file, byte for byte on the
    /// CPU. Models of labels take one label's name; models without either take an empty prompt.
    ///
    /// # Errors
    /// A prompt that names no label of the model; [`RequestError::DrawsNothing`] of a model that makes no pictures;
    /// weights that make a NaN; a device error.
    pub fn draw(&self, prompt: &str, seed: u64) -> Result<Picture, Error> {
        wait(self.draw_async(prompt, seed))
    }

    /// [`Self::draw`], awaited: for browsers, where nothing may wait.
    ///
    /// # Errors
    /// As [`Self::draw`] has.
    pub async fn draw_async(&self, prompt: &str, seed: u64) -> Result<Picture, Error> {
        let mut run = self.run_async(&self.request(prompt, seed)?).await?;
        while run.step_async().await?.is_some() {}
        let ([height, width, channels], mut bytes) = (run.picture_shape(), vec![0; run.bytes()]);
        run.write_u8_async(&mut bytes).await?;
        Ok(Picture { width, height, channels, bytes })
    }
}
