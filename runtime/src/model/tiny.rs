//! The tiny autoencoder from its file: pictures of latents in a hundredth of the time, for previews and where memory is
//! short.

use super::device::Device;
use super::info::{begin, kind, titles, wrong};
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::unet_keys::{maybe, n, ns, size, sizes};
use super::wait::wait;
use super::{RequestError, SessionOptions};
use crate::Error;
use crate::gguf::{File, Writer};
use crate::graph::Graph;
use crate::nn::AutoencoderTiny;
use crate::quant::DType;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// A tiny autoencoder's description, from the file's metadata (`docs/format.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TinyInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: AutoencoderTiny,
    /// Whether the file has the encoder. Without, `network.encoder_blocks` are the decoder's, reversed.
    pub has_encoder: bool,
}

const KEYS: [(&str, &str); 2] = [("nijimi.system", "autoencoder-tiny"), ("nijimi.network", "autoencoder-tiny")];

const POOLED: &str = "nijimi.tiny.pooled";

/// Of the tensors' names.
pub(super) const PREFIX: &str = "tiny.";

impl TinyInfo {
    pub(super) fn read(file: &File<'_>) -> Result<Self, Error> {
        kind(file, &KEYS)?;
        let decoder_blocks = sizes(file, "nijimi.tiny.decoder_blocks")?;
        let key = "nijimi.tiny.encoder_blocks";
        let has_encoder = file.get(key).is_some();
        let encoder_blocks = match has_encoder {
            true => sizes(file, key)?,
            false => decoder_blocks.iter().rev().copied().collect(),
        };
        if encoder_blocks.len() != decoder_blocks.len() {
            let expected = format!("{}, one a level of the decoder", decoder_blocks.len());
            return Err(wrong(key, format!("{} numbers", encoder_blocks.len()), expected));
        }
        let out_channels = size(file, "nijimi.tiny.out_channels")?;
        let network = AutoencoderTiny {
            in_channels: maybe(file, "nijimi.tiny.in_channels")?.unwrap_or(out_channels),
            out_channels,
            latent_channels: size(file, "nijimi.tiny.latent_channels")?,
            channels: size(file, "nijimi.tiny.channels")?,
            encoder_blocks,
            decoder_blocks,
            pooled: file.get(POOLED).is_some() && file.bool(POOLED)?,
        };
        network.validate()?;
        let [name, license] = titles(file);
        Ok(Self { name, license, network, has_encoder })
    }

    /// Writes all metadata of a tiny autoencoder's file, most of whose weights are `dtype`.
    ///
    /// # Errors
    /// A configuration that is no network; keys that were written already.
    pub fn write(&self, w: &mut Writer, dtype: DType) -> Result<(), Error> {
        let network = &self.network;
        network.validate()?;
        begin(w, [&self.name, &self.license], dtype, &KEYS)?;
        if self.has_encoder {
            w.meta("nijimi.tiny.in_channels", n(network.in_channels))?;
            w.meta("nijimi.tiny.encoder_blocks", ns(network.encoder_blocks.iter().copied()))?;
        }
        w.meta("nijimi.tiny.out_channels", n(network.out_channels))?;
        w.meta("nijimi.tiny.latent_channels", n(network.latent_channels))?;
        w.meta("nijimi.tiny.channels", n(network.channels))?;
        w.meta("nijimi.tiny.decoder_blocks", ns(network.decoder_blocks.iter().copied()))?;
        if network.pooled {
            w.meta(POOLED, true)?;
        }
        Ok(())
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        self.network.factor()
    }
}

/// A loaded tiny autoencoder.
///
/// ```no_run
/// use nijimi_runtime::model::{Decoding, Device, LatentRequest, TextToImage, TinyAutoencoder};
/// use nijimi_runtime::{Error, gguf::MappedFile};
///
/// # fn draws(model: &TextToImage) -> Result<(), Error> {
/// let tiny = TinyAutoencoder::load(&MappedFile::open("taesd.gguf")?.file()?, &Device::Cpu)?;
/// let calls = model.calls(None, &[], 20)?;
/// let request = LatentRequest { decoding: Decoding::Tiny(&tiny), ..model.request("a red apple", 1, &calls) };
/// let mut run = model.run(&request)?;
/// # Ok(())
/// # }
/// ```
pub type TinyAutoencoder = Loaded<TinyInfo, TinyNetworks>;

/// See [`TinyAutoencoder`].
pub struct TinyNetworks {
    encoder: Option<Network>,
    decoder: Network,
}

