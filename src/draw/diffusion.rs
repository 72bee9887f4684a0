//! Pictures from a diffusion model: from a weight file and the command line to bytes.

use crate::cli::{MachineOptions, SamplingOptions, Subject};
use crate::draw::artist::{self, Artist, Done, Drawing, Round, failed, ms};
use crate::draw::backend::{self, Loaded};
use crate::draw::progress::Progress;
use crate::draw::prompt;
use crate::draw::solver;
use crate::fault::Fault;
use crate::file;
use crate::file::grid::Size;
use crate::file::source::Source;
use nijimi_cli::print::tell;
use nijimi_pictures::{Extras, Parameters, Sampling};
use nijimi_runtime::Error;
use nijimi_runtime::gpu::Gpu;
use nijimi_runtime::model::{
    Classifier, ClassifierGuided, Device, Diffusion, GuidedRequest, Request, Session, SessionOptions,
};
use nijimi_runtime::sampler::{Calls, Solver};
use std::path::Path;
use std::time::{Duration, Instant};

/// A model, ready to draw.
pub struct PixelArtist<'a> {
    sampling: &'a SamplingOptions,
    machine: &'a MachineOptions,
    on: Loaded<Diffusion>,
    /// The classifier that guides it, and its strength.
    classifier: Option<(Classifier, f32)>,
    /// Where it came from.
    source: String,
    started: Instant,
    loaded: Duration,
}

impl<'a> PixelArtist<'a> {
    /// Loads the weight file where the command line says.
    pub fn load(
        source: &Source,
        sampling: &'a SamplingOptions,
        machine: &'a MachineOptions,
        started: Instant,
    ) -> Result<Self, Fault> {
        let file = source.file()?;
        let pipeline = |device: &Device| Diffusion::load(&file, device);
        let on = backend::load(machine.place, machine.tune, pipeline, |e| source.wrong(e))?;
        let classifier = sampling.classifier.as_deref().map(|path| classifier(path, &on.device)).transpose()?;
        let classifier = classifier.map(|c| (c, sampling.classifier_scale.unwrap_or(1.0)));
        Ok(Self { sampling, machine, on, classifier, source: source.name.clone(), started, loaded: started.elapsed() })
    }

    fn name(&self) -> String {
        let name = &self.on.model.info().name;
        if name.is_empty() { self.source.clone() } else { name.clone() }
    }
}

