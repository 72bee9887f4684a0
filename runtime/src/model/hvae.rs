//! Hierarchical variational autoencoders of two levels.

use super::SessionOptions;
use super::device::Device;
use super::network::{Evaluator, Network};
use super::session::{MAX_BATCH, in_range};
use super::vae::{AutoencoderInfo, Sizes, bytes};
use super::wait::wait;
use crate::Error;
use crate::gguf::File;
use crate::graph::Graph;
use crate::nn::MlpHvae;
use crate::rng::{normal_fill, normal_fill_each};
use crate::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// A hierarchical variational autoencoder (book appendix C): `p(z2) = N(0, I)`, `p(z1|z2) = N(decoder2(z2), I)`,
/// `p(x|z1) = N(decoder1(z1), I)`; `q(z1|x)` and `q(z2|z1)` by the encoders. Immutable; clones share the weights, and
/// any number of sessions on any threads may use them at once.
#[derive(Clone)]
pub struct Hvae {
    model: Arc<(AutoencoderInfo<MlpHvae>, Network)>,
}

/// The graphs, in the order in which a session has them.
const ENCODER1: usize = 0;
const ENCODER2: usize = 1;
const DECODER1: usize = 2;
const DECODER2: usize = 3;

impl Hvae {
    /// Loads a file whose `nijimi.system` is `hvae`.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or
    /// of another shape than the network's; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let keys = [("nijimi.system", "hvae"), ("nijimi.network", "mlp-hvae")];
        let info = AutoencoderInfo::read(file, &keys, |[height, width, channels, hidden, latent]| MlpHvae {
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
    pub fn info(&self) -> &AutoencoderInfo<MlpHvae> {
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
    pub fn session(&self, options: &SessionOptions) -> Result<HvaeSession, Error> {
        let (batch, network) = (options.batch, &self.model.0.network);
        in_range("batch", batch, 1, MAX_BATCH)?;
        let evaluator = self.model.1.evaluator(graphs(network, batch)?, options)?;
        let MlpHvae { height, width, channels, latent, .. } = *network;
        let sizes = Sizes { batch, picture: height * width * channels, latent };
        Ok(HvaeSession { evaluator, sizes, z: vec![0.0; batch * latent], noise: vec![0.0; latent] })
    }
}

impl core::fmt::Debug for Hvae {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hvae").field("info", self.info()).finish_non_exhaustive()
    }
}

fn graphs(network: &MlpHvae, batch: usize) -> Result<Vec<Graph>, Error> {
    Ok(vec![network.encoder1(batch)?, network.encoder2(batch)?, network.decoder1(batch)?, network.decoder2(batch)?])
}

/// Memory and threads for up to a batch of pictures. On the CPU nothing is allocated after it is made.
pub struct HvaeSession {
    evaluator: Evaluator,
    sizes: Sizes,
    z: Vec<f32>,
    /// Of one vector.
    noise: Vec<f32>,
}

impl HvaeSession {
    /// The most pictures at once.
    pub fn batch(&self) -> usize {
        self.sizes.batch
    }

    /// Bytes of memory that the session takes, weights not counted.
    pub fn bytes(&self) -> usize {
        self.evaluator.bytes() + (self.z.len() + self.noise.len()) * 4
    }

    /// New pictures, one a seed, by ancestral sampling: `z2 ~ N(0, I)`, draw 0 of the seed; `z1 = decoder2(z2) + N(0,
    /// I)`, draw 1; the picture is `decoder1(z1)`. `(n, h, w, c)` in [0, 1]. A picture depends on its own seed alone.
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
        let Self { evaluator, sizes, z, noise } = &mut *self;
        let used = seeds.len() * sizes.latent;
        normal_fill_each(seeds, 0, sizes.latent, z);
        evaluator.evaluate_async(DECODER2, &[(MlpHvae::LATENT2, &z[..used])], &[]).await?;
        z[..used].copy_from_slice(&evaluator.output(MlpHvae::LATENT1)?[..used]);
        for (z, &seed) in z.chunks_exact_mut(sizes.latent).zip(seeds) {
            normal_fill(seed, 1, noise);
            z.iter_mut().zip(&*noise).for_each(|(z, noise)| *z += noise);
        }
        self.decode_latents(seeds.len()).await
    }

    /// The pictures of vectors z1, `(n, latent)`: means of p(x|z1), `(n, h, w, c)` in [0, 1].
    ///
    /// # Errors
    /// Values that are not 1 to a batch of latent vectors, and as [`Self::sample`].
    pub fn decode(&mut self, z1: &[f32]) -> Result<&[f32], Error> {
        let n = self.sizes.count("latent vectors", z1, self.sizes.latent)?;
        self.z[..z1.len()].copy_from_slice(z1);
        wait(self.decode_latents(n))
    }

    /// The means of p(z1|z2), `(n, latent)`, of vectors z2 of the same shape.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode2(&mut self, z2: &[f32]) -> Result<&[f32], Error> {
        self.sizes.count("latent vectors", z2, self.sizes.latent)?;
        self.evaluator.evaluate(DECODER2, &[(MlpHvae::LATENT2, z2)], &[])?;
        Ok(&self.evaluator.output(MlpHvae::LATENT1)?[..z2.len()])
    }

