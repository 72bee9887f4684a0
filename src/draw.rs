//! Everything that touches the runtime: from a weight file and the command line to pictures as bytes.

use crate::backend::{self, Loaded};
use crate::cli::Cli;
use crate::fault::Fault;
use crate::parameters::Parameters;
use crate::progress::{Progress, tell};
use crate::{default_model, prompt};
use nijimi_runtime::Error;
use nijimi_runtime::cpu::Isa;
use nijimi_runtime::gguf::{self, File, MappedFile};
use nijimi_runtime::gpu::Gpu;
use nijimi_runtime::model::{Info, Request, RequestError, SessionOptions};
use nijimi_runtime::plan::PlanError;
use nijimi_runtime::sampler::{Config, Method, Sampler};
use std::time::{Duration, Instant};

/// Pictures drawn at a time: more would need more memory and be no faster.
const WORKING_SET: usize = 32;

/// A model, ready to draw.
pub struct Model {
    on: Loaded,
    /// Where it came from.
    source: String,
    started: Instant,
    loaded: Duration,
}

/// What to draw, and how.
pub struct Drawing {
    /// One a word; a single `None` for whatever comes.
    labels: Vec<Option<u32>>,
    /// Their names; none for whatever comes.
    pub words: Vec<String>,
    sampler: Sampler,
    guidance_scale: f32,
    /// The first picture's.
    pub parameters: Parameters,
}

impl Model {
    /// Loads the weight file that the command line names, or the one that is part of the program, where it says.
    pub fn load(cli: &Cli) -> Result<Self, Fault> {
        let started = Instant::now();
        let model = |on, source| Self { on, source, started, loaded: started.elapsed() };
        let Some(path) = cli.model.as_deref() else {
            let wrong = |e| Fault::Internal(format!("the built-in weights are damaged: {e}; use others with -m"));
            let on = load(cli, default_model::BYTES, wrong)?;
            return Ok(model(on, default_model::NAME.into()));
        };
        let source = path.display().to_string();
        let file = MappedFile::open(path).map_err(|e| Fault::Input(e.to_string()))?;
        let on = load(cli, file.bytes(), |e| Fault::Input(format!("{source}: {e}")))?;
        Ok(model(on, source))
    }

    /// Width, height and channels of its pictures.
    pub fn size(&self) -> (usize, usize, usize) {
        let network = &self.on.pipeline.info().network;
        (network.width, network.height, network.in_channels)
    }

    fn name(&self) -> String {
        let name = &self.on.pipeline.info().name;
        if name.is_empty() { self.source.clone() } else { name.clone() }
    }

    /// Works out what the command line asks of this model.
    pub fn drawing(&self, cli: &Cli, seed: u64) -> Result<Drawing, Fault> {
        let info = self.on.pipeline.info();
        let words = prompt::names(cli.prompt(), |name| self.on.pipeline.label(name).is_ok());
        let ids = words.iter().map(|word| self.on.pipeline.label(word).map(Some));
        let ids = ids.collect::<Result<Vec<_>, _>>().map_err(|e| Fault::Input(e.to_string()))?;
        let labels = if ids.is_empty() { vec![None] } else { ids };

        let method = method(cli, info.defaults.method)?;
        let steps = cli.steps.unwrap_or_else(|| steps(info, method));
        let wrong = |e: Error| Fault::Usage(format!("{e} (--sampling-method, --steps, --eta)"));
        let mut config = self.on.pipeline.sampler_config(steps);
        if cli.no_clip {
            config = Config { clip: None, epsilon_from_x0: false, ..config };
        }
        let sampler = Sampler::new(&info.schedule, method, &config).map_err(|e| wrong(e.into()))?;

        // Without a label there is nothing to be guided to.
        let guided = labels.iter().any(Option::is_some);
        let guidance_scale = if guided { cli.cfg_scale.unwrap_or(info.defaults.guidance_scale) } else { 1.0 };
        let eta = if let Method::Ddim { eta, .. } = method { eta } else { 0.0 };
        let (width, height, _) = self.size();
        let parameters = Parameters {
            prompt: words.join(", "),
            steps,
            sampler: method.name().to_uppercase(),
            eta,
            guidance_scale,
            seed,
            batch: cli.batch,
            width,
            height,
            model: self.name(),
        };
        Ok(Drawing { labels, words, sampler, guidance_scale, parameters })
    }

