//! Variational autoencoders: pictures from latent vectors, and latent vectors of pictures.

use super::device::Device;
use super::network::{Evaluator, Network};
use super::session::{MAX_BATCH, in_range};
use super::wait::wait;
use super::{SessionOptions, info};
use crate::Error;
use crate::gguf::File;
use crate::nn::MlpVae;
use crate::rng::normal_fill_each;
use crate::sync::Arc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// What a file says of an autoencoder: the book's VAE (`N` is [`MlpVae`]) or the hierarchical one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoencoderInfo<N> {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: N,
}

impl<N> AutoencoderInfo<N> {
    /// Reads the metadata; `network` makes the network from height, width, channels, hidden and latent.
    pub(super) fn read(
        file: &File<'_>,
        keys: &[(&'static str, &'static str)],
        network: impl FnOnce([usize; 5]) -> N,
    ) -> Result<Self, Error> {
        info::kind(file, keys)?;
        let range = info::range(file)?;
        // What a sigmoid makes.
        if range != [0.0, 1.0] {
            return Err(info::wrong("nijimi.image.range", alloc::format!("{range:?}"), "[0, 1]"));
        }
        let mut numbers = [0; 5];
        let keys = [
            "nijimi.image.height",
            "nijimi.image.width",
            "nijimi.image.channels",
            "nijimi.vae.hidden",
            "nijimi.vae.latent",
        ];
        for (number, key) in numbers.iter_mut().zip(keys) {
            *number = file.u32(key)? as usize;
        }
        let [name, license] = ["general.name", "general.license"].map(|key| info::text(file, key));
        Ok(Self { name, license, network: network(numbers) })
    }
}

/// A variational autoencoder (book step 7): `p(z) = N(0, I)`, `p(x|z) = N(decoder(z), I)`, `q(z|x) = N(mu,
/// exp(logvar))`. Immutable; clones share the weights, and any number of sessions on any threads may use them at once.
#[derive(Clone)]
pub struct Vae {
    model: Arc<(AutoencoderInfo<MlpVae>, Network)>,
}

/// The graphs, in the order in which a session has them.
const ENCODER: usize = 0;
const DECODER: usize = 1;

impl Vae {
    /// Loads a file whose `nijimi.system` is `vae`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or
    /// of another shape than the network's; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let keys = [("nijimi.system", "vae"), ("nijimi.network", "mlp-vae")];
        let info = AutoencoderInfo::read(file, &keys, |[height, width, channels, hidden, latent]| MlpVae {
            height,
            width,
            channels,
            hidden,
            latent,
        })?;
        let network = Network::load(file, graphs(&info.network, 1)?, device)?;
        Ok(Self { model: Arc::new((info, network)) })
    }

    /// What the file says of the model.
    pub fn info(&self) -> &AutoencoderInfo<MlpVae> {
        &self.model.0
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> usize {
        self.model.1.weight_bytes()
    }

    /// Makes a session for up to [`SessionOptions::batch`] pictures at once: plans, then allocates its memory. Guidance
    /// is ignored here.
    ///
    /// # Errors
    /// A batch out of range, or more memory than the options allow; the error has both figures.
    pub fn session(&self, options: &SessionOptions) -> Result<VaeSession, Error> {
        let (batch, network) = (options.batch, &self.model.0.network);
        in_range("batch", batch, 1, MAX_BATCH)?;
        let evaluator = self.model.1.evaluator(graphs(network, batch)?, options)?;
        let MlpVae { height, width, channels, latent, .. } = *network;
        let sizes = Sizes { batch, picture: height * width * channels, latent };
        Ok(VaeSession { evaluator, sizes, z: vec![0.0; batch * latent] })
    }
}

impl core::fmt::Debug for Vae {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Vae").field("info", self.info()).finish_non_exhaustive()
    }
}

fn graphs(network: &MlpVae, batch: usize) -> Result<Vec<crate::graph::Graph>, Error> {
    Ok(vec![network.encoder(batch)?, network.decoder(batch)?])
}

/// What a session is for: pictures at once, values of a picture, values of a latent vector.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub picture: usize,
    pub latent: usize,
}

impl Sizes {
    /// How many pictures or vectors of `each` values those are.
    pub fn count(&self, what: &'static str, values: &[f32], each: usize) -> Result<usize, Error> {
        let n = values.len() / each;
        if !values.len().is_multiple_of(each) || !(1..=self.batch).contains(&n) {
            let (found, expected) =
                (alloc::format!("{} values", values.len()), alloc::format!("1 to {} times {each}", self.batch));
            return Err(super::RequestError::Range { what, found, expected }.into());
        }
        Ok(n)
    }
}

