//! Where a model is loaded: on the CPU, or on a GPU.

use crate::draw::artist::ms;
use crate::fault::Fault;
use nijimi_cli::print::tell;
use nijimi_runtime::Error;
use nijimi_runtime::gpu::{Choice, Gpu, GpuError, GpuOptions};
use nijimi_runtime::model::{Device, Place};
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

/// How a device is opened: with a folder for its compiled pipelines and measured choices, the user's, where there is one.
fn options(choice: Choice, tune: bool) -> GpuOptions {
    let cache = dirs::cache_dir().map(|folder| folder.join("nijimi"));
    GpuOptions { choice, cache, tune, ..GpuOptions::default() }
}

/// Opens a device.
pub fn open(choice: Choice, tune: bool) -> Result<Gpu, GpuError> {
    Gpu::open(&options(choice, tune))
}

/// The device that is asked for, if that is not the CPU.
pub fn device(place: Place) -> Result<Option<Gpu>, Fault> {
    let loaded = load(place, false, |_| Ok(()), |e| Fault::Internal(e.to_string()))?;
    Ok(loaded.gpu().cloned())
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
    let model = |device: &Device| {
        opened = if let Device::Gpu(_) = device { started.elapsed() } else { Duration::ZERO };
        model(device)
    };
    let (model, device, instead) = place.load(&options(Choice::Hardware, tune), model).map_err(|e| match e {
        Error::Gpu(e) => e.into(),
        e => wrong(e),
    })?;
    Ok(Loaded { model, device, opened, instead })
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
