//! A session: plans, memory and threads for runs of up to a batch of pictures.

use super::RequestError;
use super::engine::{Beside, Engine, Graphs, Inputs, Kind, RunSettings, Sizes, Time};
use super::info::Info;
use super::loaded::Loaded;
use super::machine::{Machine, Output};
use super::noise::{Noise, NoiseSource};
use super::options::{MAX_BATCH, SessionOptions, check, in_range};
use super::run::Run;
use super::wait::wait;
use crate::Error;
use crate::nn::PixelUnet;
use crate::plan::Plan;
use crate::sampler::Calls;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// What to draw.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Request<'a> {
    /// One a picture: what it shall show; `None` for any.
    pub labels: &'a [Option<u32>],
    /// One a picture. A picture depends on its own seed and label alone, never on its neighbours.
    pub seeds: &'a [u64],
    /// How to get there, from [`Diffusion::calls`](super::Diffusion::calls): made once for many runs, so that a run allocates nothing.
    pub calls: &'a Calls,
    /// Strength of classifier-free guidance (Ho and Salimans 2022): 1 is none, 0 ignores the labels.
    pub guidance_scale: f32,
}

/// The seeds of a batch that starts with `first`: picture `i` has `first + i`.
pub fn batch_seeds(first: u64, n: usize) -> Vec<u64> {
    (0..n as u64).map(|i| first.wrapping_add(i)).collect()
}

/// A seed that nobody chose, below 2^32: short enough to be typed again.
#[cfg(feature = "std")]
#[must_use]
pub fn random_seed() -> u64 {
    use core::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() >> 32
}

/// Everything that runs use; nothing is allocated afterwards. It holds on to its model, and can be sent to another
/// thread.
pub struct Session {
    pub(super) model: Loaded<Info>,
    pub(super) machine: Machine,
    /// Whether there is a plan for twice the batch.
    guided: bool,
    batch: usize,
}

impl Session {
    pub(super) fn new(
        model: Loaded<Info>,
        options: &SessionOptions,
        lent: Option<&'static mut [f32]>,
    ) -> Result<Self, Error> {
        let network = &model.info().network;
        let batch = options.batch;
        in_range("batch", batch, 1, MAX_BATCH)?;
        let guided = options.guidance && network.label_count() > 0;
        let [x, t, out] = network.ports();
        let graphs = Graphs {
            plain: Some(network.graph(batch)?),
            guided: guided.then(|| network.graph(2 * batch)).transpose()?,
            other: None,
            x,
            t,
            out,
        };
        let inputs = Inputs {
            time: match network {
                PixelUnet::Book(_) => Time::Number,
                PixelUnet::Sd(unet, _) => Time::Code(unet.clone().into()),
            },
            ids: vec![None; 2 * batch],
            constants: Vec::new(),
            channels: [network.channels(); 2],
            beside: Vec::new(),
            kept: None,
        };
        let [height, width] = network.size();
        let shape = [height, width, network.channels()];
        let mut noise = Noise::of_pixels();
        noise.seed(NoiseSource::Nijimi, &vec![0; batch]);
        let sizes = Sizes {
            batch,
            each: shape.iter().product(),
            #[cfg(feature = "gpu")]
            range: Some(model.info().range),
            #[cfg(feature = "gpu")]
            rescales: false,
            threads: options.threads,
            allowed: options.memory_limit.unwrap_or(u64::MAX),
            #[cfg(feature = "gpu")]
            device: options.device,
            reserved: (inputs.bytes() + noise.bytes()) as u64,
        };
        let engine = Engine::new(&model.networks().placed, &graphs, &inputs, &sizes, lent)?;
        let output = Output::Pixels(model.info().range);
        let machine = Machine::new(engine, inputs, noise, Beside::default(), output, shape);
        Ok(Self { machine, guided, batch, model })
    }

    /// Values of one picture.
    pub(super) fn picture(&self) -> usize {
        self.machine.each()
    }

    /// The most pictures of one run.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of memory that the session takes, on the machine and on the device, weights not counted.
    pub fn bytes(&self) -> usize {
        self.machine.bytes()
    }