/// Memory and threads for up to a batch of pictures. On the CPU nothing is allocated after it is made.
pub struct VaeSession {
    evaluator: Evaluator,
    sizes: Sizes,
    z: Vec<f32>,
}

impl VaeSession {
    /// The most pictures at once.
    pub fn batch(&self) -> usize {
        self.sizes.batch
    }

    /// Bytes of memory that the session takes, weights not counted.
    pub fn bytes(&self) -> usize {
        self.evaluator.bytes() + self.z.len() * 4
    }

    /// New pictures, one a seed: the decoder's answer for `z ~ N(0, I)`, draw 0 of the seed. `(n, h, w, c)` in [0, 1].
    /// A picture depends on its own seed alone, never on its neighbours.
    ///
    /// # Errors
    /// No seeds, or more than the batch; [`crate::plan::ExecError::NotFinite`]; a device error.
    pub fn sample(&mut self, seeds: &[u64]) -> Result<&[f32], Error> {
        wait(self.sample_async(seeds))
    }

    /// [`Self::sample`], awaited.
    ///
    /// # Errors
    /// As [`Self::sample`] has.
    pub async fn sample_async(&mut self, seeds: &[u64]) -> Result<&[f32], Error> {
        in_range("number of pictures", seeds.len(), 1, self.sizes.batch)?;
        normal_fill_each(seeds, 0, self.sizes.latent, &mut self.z);
        self.decode_latents(seeds.len()).await
    }

    /// The pictures of latent vectors, `(n, latent)`: means of p(x|z), `(n, h, w, c)` in [0, 1].
    ///
    /// # Errors
    /// Values that are not 1 to a batch of latent vectors, and as [`Self::sample`].
    pub fn decode(&mut self, z: &[f32]) -> Result<&[f32], Error> {
        let n = self.sizes.count("latent vectors", z, self.sizes.latent)?;
        self.z[..z.len()].copy_from_slice(z);
        wait(self.decode_latents(n))
    }

    /// `mu` and `logvar` of q(z|x), each `(n, latent)`, of pictures `(n, h, w, c)` in [0, 1].
    ///
    /// # Errors
    /// Values that are not 1 to a batch of pictures, and as [`Self::sample`].
    pub fn encode(&mut self, x: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        let n = self.sizes.count("pictures", x, self.sizes.picture)?;
        self.evaluator.evaluate(ENCODER, &[(MlpVae::PICTURE, x)], &[])?;
        let used = n * self.sizes.latent;
        let (mu, logvar) = (self.evaluator.output(MlpVae::MEAN)?, self.evaluator.output(MlpVae::LOG_VARIANCE)?);
        Ok((&mu[..used], &logvar[..used]))
    }

    /// Pictures through the bottleneck and back: decoded from the mean of q(z|x), without noise. Shapes as of
    /// [`Self::encode`].
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn reconstruct(&mut self, x: &[f32]) -> Result<&[f32], Error> {
        let n = self.sizes.count("pictures", x, self.sizes.picture)?;
        self.evaluator.evaluate(ENCODER, &[(MlpVae::PICTURE, x)], &[])?;
        self.z.copy_from_slice(self.evaluator.output(MlpVae::MEAN)?);
        wait(self.decode_latents(n))
    }

    /// The pictures of the first `n` vectors of `z`.
    async fn decode_latents(&mut self, n: usize) -> Result<&[f32], Error> {
        let Self { evaluator, sizes, z } = self;
        evaluator.evaluate_async(DECODER, &[(MlpVae::LATENT, &z[..n * sizes.latent])], &[]).await?;
        Ok(&evaluator.output(MlpVae::PICTURE)?[..n * sizes.picture])
    }
}

/// Pictures in [0, 1] as bytes, as [`crate::cpu::to_u8`] makes them.
impl VaeSession {
    /// [`Self::sample`] as bytes.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn sample_u8(&mut self, seeds: &[u64]) -> Result<Vec<u8>, Error> {
        bytes(self.sample(seeds)?)
    }

    /// [`Self::decode`] as bytes.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_u8(&mut self, z: &[f32]) -> Result<Vec<u8>, Error> {
        bytes(self.decode(z)?)
    }

    /// [`Self::reconstruct`] as bytes.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn reconstruct_u8(&mut self, x: &[f32]) -> Result<Vec<u8>, Error> {
        bytes(self.reconstruct(x)?)
    }
}

pub(super) fn bytes(pictures: &[f32]) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; pictures.len()];
    crate::cpu::to_u8([0.0, 1.0], pictures, &mut bytes)?;
    Ok(bytes)
}
