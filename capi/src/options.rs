//! What a run is asked for, as a C struct: filled from the model, and read back.

use crate::border::{Text, Values, structs};
use crate::fault::Fault;
use crate::model::Model;
use nijimi_runtime::model::{self, DepthMap, DrawRequest, Enlarge, Hires, ReferenceImage, SessionOptions, batch_seeds};
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
        clip_skip: usize,
        guidance_rescale: f64,
        guidance_normalization: f64,
        guidance_truncation: f64,
        hires_width: usize,
        hires_height: usize,
        hires_steps: usize,
        hires_strength: f64,
        hires_upscaler: Text,
        depth: Values<u8>,
        depth_width: usize,
        depth_height: usize,
        references: Values<Values<u8>>,
        reference_widths: Values<usize>,
        reference_heights: Values<usize>,
        reference_count: usize,
    }
}

/// How much a second pass replaces, if nothing is said.
const HIRES_STRENGTH: f64 = 0.5;

/// The most pictures of one run.
const MOST: usize = 1 << 16;

/// The pictures that a run begins with, as the runtime has them.
pub struct Pixels {
    init_image: Option<Vec<f32>>,
    mask: Option<Vec<f32>>,
    /// With height and width, as are those that follow.
    depth: Option<(Vec<f32>, [usize; 2])>,
    references: Vec<(Vec<f32>, [usize; 2])>,
}

impl Pixels {
    /// Those of the options.
    pub fn read(options: &DrawOptions) -> Result<Self, Fault> {
        let read = |values: &Values<u8>, len: usize, what: &str| {
            let bytes = values.get(len, what)?;
            Ok::<_, Fault>(bytes.map(|bytes| bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect()))
        };
        let sized = |values: &Values<u8>, [height, width]: [usize; 2], channels: usize, what: &str| {
            let len = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels)).filter(|&len| len > 0);
            let len =
                len.ok_or_else(|| Fault::usage(format!("{what} is {width}x{height}: give its width and height")))?;
            let values = read(values, len, what)?.ok_or_else(|| Fault::usage(format!("{what} is null")))?;
            Ok::<_, Fault>((values, [height, width]))
        };
        let n = options.reference_count;
        let all = options.references.get(n, "references")?.unwrap_or_default();
        let sides =
            |values: &Values<usize>, what| Ok::<_, Fault>(values.get(all.len(), what)?.unwrap_or_default().to_vec());
        let widths = sides(&options.reference_widths, "reference_widths")?;
        let heights = sides(&options.reference_heights, "reference_heights")?;
        let sizes = heights.into_iter().zip(widths).map(<[usize; 2]>::from);
        let references =
            all.iter().zip(sizes).map(|(picture, size)| sized(picture, size, 3, "a picture of references"));
        let depth = (!options.depth.is_null())
            .then(|| sized(&options.depth, [options.depth_height, options.depth_width], 1, "depth"));
        Ok(Self {
            depth: depth.transpose()?,
            references: references.collect::<Result<_, _>>()?,
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
        let own =
            Self { batch: 1, width, height, steps, guidance_scale, solver, scheduler, strength, ..Self::default() };
        Ok(Self { hires_strength: HIRES_STRENGTH, hires_upscaler: Text::of(c"latent"), ..own })
    }

    /// As the runtime asks it.
    pub fn request<'a>(&'a self, model: &Model, prompt: &'a str, pixels: &'a Pixels) -> Result<DrawRequest<'a>, Fault> {
        let own = model.loaded.request(prompt, self.seed)?;
        if !(1..=MOST).contains(&self.batch) {
            let remedy = "fill the options with nijimi_draw_options_init first";
            return Err(Fault::usage(format!("batch is {}, must be 1 to {MOST}: {remedy}", self.batch)));
        }
        let given = |number: f64| (number != 0.0).then_some(number as f32);
        let side = |asked: usize, own: usize| if asked == 0 { own } else { asked };
        Ok(DrawRequest {
            negative_prompt: self.negative_prompt.get("negative_prompt")?,
            seeds: batch_seeds(self.seed, self.batch),
            size: [side(self.height, own.size[0]), side(self.width, own.size[1])],
            solver: named("solver", &self.solver, Solver::from_name, Solver::NAMES)?,
            sigmas: named("scheduler", &self.scheduler, Sigmas::from_name, Sigmas::NAMES)?,
            steps: (self.steps > 0).then_some(self.steps),
            guidance_scale: self.guidance_scale as f32,
            image_guidance_scale: given(self.image_guidance_scale),
            clip_skip: self.clip_skip,
            guidance_rescale: self.guidance_rescale as f32,
            guidance_normalization: given(self.guidance_normalization),
            guidance_truncation: given(self.guidance_truncation),
            hires: self.hires()?,
            depth: pixels.depth.as_ref().map(|(values, size)| DepthMap { values, size: *size }),
            references: pixels
                .references
                .iter()
                .map(|(picture, size)| ReferenceImage { picture, size: *size })
                .collect(),
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

    /// The second pass, if a size is given for it.
    fn hires(&self) -> Result<Option<Hires<'static>>, Fault> {
        if self.hires_width == 0 && self.hires_height == 0 {
            return Ok(None);
        }
        let enlarge = |name: &str| match name {
            "latent" => Some(Enlarge::Latents),
            "lanczos" => Some(Enlarge::Pixels),
            _ => None,
        };
        Ok(Some(Hires {
            size: [self.hires_height, self.hires_width],
            strength: self.hires_strength,
            steps: (self.hires_steps > 0).then_some(self.hires_steps),
            enlarge: named("hires_upscaler", &self.hires_upscaler, enlarge, "latent, lanczos")?.unwrap_or_default(),
        }))
    }
}

/// What a text names, of those that there are.
pub fn named<T>(what: &str, name: &Text, known: impl Fn(&str) -> Option<T>, names: &str) -> Result<Option<T>, Fault> {
    let unknown = |name: &str| Fault::usage(format!("{what} {name:?} is not known: there are {names}"));
    name.get(what)?.map(|name| known(name).ok_or_else(|| unknown(name))).transpose()
}