impl TinyAutoencoder {
    /// Loads a file whose `nijimi.system` is `autoencoder-tiny`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or of
    /// another shape than the networks'.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = TinyInfo::read(file)?;
        let load = |prefix: &str, graph: Graph| Network::load_part(file, &[prefix], graph, &[], device);
        // Of any size: only the weights count here.
        let side = info.factor();
        let encoder = match info.has_encoder {
            true => Some(load("tiny.encoder.", info.network.encoder(PREFIX, 1, [side, side])?)?),
            false => None,
        };
        // An encoder of which the metadata says nothing is too much.
        let own = if info.has_encoder { "tiny.decoder." } else { PREFIX };
        let decoder = load(own, info.network.decoder(PREFIX, 1, [1, 1])?)?;
        Ok(Self::new(info, TinyNetworks { encoder, decoder }))
    }

    /// How many times a picture's side is that of its latents.
    pub fn factor(&self) -> usize {
        self.info().factor()
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> usize {
        self.networks().decoder.weight_bytes() + self.networks().encoder.as_ref().map_or(0, Network::weight_bytes)
    }

    /// What [`Self::decode`] works with: for one latent of `size` (height, width) at a time, any number of times.
    ///
    /// # Errors
    /// A size of nothing, or more memory than the options allow.
    pub fn decoder(&self, size: [usize; 2], options: &SessionOptions) -> Result<Evaluator, Error> {
        self.networks().decoder.evaluator(vec![self.info().network.decoder(PREFIX, 1, size)?], options)
    }

    /// What [`Self::encode`] works with: for one picture of `size` (height, width) at a time.
    ///
    /// # Errors
    /// A file without the encoder; sides that are not multiples of [`Self::factor`]; more memory than the options allow.
    pub fn encoder(&self, size: [usize; 2], options: &SessionOptions) -> Result<Evaluator, Error> {
        let Some(encoder) = &self.networks().encoder else {
            let expected = "one with its encoder too: convert the file that has both".to_string();
            return Err(
                RequestError::Range { what: "tiny autoencoder", found: "a decoder alone".into(), expected }.into()
            );
        };
        encoder.evaluator(vec![self.info().network.encoder(PREFIX, 1, size)?], options)
    }

    /// The picture of the U-Net's latents as they are (no scaling factor), `(h, w, latent_channels)`: `(f h, f w,
    /// out_channels)` in [0, 1], f the [`Self::factor`]. `decoder` is from [`Self::decoder`], of this size.
    ///
    /// # Errors
    /// Latents of another size; a NaN or an infinity; a device error.
    pub fn decode(&self, decoder: &mut Evaluator, latents: &[f32]) -> Result<Vec<f32>, Error> {
        wait(self.decode_async(decoder, latents))
    }

    /// [`Self::decode`], awaited.
    ///
    /// # Errors
    /// As [`Self::decode`] has.
    pub async fn decode_async(&self, decoder: &mut Evaluator, latents: &[f32]) -> Result<Vec<f32>, Error> {
        let mut held = latents.to_vec();
        AutoencoderTiny::hold(&mut held);
        let mut picture = once(decoder, AutoencoderTiny::LATENTS, &held, AutoencoderTiny::PICTURE).await?;
        picture.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
        Ok(picture)
    }

    /// The latents of a picture `(h, w, in_channels)` in [0, 1]: `(h / f, w / f, latent_channels)`, as the U-Net takes
    /// them. `encoder` is from [`Self::encoder`], of this size.
    ///
    /// # Errors
    /// A picture of another size; a NaN or an infinity; a device error.
    pub fn encode(&self, encoder: &mut Evaluator, picture: &[f32]) -> Result<Vec<f32>, Error> {
        wait(self.encode_async(encoder, picture))
    }

    /// [`Self::encode`], awaited.
    ///
    /// # Errors
    /// As [`Self::encode`] has.
    pub async fn encode_async(&self, encoder: &mut Evaluator, picture: &[f32]) -> Result<Vec<f32>, Error> {
        once(encoder, AutoencoderTiny::PICTURE, picture, AutoencoderTiny::LATENTS).await
    }
}

/// Evaluates a graph of one input and one output, of which the input must be whole.
async fn once(evaluator: &mut Evaluator, input: &'static str, values: &[f32], output: &str) -> Result<Vec<f32>, Error> {
    let len = evaluator.plans().first().and_then(|plan| plan.input(input)).map(|slot| slot.len());
    if let Some(len) = len.filter(|&len| len != values.len()) {
        let (found, expected) = (format!("{} values", values.len()), format!("{len}"));
        return Err(RequestError::Range { what: input, found, expected }.into());
    }
    evaluator.evaluate_async(0, &[(input, values)], &[]).await?;
    Ok(evaluator.output(output)?.to_vec())
}
