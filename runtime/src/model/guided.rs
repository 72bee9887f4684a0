//! Diffusion guided by a classifier (Dhariwal and Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis",
//! algorithm 2; "Deep Learning from Scratch 5", step 10.3).

use super::run::StepInfo;
use super::session::{check, in_range};
use super::{ClassifierSession, ModelError, RequestError, Session};
use crate::cpu::exec::ExecError;
use crate::rng::normal_fill;
use crate::sampler::{self, Sampler, StepCoefficients};
use crate::{Error, guidance};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// How far the levels of two schedules may be apart: what a file's f64 and another's arithmetic leave.
const SAME_LEVEL: f64 = 1e-9;

/// A diffusion model, whose labels (if it knows any) may be left aside, and a classifier of its noised pictures. Each
/// is on the CPU or on a device, as it was loaded; what connects them is on the CPU.
pub struct ClassifierGuided {
    diffusion: Session,
    classifier: ClassifierSession,
    /// The pictures, between steps.
    x: Vec<f32>,
    eps: Vec<f32>,
    estimate: Vec<f32>,
    /// One picture's fresh noise.
    noise: Vec<f32>,
    /// What the diffusion model is told: nothing, or `labels`.
    told: Vec<Option<u32>>,
    labels: Vec<Option<u32>>,
    seeds: Vec<u64>,
}

/// What to draw.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GuidedRequest<'a> {
    /// One a picture: what it shall show, in the classifier's numbers; `None` for whatever comes.
    pub labels: &'a [Option<u32>],
    /// One a picture. A picture depends on its own seed and label alone, never on its neighbours.
    pub seeds: &'a [u64],
    /// How to get there, from [`super::Pipeline::sampler`].
    pub sampler: &'a Sampler,
    /// Strength of the guidance, the book's gamma: 0 is none, and then the classifier is not asked.
    pub gamma: f32,
    /// Whether the diffusion model is told the labels too; it must know as many as the classifier.
    pub conditional: bool,
}

impl ClassifierGuided {
    /// Brings the two together, for up to as many pictures as both have a batch for.
    ///
    /// # Errors
    /// [`ModelError::Pair`] if their pictures, the range of their values, or their noise levels differ.
    pub fn new(diffusion: Session, classifier: ClassifierSession) -> Result<Self, Error> {
        let (a, b) = (&diffusion.model.info, classifier.info());
        let pair = |what, diffusion: String, classifier: String| ModelError::Pair { what, diffusion, classifier };
        let sizes = [
            (a.network.height, a.network.width, a.network.in_channels),
            (b.network.height, b.network.width, b.network.in_channels),
        ];
        if sizes[0] != sizes[1] {
            let [a, b] = sizes.map(|(h, w, c)| format!("{h}x{w}x{c}"));
            return Err(pair("pictures", a, b).into());
        }
        if a.range != b.range {
            return Err(pair("values", format!("{:?}", a.range), format!("{:?}", b.range)).into());
        }
        let [levels, others] = [a.schedule.steps(), b.schedule.steps()];
        if levels != others {
            return Err(pair("noise", format!("{levels} levels"), format!("{others} levels")).into());
        }
        let level = |t: usize| (a.schedule.alpha_bar(t), b.schedule.alpha_bar(t));
        if let Some((t, (a, b))) = (1..=levels).map(|t| (t, level(t))).find(|(_, (a, b))| (a - b).abs() > SAME_LEVEL) {
            return Err(pair("noise", format!("alpha_bar({t}) = {a}"), format!("{b}")).into());
        }
        let (batch, picture) = (diffusion.batch().min(classifier.batch()), diffusion.picture());
        let values = || vec![0.0; batch * picture];
        let (x, eps, estimate, noise) = (values(), values(), values(), vec![0.0; picture]);
        let (told, labels, seeds) = (vec![None; batch], vec![None; batch], vec![0; batch]);
        Ok(Self { diffusion, classifier, x, eps, estimate, noise, told, labels, seeds })
    }

    /// The most pictures of one run.
    pub fn batch(&self) -> usize {
        self.seeds.len()
    }

    /// Bytes of memory taken, weights not counted.
    pub fn bytes(&self) -> usize {
        let own = (self.x.len() + self.eps.len() + self.estimate.len() + self.noise.len()) * 4;
        let lists = size_of_val(&self.told[..]) + size_of_val(&self.labels[..]) + size_of_val(&self.seeds[..]);
        self.diffusion.bytes() + self.classifier.bytes() + own + lists
    }

    /// The two sessions again.
    pub fn into_parts(self) -> (Session, ClassifierSession) {
        (self.diffusion, self.classifier)
    }

