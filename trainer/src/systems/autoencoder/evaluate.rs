//! Figures of a weight file on a set of pictures: what is judged is what the runtime makes of the file.
use crate::data::idx::LabelledPictures;
use crate::error::{Error, Result};
use crate::nn::vae::{Terms, kl_standard};
use nijimi_runtime::gguf::{File, Value};
use nijimi_runtime::model::{Device, Hvae, HvaeSession, SessionOptions, Vae, VaeSession};
use nijimi_runtime::raw::rng::Stream;

/// A component of a latent vector is active if its divergence is above this, in nats, ...
pub const ACTIVE_KL: f64 = 0.01;
/// ... or the variance of its mean over the pictures is above this (Burda et al. 2016).
pub const ACTIVE_VARIANCE: f64 = 0.01;

/// One level of latent vectors, over a set of pictures.
#[derive(Clone, Debug)]
pub struct Level {
    /// Mean `KL(q || N(0, 1))` of each component, in nats.
    pub kl: Vec<f64>,
    /// Variance of each component's mean.
    pub variance: Vec<f64>,
}

impl Level {
    /// Whether each component is used; the others are collapsed to the prior.
    pub fn active(&self) -> Vec<bool> {
        let used = |(k, v): (&f64, &f64)| *k > ACTIVE_KL || *v > ACTIVE_VARIANCE;
        self.kl.iter().zip(&self.variance).map(used).collect()
    }
}

/// Figures of a model on a set of pictures.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Means over the pictures, with one draw each: of the ELBO.
    pub terms: Terms,
    /// The same with the book's surrogate for the divergence, where it is another.
    pub surrogate: Option<Terms>,
    /// The levels, that next to the picture first.
    pub levels: Vec<Level>,
}

/// Pictures in one pass.
const PASS: usize = 250;

/// An autoencoder of the runtime, with memory for a pass.
pub enum Loaded {
    /// One latent vector.
    Vae(VaeSession),
    /// A chain of two.
    Hvae(HvaeSession),
}

impl Loaded {
    /// Loads the bytes of a weight file.
    ///
    /// # Errors
    /// If they are no autoencoder's.
    pub fn open(bytes: &[u8]) -> Result<Self> {
        let file = File::new_checked(bytes).map_err(nijimi_runtime::Error::from)?;
        let options = SessionOptions { batch: PASS, ..SessionOptions::default() };
        match file.get("nijimi.system") {
            Some(Value::Str("vae")) => Ok(Self::Vae(Vae::load(&file, &Device::Cpu)?.session(&options)?)),
            Some(Value::Str("hvae")) => Ok(Self::Hvae(Hvae::load(&file, &Device::Cpu)?.session(&options)?)),
            other => Err(Error::File(format!("nijimi.system is {other:?}, expected vae or hvae"))),
        }
    }

    /// New pictures, one a seed, `(n, h, w)` in 0..1; at most 250.
    ///
    /// # Errors
    /// What the runtime has.
    pub fn sample(&mut self, seeds: &[u64]) -> Result<Vec<f32>> {
        Ok(match self {
            Self::Vae(s) => s.sample(seeds)?.to_vec(),
            Self::Hvae(s) => s.sample(seeds)?.to_vec(),
        })
    }

    /// Mean and log-variance of the latent vector next to the pictures.
    ///
    /// # Errors
    /// What the runtime has.
    pub fn encode(&mut self, x: &[f32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let (mu, logvar) = match self {
            Self::Vae(s) => s.encode(x)?,
            Self::Hvae(s) => s.encode(x)?,
        };
        Ok((mu.to_vec(), logvar.to_vec()))
    }

    /// The pictures of latent vectors next to them.
    ///
    /// # Errors
    /// What the runtime has.
    pub fn decode(&mut self, z: &[f32]) -> Result<Vec<f32>> {
        Ok(match self {
            Self::Vae(s) => s.decode(z)?.to_vec(),
            Self::Hvae(s) => s.decode(z)?.to_vec(),
        })
    }
}

/// `mu + sigma eps`.
fn draw(mu: &[f32], logvar: &[f32], noise: &mut Stream) -> Vec<f32> {
    mu.iter().zip(logvar).map(|(m, l)| m + (0.5 * l).exp() * noise.normal()).collect()
}

/// Sums over pictures of the divergence of each component, of its mean, and of the mean's square.
struct Sums(Vec<[f64; 3]>);

impl Sums {
    fn add(&mut self, mu: &[f32], logvar: &[f32]) {
        if self.0.is_empty() {
            return;
        }
        let width = self.0.len();
        for (i, (kl, mu)) in kl_standard(mu, logvar).zip(mu).enumerate() {
            let (s, mu) = (&mut self.0[i % width], f64::from(*mu));
            *s = [s[0] + kl, s[1] + mu, s[2] + mu * mu];
        }
    }

    fn level(&self, n: f64) -> Level {
        Level {
            kl: self.0.iter().map(|s| s[0] / n).collect(),
            variance: self.0.iter().map(|s| s[2] / n - (s[1] / n).powi(2)).collect(),
        }
    }
}

/// The figures of a weight file on all pictures of `data`.
///
/// # Errors
/// If the file is no autoencoder of pictures of this size.
pub fn evaluate(bytes: &[u8], data: &LabelledPictures, seed: u64) -> Result<Evaluation> {
    let mut model = Loaded::open(bytes)?;
    let (size, n) = (data.width * data.height, data.len() as f64);
    let (mut reconstruction, mut exact, mut surrogate) = (0.0, 0.0, 0.0);
    let mut sums: Vec<Sums> = Vec::new();
    for (i, pixels) in data.pixels.chunks(PASS * size).enumerate() {
        let x: Vec<f32> = pixels.iter().map(|p| f32::from(*p) / 255.0).collect();
        let mut noise = Stream::new(seed, "evaluation", i as u64);
        let (mu, logvar) = model.encode(&x)?;
        let z = draw(&mu, &logvar, &mut noise);
        let x_hat = model.decode(&z)?;
        reconstruction += x.iter().zip(&x_hat).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let width = mu.len() * size / x.len();
        if sums.is_empty() {
            let levels = if matches!(model, Loaded::Hvae(_)) { 2 } else { 1 };
            sums.extend((0..levels).map(|_| Sums(vec![[0.0; 3]; width])));
        }
        sums[0].add(&mu, &logvar);
        let Loaded::Hvae(session) = &mut model else {
            exact += kl_standard(&mu, &logvar).sum::<f64>();
            continue;
        };
        let (mu2, logvar2) = session.encode2(&z)?;
        let (mu2, logvar2) = (mu2.to_vec(), logvar2.to_vec());
        let z_hat = session.decode2(&draw(&mu2, &logvar2, &mut noise))?;
        sums[1].add(&mu2, &logvar2);
        let above = kl_standard(&mu2, &logvar2).sum::<f64>();
        let centred: Vec<f32> = z_hat.iter().zip(&mu).map(|(a, b)| a - b).collect();
        surrogate += above + kl_standard(&centred, &logvar).sum::<f64>();
        let term = |((h, z), l): ((&f32, &f32), &f32)| 0.5 * (f64::from(h - z).powi(2) - 1.0 - f64::from(*l));
        exact += above + z_hat.iter().zip(&z).zip(&logvar).map(term).sum::<f64>();
    }
    let terms = |kl: f64| Terms { reconstruction: reconstruction / n, kl: kl / n };
    let surrogate = matches!(model, Loaded::Hvae(_)).then(|| terms(surrogate));
    Ok(Evaluation { terms: terms(exact), surrogate, levels: sums.iter().map(|s| s.level(n)).collect() })
}
