//! Pictures from a latent diffusion model and a prompt.

use crate::artist::{self, Artist, Done, Drawing, failed, internal, ms};
use crate::backend::{self, Loaded};
use crate::cli::{Cli, none_of};
use crate::fault::Fault;
use crate::grid::Size;
use crate::parameters::{Extras, Parameters, Sampling};
use crate::progress::{Progress, tell};
use crate::source::Source;
use nijimi_runtime::Error;
use nijimi_runtime::gpu::Gpu;
use nijimi_runtime::model::{LatentDiffusion, LatentRequest, RequestError, SessionOptions};
use nijimi_runtime::sampler::{Calls, Sigmas, Solver};
use std::time::{Duration, Instant};

/// Steps and guidance if nothing is said.
const STEPS: usize = 20;
const GUIDANCE: f32 = 7.0;

/// A model, ready to draw.
pub struct TextToImage {
    on: Loaded<LatentDiffusion>,
    /// Where it came from.
    source: String,
    /// Width and height of the pictures.
    size: (usize, usize),
    /// All steps, worked out.
    calls: Calls,
    started: Instant,
    loaded: Duration,
}

impl TextToImage {
    /// Loads the weight file where the command line says.
    pub fn load(source: &Source, cli: &Cli, started: Instant) -> Result<Self, Fault> {
        let given =
            [("--classifier", cli.classifier.is_some()), ("--eta", cli.eta.is_some()), ("--no-clip", cli.no_clip)];
        none_of(&given, "models of pixels: ")?;
        let file = source.file()?;
        let model = |gpu: Option<&Gpu>| match gpu {
            Some(gpu) => LatentDiffusion::load_on(gpu, &file),
            None => LatentDiffusion::load(&file),
        };
        let on = backend::load(cli.place(), cli.tune, model, |e| source.wrong(e))?;
        let side = on.model.info().sample_size * on.model.factor();
        let size = (cli.width.unwrap_or(side), cli.height.unwrap_or(side));
        let calls = calls(&on.model, cli)?;
        Ok(Self { on, source: source.name.clone(), size, calls, started, loaded: started.elapsed() })
    }

    fn name(&self) -> String {
        let name = &self.on.model.info().name;
        if name.is_empty() { self.source.clone() } else { name.clone() }
    }
}

/// The way from noise to picture that is asked for, or the model's own.
fn calls(model: &LatentDiffusion, cli: &Cli) -> Result<Calls, Fault> {
    let unknown =
        |option: &str, name: &str, names: &str| Fault::Usage(format!("no {option} {name:?}: there are {names}"));
    let solver = cli
        .sampling_method
        .as_deref()
        .map(|name| Solver::from_name(name).ok_or_else(|| unknown("--sampling-method", name, Solver::NAMES)));
    let sigmas = cli
        .scheduler
        .as_deref()
        .map(|name| Sigmas::from_name(name).ok_or_else(|| unknown("--scheduler", name, Sigmas::NAMES)));
    let calls = model.calls_by(solver.transpose()?, sigmas.transpose()?, cli.steps.unwrap_or(STEPS));
    calls.map_err(|e| Fault::Usage(format!("{e} (--sampling-method, --scheduler, --steps)")))
}

impl Artist for TextToImage {
    fn size(&self) -> Size {
        (self.size.0, self.size.1, self.on.model.info().autoencoder.out_channels)
    }

    fn drawing(&self, cli: &Cli, seed: u64) -> Result<Drawing, Fault> {
        let scheduler = &self.on.model.info().scheduler;
        let mut sampler = cli.sampling_method.clone().unwrap_or_else(|| scheduler.clone());
        if let Some(name) = &cli.scheduler {
            sampler = format!("{sampler} {name}");
        }
        let sampling = Sampling {
            steps: cli.steps.unwrap_or(STEPS),
            sampler,
            eta: 0.0,
            guidance_scale: cli.cfg_scale.unwrap_or(GUIDANCE),
            classifier: None,
        };
        let parameters = Parameters {
            prompt: cli.prompt().to_owned(),
            negative: cli.negative_prompt.clone().unwrap_or_default(),
            sampling: Some(sampling),
            seed,
            batch: cli.batch,
            width: self.size.0,
            height: self.size.1,
            model: self.name(),
            extras: Extras::default(),
        };
        Ok(Drawing { labels: vec![None], words: Vec::new(), sampler: None, parameters })
    }

    fn draw(&self, drawing: &Drawing, cli: &Cli, done: Done<'_>) -> Result<(), Fault> {
        let total = drawing.pictures();
        let mut progress = Progress::new(total * drawing.parameters.sampling.as_ref().map_or(0, |s| s.steps));
        // One at a time: a picture of usual size keeps all cores busy, and two need twice the memory.
        for index in 0..total {
            let request = LatentRequest {
                negatives: vec![cli.negative_prompt.as_deref()],
                guidance_scale: cli.cfg_scale.unwrap_or(GUIDANCE),
                guidance_rescale: cli.cfg_rescale.unwrap_or(0.0),
                options: SessionOptions { threads: cli.threads, ..SessionOptions::default() },
                ..LatentRequest::new(cli.prompt(), drawing.seed(index), [self.size.1, self.size.0], &self.calls)
            };
            let planning = Instant::now();
            let mut run = self.on.model.run(&request).map_err(asked)?;
            if cli.verbose && index == 0 {
                tell(&[format!(
                    "loaded in {}, prompt read and planned in {}",
                    ms(self.loaded),
                    ms(planning.elapsed())
                )]);
            }
            while run.step().map_err(failed)?.is_some() {
                progress.step();
            }
            let decoding = Instant::now();
            let bytes = run.to_u8().map_err(failed)?;
            if cli.verbose && index == 0 {
                progress.clear();
                tell(&[
                    format!("{} a step, decoded in {}", ms(progress.step_time()), ms(decoding.elapsed())),
                    format!("first picture after {}", ms(self.started.elapsed())),
                ]);
            }
            done(index, &bytes)?;
        }
        Ok(())
    }

    fn describe(&self, cli: &Cli) {
        let info = self.on.model.info();
        let family = format!(", {}", info.family);
        artist::describe(&self.name(), &self.source, &info.license, self.size(), &family, self.on.model.weight_bytes());
        self.on.describe(cli.threads);
    }
}

/// A size that cannot be is the user's.
fn asked(e: Error) -> Fault {
    match e {
        Error::Request(e @ RequestError::Range { .. }) => Fault::Usage(format!("{e} (-W, -H, --cfg-scale)")),
        e => internal(e),
    }
}
