//! Variational autoencoders of one or two levels: pictures from latent vectors, and latent vectors of pictures.

use super::device::Device;
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::options::{MAX_BATCH, in_range};
use super::wait::wait;
use super::{RequestError, SessionOptions, info};
use crate::Error;
use crate::gguf::File;
use crate::graph::Graph;
use crate::nn::{MlpHvae, MlpVae};
use crate::rng::{normal_fill, normal_fill_each};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// A variational autoencoder (book step 7): `p(z) = N(0, I)`, `p(x|z) = N(decoder(z), I)`, `q(z|x) = N(mu,
/// exp(logvar))`. A file's `nijimi.system` is `vae`.
pub type Vae = Loaded<AutoencoderInfo<MlpVae>>;

/// A hierarchical variational autoencoder (book appendix C): `p(z2) = N(0, I)`, `p(z1|z2) = N(decoder2(z2), I)`,
/// `p(x|z1) = N(decoder1(z1), I)`; `q(z1|x)` and `q(z2|z1)` by the encoders. A file's `nijimi.system` is `hvae`.
pub type Hvae = Loaded<AutoencoderInfo<MlpHvae>>;

/// See [`AutoencoderSession`].
pub type VaeSession = AutoencoderSession<MlpVae>;

/// See [`AutoencoderSession`]. What is called `z` there is z1 here.
pub type HvaeSession = AutoencoderSession<MlpHvae>;

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

/// The networks of [`Vae`] and [`Hvae`]: how one is made, and its graphs.
pub trait MlpAutoencoder: Sized {
    #[doc(hidden)]
    const KEYS: [(&'static str, &'static str); 2];
    /// The name of the input of the picture's decoder.
    #[doc(hidden)]
    const LATENT: &'static str;
    /// Of height, width, channels, hidden and latent.
    #[doc(hidden)]
    fn of(sizes: [usize; 5]) -> Self;
    /// Height, width and channels of a picture; length of a latent vector.
    #[doc(hidden)]
    fn sizes(&self) -> ([usize; 3], usize);
    /// The picture's encoder and decoder, then those of the level above, if there is one.
    #[doc(hidden)]
    fn graphs(&self, batch: usize) -> Result<Vec<Graph>, Error>;
}

/// The graphs' numbers.
const ENCODER: usize = 0;
const DECODER: usize = 1;
const ENCODER2: usize = 2;
const DECODER2: usize = 3;

impl MlpAutoencoder for MlpVae {
    const KEYS: [(&'static str, &'static str); 2] = [("nijimi.system", "vae"), ("nijimi.network", "mlp-vae")];
    const LATENT: &'static str = Self::LATENT;

    fn of([height, width, channels, hidden, latent]: [usize; 5]) -> Self {
        Self { height, width, channels, hidden, latent }
    }

    fn sizes(&self) -> ([usize; 3], usize) {
        ([self.height, self.width, self.channels], self.latent)
    }

    fn graphs(&self, batch: usize) -> Result<Vec<Graph>, Error> {
        Ok(vec![self.encoder(batch)?, self.decoder(batch)?])
    }
}

impl MlpAutoencoder for MlpHvae {
    const KEYS: [(&'static str, &'static str); 2] = [("nijimi.system", "hvae"), ("nijimi.network", "mlp-hvae")];
    const LATENT: &'static str = Self::LATENT1;

    fn of([height, width, channels, hidden, latent]: [usize; 5]) -> Self {
        Self { height, width, channels, hidden, latent }
    }

    fn sizes(&self) -> ([usize; 3], usize) {
        ([self.height, self.width, self.channels], self.latent)
    }

    fn graphs(&self, batch: usize) -> Result<Vec<Graph>, Error> {
        Ok(vec![self.encoder1(batch)?, self.decoder1(batch)?, self.encoder2(batch)?, self.decoder2(batch)?])
    }
}

