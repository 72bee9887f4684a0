//! Where a model is loaded: on the CPU, or on a GPU.

use crate::cli::Place;
use crate::fault::Fault;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::gpu::{self, Choice, Gpu, GpuError, GpuOptions};
use nijimi_runtime::model::Pipeline;
use std::time::{Duration, Instant};

/// A model and the machine that it lies on.
pub struct Loaded {
    /// The model.
    pub pipeline: Pipeline,
    /// `None` on the CPU.
    pub gpu: Option<Gpu>,
    /// What opening the GPU took.
    pub opened: Duration,
    /// Why there is none, where one was looked for and would have been taken.
    pub instead: Option<String>,
}

/// Opens a device with a folder for its compiled pipelines and measured choices: the user's, where there is one.
pub fn open(choice: Choice, tune: bool) -> Result<Gpu, GpuError> {
    let cache = dirs::cache_dir().map(|folder| folder.join("nijimi"));
    Gpu::open(&GpuOptions { choice, cache, tune, ..GpuOptions::default() })
}

/// Loads a model where it is asked for. With `tune`, a session measures which tiles suit its products.
pub fn load(place: Place, tune: bool, file: &File<'_>, wrong: impl Fn(Error) -> Fault) -> Result<Loaded, Fault> {
    let started = Instant::now();
    let mut opened = Duration::ZERO;
    let mut on = |choice| {
        let gpu = open(choice, tune)?;
        opened = started.elapsed();
        Pipeline::load_on(&gpu, file).map(|pipeline| (pipeline, gpu))
    };
    let instead = match place {
        Place::Cpu => None,
        // Its driver would have to be loaded before it could say so.
        Place::Auto if !gpu::may_be_there() => Some("this machine has none".to_string()),
        Place::Auto | Place::Gpu(_) => {
            let choice = if let Place::Gpu(choice) = place { choice } else { Choice::Hardware };
            match on(choice) {
                Ok((pipeline, gpu)) => return Ok(Loaded { pipeline, gpu: Some(gpu), opened, instead: None }),
                Err(Error::Gpu(e)) if place == Place::Auto => Some(e.to_string()),
                Err(Error::Gpu(e)) => return Err(e.into()),
                Err(e) => return Err(wrong(e)),
            }
        }
    };
    let pipeline = Pipeline::load(file).map_err(wrong)?;
    Ok(Loaded { pipeline, gpu: None, opened: Duration::ZERO, instead })
}
