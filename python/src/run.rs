//! Runs, and what they are asked for.

use crate::fault::Fault;
use nijimi_runtime::model::{
    self, DepthMap, DrawRequest, Enlarge, Hires, ModelRun, ReferenceImage, SessionOptions, batch_seeds,
};
use nijimi_runtime::sampler::{Sigmas, Solver};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use std::sync::{Mutex, PoisonError};

/// What is asked of a run, as keyword arguments; what is `None` is as it suits the model.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Asked {
    seed: u64,
    batch: usize,
    negative_prompt: Option<String>,
    width: Option<usize>,
    height: Option<usize>,
    steps: Option<usize>,
    guidance_scale: Option<f32>,
    image_guidance_scale: Option<f32>,
    solver: Option<String>,
    scheduler: Option<String>,
    init_image: Option<Vec<u8>>,
    strength: Option<f64>,
    mask: Option<Vec<u8>>,
    clip_skip: usize,
    guidance_rescale: f32,
    guidance_normalization: Option<f32>,
    guidance_truncation: Option<f32>,
    /// Width, height, strength, steps, and how it is enlarged.
    hires: Option<(usize, usize, f64, Option<usize>, String)>,
    /// Values, height and width.
    depth: Option<(Vec<u8>, usize, usize)>,
    references: Vec<(Vec<u8>, usize, usize)>,
    threads: usize,
    memory_limit: Option<u64>,
}

/// The most pictures of one run.
const MOST: usize = 1 << 16;

impl Asked {
    /// As the runtime asks it. Pictures are bytes of f32 here, and read where they are needed.
    pub fn with<T>(
        &self,
        model: &model::Model,
        prompt: &str,
        work: impl FnOnce(&DrawRequest<'_>) -> T,
    ) -> Result<T, Fault> {
        let own = model.request(prompt, self.seed)?;
        if !(1..=MOST).contains(&self.batch) {
            return Err(Fault::usage(format!("batch is {}, must be 1 to {MOST}", self.batch)));
        }
        let solver = named("solver", self.solver.as_deref(), Solver::from_name, Solver::NAMES)?;
        let [init_image, mask] = [&self.init_image, &self.mask].map(|bytes| bytes.as_deref().map(floats));
        let hires = self.hires.as_ref().map(|(width, height, strength, steps, upscaler)| {
            let enlarge = match &**upscaler {
                "latent" => Enlarge::Latents,
                "lanczos" => Enlarge::Pixels,
                name => {
                    return Err(Fault::usage(format!(
                        "hires_upscaler {name:?} is not known: there are latent, lanczos"
                    )));
                }
            };
            Ok(Hires { size: [*height, *width], strength: *strength, steps: *steps, enlarge })
        });
        let depth = self.depth.as_ref().map(|(values, height, width)| (floats(values), [*height, *width]));
        let references = self.references.iter().map(|(values, height, width)| (floats(values), [*height, *width]));
        let references: Vec<_> = references.collect();
        let request = DrawRequest {
            negative_prompt: self.negative_prompt.as_deref(),
            seeds: batch_seeds(self.seed, self.batch),
            size: [self.height.unwrap_or(own.size[0]), self.width.unwrap_or(own.size[1])],
            // The steps that suit another solver are others.
            steps: self.steps.or(if solver.is_some() { None } else { own.steps }),
            solver: solver.or(own.solver),
            sigmas: named("scheduler", self.scheduler.as_deref(), Sigmas::from_name, Sigmas::NAMES)?.or(own.sigmas),
            guidance_scale: self.guidance_scale.unwrap_or(own.guidance_scale),
            image_guidance_scale: self.image_guidance_scale,
            init_image: init_image.as_deref(),
            strength: self.strength,
            mask: mask.as_deref(),
            clip_skip: self.clip_skip,
            guidance_rescale: self.guidance_rescale,
            guidance_normalization: self.guidance_normalization,
            guidance_truncation: self.guidance_truncation,
            hires: hires.transpose()?,
            depth: depth.as_ref().map(|(values, size)| DepthMap { values, size: *size }),
            references: references.iter().map(|(picture, size)| ReferenceImage { picture, size: *size }).collect(),
            options: SessionOptions {
                threads: self.threads,
                memory_limit: self.memory_limit,
                ..SessionOptions::default()
            },
            ..own
        };
        Ok(work(&request))
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// What a text names, of those that there are.
fn named<T>(
    what: &str,
    name: Option<&str>,
    known: impl Fn(&str) -> Option<T>,
    names: &str,
) -> Result<Option<T>, Fault> {
    let unknown = |name: &str| Fault::usage(format!("{what} {name:?} is not known: there are {names}"));
    name.map(|name| known(name).ok_or_else(|| unknown(name))).transpose()
}

/// Pictures in the making; from one thread at a time, others wait.
#[pyclass(frozen, module = "nijimi._native")]
pub struct Run {
    /// None when it is closed.
    made: Mutex<Option<ModelRun>>,
}

impl Run {
    pub fn new(run: ModelRun) -> Self {
        Self { made: Mutex::new(Some(run)) }
    }

    /// Does `work` with the run, while other Python threads go on.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut ModelRun) -> Result<T, Fault> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            work(made.as_mut().ok_or_else(|| Fault::usage("the run is closed: begin another"))?)
        })?)
    }
}

#[pymethods]
impl Run {
    /// Count, height, width and channels.
    #[getter]
    fn shape(&self, py: Python<'_>) -> PyResult<(usize, usize, usize, usize)> {
        self.with(py, |run| {
            let [height, width, channels] = run.picture_shape();
            Ok((run.len(), height, width, channels))
        })
    }

    /// Index from 0, total, timestep; None when all are made.
    fn step(&self, py: Python<'_>) -> PyResult<Option<(usize, usize, f32)>> {
        self.with(py, |run| Ok(run.step()?.map(|step| (step.index, step.total, step.timestep))))
    }

    fn preview<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let pixels = self.with(py, |run| {
            let mut pixels = vec![0; run.bytes()];
            run.write_preview(&mut pixels)?;
            Ok(pixels)
        })?;
        Ok(PyByteArray::new(py, &pixels))
    }

    /// After the steps that are left.
    fn pictures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let pixels = self.with(py, |run| {
            let mut pixels = vec![0; run.bytes()];
            while run.step()?.is_some() {}
            run.write_u8(&mut pixels)?;
            Ok(pixels)
        })?;
        Ok(PyByteArray::new(py, &pixels))
    }

    /// Gives its memory back.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.made.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}
