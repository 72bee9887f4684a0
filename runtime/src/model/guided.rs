//! Diffusion guided by a classifier (Dhariwal and Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis",
//! algorithm 2; "Deep Learning from Scratch 5", step 10.3).

use super::engine::{Guide, Kind, RunSettings};
use super::machine::Machine;
use super::noise::NoiseSource;
use super::options::{check, in_range};
use super::run::Run;
use super::{ClassifierSession, ModelError, RequestError, Session};
use crate::Error;
use crate::sampler::Calls;
use alloc::format;
use alloc::string::String;

/// How far the levels of two schedules may be apart: what a file's f64 and another's arithmetic leave.
const SAME_LEVEL: f64 = 1e-9;

/// A diffusion model, whose labels (if it knows any) may be left aside, and a classifier of its noised pictures. Each
/// is on the CPU or on a device, as it was loaded; on the same device nothing is read back for a step.
///
/// ```no_run
/// use nijimi_runtime::model::{Classifier, ClassifierGuided, Device, Diffusion, GuidedRequest, SessionOptions};
/// use nijimi_runtime::{Error, gguf::MappedFile};
///
/// # fn main() -> Result<(), Error> {
/// let model = Diffusion::load(&MappedFile::open("digits.gguf")?.file()?, &Device::Cpu)?;
/// let classifier = Classifier::load(&MappedFile::open("classifier.gguf")?.file()?, &Device::Cpu)?;
/// let (options, labels) = (SessionOptions::default(), [Some(classifier.label("7")?)]);
/// let mut guided = ClassifierGuided::new(model.session(&options)?, classifier.session(&options)?)?;
/// let calls = model.calls(model.info().defaults.solver, 50)?;
/// let request = GuidedRequest { labels: &labels, seeds: &[1], calls: &calls, gamma: 3.0, conditional: false };
/// let mut run = guided.run(&request)?;
/// # Ok(())
/// # }
/// ```
pub struct ClassifierGuided {
    /// With the classifier in it.
    diffusion: Session,
    batch: usize,
}

/// What to draw.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GuidedRequest<'a> {
    /// One a picture: what it shall show, in the classifier's numbers; `None` for any.
    pub labels: &'a [Option<u32>],
    /// One a picture. A picture depends on its own seed and label alone, never on its neighbours.
    pub seeds: &'a [u64],
    /// How to get there, from [`super::Diffusion::calls`].
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
        let (a, b) = (diffusion.model.info(), classifier.info());
        let pair = |what, diffusion: String, classifier: String| ModelError::Pair { what, diffusion, classifier };
        let sizes =
            [(a.network.size(), a.network.channels()), ([b.network.height, b.network.width], b.network.in_channels)];
        if sizes[0] != sizes[1] {
            let [a, b] = sizes.map(|([h, w], c)| format!("{h}x{w}x{c}"));
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
        let batch = diffusion.batch().min(classifier.batch());
        let mut diffusion = diffusion;
        let (prediction, each) = (diffusion.model.info().prediction, diffusion.picture());
        #[cfg_attr(not(feature = "gpu"), expect(unused_mut, reason = "a device prepares itself"))]
        let mut guide = Guide::new(classifier, prediction, batch, each);
        #[cfg(feature = "gpu")]
        diffusion.machine.engine.attach(&mut guide)?;
        diffusion.machine.beside.guide = Some(guide);
        Ok(Self { diffusion, batch })
    }

    /// The most pictures of one run.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of memory taken, weights not counted.
    pub fn bytes(&self) -> usize {
        self.diffusion.bytes()
    }

    /// The two sessions again.
    pub fn into_parts(mut self) -> (Session, ClassifierSession) {
        let Some(guide) = self.diffusion.machine.beside.guide.take() else { unreachable!("it was put there") };
        (self.diffusion, guide.session)
    }

    /// Starts a run: the same initial noise, and the same noise in each step, as [`Session::run`] has for these seeds.
    /// A run may be dropped at any step; another can then be started.
    ///
    /// # Errors
    /// A request that the models or this batch cannot serve.
    pub fn run<'a>(&'a mut self, request: &GuidedRequest<'a>) -> Result<Run<'a>, Error> {
        let n = request.labels.len();
        if n != request.seeds.len() {
            return Err(RequestError::Lengths { labels: n, seeds: request.seeds.len() }.into());
        }
        in_range("number of pictures", n, 1, self.batch)?;
        check(request.gamma.is_finite(), "gamma", request.gamma, "a finite number")?;
        let info = self.diffusion.model.info();
        let last = info.schedule.steps() - 1;
        if let Some(call) = request.calls.calls().iter().find(|call| call.t > last as f32) {
            check(false, "the sampler's timestep", call.t, format!("0 to {last}"))?;
        }
        let (known, first_timestep) = (info.network.label_count(), info.first_timestep);
        let Machine { inputs, beside, .. } = &mut self.diffusion.machine;
        let Some(guide) = &mut beside.guide else { unreachable!("it was put there") };
        guide.session.check_labels(request.labels)?;
        inputs.ids.fill(None);
        if request.conditional {
            let count = guide.session.info().network.label_count;
            if known != count {
                let [diffusion, classifier] = [known, count].map(|n| format!("{n} labels"));
                return Err(ModelError::Pair { what: "labels", diffusion, classifier }.into());
            }
            inputs.ids[..n].copy_from_slice(request.labels);
        }
        guide.lead_to(request.labels, request.gamma)?;
        let settings = RunSettings {
            n,
            kind: Kind::Plain,
            guidance_scale: 1.0,
            image_guidance_scale: 1.0,
            guidance_rescale: 0.0,
            guidance_truncation: f32::INFINITY,
            cache_interval: 1,
            skip: None,
            calls: request.calls.calls().into(),
            first_timestep,
            first_draw: 0,
        };
        let machine = &mut self.diffusion.machine;
        machine.start(NoiseSource::Nijimi, request.seeds, request.calls.init_noise_sigma())?;
        Ok(Run::of_session(machine, settings))
    }
}
