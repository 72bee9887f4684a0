//! The GPU backend: WGSL compute shaders on wgpu (Vulkan, Metal, DX12, WebGPU).
//!
//! It executes the plans that the CPU backend executes, with the shaders of `nijimi-shaders`, each the twin of a CPU
//! kernel. [`Gpu`] is a device; [`Weights`] lie on it, quantized as in the file; an [`Executor`] has buffers, pipelines
//! and bindings for some plans, after which a step is one command buffer with one compute pass.

mod adapter;
mod bind;
mod cache;
mod classifier_guidance;
mod device;
mod error;
mod exec;
pub mod footprint;
#[cfg(not(target_arch = "wasm32"))]
pub mod lab;
mod lower;
mod pack;
mod pipeline;
mod run_shape;
mod sampling;
mod storage;
mod texture;
mod transfer;
mod trusted;
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "nothing is measured in a browser"))]
mod tune;
#[cfg_attr(not(target_arch = "wasm32"), path = "waiting/native.rs")]
#[cfg_attr(target_arch = "wasm32", path = "waiting/web.rs")]
mod waiting;
mod weights;

pub use adapter::{Adapter, Choice, choose, may_be_there};
#[cfg(not(target_arch = "wasm32"))]
pub use device::adapters;
pub use device::{Gpu, GpuOptions, adapters_async};
pub use error::GpuError;
pub use exec::{ExecOptions, Executor};
pub use nijimi_shaders::table::{Class, Coop, Method, Tile};
pub(crate) use run_shape::{
    Beginning, ClassifierInput, ClassifierPorts, Ports as DevicePorts, Shape as RunShape, StepInput,
};
pub(crate) use sampling::DeviceRun;
pub use storage::Storage;
pub(crate) use texture::{DeviceDecoder, Shown, draw_into};
pub use weights::Weights;
/// The wgpu that devices are handed in and out with: of another version, its types are others.
pub use wgpu;

/// Messages of wgpu have many lines; the command line has one.
fn first_line(message: &str) -> alloc::string::String {
    message.split_whitespace().collect::<alloc::vec::Vec<_>>().join(" ")
}
