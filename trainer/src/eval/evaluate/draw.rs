//! Pictures of a text-to-image file, drawn by the runtime: what is judged is what users get.
use crate::error::{Error, Result};
use crate::say;
use nijimi_runtime::gguf::{File, MappedFile};
use nijimi_runtime::model::{Device, LatentRequest, OpenOptions, SessionOptions, Stored, TextToImage};
use nijimi_runtime::sampler::{Calls, Solver};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// How pictures are drawn; what is not said is the file's own, or else 20 steps and a guidance of 7.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// The solver, by its name.
    pub method: Option<String>,
    /// Steps of it.
    pub steps: Option<usize>,
    /// Strength of classifier-free guidance.
    pub guidance_scale: Option<f32>,
    /// Pictures at once; no picture depends on it.
    pub batch: usize,
    /// Threads; 0 for all cores.
    pub threads: usize,
}

/// A text-to-image model, loaded, and how it is asked.
pub struct Artist {
    model: TextToImage,
    calls: Calls,
    /// Width and height of its pictures.
    pub side: usize,
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Steps and guidance that are used.
    pub steps: usize,
    /// See [`Self::steps`].
    pub guidance_scale: f32,
    /// The solver's name, or the scheduler's class.
    pub method: String,
    batch: usize,
    threads: usize,
}

impl Artist {
    /// Loads a file.
    ///
    /// # Errors
    /// A file that is no text-to-image model, a solver that there is not, settings that do not fit.
    pub fn open(path: &Path, how: &Drawing) -> Result<Self> {
        let refused = |e: &dyn std::fmt::Display| Error::data(path, e.to_string());
        let mapped = MappedFile::open(path).map_err(|e| refused(&e))?;
        Self::of(path, mapped.bytes(), how)
    }

    /// Of a file's bytes; `path` is what the file is called.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(path: &Path, bytes: &[u8], how: &Drawing) -> Result<Self> {
        let refused = |e: &dyn std::fmt::Display| Error::data(path, e.to_string());
        let file = File::new_checked(bytes).map_err(|e| refused(&e))?;
        let model = TextToImage::load(&file, &Device::Cpu).map_err(|e| refused(&e))?;
        Self::of_model(path, bytes.len() as u64, model, how)
    }

    /// Of a model with what is added to it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with(path: &Path, stored: Arc<dyn Stored>, options: OpenOptions, how: &Drawing) -> Result<Self> {
        let bytes = stored.bytes().len() as u64;
        Self::of_model(path, bytes, TextToImage::open(stored, options)?, how)
    }

    fn of_model(path: &Path, bytes: u64, model: TextToImage, how: &Drawing) -> Result<Self> {
        let info = model.info();
        let named = |name: &String| {
            let unknown = || Error::Usage(format!("--sampling-method {name}: there are {}", Solver::NAMES));
            Solver::from_name(name).ok_or_else(unknown)
        };
        let solver = how.method.as_ref().map(named).transpose()?.or(info.defaults.solver);
        let steps = how.steps.unwrap_or_else(|| info.steps());
        let guidance_scale = how.guidance_scale.unwrap_or_else(|| info.guidance_scale());
        let calls = model.calls_by(solver, info.defaults.sigmas, steps)?;
        let method = solver.and_then(|s| s.name()).map_or_else(|| info.scheduler.clone(), str::to_owned);
        let [side, _] = info.size();
        let path = path.to_owned();
        let (batch, threads) = (how.batch.max(1), how.threads);
        Ok(Self { model, calls, side, path, bytes, steps, guidance_scale, method, batch, threads })
    }

    /// Draws a picture of each prompt with its seed, `(n, side, side, 3)`, 0 to 1, and says how many seconds it took.
    ///
    /// # Errors
    /// Settings that the model refuses, or a picture that is not finite.
    pub fn draw<S: AsRef<str>>(&self, prompts: &[(S, u64)]) -> Result<(Vec<f32>, f64)> {
        let (begun, terminal) = (Instant::now(), std::io::stderr().is_terminal());
        let mut pictures = Vec::with_capacity(prompts.len() * self.side * self.side * 3);
        for (i, part) in prompts.chunks(self.batch).enumerate() {
            pictures.extend(self.at_once(part)?.iter().map(|v| v.clamp(0.0, 1.0)));
            if terminal {
                let done = i * self.batch + part.len();
                say::err(format_args!(
                    "\r\x1b[K{done} of {} pictures, {:.0} s",
                    prompts.len(),
                    begun.elapsed().as_secs_f64()
                ));
                _ = std::io::stderr().flush();
            }
        }
        if terminal {
            say::err(format_args!("\r\x1b[K"));
        }
        Ok((pictures, begun.elapsed().as_secs_f64()))
    }

    /// Draws a picture of each prompt with its seed in one run, and says nothing.
    ///
    /// # Errors
    /// As [`Self::draw`].
    pub fn at_once<S: AsRef<str>>(&self, prompts: &[(S, u64)]) -> Result<Vec<f32>> {
        let request = LatentRequest {
            prompts: prompts.iter().map(|(prompt, _)| prompt.as_ref()).collect(),
            negatives: vec![None; prompts.len()],
            seeds: prompts.iter().map(|(_, seed)| *seed).collect(),
            guidance_scale: self.guidance_scale,
            options: SessionOptions { threads: self.threads, ..SessionOptions::default() },
            ..self.model.request("", 0, &self.calls)
        };
        let mut run = self.model.run(&request)?;
        while run.step()?.is_some() {}
        Ok(run.pictures()?.to_vec())
    }
}

/// Pictures as bytes, rounded to the nearest.
pub fn bytes(pictures: &[f32]) -> Vec<u8> {
    TextToImage::to_u8(pictures)
}
