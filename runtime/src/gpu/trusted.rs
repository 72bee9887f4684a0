//! The three calls that wgpu asks us to vouch for.
#![allow(unsafe_code)]

use alloc::vec::Vec;

/// A module whose loops are not counted a second time. wgpu's own bounding of loops costs 5 to 8 times the speed of a
/// kernel with inner loops (`docs/rejected.md`); all other checks stay on.
pub(super) fn module(device: &wgpu::Device, label: &str, wgsl: &str) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(wgsl.into());
    let mut checks = wgpu::ShaderRuntimeChecks::checked();
    checks.force_loop_bounding = false;
    // SAFETY: the text is always one of `nijimi-shaders`, never a user's. Each of its loops counts up, or halves, a local
    // variable that nothing else writes, towards a bound that does not change in the loop.
    unsafe { device.create_shader_module_trusted(wgpu::ShaderModuleDescriptor { label: Some(label), source }, checks) }
}

/// A pipeline cache filled with `data`, or empty.
pub(super) fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let desc = wgpu::PipelineCacheDescriptor { label: Some("nijimi"), data, fallback: true };
    // SAFETY: `data` was written by `cache::store` from `PipelineCache::get_data`, for the same adapter and driver: the
    // file's name says so, and its checksum that it is whole. wgpu checks its own header too, and falls back to an
    // empty cache.
    unsafe { device.create_pipeline_cache(&desc) }
}

/// What must be said to use features that wgpu calls experimental: cooperative matrices. They are asked for only where
/// an adapter has them, and used only for the shapes that it lists.
pub(super) fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: of the experimental features only cooperative matrices are requested (`device::features`). Their
    // operations stand in uniform control flow and read whole tiles of workgroup memory.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// Words as bytes, for uploads.
pub(super) fn bytes<T: bytemuck::NoUninit>(words: &[T]) -> &[u8] {
    bytemuck::cast_slice(words)
}

/// Bytes as words, whatever their alignment.
pub(super) fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
