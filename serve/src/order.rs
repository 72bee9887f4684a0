//! From what a client asks to what is drawn: everything is known, and can be refused, before a request waits.

use crate::Limits;
use crate::models::{About, Asked, Entry, Fitting, Room};
use crate::refusal::Refusal;
use nijimi_pictures::{Decoded, Extras, Fit, Parameters, Sampling};
use nijimi_runtime::model::{Choice, Info, LatentInfo, batch_seeds, random_seed};
use nijimi_runtime::sampler::{Calls, Sigmas, Solver, SolverSettings};
use std::sync::Arc;

/// What is asked for, in the words of no client.
#[derive(Default)]
pub struct Wish {
    pub prompt: String,
    pub negative: Option<String>,
    /// Pictures.
    pub count: usize,
    pub width: Option<usize>,
    pub height: Option<usize>,
    /// Of the first picture; the others have the following ones.
    pub seed: Option<u64>,
    pub steps: Option<usize>,
    pub cfg_scale: Option<f64>,
    /// Of models that change a picture by instruction.
    pub image_cfg_scale: Option<f64>,
    /// By the names of `--sampling-method` and `--scheduler`.
    pub method: Option<String>,
    pub scheduler: Option<String>,
    pub eta: Option<f64>,
    pub init: Option<Init>,
    pub strength: Option<f64>,
    /// Whether the client is shown the steps.
    pub shown: bool,
}

/// Pictures to begin with.
pub struct Init {
    pub image: Decoded,
    pub mask: Option<Mask>,
    pub fit: Fit,
}

/// What is repainted.
pub enum Mask {
    /// What is white; or black.
    White { mask: Decoded, inverted: bool },
    /// What is transparent.
    Holes(Decoded),
}

/// What is drawn.
pub struct Order {
    pub entry: Arc<Entry>,
    /// Of a model of labels, which; else nothing.
    pub label: Option<u32>,
    pub seeds: Vec<u64>,
    pub calls: Calls,
    pub guidance_scale: f32,
    pub image_guidance_scale: Option<f32>,
    /// Height and width.
    pub size: [usize; 2],
    /// Windows of the prompts.
    windows: usize,
    pub start: Option<Start>,
    /// Of models of prompts.
    pub fitting: Option<Fitting>,
    /// Of the first picture.
    pub parameters: Parameters,
    pub shown: bool,
}

/// The init image `(h, w, 3)` and the mask `(h, w)`.
pub struct Start {
    pub image: Vec<f32>,
    pub mask: Option<Vec<f32>>,
}

impl Order {
    /// Works out what a wish takes.
    ///
    /// # Errors
    /// What the model cannot do, or what does not fit into the memory that there is.
    pub fn new(entry: Arc<Entry>, wish: Wish, room: &Room, limits: &Limits) -> Result<Self, Refusal> {
        let first = wish.seed.unwrap_or_else(random_seed);
        let seeds = batch_seeds(first, wish.count.max(1));
        match &entry.clone().about {
            About::Prompts(info) => Self::of_prompt(entry, info, wish, seeds, room, limits),
            About::Labels(info) => Self::of_label(entry, info, wish, seeds),
        }
    }

