//! Where a model is loaded: on the CPU, or on a GPU.

use crate::cli::Place;
use crate::draw::artist::ms;
use crate::fault::Fault;
use nijimi_cli::print::tell;
use nijimi_runtime::Error;
use nijimi_runtime::gpu::{self, Choice, Gpu, GpuError, GpuOptions};
use nijimi_runtime::model::Device;
use nijimi_runtime::raw::cpu::Isa;
use std::time::{Duration, Instant};

/// A model and the machine that it lies on.
pub struct Loaded<T> {
    /// The model.
    pub model: T,
    /// Where it was loaded.
    pub device: Device,
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

/// Loads a model where it is asked for; `model` does it, for a device. With `tune`, a session
/// measures which tiles suit its products.
pub fn load<T>(
    place: Place,
    tune: bool,
    mut model: impl FnMut(&Device) -> Result<T, Error>,
    wrong: impl Fn(Error) -> Fault,
) -> Result<Loaded<T>, Fault> {
    let started = Instant::now();
    let mut opened = Duration::ZERO;
    let mut on = |choice| {
        let device = Device::Gpu(open(choice, tune)?);
        opened = started.elapsed();
        model(&device).map(|model| (model, device))
    };
    let instead = match place {
        Place::Cpu => None,
        // Its driver would have to be loaded before it could say so.
        Place::Auto if !gpu::may_be_there() => Some("this machine has none".to_string()),
        Place::Auto | Place::Gpu(_) => {
            let choice = if let Place::Gpu(choice) = place { choice } else { Choice::Hardware };
            match on(choice) {
                Ok((model, device)) => return Ok(Loaded { model, device, opened, instead: None }),
                Err(Error::Gpu(e)) if place == Place::Auto => Some(e.to_string()),
                Err(Error::Gpu(e)) => return Err(e.into()),
                Err(e) => return Err(wrong(e)),
            }
        }
    };
    let device = Device::Cpu;
    Ok(Loaded { model: model(&device).map_err(wrong)?, device, opened: Duration::ZERO, instead })
}

impl<T> Loaded<T> {
    /// The GPU that it was loaded on, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.device {
            Device::Gpu(gpu) => Some(gpu),
            Device::Cpu | Device::CpuInPlace => None,
        }
    }

    /// The lines of `-v` that tell of the machine.
    pub fn describe(&self, threads: usize) {
        if let Some(gpu) = self.gpu() {
            tell(&[format!("GPU: {}, opened in {}", gpu.name(), ms(self.opened))]);
            return;
        }
        if let Some(reason) = &self.instead {
            tell(&[format!("no GPU is used: {reason}")]);
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads };
        tell(&[format!("CPU: {}, threads: {threads}", Isa::detect())]);
    }
}
