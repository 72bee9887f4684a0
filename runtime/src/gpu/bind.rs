//! Buffers of an executor, and bind groups on them.

use super::lower::{Operand, Param};
use super::pipeline::Pipeline;
use super::{Gpu, GpuError, Storage, trusted};
use crate::plan::Slot;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use std::collections::HashMap;
use wgpu::BufferUsages;

/// The memory that dispatches work on.
pub(super) struct Binder {
    gpu: Gpu,
    pub storage: Storage,
    /// The arena, in pieces.
    pub arena: Vec<wgpu::Buffer>,
    /// Elements of a piece.
    piece: u64,
    scratch: wgpu::Buffer,
    pub ids: wgpu::Buffer,
    uniforms: wgpu::Buffer,
    /// What the uniforms will hold.
    params: Vec<u32>,
    turns: HashMap<usize, wgpu::Buffer>,
}

impl Binder {
    /// Bytes from one dispatch's parameters to the next: the coarsest alignment of uniforms.
    pub const UNIFORM: u64 = 256;

    pub fn new(
        gpu: &Gpu,
        storage: Storage,
        arena: u64,
        scratch: u64,
        ids: usize,
        uniforms: u64,
    ) -> Result<Self, GpuError> {
        let memory = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let piece = gpu.plan_options(storage).piece.unwrap_or(1) as u64;
        let pieces = (0..arena.div_ceil(piece).max(1)).map(|i| {
            let elements = piece.min(arena - i * piece);
            gpu.buffer("the arena", elements * storage.bytes(), memory)
        });
        Ok(Self {
            gpu: gpu.clone(),
            storage,
            arena: pieces.collect::<Result<_, _>>()?,
            piece,
            scratch: gpu.buffer("scratch memory", scratch, memory)?,
            ids: gpu.buffer("ids", ids as u64 * 4, memory)?,
            uniforms: gpu.buffer("parameters", uniforms, BufferUsages::UNIFORM | BufferUsages::COPY_DST)?,
            params: Vec::new(),
            turns: HashMap::new(),
        })
    }

    /// Where an activation begins: the buffer, and the byte in it.
    pub fn place(&self, slot: Slot) -> (&wgpu::Buffer, u64) {
        let offset = slot.offset as u64;
        (&self.arena[(offset / self.piece) as usize], offset % self.piece * self.storage.bytes())
    }

    /// The part of the arena that is an activation, for a binding.
    pub fn slot(&self, slot: Slot) -> wgpu::BindingResource<'_> {
        let (buffer, offset) = self.place(slot);
        let size = (slot.len() as u64 * self.storage.bytes()).next_multiple_of(4);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: NonZeroU64::new(size) })
    }

    /// A bind group with a dispatch's operands, and its parameters in the next place of the uniforms. Operands and
    /// parameters are found by the names in the WGSL.
    pub fn bind(
        &mut self,
        label: &str,
        pipeline: &Pipeline,
        operands: &[(&'static str, Operand<'_>)],
        params: &[(&'static str, Param)],
    ) -> Result<wgpu::BindGroup, GpuError> {
        for (_, operand) in operands {
            if let Operand::Turns(dim) = operand {
                self.add_turns(*dim)?;
            }
        }
        let offset = self.params.len() as u64 * 4;
        // A caller may bring parameters in a buffer of its own.
        let own = operands.iter().any(|(name, _)| *name == "p");
        let words = if own { Vec::new() } else { words(pipeline, params)? };
        if !own {
            self.params.extend(&words);
            self.params.resize((offset + Self::UNIFORM) as usize / 4, 0);
        }

        let wrong = |name: &str| GpuError::Refused {
            what: pipeline.shader.label(),
            message: format!("nothing is bound to {name}"),
        };
        let entries = pipeline.interface.bindings.iter().map(|binding| {
            let find = || operands.iter().find(|(name, _)| *name == binding.name).map(|(_, operand)| *operand);
            let resource = if binding.name == "p" && !own {
                let size = NonZeroU64::new((words.len() as u64 * 4).next_multiple_of(16));
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.uniforms, offset, size })
            } else {
                match find().ok_or_else(|| wrong(&binding.name))? {
                    Operand::Slot(slot) => self.slot(slot),
                    Operand::Buffer(buffer) => buffer.as_entire_binding(),
                    Operand::Ids => self.ids.as_entire_binding(),
                    Operand::Turns(dim) => self.turns.get(&dim).ok_or_else(|| wrong("turns"))?.as_entire_binding(),
                    Operand::Scratch { offset, len } => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &self.scratch,
                        offset,
                        size: NonZeroU64::new(len),
                    }),
                }
            };
            Ok(wgpu::BindGroupEntry { binding: binding.index, resource })
        });
        let entries = entries.collect::<Result<Vec<_>, GpuError>>()?;
        if entries.len() != operands.len() + usize::from(!own) {
            return Err(GpuError::Refused {
                what: pipeline.shader.label(),
                message: "an operand is not used".to_string(),
            });
        }
        let desc = wgpu::BindGroupDescriptor { label: Some(label), layout: &pipeline.layout, entries: &entries };
        self.gpu.scoped(label, 0, || self.gpu.device().create_bind_group(&desc))
    }

    /// Writes the parameters of all bind groups.
    pub fn flush(&self) -> Result<(), GpuError> {
        let bytes = trusted::bytes(&self.params);
        self.gpu.scoped("parameters", bytes.len() as u64, || self.gpu.queue().write_buffer(&self.uniforms, 0, bytes))
    }

    fn add_turns(&mut self, dim: usize) -> Result<(), GpuError> {
        if !self.turns.contains_key(&dim) {
            let words: Vec<u32> = (0..dim).flat_map(|i| turns(i, dim)).map(f32::to_bits).collect();
            self.turns.insert(dim, self.gpu.upload("frequencies", &words)?);
        }
        Ok(())
    }
}

/// A shader's parameters in the order of its structure.
pub(super) fn words(pipeline: &Pipeline, params: &[(&'static str, Param)]) -> Result<Vec<u32>, GpuError> {
    let fields = &pipeline.interface.params;
    let wrong = |message| GpuError::Refused { what: pipeline.shader.label(), message };
    if let Some((name, _)) = params.iter().find(|(name, _)| !fields.iter().any(|field| field.name == *name)) {
        return Err(wrong(format!("it has no parameter {name}")));
    }
    let mut words = vec![0; fields.len()];
    for (word, field) in words.iter_mut().zip(fields) {
        let param = params.iter().find(|(name, _)| *name == field.name).map(|(_, param)| *param);
        *word = match (param, field.float) {
            (Some(Param::U(v)), false) => u32::try_from(v).map_err(|_| wrong(format!("{} is {v}", field.name)))?,
            (Some(Param::F(v)), true) => v.to_bits(),
            _ => return Err(wrong(format!("it needs the parameter {}", field.name))),
        };
    }
    Ok(words)
}

/// Frequency `i` of a position encoding, in turns: two parts of 12 bits, the rest, and nothing.
fn turns(i: usize, dim: usize) -> [f32; 4] {
    let frequency = libm::pow(10_000.0, -(i as f64) / dim as f64) / core::f64::consts::TAU;
    let short = |v: f64| f32::from_bits((v as f32).to_bits() & 0xffff_f000);
    let a = short(frequency);
    let b = short(frequency - f64::from(a));
    [a, b, (frequency - f64::from(a) - f64::from(b)) as f32, 0.0]
}