    fn of_prompt(
        entry: Arc<Entry>,
        info: &LatentInfo,
        mut wish: Wish,
        seeds: Vec<u64>,
        room: &Room,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let size = size(info, &wish, limits)?;
        let (solver, sigmas) = (solver(&wish)?, sigmas(&wish)?);
        let steps = wish.steps.unwrap_or_else(|| info.steps());
        let (schedule, settings) =
            info.settings_for(size, solver.or(info.defaults.solver), sigmas.or(info.defaults.sigmas), steps)?;
        let mut settings = with_eta(settings, wish.eta)?;
        let strength = wish.strength.unwrap_or_else(|| info.strength());
        let init = wish.init.take();
        if init.is_some() {
            settings = settings.from_strength(strength);
        } else if wish.strength.is_some() {
            return Err(Refusal::field("strength", "it is for an init image: leave it out"));
        }
        if info.repaints() && init.as_ref().is_none_or(|init| init.mask.is_none()) {
            return Err(Refusal::usage("this model repaints a part of a picture: send an image and a mask"));
        }
        if info.edits() && init.is_none() {
            return Err(Refusal::usage("this model changes a picture as the prompt says: send an image"));
        }
        let calls = Calls::new(&schedule, &settings).map_err(|e| Refusal::usage(e.to_string()))?;
        let guidance_scale = wish.cfg_scale.map_or_else(|| info.guidance_scale(), |x| x as f32);
        let image_guidance_scale = wish.image_cfg_scale.map(|x| x as f32);
        match image_guidance_scale {
            Some(_) if !info.edits() => {
                let what = "it is for models that change pictures by instruction: leave it out";
                return Err(Refusal::field("image_cfg_scale", what));
            }
            Some(scale) if !(scale >= 1.0 && scale.is_finite()) => {
                return Err(Refusal::field("image_cfg_scale", "it must be at least 1"));
            }
            _ => {}
        }
        let guided = info.is_guided(guidance_scale);
        let prompts = [&*wish.prompt, wish.negative.as_deref().unwrap_or_default()];
        let windows = info.windows(&prompts[..if guided { 2 } else { 1 }]);
        if windows > limits.windows {
            let most = limits.windows * 75;
            return Err(Refusal::field("prompt", format!("it, or the negative one, is longer than {most} tokens")));
        }
        let asked = Asked { size, guided, windows, encodes: init.is_some() };
        let fitting = entry.fitting(info, asked, room)?;
        let start = init.map(|init| Start::new(&init, size)).transpose()?;
        let sampler = wish.method.clone().unwrap_or_else(|| info.solver_name(sigmas, steps).to_owned());
        let eta = wish.eta.unwrap_or(0.0);
        let extras = Extras {
            schedule: wish.scheduler.clone(),
            image_guidance_scale: info
                .edits()
                .then(|| image_guidance_scale.unwrap_or_else(|| info.image_guidance_scale())),
            init_image: start.as_ref().map(|_| ("of the request".into(), strength)),
            mask: start.as_ref().and_then(|start| start.mask.as_ref()).map(|_| "of the request".into()),
            vae_tiling: fitting.choice.tiling.is_some(),
            ..Extras::default()
        };
        let sampling = Sampling { steps, sampler, eta, guidance_scale, classifier: None };
        let parameters = parameters(&entry, wish.prompt, wish.negative, sampling, seeds[0], size, extras);
        let (label, fitting, shown) = (None, Some(fitting), wish.shown);
        #[rustfmt::skip]
        let order = Self {
            entry, label, seeds, calls, guidance_scale, image_guidance_scale, size, windows, start, fitting, parameters, shown,
        };
        Ok(order)
    }

    fn of_label(entry: Arc<Entry>, info: &Info, wish: Wish, seeds: Vec<u64>) -> Result<Self, Refusal> {
        let none = |name: &str, given: bool| match given {
            true => {
                Err(Refusal::field(name, format!("{} reads no prompts, and cannot do this: leave it out", entry.name)))
            }
            false => Ok(()),
        };
        none("negative_prompt", wish.negative.as_ref().is_some_and(|text| !text.trim().is_empty()))?;
        none("image", wish.init.is_some())?;
        none("strength", wish.strength.is_some())?;
        let size = info.network.size();
        for (name, side, own) in [("width", wish.width, size[1]), ("height", wish.height, size[0])] {
            if side.is_some_and(|side| side != own) {
                let (w, h) = (size[1], size[0]);
                return Err(Refusal::field(name, format!("{} draws {w}x{h} alone: leave the size out", entry.name)));
            }
        }
        let prompt = wish.prompt.trim();
        let id = |name: &str| info.labels.iter().position(|label| label == name).map(|id| id as u32);
        let label = match (prompt, id(prompt)) {
            ("", _) => None,
            (_, Some(id)) => Some(id),
            (_, None) if info.labels.is_empty() => {
                return Err(Refusal::field("prompt", "this model knows no labels: leave the prompt empty"));
            }
            (_, None) => {
                let known = info.labels.join(", ");
                return Err(Refusal::field("prompt", format!("must be one of this model's labels: {known}")));
            }
        };
        let solver = solver(&wish)?.unwrap_or(info.defaults.solver);
        let steps = wish.steps.unwrap_or_else(|| info.steps(solver));
        let settings = info.settings(solver, steps).map_err(|e| Refusal::usage(e.to_string()))?;
        let mut settings = with_eta(settings, wish.eta)?;
        settings.sigmas = sigmas(&wish)?.unwrap_or(settings.sigmas);
        let calls = Calls::new(&info.schedule, &settings).map_err(|e| Refusal::usage(e.to_string()))?;
        // Without a label there is nothing to be guided to.
        let asked = wish.cfg_scale.map_or(info.defaults.guidance_scale, |x| x as f32);
        let guidance_scale = if label.is_some() { asked } else { 1.0 };
        let eta = if let Solver::Ddim { eta, .. } = settings.solver { eta } else { 0.0 };
        let sampling = Sampling { steps, sampler: solver.to_string(), eta, guidance_scale, classifier: None };
        let extras = Extras { schedule: wish.scheduler.clone(), ..Extras::default() };
        let parameters = parameters(&entry, prompt.to_owned(), None, sampling, seeds[0], size, extras);
        let (windows, start, fitting, shown) = (0, None, None, wish.shown);
        let image_guidance_scale = None;
        #[rustfmt::skip]
        let order = Self {
            entry, label, seeds, calls, guidance_scale, image_guidance_scale, size, windows, start, fitting, parameters, shown,
        };
        Ok(order)
    }