    /// Starts a run: the same initial noise, and the same noise in each step, as [`Session::run`] has for these seeds.
    /// A run may be dropped at any step; another can then be started.
    ///
    /// # Errors
    /// A request that the models or this batch cannot serve.
    pub fn run<'a>(&'a mut self, request: &GuidedRequest<'a>) -> Result<GuidedRun<'a>, Error> {
        let n = request.labels.len();
        if n != request.seeds.len() {
            return Err(RequestError::Lengths { labels: n, seeds: request.seeds.len() }.into());
        }
        in_range("number of pictures", n, 1, self.batch())?;
        check(request.gamma.is_finite(), "gamma", request.gamma, "a finite number")?;
        self.classifier.check_labels(request.labels)?;
        self.told.fill(None);
        if request.conditional {
            let (known, count) = (self.diffusion.model.info.network.label_count, self.labels_known());
            if known != count {
                let [diffusion, classifier] = [known, count].map(|n| format!("{n} labels"));
                return Err(ModelError::Pair { what: "labels", diffusion, classifier }.into());
            }
            self.told[..n].copy_from_slice(request.labels);
        }
        self.labels[..n].copy_from_slice(request.labels);
        self.seeds[..n].copy_from_slice(request.seeds);
        self.x.fill(0.0);
        self.estimate.fill(0.0);
        for (x, &seed) in self.x.chunks_exact_mut(self.noise.len()).zip(request.seeds) {
            normal_fill(seed, 0, x);
        }
        Ok(GuidedRun { models: self, pictures: n, gamma: request.gamma, steps: request.sampler.steps(), next: 0 })
    }

    fn labels_known(&self) -> usize {
        self.classifier.info().network.label_count
    }
}

/// Pictures in the making, as [`super::Run`]; every step is waited for.
pub struct GuidedRun<'a> {
    models: &'a mut ClassifierGuided,
    pictures: usize,
    gamma: f32,
    steps: &'a [StepCoefficients],
    next: usize,
}

impl GuidedRun<'_> {
    /// Makes the next step; `None` when all are made.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`] if a NaN or an infinity appears, with the part that made it: an operation of the
    /// classifier, the diffusion model, the guidance or the sampler. A sampler of another schedule.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        let Some(c) = self.steps.get(self.next) else { return Ok(None) };
        let (index, total, n) = (self.next, self.steps.len(), self.pictures);
        let lost = |source| Error::from(RequestError::NotFinite { step: index + 1, total, source });
        let ClassifierGuided { diffusion, classifier, x, eps, estimate, noise, told, labels, seeds } =
            &mut *self.models;
        let picture = noise.len();
        let [x, eps, estimate] = [x, eps, estimate].map(|values| &mut values[..n * picture]);
        let info = &diffusion.model.info;
        in_range("the sampler's timestep", c.t, 0, info.schedule.steps() - 1)?;
        let (timestep, prediction, alpha_bar) =
            (c.t as u32 + info.first_timestep, info.prediction, info.schedule.alpha_bar(c.t + 1));
        eps.copy_from_slice(diffusion.predict(x, timestep, &told[..n])?);
        finite("the diffusion model", "predict", eps).map_err(lost)?;
        if self.gamma != 0.0 {
            let own = c.t as u32 + classifier.info().first_timestep;
            let gradient = classifier.gradient(x, own, &labels[..n]).map_err(|e| match e {
                Error::Exec(ExecError::NotFinite { step, kind, value, index }) => {
                    lost(ExecError::NotFinite { step: format!("the classifier's {step}"), kind, value, index })
                }
                e => e,
            })?;
            // The answer's share in epsilon: 1 where it is epsilon.
            let (_, share) = prediction.epsilon(alpha_bar);
            let sigma = libm::sqrt(1.0 - alpha_bar) / share;
            guidance::classifier(self.gamma, sigma as f32, gradient, eps)?;
            finite("the guidance", "classifier", eps).map_err(lost)?;
        }
        let each = x.chunks_exact_mut(picture).zip(eps.chunks_exact(picture)).zip(estimate.chunks_exact_mut(picture));
        for (((x, eps), x0), &seed) in each.zip(&*seeds) {
            let mut fresh: &[f32] = &[];
            if c.sigma != 0.0 {
                // Draw 0 is the initial noise.
                normal_fill(seed, index as u32 + 1, noise);
                fresh = noise;
            }
            sampler::step(c, x, eps, fresh, x0)?;
        }
        finite("the sampler", "step", x).map_err(lost)?;
        self.next += 1;
        Ok(Some(StepInfo { index, total, timestep }))
    }

    /// How many pictures this run makes.
    pub fn len(&self) -> usize {
        self.pictures
    }

    /// Never: a run has at least one picture.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pictures as they are, noisy until the last step: `(n, h, w, c)`, in the model's range, not clipped.
    pub fn pictures(&self) -> &[f32] {
        &self.models.x[..self.used()]
    }

    /// What the clean pictures will be, as it was guessed at the last step; zeros before the first. Shape and range as
    /// of [`Self::pictures`].
    pub fn estimate(&self) -> &[f32] {
        &self.models.estimate[..self.used()]
    }

    /// The pictures as bytes, `(n, h, w, c)`: the model's range mapped to 0 to 255 as [`crate::cpu::to_u8`] does.
    ///
    /// # Errors
    /// A NaN or an infinity.
    pub fn to_u8(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.used()];
        self.write_u8(&mut bytes)?;
        Ok(bytes)
    }

    /// [`Self::to_u8`] into memory of the caller's, as long as [`Self::pictures`].
    ///
    /// # Errors
    /// Another length, and as [`Self::to_u8`].
    pub fn write_u8(&self, out: &mut [u8]) -> Result<(), Error> {
        Ok(crate::cpu::to_u8(self.models.diffusion.model.info.range, self.pictures(), out)?)
    }

    /// Elements in use.
    fn used(&self) -> usize {
        self.pictures * self.models.noise.len()
    }
}

/// That all values are numbers; `step` made them.
fn finite(step: &str, kind: &'static str, values: &[f32]) -> Result<(), ExecError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(ExecError::NotFinite { step: step.into(), kind, value: values[index].to_string(), index }),
    }
}
