//! Pipelines: made once for each shader, several at a time, only those that a plan needs.

use super::waiting::each;
use super::{Gpu, GpuError, trusted};
use alloc::sync::Arc;
use alloc::vec::Vec;
use nijimi_shaders::{Access, Interface, Shader};
use std::collections::HashMap;
use std::sync::Mutex;

/// A shader, compiled, with what it binds.
pub(super) struct Pipeline {
    pub shader: Shader,
    pub interface: Interface,
    pub compute: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// Those made so far.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<Shader, Arc<Pipeline>>>);

impl Gpu {
    /// The pipelines of these shaders, in their order.
    pub(super) fn pipelines(&self, shaders: &[Shader]) -> Result<Vec<Arc<Pipeline>>, GpuError> {
        let made = || self.0.pipelines.0.lock().unwrap_or_else(|e| e.into_inner());
        let mut missing: Vec<&Shader> = Vec::new();
        for shader in shaders {
            if !missing.contains(&shader) && !made().contains_key(shader) {
                missing.push(shader);
            }
        }
        let new = each(&missing, |shader| self.pipeline(shader));
        let mut made = made();
        for pipeline in new {
            let pipeline = pipeline?;
            made.insert(pipeline.shader.clone(), Arc::new(pipeline));
        }
        let lost = || GpuError::Refused { what: "making pipelines".into(), message: "a thread ended early".into() };
        shaders.iter().map(|shader| made.get(shader).cloned().ok_or_else(lost)).collect()
    }

    fn pipeline(&self, shader: &Shader) -> Result<Pipeline, GpuError> {
        let (label, wgsl, device) = (shader.label(), shader.wgsl(), &self.0.device);
        let interface = shader.interface();
        let entry = |binding: &nijimi_shaders::Binding| wgpu::BindGroupLayoutEntry {
            binding: binding.index,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: kind(binding.access),
            count: None,
        };
        let entries: Vec<_> = interface.bindings.iter().map(entry).collect();
        self.scoped(&label, 0, || {
            let layout = device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let compute = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &trusted::module(device, &label, &wgsl),
                entry_point: Some("main"),
                // Every kernel writes its workgroup memory before it reads it.
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: self.0.cache.pipelines.as_ref(),
            });
            Pipeline { shader: shader.clone(), interface, compute, layout }
        })
    }

    /// Writes the pipelines made so far to the cache folder, if there is one; to be called once all are made.
    ///
    /// # Errors
    /// [`GpuError::Cache`]; nothing else is harmed.
    pub fn store_cache(&self) -> Result<(), GpuError> {
        self.0.cache.store()
    }
}

fn kind(access: Access) -> wgpu::BindingType {
    let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
    match access {
        Access::Uniform => buffer(wgpu::BufferBindingType::Uniform),
        Access::Read => buffer(wgpu::BufferBindingType::Storage { read_only: true }),
        Access::ReadWrite => buffer(wgpu::BufferBindingType::Storage { read_only: false }),
        Access::Texture => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::WriteOnly,
            format: wgpu::TextureFormat::Rgba8Unorm,
            view_dimension: wgpu::TextureViewDimension::D2,
        },
    }
}
