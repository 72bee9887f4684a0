//! What runs on a device are made for, and what they are given.

use super::exec::{Executor, Ready};
use crate::plan::Slot;
use crate::sampler::{Call, SLOTS};
use alloc::vec::Vec;

/// Where a plan's inputs and output lie.
#[derive(Clone)]
pub(crate) struct Ports {
    /// The executor's plan.
    pub plan: usize,
    pub x: Slot,
    pub t: Slot,
    pub answer: Slot,
    /// Inputs that stay the same for a run, in the order of [`Shape::constants`].
    pub constants: Vec<Slot>,
    /// Deep features, and whether they are read, not made.
    pub features: Option<(Slot, bool)>,
    /// Whether the answer's second half is the unconditional one.
    pub guided: bool,
    /// Whether it has thirds instead: told of text and picture, of the picture, of neither.
    pub edits: bool,
}

/// What a run is made for.
pub(crate) struct Shape {
    pub batch: usize,
    /// Values of a sample.
    pub each: usize,
    /// Channels of the sample, and of the network's input.
    pub channels: [usize; 2],
    /// Values of the network's input after the sample's; of one text for all, or of all texts.
    pub beside: usize,
    /// Values of the code of a noise level.
    pub time: usize,
    /// Values of black and white, where samples are pictures.
    pub range: Option<[f32; 2]>,
    /// Elements of the inputs that stay the same.
    pub constants: Vec<usize>,
    /// Elements of the deep features that are kept from call to call.
    pub features: usize,
    /// Whether something is put back after every step.
    pub restores: bool,
    /// Whether a guided answer is rescaled.
    pub rescales: bool,
}

impl Shape {
    pub(super) fn elements(&self) -> usize {
        self.batch * self.each
    }

    /// Pixels of all samples.
    pub(super) fn pixels(&self) -> usize {
        self.elements() / self.channels[0].max(1)
    }

    /// Bytes of device memory, beside the executor's.
    pub fn bytes(&self) -> u64 {
        let (elements, constants) = (self.elements() as u64, self.constants.iter().sum::<usize>() as u64);
        // Sample, answer, estimate, noise, what solvers keep, and what is read back.
        let mut words =
            elements * (5 + SLOTS as u64 + 1) + constants + (self.beside + self.features + self.time) as u64;
        if self.restores {
            words += 2 * elements + self.pixels() as u64;
        }
        // Bytes of pictures; the numbers of a step.
        words * 4 + self.range.map_or(0, |_| elements) + 1024
    }

    /// Bytes of host memory.
    pub fn host_bytes(&self) -> u64 {
        (3 * self.elements() + self.time) as u64 * 4
    }
}

/// One call's own numbers.
#[derive(Clone, Copy)]
pub(crate) struct StepInput<'a> {
    /// Of [`Ports`].
    pub ports: usize,
    pub index: usize,
    pub guidance_scale: f32,
    pub image_guidance_scale: f32,
    pub guidance_rescale: f32,
    pub call: &'a Call,
    /// Samples in use.
    pub n: usize,
    /// Shares of picture and noise of what is put back after the call.
    pub restore: Option<(f32, f32)>,
    /// Of a classifier that guides, if it does.
    pub classifier: Option<ClassifierInput<'a>>,
}

/// A call's numbers of a classifier.
#[derive(Clone, Copy)]
pub(crate) struct ClassifierInput<'a> {
    /// The gradient's share in the answer.
    pub weight: f32,
    /// The noise level, as the classifier knows it.
    pub timestep: f32,
    /// What evaluates it, where that is on the same device; else the gradient was written.
    pub exec: Option<&'a Executor>,
}

/// A classifier's plan on its executor, and where its inputs and the gradient lie.
#[derive(Clone, Copy)]
pub(crate) struct ClassifierPorts {
    pub plan: usize,
    pub x: Slot,
    pub t: Slot,
    pub gradient: Slot,
}

/// What a run begins with.
pub(crate) struct Beginning<'a> {
    pub ids: &'a [Option<u32>],
    pub constants: &'a mut dyn Iterator<Item = &'a [f32]>,
    pub beside: &'a [f32],
    /// Picture, noise and mask of what is put back.
    pub kept: Option<[&'a [f32]; 3]>,
}

/// What a run needs to be guided by a classifier.
pub(super) struct Attached {
    /// Of a classifier on the same device: what it is given, and its plan.
    pub feed: Option<(Ready, usize)>,
    pub guide: Ready,
    pub time: wgpu::Buffer,
    /// The gradient, where it comes from the host.
    pub gradient: wgpu::Buffer,
}