    /// `mu` and `logvar` of q(z1|x), each `(n, latent)`, of pictures `(n, h, w, c)` in [0, 1].
    ///
    /// # Errors
    /// Values that are not 1 to a batch of pictures, and as [`Self::sample`].
    pub fn encode(&mut self, x: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        let n = self.sizes.count("pictures", x, self.sizes.picture)?;
        self.evaluator.evaluate(ENCODER1, &[(MlpHvae::PICTURE, x)], &[])?;
        self.distribution(n)
    }

    /// `mu` and `logvar` of q(z2|z1), each `(n, latent)`, of vectors z1 of the same shape.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn encode2(&mut self, z1: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        let n = self.sizes.count("latent vectors", z1, self.sizes.latent)?;
        self.evaluator.evaluate(ENCODER2, &[(MlpHvae::LATENT1, z1)], &[])?;
        self.distribution(n)
    }

    /// Pictures through the first bottleneck and back: decoded from the mean of q(z1|x), without noise.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn reconstruct(&mut self, x: &[f32]) -> Result<&[f32], Error> {
        let n = self.sizes.count("pictures", x, self.sizes.picture)?;
        self.evaluator.evaluate(ENCODER1, &[(MlpHvae::PICTURE, x)], &[])?;
        self.z.copy_from_slice(self.evaluator.output(MlpHvae::MEAN)?);
        wait(self.decode_latents(n))
    }

    /// [`Self::sample`] as bytes.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn sample_u8(&mut self, seeds: &[u64]) -> Result<Vec<u8>, Error> {
        bytes(self.sample(seeds)?)
    }

    /// [`Self::reconstruct`] as bytes.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn reconstruct_u8(&mut self, x: &[f32]) -> Result<Vec<u8>, Error> {
        bytes(self.reconstruct(x)?)
    }

    /// What the encoder evaluated last said of `n` vectors.
    fn distribution(&self, n: usize) -> Result<(&[f32], &[f32]), Error> {
        let used = n * self.sizes.latent;
        let output = |name| Ok::<_, Error>(&self.evaluator.output(name)?[..used]);
        Ok((output(MlpHvae::MEAN)?, output(MlpHvae::LOG_VARIANCE)?))
    }

    /// The pictures of the first `n` vectors of `z`.
    async fn decode_latents(&mut self, n: usize) -> Result<&[f32], Error> {
        let Self { evaluator, sizes, z, .. } = self;
        evaluator.evaluate_async(DECODER1, &[(MlpHvae::LATENT1, &z[..n * sizes.latent])], &[]).await?;
        Ok(&evaluator.output(MlpHvae::PICTURE)?[..n * sizes.picture])
    }
}