impl<N: MlpAutoencoder> Loaded<AutoencoderInfo<N>> {
    /// Loads a file of this kind.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or
    /// of another shape than the network's; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        info::kind(file, &N::KEYS)?;
        let range = info::range(file)?;
        // What a sigmoid makes.
        if range != [0.0, 1.0] {
            return Err(info::wrong("nijimi.image.range", format!("{range:?}"), "[0, 1]"));
        }
        let mut sizes = [0; 5];
        let keys = [
            "nijimi.image.height",
            "nijimi.image.width",
            "nijimi.image.channels",
            "nijimi.vae.hidden",
            "nijimi.vae.latent",
        ];
        for (size, key) in sizes.iter_mut().zip(keys) {
            *size = file.u32(key)? as usize;
        }
        let [name, license] = info::titles(file);
        let network = N::of(sizes);
        let loaded = Network::load(file, network.graphs(1)?, device)?;
        Ok(Self::new(AutoencoderInfo { name, license, network }, loaded))
    }

    /// Makes a session for up to [`SessionOptions::batch`] pictures at once: plans, then allocates its memory. Guidance
    /// is ignored here.
    ///
    /// # Errors
    /// A batch out of range, or more memory than the options allow; the error has both figures.
    pub fn session(&self, options: &SessionOptions) -> Result<AutoencoderSession<N>, Error> {
        let (batch, network) = (options.batch, &self.info().network);
        in_range("batch", batch, 1, MAX_BATCH)?;
        let evaluator = self.networks().evaluator(network.graphs(batch)?, options)?;
        let (shape, latent) = network.sizes();
        let z = vec![0.0; batch * latent];
        let noise = vec![0.0; latent];
        Ok(AutoencoderSession { evaluator, batch, shape, latent, z, noise, network: PhantomData })
    }

    /// Why a picture may be of one color: [`ExecError::Constant`](crate::plan::ExecError::Constant) with the first operation of
    /// the picture's decoder that makes the same number everywhere, if there is one.
    ///
    /// # Errors
    /// As said; more memory than the options allow; a device error.
    pub fn check_constant(&self, options: &SessionOptions) -> Result<(), Error> {
        wait(self.check_constant_async(options))
    }

    /// [`Self::check_constant`], awaited.
    ///
    /// # Errors
    /// As [`Self::check_constant`] has.
    pub async fn check_constant_async(&self, options: &SessionOptions) -> Result<(), Error> {
        let graphs = self.info().network.graphs(1)?;
        self.networks().evaluator(graphs, options)?.check_constant_async(DECODER).await
    }
}

/// Memory and threads for up to a batch of pictures, `(n, height, width, channels)` in [0, 1], and of latent vectors,
/// `(n, latent)`. On the CPU nothing is allocated after it is made.
pub struct AutoencoderSession<N> {
    evaluator: Evaluator,
    batch: usize,
    shape: [usize; 3],
    latent: usize,
    z: Vec<f32>,
    /// Of one vector.
    noise: Vec<f32>,
    network: PhantomData<N>,
}

impl<N: MlpAutoencoder> AutoencoderSession<N> {
    /// The most pictures at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Height, width and channels of a picture.
    pub fn picture_shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Bytes of memory that the session takes, weights not counted.
    pub fn bytes(&self) -> usize {
        self.evaluator.bytes() + (self.z.len() + self.noise.len()) * 4
    }