    /// The memory of [`Diffusion::session_in`](super::Diffusion::session_in), for the next session.
    pub fn into_lent(self) -> Option<&'static mut [f32]> {
        self.machine.engine.into_lent()
    }

    /// The plans: for the batch, and, with guidance, for twice the batch.
    pub fn plans(&self) -> &[Plan] {
        self.machine.engine.plans()
    }

    /// One evaluation of the network, for samplers of the caller's own: `x` is `(n, h, w, c)`, `timestep` as the network
    /// knows it (level 1 is the model's `first_timestep`; it may lie between two levels), one label a picture. Returns the network's answer in the
    /// shape of `x`, not looked at for NaN.
    ///
    /// # Errors
    /// More pictures than the batch, an `x` of another size, or an unknown label.
    pub fn predict(&mut self, x: &[f32], timestep: f32, labels: &[Option<u32>]) -> Result<&[f32], Error> {
        wait(self.predict_async(x, timestep, labels))
    }

    /// [`Self::predict`], awaited.
    ///
    /// # Errors
    /// As [`Self::predict`] has.
    pub async fn predict_async(&mut self, x: &[f32], timestep: f32, labels: &[Option<u32>]) -> Result<&[f32], Error> {
        self.set_labels(x, labels)?;
        let Machine { engine, inputs, .. } = &mut self.machine;
        engine.predict(x, timestep, inputs).await
    }

    fn set_labels(&mut self, x: &[f32], labels: &[Option<u32>]) -> Result<(), Error> {
        let n = labels.len();
        in_range("number of pictures", n, 1, self.batch)?;
        in_range("values of x", x.len(), n * self.picture(), n * self.picture())?;
        self.check_labels(labels)?;
        self.machine.inputs.ids.fill(None);
        self.machine.inputs.ids[..n].copy_from_slice(labels);
        Ok(())
    }

    fn check_labels(&self, labels: &[Option<u32>]) -> Result<(), RequestError> {
        let count = self.model.info().network.label_count();
        let wrong = labels.iter().enumerate().find_map(|(i, l)| l.filter(|&l| l as usize >= count).map(|l| (i, l)));
        wrong.map_or(Ok(()), |(picture, label)| Err(RequestError::LabelRange { picture, label, count }))
    }

    /// Starts a run. Fewer pictures than the batch take as long as the full batch. A run may be dropped at any step;
    /// the session can then run again.
    ///
    /// # Errors
    /// A request that the model or this session cannot serve.
    pub fn run<'a>(&'a mut self, request: &Request<'a>) -> Result<Run<'a>, Error> {
        let settings = self.begin(request)?;
        Ok(Run::of_session(&mut self.machine, settings))
    }

    /// As [`Self::run`], with the session's memory for this run alone.
    pub(super) fn into_run(mut self, request: &Request<'_>) -> Result<Run<'static>, Error> {
        let settings = self.begin(request)?;
        Ok(Run::alone(Box::new(self.machine), settings))
    }

    fn begin<'a>(&mut self, request: &Request<'a>) -> Result<RunSettings<'a>, Error> {
        let n = request.labels.len();
        if n != request.seeds.len() {
            return Err(RequestError::Lengths { labels: n, seeds: request.seeds.len() }.into());
        }
        in_range("number of pictures", n, 1, self.batch)?;
        let finite = request.guidance_scale.is_finite();
        check(finite, "guidance_scale", request.guidance_scale, "a finite number")?;
        self.check_labels(request.labels)?;

        let scale = request.guidance_scale;
        let conditional = request.labels.iter().any(Option::is_some);
        let guided = conditional && scale != 1.0 && scale != 0.0;
        if guided && !self.guided {
            return Err(RequestError::GuidanceNotPlanned { scale }.into());
        }
        // The second half stays without labels; with scale 0 all of them do.
        let ids = &mut self.machine.inputs.ids;
        ids.fill(None);
        if scale != 0.0 {
            ids[..n].copy_from_slice(request.labels);
        }
        let settings = RunSettings {
            n,
            kind: if guided { Kind::Guided } else { Kind::Plain },
            guidance_scale: scale,
            image_guidance_scale: 1.0,
            guidance_rescale: 0.0,
            guidance_truncation: f32::INFINITY,
            cache_interval: 1,
            skip: None,
            calls: request.calls.calls().into(),
            first_timestep: self.model.info().first_timestep,
            first_draw: 0,
        };
        self.machine.start(NoiseSource::Nijimi, request.seeds, request.calls.init_noise_sigma())?;
        Ok(settings)
    }
}
