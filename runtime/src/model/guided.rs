//! Diffusion guided by a classifier (Dhariwal and Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis",
//! algorithm 2; "Deep Learning from Scratch 5", step 10.3).

use super::run::StepInfo;
use super::session::{check, in_range};
use super::wait::wait;
use super::{ClassifierSession, ModelError, RequestError, Session};
use crate::plan::ExecError;
use crate::rng::normal_fill_each;
use crate::sampler::{Call, Calls, SamplerState, steps};
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
    /// What the network is given.
    input: Vec<f32>,
    /// Fresh noise.
    noise: Vec<f32>,
    state: SamplerState,
    /// Values of a picture.
    picture: usize,
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
    /// How to get there, from [`super::Pipeline::calls`].
    pub calls: &'a Calls,
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
        let (x, eps, input, noise) = (values(), values(), values(), values());
        let state = SamplerState::for_any(batch * picture);
        let (told, labels, seeds) = (vec![None; batch], vec![None; batch], vec![0; batch]);
        Ok(Self { diffusion, classifier, x, eps, input, noise, state, picture, told, labels, seeds })
    }

    /// The most pictures of one run.
    pub fn batch(&self) -> usize {
        self.seeds.len()
    }

    /// Bytes of memory taken, weights not counted.
    pub fn bytes(&self) -> usize {
        let own = (self.x.len() + self.eps.len() + self.input.len() + self.noise.len()) * 4 + self.state.bytes();
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
        [&mut self.x, &mut self.eps, &mut self.noise].into_iter().for_each(|values| values.fill(0.0));
        self.state.clear();
        let sigma = request.calls.init_noise_sigma();
        normal_fill_each(request.seeds, 0, self.picture, &mut self.x);
        self.x.iter_mut().for_each(|x| *x *= sigma);
        Ok(GuidedRun { models: self, pictures: n, gamma: request.gamma, calls: request.calls.calls(), next: 0 })
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
    calls: &'a [Call],
    next: usize,
}

impl GuidedRun<'_> {
    /// Makes the next step; `None` when all are made.
    ///
    /// # Errors
    /// [`RequestError::NotFinite`] if a NaN or an infinity appears, with the part that made it: an operation of the
    /// classifier, the diffusion model, the guidance or the sampler. Calls of another schedule.
    pub fn step(&mut self) -> Result<Option<StepInfo>, Error> {
        wait(self.step_async())
    }

    /// [`Self::step`], awaited.
    ///
    /// # Errors
    /// As [`Self::step`] has.
    pub async fn step_async(&mut self) -> Result<Option<StepInfo>, Error> {
        while let Some(call) = self.calls.get(self.next) {
            let (index, total) = (call.step - self.calls[0].step, steps(self.calls));
            self.call(call).await.map_err(|e| match e {
                Error::Exec(source) => RequestError::NotFinite { step: index + 1, total, source }.into(),
                e => e,
            })?;
            self.next += 1;
            if self.calls.get(self.next).is_none_or(|next| next.step != call.step) {
                let timestep = call.t + self.models.diffusion.model.info.first_timestep as f32;
                return Ok(Some(StepInfo { index, total, timestep }));
            }
        }
        Ok(None)
    }

    async fn call(&mut self, call: &Call) -> Result<(), Error> {
        let used = self.used();
        let ClassifierGuided { diffusion, classifier, x, eps, input, noise, state, picture, told, labels, seeds } =
            &mut *self.models;
        let (told, labels) = (&told[..self.pictures], &labels[..self.pictures]);
        let info = &diffusion.model.info;
        let last = info.schedule.steps() - 1;
        if call.t > last as f32 {
            check(false, "the sampler's timestep", call.t, format!("0 to {last}"))?;
        }
        let (first, prediction) = (info.first_timestep as f32, info.prediction);
        call.scale_input(x, input)?;
        eps[..used].copy_from_slice(diffusion.predict_async(&input[..used], call.t + first, told).await?);
        finite("the diffusion model", "predict", &eps[..used])?;
        if self.gamma != 0.0 {
            let own = call.t + classifier.info().first_timestep as f32;
            let gradient = classifier.gradient_async(&input[..used], own, labels).await.map_err(|e| match e {
                Error::Exec(ExecError::NotFinite { step, kind, value, index }) => {
                    ExecError::NotFinite { step: format!("the classifier's {step}"), kind, value, index }.into()
                }
                e => e,
            })?;
            // Of what both networks are given.
            let (alpha, sigma) = (call.alpha * call.input_scale, call.sigma * call.input_scale);
            let (alpha, sigma) = (f64::from(alpha), f64::from(sigma));
            // The answer's share in epsilon: 1 where it is epsilon.
            let (_, share) = prediction.epsilon(alpha, sigma);
            guidance::classifier(self.gamma, (sigma / share) as f32, gradient, &mut eps[..used])?;
            finite("the guidance", "classifier", &eps[..used])?;
        }
        if call.noise != 0.0 {
            // Draw 0 is the initial noise.
            normal_fill_each(seeds, self.next as u32 + 1, *picture, noise);
        }
        state.accept(call, x, eps, noise)?;
        Ok(finite("the sampler", "step", &x[..used])?)
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
        &self.models.state.x0()[..self.used()]
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
        self.pictures * self.models.picture
    }
}

/// That all values are numbers; `step` made them.
fn finite(step: &str, kind: &'static str, values: &[f32]) -> Result<(), ExecError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(ExecError::NotFinite { step: step.into(), kind, value: values[index].to_string(), index }),
    }
}