    /// New pictures, one a seed, by ancestral sampling: the latent vector at the top is draw 0 of the seed, the picture the
    /// decoder's answer. Between two levels, `z1 = decoder2(z2) + N(0, I)`, draw 1. A picture depends on its own seed alone,
    /// never on its neighbours.
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
        in_range("number of pictures", seeds.len(), 1, self.batch)?;
        normal_fill_each(seeds, 0, self.latent, &mut self.z);
        if self.evaluator.plans().len() > DECODER2 {
            let Self { evaluator, latent, z, noise, .. } = self;
            let z = &mut z[..seeds.len() * *latent];
            evaluator.evaluate_async(DECODER2, &[(MlpHvae::LATENT2, z)], &[]).await?;
            z.copy_from_slice(&evaluator.output(MlpHvae::LATENT1)?[..z.len()]);
            for (z, &seed) in z.chunks_exact_mut(*latent).zip(seeds) {
                normal_fill(seed, 1, noise);
                z.iter_mut().zip(&*noise).for_each(|(z, noise)| *z += noise);
            }
        }
        self.decode_latents(seeds.len()).await
    }

    /// The pictures of latent vectors: means of p(x|z).
    ///
    /// # Errors
    /// Values that are not 1 to a batch of latent vectors, and as [`Self::sample`].
    pub fn decode(&mut self, z: &[f32]) -> Result<&[f32], Error> {
        wait(self.decode_async(z))
    }

    /// [`Self::decode`], awaited.
    ///
    /// # Errors
    /// As [`Self::decode`] has.
    pub async fn decode_async(&mut self, z: &[f32]) -> Result<&[f32], Error> {
        let n = self.count("latent vectors", z, self.latent)?;
        self.z[..z.len()].copy_from_slice(z);
        self.decode_latents(n).await
    }

    /// `mu` and `logvar` of q(z|x), of pictures.
    ///
    /// # Errors
    /// Values that are not 1 to a batch of pictures, and as [`Self::sample`].
    pub fn encode(&mut self, x: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        wait(self.encode_async(x))
    }

    /// [`Self::encode`], awaited.
    ///
    /// # Errors
    /// As [`Self::encode`] has.
    pub async fn encode_async(&mut self, x: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        let n = self.count("pictures", x, self.shape.iter().product())?;
        self.evaluator.evaluate_async(ENCODER, &[(MlpVae::PICTURE, x)], &[]).await?;
        self.distribution(n)
    }

    /// Pictures through the bottleneck and back: decoded from the mean of q(z|x), without noise.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn reconstruct(&mut self, x: &[f32]) -> Result<&[f32], Error> {
        wait(self.reconstruct_async(x))
    }

    /// [`Self::reconstruct`], awaited.
    ///
    /// # Errors
    /// As [`Self::reconstruct`] has.
    pub async fn reconstruct_async(&mut self, x: &[f32]) -> Result<&[f32], Error> {
        let n = self.count("pictures", x, self.shape.iter().product())?;
        self.evaluator.evaluate_async(ENCODER, &[(MlpVae::PICTURE, x)], &[]).await?;
        self.z.copy_from_slice(self.evaluator.output(MlpVae::MEAN)?);
        self.decode_latents(n).await
    }

    /// How many pictures or vectors of `each` values those are.
    fn count(&self, what: &'static str, values: &[f32], each: usize) -> Result<usize, Error> {
        let n = values.len() / each;
        if !values.len().is_multiple_of(each) || !(1..=self.batch).contains(&n) {
            let (found, expected) = (format!("{} values", values.len()), format!("1 to {} times {each}", self.batch));
            return Err(RequestError::Range { what, found, expected }.into());
        }
        Ok(n)
    }

    /// What the encoder evaluated last said of `n` vectors.
    fn distribution(&self, n: usize) -> Result<(&[f32], &[f32]), Error> {
        let output = |name| Ok::<_, Error>(&self.evaluator.output(name)?[..n * self.latent]);
        Ok((output(MlpVae::MEAN)?, output(MlpVae::LOG_VARIANCE)?))
    }

    /// The pictures of the first `n` vectors of `z`.
    async fn decode_latents(&mut self, n: usize) -> Result<&[f32], Error> {
        let Self { evaluator, latent, shape, z, .. } = self;
        evaluator.evaluate_async(DECODER, &[(N::LATENT, &z[..n * *latent])], &[]).await?;
        Ok(&evaluator.output(MlpVae::PICTURE)?[..n * shape.iter().product::<usize>()])
    }
}

/// Between the levels.
impl HvaeSession {
    /// The means of p(z1|z2), of vectors z2.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode2(&mut self, z2: &[f32]) -> Result<&[f32], Error> {
        wait(self.decode2_async(z2))
    }

    /// [`Self::decode2`], awaited.
    ///
    /// # Errors
    /// As [`Self::decode`] has.
    pub async fn decode2_async(&mut self, z2: &[f32]) -> Result<&[f32], Error> {
        self.count("latent vectors", z2, self.latent)?;
        self.evaluator.evaluate_async(DECODER2, &[(MlpHvae::LATENT2, z2)], &[]).await?;
        Ok(&self.evaluator.output(MlpHvae::LATENT1)?[..z2.len()])
    }

    /// `mu` and `logvar` of q(z2|z1), of vectors z1.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn encode2(&mut self, z1: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        wait(self.encode2_async(z1))
    }

    /// [`Self::encode2`], awaited.
    ///
    /// # Errors
    /// As [`Self::decode`] has.
    pub async fn encode2_async(&mut self, z1: &[f32]) -> Result<(&[f32], &[f32]), Error> {
        let n = self.count("latent vectors", z1, self.latent)?;
        self.evaluator.evaluate_async(ENCODER2, &[(MlpHvae::LATENT1, z1)], &[]).await?;
        self.distribution(n)
    }
}

/// Pictures in [0, 1] as bytes, as [`crate::cpu::to_u8`] makes them.
impl<N: MlpAutoencoder> AutoencoderSession<N> {
    /// [`Self::sample`] as bytes.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn sample_u8(&mut self, seeds: &[u64]) -> Result<Vec<u8>, Error> {
        wait(self.sample_u8_async(seeds))
    }

    /// [`Self::sample_u8`], awaited.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub async fn sample_u8_async(&mut self, seeds: &[u64]) -> Result<Vec<u8>, Error> {
        bytes(self.sample_async(seeds).await?)
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

fn bytes(pictures: &[f32]) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; pictures.len()];
    crate::cpu::to_u8([0.0, 1.0], pictures, &mut bytes)?;
    Ok(bytes)
}
