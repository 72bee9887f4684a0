//! A device: opened here, or handed in by an app that has one.

use super::adapter::{self, Adapter, Choice};
use super::cache::{self, Cache};
use super::pipeline::Pipelines;
use super::tune::Choices;
use super::{GpuError, trusted};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use nijimi_shaders::table::{Class, Coop};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use wgpu::{ErrorFilter, Features, Limits};

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
    pub proven: OnceLock<bool>,
    /// Why the device is gone, once it is.
    lost: Arc<Mutex<Option<String>>>,
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

    /// [`Self::open`], for where nobody may wait: the browser.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_async(options: &GpuOptions) -> Result<Self, GpuError> {
        let found = adapter::found(&instance(options.strict_webgpu)).await;
        let described: Vec<Adapter> = found.iter().enumerate().map(|(i, a)| adapter::describe(i, a)).collect();
        let chosen = &found[adapter::choose(&described, options.choice)?];
        let name = chosen.get_info().name;
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
        device.set_device_lost_callback(move |reason, message| note(&noted, format!("{reason:?} {message}")));
        // What no scope catches comes from a lost device; wgpu's own handler would panic.
        let noted = lost.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| note(&noted, e.to_string())));
        let coop = if experimental { adapter::coop(chosen) } else { None };
        Self::new(device, queue, lost, coop, options)
    }

    /// Uses the device of an app. Its callbacks stay as they are. Pictures stay on that device: see
    /// [`crate::model::Run::buffer`].
    ///
    /// # Errors
    /// A device whose limits are below WebGPU's defaults.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self, GpuError> {
        Self::new(device, queue, Arc::new(Mutex::new(None)), None, &GpuOptions::default())
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        lost: Arc<Mutex<Option<String>>>,
        coop: Option<Coop>,
        options: &GpuOptions,
    ) -> Result<Self, GpuError> {
        let (info, features, limits) = (device.adapter_info(), device.features(), device.limits());
        let lacks = |what: String| GpuError::Lacks { adapter: info.name.clone(), what };
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
        let proven = OnceLock::new();
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
            proven,
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
        format!("{} ({:?}, {} {})", info.name, info.backend, info.driver, info.driver_info)
    }

    /// Whether the shaders run on a CPU.
    pub fn is_software(&self) -> bool {
        self.0.class == Class::Cpu
    }

    /// Whether activations can be stored as f16.
    pub fn has_f16(&self) -> bool {
        self.0.features.contains(Features::SHADER_F16)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Does something with the device, and says what the device had against it.
    pub(super) fn scoped<T>(&self, what: &str, bytes: u64, f: impl FnOnce() -> T) -> Result<T, GpuError> {
        self.alive()?;
        let device = &self.0.device;
        let filters = [ErrorFilter::Internal, ErrorFilter::Validation, ErrorFilter::OutOfMemory];
        let mut scopes: Vec<_> = filters.into_iter().map(|filter| device.push_error_scope(filter)).collect();
        let value = f();
        let mut error = None;
        // Innermost first.
        while let Some(scope) = scopes.pop() {
            error = wait(scope.pop()).or(error);
        }
        self.alive()?;
        match error {
            None => Ok(value),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(GpuError::OutOfMemory { what: what.into(), bytes }),
            // wgpu reports the use of a lost device as a validation error.
            Some(e) if e.to_string().contains("is lost") => Err(GpuError::Lost { reason: first_line(&e.to_string()) }),
            Some(e) => Err(GpuError::Refused { what: what.into(), message: first_line(&e.to_string()) }),
        }
    }

    /// An error once the device is gone.
    pub(super) fn alive(&self) -> Result<(), GpuError> {
        let lost = self.0.lost.lock().unwrap_or_else(|e| e.into_inner());
        lost.as_ref().map_or(Ok(()), |reason| Err(GpuError::Lost { reason: reason.clone() }))
    }

    /// Waits until the device has done all that was submitted up to `submission`, or all.
    pub(super) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        let result = self.0.device.poll(poll);
        self.alive()?;
        result.map(drop).map_err(|e| GpuError::Lost { reason: e.to_string() })
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
    pub(super) fn max_binding(&self) -> u64 {
        self.0.limits.max_storage_buffer_binding_size.min(self.0.limits.max_buffer_size)
    }
}

impl core::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Gpu").field(&self.name()).finish()
    }
}

fn note(lost: &Mutex<Option<String>>, reason: String) {
    // The first reason is the cause of the others.
    lost.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(first_line(&reason));
}

/// Errors of a scope are there at once, but for the browser, where its console has them.
fn wait(error: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    #[cfg(not(target_arch = "wasm32"))]
    return pollster::block_on(error);
    #[cfg(target_arch = "wasm32")]
    return {
        drop(error);
        None
    };
}

/// Messages of wgpu have many lines; the command line has one.
fn first_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