    /// Whether both may be drawn in one run, each as it would be alone.
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry)
            && (self.size, self.windows, self.shown) == (other.size, other.windows, other.shown)
            && self.guidance_scale.to_bits() == other.guidance_scale.to_bits()
            && self.start.is_none()
            && other.start.is_none()
            && self.choice() == other.choice()
            && self.calls == other.calls
    }

    pub fn choice(&self) -> Option<Choice> {
        self.fitting.map(|fitting| fitting.choice)
    }

    /// The most pictures of a run, if `batch` is what the server allows.
    pub fn at_once(&self, batch: usize) -> usize {
        self.fitting.map_or(batch, |fitting| fitting.pictures).max(1)
    }

    /// Picture `index` alone.
    pub fn parameters(&self, index: usize) -> Parameters {
        Parameters { seed: self.seeds[index], ..self.parameters.clone() }
    }
}

impl Start {
    fn new(init: &Init, size: [usize; 2]) -> Result<Self, Refusal> {
        let shape_of = |mask: &Decoded| match mask.size() == init.image.size() {
            true => Ok(()),
            false => Err(Refusal::field("mask", "must have the size of the image")),
        };
        let mask = match &init.mask {
            None => None,
            Some(Mask::Holes(mask)) => {
                shape_of(mask)?;
                Some(mask.holes(size, init.fit))
            }
            Some(Mask::White { mask, inverted }) => {
                shape_of(mask)?;
                let mut values = mask.mask(size, init.fit);
                if *inverted {
                    values.iter_mut().for_each(|v| *v = 1.0 - *v);
                }
                Some(values)
            }
        };
        Ok(Self { image: init.image.picture(size, init.fit), mask })
    }
}

fn parameters(
    entry: &Entry,
    prompt: String,
    negative: Option<String>,
    sampling: Sampling,
    seed: u64,
    [height, width]: [usize; 2],
    extras: Extras,
) -> Parameters {
    let (negative, model) = (negative.unwrap_or_default(), entry.title().to_owned());
    let sampling = Some(sampling);
    Parameters { prompt, negative, sampling, seed, batch: 1, width, height, model, scale: None, extras }
}

/// Height and width: what is asked for, or that of the init image, or the model's.
fn size(info: &LatentInfo, wish: &Wish, limits: &Limits) -> Result<[usize; 2], Refusal> {
    let multiple = info.multiple();
    let own = match &wish.init {
        Some(init) => init.image.size().map(|side| (side / multiple).max(1) * multiple),
        None => info.size(),
    };
    let size = [wish.height.unwrap_or(own[0]), wish.width.unwrap_or(own[1])];
    for (name, side) in [("height", size[0]), ("width", size[1])] {
        if side == 0 || side % multiple != 0 {
            return Err(Refusal::field(
                name,
                format!("{side} is not a multiple of {multiple}: take {}", LatentInfo::near(side, multiple)),
            ));
        }
        if side > limits.side {
            return Err(Refusal::field(
                name,
                format!("{side} is more than {}, the most that is drawn here", limits.side),
            ));
        }
    }
    Ok(size)
}

fn solver(wish: &Wish) -> Result<Option<Solver>, Refusal> {
    named("sampling_method", wish.method.as_deref(), Solver::from_name, Solver::NAMES)
}

fn sigmas(wish: &Wish) -> Result<Option<Sigmas>, Refusal> {
    named("scheduler", wish.scheduler.as_deref(), Sigmas::from_name, Sigmas::NAMES)
}

fn named<T>(field: &str, name: Option<&str>, known: fn(&str) -> Option<T>, names: &str) -> Result<Option<T>, Refusal> {
    let unknown = || Refusal::field(field, format!("not known: there are {names}"));
    name.map(|name| known(name).ok_or_else(unknown)).transpose()
}

fn with_eta(settings: SolverSettings, eta: Option<f64>) -> Result<SolverSettings, Refusal> {
    let Some(eta) = eta else { return Ok(settings) };
    let none = || Refusal::field("eta", "it is for ddim and tcd: leave it out");
    Ok(SolverSettings { solver: settings.solver.with_eta(eta).ok_or_else(none)?, ..settings })
}
