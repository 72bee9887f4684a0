//! Classifiers of noised pictures: probabilities of labels, and which way a picture would have to change for one.

use super::device::Device;
use super::loaded::Loaded;
use super::network::{Evaluator, Network};
use super::options::{MAX_BATCH, in_range};
use super::wait::wait;
use super::{RequestError, SessionOptions, info};
use crate::Error;
use crate::gguf::File;
use crate::graph::Graph;
use crate::nn::NoisyClassifier;
use crate::schedule::Schedule;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// What a file says of a classifier.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassifierInfo {
    /// `general.name`, or empty.
    pub name: String,
    /// `general.license`, or empty.
    pub license: String,
    /// The network.
    pub network: NoisyClassifier,
    /// The labels' names, by id.
    pub labels: Vec<String>,
    /// The values of black and white.
    pub range: [f32; 2],
    /// The noise levels that it was trained on.
    pub schedule: Schedule,
    /// The number by which the network knows level 1.
    pub first_timestep: u32,
}

/// A classifier p(y|x_t, t) (Dhariwal and Nichol 2021; book step 10.3). A file's
/// `nijimi.system` is `classifier`.
pub type Classifier = Loaded<ClassifierInfo>;

/// The graphs, in the order in which a session has them.
const LOG_PROBABILITIES: usize = 0;
const GRADIENT: usize = 1;

impl Classifier {
    /// Loads a file whose `nijimi.system` is `classifier`. What the gradient needs in another order is f16 on a GPU, or f32 if
    /// the file is.
    ///
    /// # Errors
    /// Metadata that is missing, of the wrong type or unknown to this version; tensors that are missing, too many, or
    /// of another shape than the network's; a device error.
    pub fn load(file: &File<'_>, device: &Device) -> Result<Self, Error> {
        let info = ClassifierInfo::read(file)?;
        let network = Network::load(file, graphs(&info.network, 1)?, device)?;
        Ok(Self::new(info, network))
    }

    /// The id of a label.
    ///
    /// # Errors
    /// [`RequestError::UnknownLabel`], which lists the labels that exist.
    pub fn label(&self, name: &str) -> Result<u32, RequestError> {
        info::label(&self.info().labels, name)
    }

    /// Makes a session for up to [`SessionOptions::batch`] pictures at once: plans, then allocates its memory. Guidance
    /// is ignored here.
    ///
    /// # Errors
    /// A batch out of range, or more memory than the options allow; the error has both figures.
    pub fn session(&self, options: &SessionOptions) -> Result<ClassifierSession, Error> {
        let (batch, network) = (options.batch, &self.info().network);
        in_range("batch", batch, 1, MAX_BATCH)?;
        let evaluator = self.networks().evaluator(graphs(network, batch)?, options)?;
        let (t, ids) = (vec![0.0; batch], vec![None; batch]);
        Ok(ClassifierSession { classifier: self.clone(), evaluator, batch, t, ids })
    }
}

impl ClassifierInfo {
    fn read(file: &File<'_>) -> Result<Self, Error> {
        info::kind(file, &[("nijimi.system", "classifier"), ("nijimi.network", "noisy-classifier")])?;
        let counted = "nijimi.classifier.label_count";
        let network = NoisyClassifier {
            in_channels: file.u32("nijimi.classifier.in_channels")? as usize,
            channels: file.u32s("nijimi.classifier.channels")?.iter().map(|&c| c as usize).collect(),
            time_dim: file.u32("nijimi.classifier.time_dim")? as usize,
            label_count: file.u32(counted)? as usize,
            height: file.u32("nijimi.image.height")? as usize,
            width: file.u32("nijimi.image.width")? as usize,
        };
        network.validate()?;
        let channels = file.u32("nijimi.image.channels")?;
        if channels as usize != network.in_channels {
            let expected = format!("{}, as the network's", network.in_channels);
            return Err(info::wrong("nijimi.image.channels", channels, expected));
        }
        Ok(Self {
            name: info::text(file, "general.name"),
            license: info::text(file, "general.license"),
            labels: info::labels(file, network.label_count, counted)?,
            range: info::range(file)?,
            schedule: info::schedule(file)?,
            first_timestep: info::first_timestep(file)?,
            network,
        })
    }
}

fn graphs(network: &NoisyClassifier, batch: usize) -> Result<Vec<Graph>, Error> {
    Ok(vec![network.log_probabilities(batch)?, network.gradient(batch)?])
}

/// Memory and threads for up to a batch of pictures. On the CPU nothing is allocated after it is made.
pub struct ClassifierSession {
    classifier: Classifier,
    evaluator: Evaluator,
    batch: usize,
    t: Vec<f32>,
    ids: Vec<Option<u32>>,
}

impl ClassifierSession {
    /// What the file says of the model.
    pub fn info(&self) -> &ClassifierInfo {
        self.classifier.info()
    }

