//! Guidance by a classifier, as part of a run on a device.

use super::GpuError;
use super::exec::Executor;
use super::lower::{Operand, flat};
use super::run_shape::{Attached, ClassifierPorts, StepInput};
use super::sampling::{DeviceRun, own};
use super::trusted;
use alloc::vec;
use nijimi_shaders::{Kernel, Shader, table};
use wgpu::BufferUsages;

impl DeviceRun {
    /// Prepares guidance by a classifier: of one on the same device, with its executor and ports.
    pub fn attach(&mut self, classifier: Option<(&mut Executor, ClassifierPorts)>) -> Result<(), GpuError> {
        let (gpu, elements) = (self.gpu().clone(), self.shape.elements());
        let memory = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let time = gpu.buffer("a classifier's noise level", 4, memory)?;
        let from_host = if classifier.is_some() { 1 } else { elements as u64 };
        let gradient = gpu.buffer("a gradient", from_host * 4, memory)?;
        let eps = ("eps", Operand::Buffer(&self.eps));
        let (feed, guide) = match classifier {
            Some((exec, ports)) => {
                let variants = exec.variants();
                let class = variants.machine.class;
                let operands = vec![
                    ("x", Operand::Buffer(&self.x)),
                    ("time", Operand::Buffer(&time)),
                    ("input", Operand::Slot(ports.x)),
                    ("t", Operand::Slot(ports.t)),
                ];
                let n = elements.max(ports.t.len());
                let feed = own(&self.step, flat(class, n), variants.flat(Kernel::Feed), operands);
                let operands = vec![("gradient", Operand::Slot(ports.gradient)), eps];
                let shader = variants.flat(Kernel::ClassifierGuidance);
                let guide = own(&self.step, flat(class, elements), shader, operands);
                let mut ready = exec.prepare(&[feed, guide])?;
                let guide = ready.pop();
                (ready.pop().zip(Some(ports.plan)), guide)
            }
            None => {
                let class = self.exec.variants().machine.class;
                let shader = Shader::new(Kernel::ClassifierGuidance).constant("WX", table::flat(class));
                let operands = vec![("gradient", Operand::Buffer(&gradient)), eps];
                let guide = own(&self.step, flat(class, elements), shader, operands);
                (None, self.exec.prepare(&[guide])?.pop())
            }
        };
        self.classifier = guide.map(|guide| Attached { feed, guide, time, gradient });
        Ok(())
    }

    /// The gradient of a classifier that is not on the same device.
    pub fn write_gradient(&self, values: &[f32]) -> Result<(), GpuError> {
        let Some(classifier) = &self.classifier else { return Ok(()) };
        let bytes = trusted::bytes(values);
        let gpu = self.gpu();
        gpu.scoped("a gradient", bytes.len() as u64, || gpu.queue().write_buffer(&classifier.gradient, 0, bytes))
    }

    /// Submits what a classifier on the same device is given; its plan.
    pub fn feed_classifier(&self, exec: &Executor, s: &StepInput<'_>) -> Result<Option<usize>, GpuError> {
        self.write_step(s, false)?;
        let Some((feed, plan)) = self.classifier.as_ref().and_then(|classifier| classifier.feed.as_ref()) else {
            return Ok(None);
        };
        exec.submit("a classifier's inputs", |pass| feed.record(pass))?;
        Ok(Some(*plan))
    }
}
