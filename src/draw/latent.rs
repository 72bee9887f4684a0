//! Pictures from an autoencoder: each out of one latent vector, without steps.

use crate::cli::{MachineOptions, Subject};
use crate::draw::artist::{self, Artist, Done, Drawing, failed, ms};
use crate::draw::backend::{self, Loaded};
use crate::fault::Fault;
use crate::file::grid::Size;
use crate::file::source::Source;
use nijimi_cli::print::tell;
use nijimi_pictures::{Extras, Parameters};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::gpu::Gpu;
use nijimi_runtime::model::{Device, Hvae, HvaeSession, SessionOptions, Vae, VaeSession};
use std::time::{Duration, Instant};

/// The two kinds of autoencoder.
enum Model {
    Vae(Vae),
    Hvae(Hvae),
}

enum Session {
    Vae(VaeSession),
    Hvae(HvaeSession),
}

/// A model, ready to draw.
pub struct Latent<'a> {
    machine: &'a MachineOptions,
    on: Loaded<Model>,
    /// Where it came from.
    source: String,
    started: Instant,
    loaded: Duration,
}

impl<'a> Latent<'a> {
    /// Loads the weight file of a VAE where the command line says.
    pub fn vae(source: &Source, machine: &'a MachineOptions, started: Instant) -> Result<Self, Fault> {
        Self::load(source, machine, started, |file, device| Vae::load(file, device).map(Model::Vae))
    }

    /// The same of a hierarchical one.
    pub fn hvae(source: &Source, machine: &'a MachineOptions, started: Instant) -> Result<Self, Fault> {
        Self::load(source, machine, started, |file, device| Hvae::load(file, device).map(Model::Hvae))
    }

    fn load(
        source: &Source,
        machine: &'a MachineOptions,
        started: Instant,
        model: impl Fn(&File<'_>, &Device) -> Result<Model, Error>,
    ) -> Result<Self, Fault> {
        let file = source.file()?;
        let on = backend::load(machine.place, machine.tune, |device| model(&file, device), |e| source.wrong(e))?;
        Ok(Self { machine, on, source: source.name.clone(), started, loaded: started.elapsed() })
    }

    fn name(&self) -> String {
        let name = match &self.on.model {
            Model::Vae(model) => &model.info().name,
            Model::Hvae(model) => &model.info().name,
        };
        if name.is_empty() { self.source.clone() } else { name.clone() }
    }

    fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        match &self.on.model {
            Model::Vae(model) => model.session(options).map(Session::Vae),
            Model::Hvae(model) => model.session(options).map(Session::Hvae),
        }
    }
}

impl Session {
    fn bytes(&self) -> usize {
        match self {
            Self::Vae(session) => session.bytes(),
            Self::Hvae(session) => session.bytes(),
        }
    }

    fn draw(&mut self, seeds: &[u64]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Vae(session) => session.sample_u8(seeds),
            Self::Hvae(session) => session.sample_u8(seeds),
        }
    }
}

impl Artist for Latent<'_> {
    fn size(&self) -> Size {
        match &self.on.model {
            Model::Vae(model) => {
                let network = &model.info().network;
                (network.width, network.height, network.channels)
            }
            Model::Hvae(model) => {
                let network = &model.info().network;
                (network.width, network.height, network.channels)
            }
        }
    }

    fn drawing(&self, subject: &Subject, seed: u64) -> Result<Drawing, Fault> {
        if !subject.prompt.trim().is_empty() {
            let name = self.name();
            return Err(Fault::Input(format!("{name} has no labels: leave out the prompt")));
        }
        let (width, height, _) = self.size();
        let (prompt, negative, batch, model) = (String::new(), String::new(), subject.batch, self.name());
        let extras = Extras::default();
        let parameters =
            Parameters { prompt, negative, sampling: None, seed, batch, width, height, model, scale: None, extras };
        Ok(Drawing { labels: vec![None], words: Vec::new(), calls: None, parameters })
    }

    fn check_constant(&self) -> Result<(), Error> {
        let options = SessionOptions { threads: self.machine.threads, ..SessionOptions::default() };
        match &self.on.model {
            Model::Vae(model) => model.check_constant(&options),
            Model::Hvae(model) => model.check_constant(&options),
        }
    }

    fn draw(&self, drawing: &Drawing, done: Done<'_>) -> Result<(), Fault> {
        let options =
            SessionOptions { batch: drawing.round(), threads: self.machine.threads, ..SessionOptions::default() };
        let planning = Instant::now();
        let mut session = self.session(&options).map_err(failed)?;
        let planning = planning.elapsed();
        let stored = self.on.gpu().map_or(Ok(()), Gpu::store_cache);
        if self.machine.verbose {
            tell(&[
                format!("memory: {} bytes for {} pictures", session.bytes(), options.batch),
                format!("loaded in {}, session made in {}", ms(self.loaded), ms(planning)),
            ]);
            if let Err(e) = stored {
                tell(&[format!("compiled pipelines are not kept for the next start: {e}")]);
            }
        }
        let (width, height, channels) = self.size();
        for round in drawing.each_round() {
            let bytes = session.draw(&round.seeds).map_err(failed)?;
            if self.machine.verbose && round.pictures.start == 0 {
                tell(&[format!("first picture after {}", ms(self.started.elapsed()))]);
            }
            for (i, picture) in round.pictures.zip(bytes.chunks_exact(width * height * channels)) {
                done(i, picture)?;
            }
        }
        Ok(())
    }

    fn describe(&self) {
        let (license, bytes) = match &self.on.model {
            Model::Vae(model) => (&model.info().license, model.weight_bytes()),
            Model::Hvae(model) => (&model.info().license, model.weight_bytes()),
        };
        artist::describe(&self.name(), &self.source, license, self.size(), "", bytes);
        self.on.describe(self.machine.threads);
    }
}