impl Artist for PixelArtist<'_> {
    fn size(&self) -> Size {
        let network = &self.on.model.info().network;
        let [height, width] = network.size();
        (width, height, network.channels())
    }

    fn drawing(&self, subject: &Subject, seed: u64) -> Result<Drawing, Fault> {
        let options = self.sampling;
        let info = self.on.model.info();
        // Led by a classifier, the model is not told the label: the classifier is.
        let label = |name: &str| match &self.classifier {
            Some((classifier, _)) => classifier.label(name),
            None => self.on.model.label(name),
        };
        let words = prompt::names(&subject.prompts().join(","), |name| label(name).is_ok());
        let ids = words.iter().map(|word| label(word).map(Some));
        let ids = ids.collect::<Result<Vec<_>, _>>().map_err(|e| Fault::Input(e.to_string()))?;
        let labels = if ids.is_empty() { vec![None] } else { ids };

        let asked = solver::solver(options.method.as_deref())?.unwrap_or(info.defaults.solver);
        let steps = options.steps.unwrap_or_else(|| info.steps(asked));
        let mut settings = info.settings(asked, steps).map_err(|e| Fault::Input(e.to_string()))?;
        solver::set_eta(&mut settings, options)?;
        settings.sigmas = solver::sigmas(options)?.unwrap_or(settings.sigmas);
        if options.no_clip {
            (settings.clip, settings.epsilon_from_x0) = (None, false);
        }
        let calls = Calls::new(&info.schedule, &settings).map_err(|e| solver::unfit(options, None, e))?;

        // Without a label there is nothing to be guided to.
        let guided = labels.iter().any(Option::is_some) && self.classifier.is_none();
        let guidance_scale = if guided { options.cfg_scale.unwrap_or(info.defaults.guidance_scale) } else { 1.0 };
        let eta = if let Solver::Ddim { eta, .. } = settings.solver { eta } else { 0.0 };
        let (width, height, _) = self.size();
        let classifier =
            options.classifier.as_deref().map(file::name).zip(self.classifier.as_ref().map(|(_, gamma)| *gamma));
        let sampling = Sampling { steps, sampler: asked.to_string(), eta, guidance_scale, classifier };
        let parameters = Parameters {
            prompt: words.join(", "),
            negative: String::new(),
            sampling: Some(sampling),
            seed,
            batch: subject.batch,
            width,
            height,
            model: self.name(),
            scale: None,
            extras: Extras { schedule: options.scheduler.clone(), no_clip: options.no_clip, ..Extras::default() },
        };
        Ok(Drawing { labels, words, calls: Some(calls), parameters })
    }

    fn check_constant(&self) -> Result<(), Error> {
        self.on.model.check_constant(&SessionOptions { threads: self.machine.threads, ..SessionOptions::default() })
    }

    fn draw(&self, drawing: &Drawing, done: Done<'_>) -> Result<(), Fault> {
        let (Some(calls), Some(sampling)) = (&drawing.calls, &drawing.parameters.sampling) else {
            return Err(Fault::Internal("a drawing without steps".into()));
        };
        let guidance_scale = sampling.guidance_scale;
        let batch = drawing.round();
        let options = SessionOptions {
            batch,
            guidance: ![0.0, 1.0].contains(&guidance_scale),
            threads: self.machine.threads,
            ..SessionOptions::default()
        };
        let planning = Instant::now();
        let session = self.on.model.session(&options).map_err(failed)?;
        let arena = session.plans().iter().map(|plan| plan.arena_len() * 4).max().unwrap_or(0);
        let mut session = match &self.classifier {
            None => Way::Alone(Box::new(session)),
            Some((classifier, gamma)) => {
                let classifier = classifier.session(&options).map_err(failed)?;
                let led = ClassifierGuided::new(session, classifier).map_err(|e| Fault::Input(e.to_string()))?;
                Way::Led(Box::new(led), *gamma)
            }
        };
        let planning = planning.elapsed();
        // Now that all pipelines are made, and before a long run can be interrupted.
        let stored = self.on.gpu().map_or(Ok(()), Gpu::store_cache);
        if self.machine.verbose {
            let bytes = session.bytes();
            let what = if self.on.gpu().is_some() { "pipelines and session made" } else { "planned" };
            tell(&[
                format!("memory: {bytes} bytes, of which {arena} the plan's arena, for {batch} pictures"),
                format!("loaded in {}, {what} in {}", ms(self.loaded), ms(planning)),
            ]);
            if let Err(e) = stored {
                tell(&[format!("compiled pipelines are not kept for the next start: {e}")]);
            }
        }

        let (width, height, channels) = self.size();
        let picture = width * height * channels;
        let mut bytes = vec![0; batch * picture];
        let mut progress = Progress::new(drawing.rounds() * sampling.steps);
        for round in drawing.each_round() {
            let bytes = &mut bytes[..round.pictures.len() * picture];
            session.draw(&round, calls, guidance_scale, &mut progress, bytes)?;
            if self.machine.verbose && round.pictures.start == 0 {
                // The line that says how far it is makes way.
                progress.clear();
                tell(&[format!("first picture after {}", ms(self.started.elapsed()))]);
            }
            for (i, picture) in round.pictures.zip(bytes.chunks_exact(picture)) {
                done(i, picture)?;
            }
        }
        let step = progress.step_time();
        drop(progress);
        if self.machine.verbose {
            tell(&[format!("{} a step of {batch} pictures", ms(step))]);
        }
        Ok(())
    }

    fn describe(&self) {
        let info = self.on.model.info();
        let labels = format!(", labels: {}", info.labels.len());
        artist::describe(&self.name(), &self.source, &info.license, self.size(), &labels, self.on.model.weight_bytes());
        self.on.describe(self.machine.threads);
    }
}

/// How pictures are drawn.
enum Way {
    Alone(Box<Session>),
    /// With the classifier's strength.
    Led(Box<ClassifierGuided>, f32),
}

impl Way {
    fn bytes(&self) -> usize {
        match self {
            Self::Alone(session) => session.bytes(),
            Self::Led(session, _) => session.bytes(),
        }
    }

    /// Draws a round into `bytes`.
    fn draw(
        &mut self,
        Round { labels, seeds, .. }: &Round,
        calls: &Calls,
        guidance_scale: f32,
        progress: &mut Progress,
        bytes: &mut [u8],
    ) -> Result<(), Fault> {
        let run = match self {
            Self::Alone(session) => session.run(&Request { labels, seeds, calls, guidance_scale }),
            Self::Led(session, gamma) => {
                session.run(&GuidedRequest { labels, seeds, calls, gamma: *gamma, conditional: false })
            }
        };
        let mut run = run.map_err(failed)?;
        while run.step().map_err(failed)?.is_some() {
            progress.step();
        }
        run.write_u8(bytes).map_err(failed)
    }
}

/// Loads a classifier beside the model that it guides.
fn classifier(path: &Path, device: &Device) -> Result<Classifier, Fault> {
    let source = Source::open(Some(path))?;
    Classifier::load(&source.file()?, device).map_err(|e| source.wrong(e))
}