    /// Draws, and hands each picture to `done` with its number, counted word by word: `(h, w, c)` bytes. Memory does
    /// not depend on the number of pictures.
    pub fn draw(
        &self,
        drawing: &Drawing,
        cli: &Cli,
        mut done: impl FnMut(usize, &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let total = drawing.pictures();
        let rounds = total.div_ceil(WORKING_SET);
        // Rounds of equal size: a session's time is that of its full batch.
        let options = SessionOptions {
            batch: total.div_ceil(rounds),
            guidance: ![0.0, 1.0].contains(&drawing.guidance_scale),
            threads: cli.threads,
            ..SessionOptions::default()
        };
        let planning = Instant::now();
        let mut session = self.on.pipeline.session(&options).map_err(internal)?;
        let planning = planning.elapsed();
        // Now that all pipelines are made, and before a long run can be interrupted.
        let stored = self.on.gpu.as_ref().map_or(Ok(()), Gpu::store_cache);
        if cli.verbose {
            let plan = session.plans().iter().map(|plan| plan.arena_len() * 4).max().unwrap_or(0);
            let session = session.bytes();
            let what = if self.on.gpu.is_some() { "pipelines and session made" } else { "planned" };
            tell(&[
                format!("memory: {session} bytes, of which {plan} the plan's arena, for {} pictures", options.batch),
                format!("loaded in {}, {what} in {}", ms(self.loaded), ms(planning)),
            ]);
            if let Err(e) = stored {
                tell(&[format!("compiled pipelines are not kept for the next start: {e}")]);
            }
        }

        let (width, height, channels) = self.size();
        let picture = width * height * channels;
        let mut bytes = vec![0; options.batch * picture];
        let mut progress = Progress::new(rounds * drawing.parameters.steps);
        for first in (0..total).step_by(options.batch) {
            let round = first..total.min(first + options.batch);
            let labels: Vec<_> = round.clone().map(|i| drawing.labels[i / drawing.parameters.batch]).collect();
            let seeds: Vec<_> = round.clone().map(|i| drawing.seed(i)).collect();
            let (sampler, guidance_scale) = (&drawing.sampler, drawing.guidance_scale);
            let request = Request { labels: &labels, seeds: &seeds, sampler, guidance_scale };
            let mut run = session.run(&request).map_err(internal)?;
            while run.step().map_err(failed)?.is_some() {
                progress.step();
            }
            let bytes = &mut bytes[..round.len() * picture];
            run.write_u8(bytes).map_err(failed)?;
            if cli.verbose && first == 0 {
                // The line that says how far it is makes way.
                progress.clear();
                tell(&[format!("first picture after {}", ms(self.started.elapsed()))]);
            }
            for (i, picture) in round.zip(bytes.chunks_exact(picture)) {
                done(i, picture)?;
            }
        }
        let step = progress.step_time();
        drop(progress);
        if cli.verbose {
            tell(&[format!("{} a step of {} pictures", ms(step), options.batch)]);
        }
        Ok(())
    }

    /// Writes what `-v` shows before anything is drawn.
    pub fn describe(&self, cli: &Cli) {
        let info = self.on.pipeline.info();
        let (width, height, channels) = self.size();
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if cli.threads == 0 { cores() } else { cli.threads };
        let license = if info.license.is_empty() { "no licence stated" } else { &info.license };
        let version = env!("CARGO_PKG_VERSION");
        tell(&[
            format!("version {version}, GGUF version {}", gguf::VERSION),
            format!("model: {} from {}, {license}", self.name(), self.source),
            format!("pictures: {width}x{height}x{channels}, labels: {}", info.labels.len()),
            format!("weights: {} bytes", self.on.pipeline.weight_bytes()),
        ]);
        match &self.on {
            Loaded { gpu: Some(gpu), opened, .. } => tell(&[format!("GPU: {}, opened in {}", gpu.name(), ms(*opened))]),
            Loaded { instead, .. } => {
                if let Some(reason) = instead {
                    tell(&[format!("no GPU is used: {reason}")]);
                }
                tell(&[format!("CPU: {}, threads: {threads}", Isa::detect())]);
            }
        }
    }
}

impl Drawing {
    /// How many, of all words.
    pub fn pictures(&self) -> usize {
        self.labels.len() * self.parameters.batch
    }

    /// The seed of picture `index`: each word has the same seeds, so that a column of a grid can be compared.
    pub fn seed(&self, index: usize) -> u64 {
        self.parameters.seed.wrapping_add((index % self.parameters.batch) as u64)
    }

    /// Picture `index` alone.
    pub fn alone(&self, index: usize) -> Parameters {
        let prompt = self.words.get(index / self.parameters.batch).cloned().unwrap_or_default();
        Parameters { prompt, seed: self.seed(index), batch: 1, ..self.parameters.clone() }
    }
}

fn load(cli: &Cli, bytes: &[u8], wrong: impl Fn(Error) -> Fault) -> Result<Loaded, Fault> {
    let file = File::new_checked(bytes).map_err(|e| wrong(e.into()))?;
    backend::load(cli.place(), cli.tune, &file, wrong)
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn method(cli: &Cli, default: Method) -> Result<Method, Fault> {
    let method = match cli.sampling_method.as_deref() {
        None => default,
        Some(name) => Method::from_name(name)
            .ok_or_else(|| Fault::Usage(format!("no --sampling-method {name:?}: there are ddpm and ddim")))?,
    };
    match (method, cli.eta) {
        (Method::Ddim { set_alpha_to_one, .. }, Some(eta)) => Ok(Method::Ddim { eta, set_alpha_to_one }),
        (_, Some(_)) => Err(Fault::Usage("--eta is for ddim: leave it out, or add --sampling-method ddim".into())),
        (method, None) => Ok(method),
    }
}

/// The number of steps that suits a method: the file knows it for its own; DDPM is meant to take every level.
fn steps(info: &Info, method: Method) -> usize {
    let levels = info.schedule.steps();
    match method {
        _ if method.name() == info.defaults.method.name() => info.defaults.steps,
        Method::Ddpm { .. } => levels,
        _ => levels.min(50),
    }
}

fn internal(e: Error) -> Fault {
    match e {
        Error::Gpu(e) => e.into(),
        // More than the device binds at once; a CPU has no such limit.
        Error::Plan(PlanError::Activation { .. }) => Fault::Device(e.to_string()),
        e => Fault::Internal(e.to_string()),
    }
}

/// Numbers that are none come from damaged weights, or from guidance that is too strong.
fn failed(e: Error) -> Fault {
    match e {
        Error::Request(RequestError::NotFinite { .. }) => {
            Fault::Input(format!("{e}: the weights are damaged, or --cfg-scale is too large"))
        }
        e => internal(e),
    }
}
