//! A device: opened here, or handed in by an app that has one.

use super::adapter::{self, Adapter, Choice};
use super::cache::{self, Cache};
use super::pipeline::Pipelines;
use super::tune::Choices;
use super::waiting::uncaptured;
use super::{GpuError, first_line, trusted};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use nijimi_shaders::table::{Class, Coop};
use std::path::PathBuf;
use std::sync::Mutex;
use wgpu::{Features, Limits};

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Which adapter.
    pub choice: Choice,
    /// Only what WebGPU has, within its default limits: what runs so runs in a browser.
    pub strict_webgpu: bool,
    /// A folder for compiled pipelines and measured choices, so that the next start is faster. `None` writes nothing.
    pub cache: Option<PathBuf>,
    /// Measure which tiles suit the products of each model that is run, a tenth of a second for each, and keep the
    /// choice in the cache folder.
    pub tune: bool,
}

/// The error that came by a callback, and was not reported yet.
type Noted = Arc<Mutex<Option<GpuError>>>;

/// A device and its queue, with the pipelines made on it so far. Clones share it.
#[derive(Clone)]
pub struct Gpu(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    pub class: Class,
    pub spills: bool,
    pub features: Features,
    pub limits: Limits,
    pub pipelines: Pipelines,
    pub cache: Cache,
    pub choices: Choices,
    /// Cooperative matrices that the adapter says it has.
    pub coop: Option<Coop>,
    /// Whether they were seen to compute what they should.
    #[cfg(not(target_arch = "wasm32"))]
    pub proven: std::sync::OnceLock<bool>,
    /// Why the device is gone, once it is.
    lost: Noted,
}

/// The adapters of this machine, in a fixed order.
pub async fn adapters_async() -> Vec<Adapter> {
    adapter::found(&instance(false)).await.iter().enumerate().map(|(i, a)| adapter::describe(i, a)).collect()
}

/// [`adapters_async`], waiting.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters() -> Vec<Adapter> {
    pollster::block_on(adapters_async())
}

fn instance(strict: bool) -> wgpu::Instance {
    let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
    // Not GL: it lacks what the kernels need, and a machine with it alone does better on the CPU.
    desc.backends =
        wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12 | wgpu::Backends::BROWSER_WEBGPU;
    if strict {
        desc.flags |= wgpu::InstanceFlags::STRICT_WEBGPU_COMPLIANCE;
    }
    wgpu::Instance::new(desc)
}

/// What is used where it is there.
fn wanted() -> Features {
    Features::SHADER_F16
        | Features::SUBGROUP
        | Features::TIMESTAMP_QUERY
        | Features::TIMESTAMP_QUERY_INSIDE_PASSES
        | Features::PIPELINE_CACHE
        | Features::EXPERIMENTAL_COOPERATIVE_MATRIX
}

