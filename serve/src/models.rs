//! The models that are served: what their files say, known from the start; weights are loaded when they are first drawn with.

use crate::ServeError;
use crate::refusal::Refusal;
use nijimi_runtime::model::{Choice, Device, Info, LatentInfo, LatentPlan, ModelKind, PlanRequest, Stored};
use std::sync::{Arc, Mutex, PoisonError};

/// A weight file, and the name by which clients ask for it.
pub struct ModelFile {
    /// As in `"model": "emoji"`.
    pub name: String,
    /// Its bytes.
    pub stored: Arc<dyn Stored>,
}

/// A model of the server's.
pub struct Entry {
    pub name: String,
    pub stored: Arc<dyn Stored>,
    pub about: About,
    /// Plans that were made: the same few are asked for again and again.
    plans: Mutex<Vec<(Asked, Fitting)>>,
}

/// What its file says.
pub enum About {
    /// It draws what a prompt says.
    Prompts(Box<LatentInfo>),
    /// It draws labels, or anything.
    Labels(Box<Info>),
}

/// What decides how much memory a run of a prompt takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub size: [usize; 2],
    pub guided: bool,
    pub windows: usize,
    pub encodes: bool,
}

/// How a run fits into the memory that there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fitting {
    /// The most pictures at once.
    pub pictures: usize,
    /// Bytes with weights, at so many.
    pub bytes: u64,
    /// Whether the model's parts stay in memory, and whether pictures are decoded in tiles.
    pub choice: Choice,
}

/// What plans are made for.
#[derive(Clone)]
pub struct Room {
    pub device: Device,
    /// Threads of the CPU; 0 for one a core.
    pub threads: usize,
    /// Bytes that weights and runs may take; any, if that is not known.
    pub memory: Option<u64>,
    /// The most pictures of a run.
    pub batch: usize,
}

impl Entry {
    fn new(ModelFile { name, stored }: ModelFile) -> Result<Self, ServeError> {
        let wrong = |message: String| ServeError::Model { name: name.clone(), message };
        let about = (|| {
            let file = stored.file()?;
            Ok(match ModelKind::of(&file)? {
                ModelKind::TextToImage => Some(About::Prompts(LatentInfo::read(&file)?.into())),
                ModelKind::Diffusion => Some(About::Labels(Info::read(&file)?.into())),
                _ => None,
            })
        })();
        let about = about.map_err(|e: nijimi_runtime::Error| wrong(e.to_string()))?;
        let about = about.ok_or_else(|| wrong("it draws no pictures step by step: leave it out".into()))?;
        Ok(Self { name, stored, about, plans: Mutex::default() })
    }

    /// What the file calls it, for the texts of pictures.
    pub fn title(&self) -> &str {
        let name = match &self.about {
            About::Prompts(info) => &info.name,
            About::Labels(info) => &info.name,
        };
        if name.is_empty() { &self.name } else { name }
    }

    /// Height, width and channels of its pictures, if nothing is said.
    pub fn shape(&self) -> [usize; 3] {
        match &self.about {
            About::Prompts(info) => {
                let [height, width] = info.size();
                [height, width, info.autoencoder.out_channels()]
            }
            About::Labels(info) => {
                let [height, width] = info.network.size();
                [height, width, info.network.channels()]
            }
        }
    }

    /// How a run of prompts fits, planned from the file's header alone.
    pub fn fitting(&self, info: &LatentInfo, asked: Asked, room: &Room) -> Result<Fitting, Refusal> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, fitting)) = plans.iter().find(|(known, _)| *known == asked) {
            return Ok(*fitting);
        }
        let fitting = self.plan(info, asked, room)?;
        if plans.len() == 64 {
            plans.remove(0);
        }
        plans.push((asked, fitting));
        Ok(fitting)
    }

    /// With all of the model in memory and as many pictures as may be, or, if not even one fits so, one, part by part.
    fn plan(&self, info: &LatentInfo, asked: Asked, room: &Room) -> Result<Fitting, Refusal> {
        let file = self.stored.file().map_err(|e| Refusal::Internal(e.to_string()))?;
        #[cfg(feature = "gpu")]
        let gpu = if let Device::Gpu(gpu) = &room.device { Some((gpu, Default::default())) } else { None };
        let plan = |pictures, stays| {
            let request = PlanRequest {
                pictures,
                guided: asked.guided,
                windows: asked.windows,
                encodes: asked.encodes,
                stays,
                threads: room.threads,
                #[cfg(feature = "gpu")]
                gpu,
                ..PlanRequest::new(asked.size)
            };
            let plan = LatentPlan::new(&file, info, &request)?;
            let choice = match room.memory {
                Some(bytes) => plan.fits(bytes)?,
                None => plan.choices().next().unwrap_or_default(),
            };
            Ok::<_, nijimi_runtime::Error>(Fitting { pictures, bytes: plan.peak(&choice), choice })
        };
        let mut pictures = room.batch.max(1);
        while pictures > 1 {
            match plan(pictures, true) {
                // Tiles would make other pictures of the same seed.
                Ok(fitting) if fitting.choice.tiling.is_none() => return Ok(fitting),
                _ => pictures /= 2,
            }
        }
        plan(1, true).or_else(|_| plan(1, false)).map_err(Refusal::from)
    }
}

/// All models, the one that draws if none is named first.
pub struct Models(Vec<Arc<Entry>>);

impl Models {
    pub fn new(files: Vec<ModelFile>) -> Result<Self, ServeError> {
        let mut all: Vec<Arc<Entry>> = Vec::new();
        for file in files {
            if all.iter().any(|known| known.name == file.name) {
                let message = "two models have this name: rename a file".into();
                return Err(ServeError::Model { name: file.name, message });
            }
            all.push(Entry::new(file)?.into());
        }
        if all.is_empty() {
            return Err(ServeError::Model { name: String::new(), message: "there is no model to serve".into() });
        }
        Ok(Self(all))
    }

    pub fn all(&self) -> &[Arc<Entry>] {
        &self.0
    }

    /// The one of that name, and of no path: a name is compared with those that are known, and used for nothing else.
    pub fn find(&self, name: &str) -> Result<Arc<Entry>, Refusal> {
        let found = self.0.iter().find(|entry| entry.name == name);
        found.cloned().ok_or_else(|| Refusal::Model(name.chars().take(100).collect()))
    }
}