    /// The most pictures at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of memory that the session takes, weights not counted.
    pub fn bytes(&self) -> usize {
        self.evaluator.bytes() + size_of_val(&self.t[..]) + size_of_val(&self.ids[..])
    }

    /// Values of one picture.
    fn picture(&self) -> usize {
        let network = &self.info().network;
        network.height * network.width * network.in_channels
    }

    /// `log p(y|x_t, t)` of every label, `(n, label_count)`, of pictures `(n, h, w, c)` at a noise level: `timestep` as
    /// the network knows it (level 1 is the model's `first_timestep`).
    ///
    /// # Errors
    /// Values that are not 1 to a batch of pictures; [`crate::plan::ExecError::NotFinite`]; what a device has to
    /// say.
    pub fn log_probabilities(&mut self, x: &[f32], timestep: f32) -> Result<&[f32], Error> {
        wait(self.log_probabilities_async(x, timestep))
    }

    /// [`Self::log_probabilities`], awaited.
    ///
    /// # Errors
    /// As [`Self::log_probabilities`] has.
    pub async fn log_probabilities_async(&mut self, x: &[f32], timestep: f32) -> Result<&[f32], Error> {
        let (n, picture) = (x.len() / self.picture(), self.picture());
        in_range("number of pictures", n, 1, self.batch)?;
        in_range("values of x", x.len(), n * picture, n * picture)?;
        self.t.fill(timestep);
        let inputs = [(NoisyClassifier::PICTURE, x), (NoisyClassifier::TIME, &self.t)];
        self.evaluator.evaluate_async(LOG_PROBABILITIES, &inputs, &[]).await?;
        let used = n * self.info().network.label_count;
        Ok(&self.evaluator.output(NoisyClassifier::LOG_PROBABILITIES)?[..used])
    }

    /// `d log p(y|x_t, t) / d x_t`, `(n, h, w, c)`, of pictures and a noise level as of [`Self::log_probabilities`],
    /// one label a picture; zeros for a picture without one.
    ///
    /// # Errors
    /// More pictures than the batch, an `x` of another size, a label that the model does not have, and as of
    /// [`Self::log_probabilities`].
    pub fn gradient(&mut self, x: &[f32], timestep: f32, labels: &[Option<u32>]) -> Result<&[f32], Error> {
        wait(self.gradient_async(x, timestep, labels))
    }

    /// [`Self::gradient`], awaited.
    ///
    /// # Errors
    /// As [`Self::gradient`] has.
    pub async fn gradient_async(&mut self, x: &[f32], timestep: f32, labels: &[Option<u32>]) -> Result<&[f32], Error> {
        let (n, picture) = (labels.len(), self.picture());
        in_range("number of pictures", n, 1, self.batch)?;
        in_range("values of x", x.len(), n * picture, n * picture)?;
        self.check_labels(labels)?;
        self.t.fill(timestep);
        self.fill_ids(labels);
        let inputs = [(NoisyClassifier::PICTURE, x), (NoisyClassifier::TIME, &self.t)];
        self.evaluator.evaluate_async(GRADIENT, &inputs, &self.ids).await?;
        Ok(&self.evaluator.output(NoisyClassifier::GRADIENT)?[..x.len()])
    }

    /// Sets the labels for a device that asks it without the host.
    pub(super) fn set_labels(&mut self, labels: &[Option<u32>]) -> Result<(), Error> {
        self.fill_ids(labels);
        #[cfg(feature = "gpu")]
        if let Some(exec) = self.evaluator.on_device() {
            exec.set_ids(&self.ids)?;
        }
        Ok(())
    }

    fn fill_ids(&mut self, labels: &[Option<u32>]) {
        self.ids.fill(None);
        self.ids[..labels.len()].copy_from_slice(labels);
    }

    /// What executes it, if that is on this device, with the gradient's plan; its ids are those of the labels last asked for.
    #[cfg(feature = "gpu")]
    pub(super) fn on_device(
        &mut self,
        gpu: &crate::gpu::Gpu,
    ) -> Option<(&mut crate::gpu::Executor, crate::gpu::ClassifierPorts)> {
        let exec = self.evaluator.on_device().filter(|exec| exec.gpu().is(gpu))?;
        let plan = exec.plans().get(GRADIENT)?;
        let (x, t) = plan.input(NoisyClassifier::PICTURE).zip(plan.input(NoisyClassifier::TIME))?;
        let gradient = plan.output(NoisyClassifier::GRADIENT)?;
        Some((exec, crate::gpu::ClassifierPorts { plan: GRADIENT, x, t, gradient }))
    }

    pub(super) fn check_labels(&self, labels: &[Option<u32>]) -> Result<(), RequestError> {
        let count = self.info().network.label_count;
        let wrong = labels.iter().enumerate().find_map(|(i, l)| l.filter(|&l| l as usize >= count).map(|l| (i, l)));
        wrong.map_or(Ok(()), |(picture, label)| Err(RequestError::LabelRange { picture, label, count }))
    }
}