impl Gpu {
    /// Opens a device.
    ///
    /// # Errors
    /// No adapter of that kind, or one that refuses.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        pollster::block_on(Self::open_async(options))
    }

    /// [`Self::open`], awaited: for browsers.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_async(options: &GpuOptions) -> Result<Self, GpuError> {
        let found = adapter::found(&instance(options.strict_webgpu)).await;
        let described: Vec<Adapter> = found.iter().enumerate().map(|(i, a)| adapter::describe(i, a)).collect();
        let chosen = &found[adapter::choose(&described, options.choice)?];
        let name = adapter::name(&chosen.get_info());
        let (features, limits) = if options.strict_webgpu {
            (Features::empty(), Limits::defaults().using_alignment(chosen.limits()))
        } else {
            (chosen.features() & wanted(), chosen.limits())
        };
        let experimental = features.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        let desc = wgpu::DeviceDescriptor {
            label: Some("nijimi"),
            required_features: features,
            required_limits: limits,
            experimental_features: if experimental { trusted::experimental() } else { Default::default() },
            ..Default::default()
        };
        let refused = |e: wgpu::RequestDeviceError| GpuError::Open { adapter: name.clone(), reason: e.to_string() };
        let (device, queue) = chosen.request_device(&desc).await.map_err(refused)?;
        let lost = Arc::new(Mutex::new(None));
        let noted = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            note(&noted, GpuError::Lost { reason: first_line(&format!("{reason:?} {message}")) });
        });
        // wgpu's own handler would panic.
        let noted = lost.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| note(&noted, uncaptured(&e))));
        let coop = if experimental { adapter::coop(chosen) } else { None };
        Self::new(device, queue, lost, coop, options)
    }

    /// Uses the device of an app, of the version of wgpu that is [`crate::gpu::wgpu`]. Its callbacks stay as they are.
    /// Pictures stay on that device: see [`crate::model::Run::buffer`]. Of the options those that are about opening one
    /// (`choice`, `strict_webgpu`) are ignored.
    ///
    /// # Errors
    /// A device whose limits are below WebGPU's defaults.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, options: &GpuOptions) -> Result<Self, GpuError> {
        Self::new(device, queue, Arc::new(Mutex::new(None)), None, options)
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        lost: Noted,
        coop: Option<Coop>,
        options: &GpuOptions,
    ) -> Result<Self, GpuError> {
        let (info, features, limits) = (device.adapter_info(), device.features(), device.limits());
        let lacks = |what: String| GpuError::Lacks { adapter: adapter::name(&info), what };
        let invocations = limits.max_compute_invocations_per_workgroup;
        if invocations < 256 {
            return Err(lacks(format!("workgroups of 256 invocations (it has {invocations})")));
        }
        if limits.max_storage_buffers_per_shader_stage < 8 || limits.max_compute_workgroup_storage_size < 16384 {
            return Err(lacks("8 storage buffers and 16 KiB of workgroup memory a shader".into()));
        }
        let cache = Cache::open(options.cache.as_deref(), &device, &info);
        let tiles = options.cache.as_deref().map(|folder| folder.join(format!("{}.tiles", cache::name(&info))));
        let choices = Choices::open(tiles, options.tune);
        let (class, spills) = (adapter::class(&info), adapter::spills(&info));
        let pipelines = Pipelines::default();
        Ok(Self(Arc::new(Inner {
            device,
            queue,
            info,
            class,
            spills,
            features,
            limits,
            pipelines,
            cache,
            choices,
            coop,
            #[cfg(not(target_arch = "wasm32"))]
            proven: Default::default(),
            lost,
        })))
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// Its queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// The adapter's name, API and driver.
    pub fn name(&self) -> String {
        let info = &self.0.info;
        let driver = format!("{} {}", info.driver, info.driver_info);
        let comma = if driver.trim().is_empty() { "" } else { ", " };
        format!("{} ({:?}{comma}{})", adapter::name(info), info.backend, driver.trim())
    }

    /// Whether the shaders run on a CPU.
    pub fn is_software(&self) -> bool {
        self.0.class == Class::Cpu
    }

    /// Whether activations can be stored as f16.
    pub fn has_f16(&self) -> bool {
        self.0.features.contains(Features::SHADER_F16)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What came by a callback: an error once the device is gone; other errors (a browser's) once.
    pub(super) fn alive(&self) -> Result<(), GpuError> {
        let mut lost = self.0.lost.lock().unwrap_or_else(|e| e.into_inner());
        let error = if gone(&lost) { lost.clone() } else { lost.take() };
        error.map_or(Ok(()), Err)
    }

    /// A buffer of `bytes`, zeroed.
    pub(super) fn buffer(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, GpuError> {
        let size = bytes.max(4).next_multiple_of(4);
        self.fits(what, size, self.0.limits.max_buffer_size, "max_buffer_size")?;
        let desc = wgpu::BufferDescriptor { label: Some(what), size, usage, mapped_at_creation: false };
        self.scoped(what, size, || self.0.device.create_buffer(&desc))
    }

    /// A buffer that shaders only read, with these words in it.
    pub(super) fn upload(&self, what: &str, words: &[u32]) -> Result<wgpu::Buffer, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = self.buffer(what, words.len() as u64 * 4, usage)?;
        self.scoped(what, words.len() as u64 * 4, || self.0.queue.write_buffer(&buffer, 0, trusted::bytes(words)))?;
        Ok(buffer)
    }

    /// Whether a binding or buffer of `needed` bytes may be.
    pub(super) fn fits(&self, what: &str, needed: u64, allowed: u64, limit: &'static str) -> Result<(), GpuError> {
        if needed <= allowed { Ok(()) } else { Err(GpuError::TooLarge { what: what.into(), needed, allowed, limit }) }
    }

    /// The most bytes that one binding may have.
    pub(crate) fn max_binding(&self) -> u64 {
        self.0.limits.max_storage_buffer_binding_size.min(self.0.limits.max_buffer_size)
    }
}

impl core::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Gpu").field(&self.name()).finish()
    }
}

fn note(lost: &Mutex<Option<GpuError>>, error: GpuError) {
    let mut lost = lost.lock().unwrap_or_else(|e| e.into_inner());
    // The first is the cause of the others; but nothing outweighs a device that is gone.
    if lost.is_none() || (!gone(&lost) && matches!(error, GpuError::Lost { .. })) {
        *lost = Some(error);
    }
}

fn gone(noted: &Option<GpuError>) -> bool {
    matches!(noted, Some(GpuError::Lost { .. }))
}
