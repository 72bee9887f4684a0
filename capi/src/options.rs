//! What a run is asked for, as a C struct: filled from the model, and read back.

use crate::border::{Text, Values, structs};
use crate::fault::Fault;
use crate::model::Model;
use nijimi_runtime::model::{self, DrawRequest, SessionOptions, batch_seeds};
use nijimi_runtime::sampler::{Sigmas, Solver};

structs! {
    /// What is asked of a run.
    DrawOptions as "nijimi_draw_options" {
        negative_prompt: Text,
        seed: u64,
        batch: usize,
        width: usize,
        height: usize,
        steps: usize,
        guidance_scale: f64,
        solver: Text,
        scheduler: Text,
        init_image: Values<u8>,
        init_image_len: usize,
        strength: f64,
        mask: Values<u8>,
        mask_len: usize,
        threads: usize,
        memory_limit: u64,
        image_guidance_scale: f64,
    }
}

/// The most pictures of one run.
const MOST: usize = 1 << 16;

/// The pictures that a run begins with, as the runtime has them.
pub struct Pixels {
    init_image: Option<Vec<f32>>,
    mask: Option<Vec<f32>>,
}

impl Pixels {
    /// Those of the options.
    pub fn read(options: &DrawOptions) -> Result<Self, Fault> {
        let read = |values: &Values<u8>, len: usize, what: &str| {
            let bytes = values.get(len, what)?;
            Ok::<_, Fault>(bytes.map(|bytes| bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect()))
        };
        Ok(Self {
            init_image: read(&options.init_image, options.init_image_len, "init_image")?,
            mask: read(&options.mask, options.mask_len, "mask")?,
        })
    }
}

impl DrawOptions {
    /// What suits the model.
    pub fn of(model: &Model) -> Result<Self, Fault> {
        let DrawRequest { size: [height, width], steps, guidance_scale, .. } = model.loaded.request("", 0)?;
        let (solver, scheduler) = model.solver();
        let strength = match &model.loaded {
            model::Model::TextToImage(model) => model.info().strength(),
            _ => 0.0,
        };
        let guidance_scale = f64::from(guidance_scale);
        let steps = steps.unwrap_or(0);
        Ok(Self { batch: 1, width, height, steps, guidance_scale, solver, scheduler, strength, ..Self::default() })
    }

    /// As the runtime asks it.
    pub fn request<'a>(&'a self, model: &Model, prompt: &'a str, pixels: &'a Pixels) -> Result<DrawRequest<'a>, Fault> {
        let own = model.loaded.request(prompt, self.seed)?;
        if !(1..=MOST).contains(&self.batch) {
            let remedy = "fill the options with nijimi_draw_options_init first";
            return Err(Fault::usage(format!("batch is {}, must be 1 to {MOST}: {remedy}", self.batch)));
        }
        let side = |asked: usize, own: usize| if asked == 0 { own } else { asked };
        Ok(DrawRequest {
            negative_prompt: self.negative_prompt.get("negative_prompt")?,
            seeds: batch_seeds(self.seed, self.batch),
            size: [side(self.height, own.size[0]), side(self.width, own.size[1])],
            solver: named("solver", &self.solver, Solver::from_name, Solver::NAMES)?,
            sigmas: named("scheduler", &self.scheduler, Sigmas::from_name, Sigmas::NAMES)?,
            steps: (self.steps > 0).then_some(self.steps),
            guidance_scale: self.guidance_scale as f32,
            image_guidance_scale: (self.image_guidance_scale != 0.0).then_some(self.image_guidance_scale as f32),
            init_image: pixels.init_image.as_deref(),
            strength: pixels.init_image.as_ref().map(|_| self.strength),
            mask: pixels.mask.as_deref(),
            options: SessionOptions {
                threads: self.threads,
                memory_limit: (self.memory_limit > 0).then_some(self.memory_limit),
                ..SessionOptions::default()
            },
            ..own
        })
    }
}

/// What a text names, of those that there are.
pub fn named<T>(what: &str, name: &Text, known: impl Fn(&str) -> Option<T>, names: &str) -> Result<Option<T>, Fault> {
    let unknown = |name: &str| Fault::usage(format!("{what} {name:?} is not known: there are {names}"));
    name.get(what)?.map(|name| known(name).ok_or_else(|| unknown(name))).transpose()
}
