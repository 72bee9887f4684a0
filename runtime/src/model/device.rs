//! Where a model's networks are put, and its runs take place.

use crate::graph::Graph;
#[cfg(feature = "gpu")]
use crate::graph::{Weight, WeightKind};

/// The processor that a model is loaded for: its weights go to that one's memory, and its sessions and runs take place
/// there.
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// The CPU: weights are packed for its kernels.
    #[default]
    Cpu,
    /// The CPU, for machines whose flash is larger than their memory: weights are read where they lie in a file that was
    /// opened by [`File::new_static`](crate::gguf::File::new_static), by portable code. The same bits as [`Self::Cpu`],
    /// without its speed.
    CpuInPlace,
    /// A GPU: weights lie in its memory, quantized as in the file.
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::Gpu),
}

#[cfg(feature = "gpu")]
impl From<crate::gpu::Gpu> for Device {
    fn from(gpu: crate::gpu::Gpu) -> Self {
        Self::Gpu(gpu)
    }
}

impl Device {
    /// The best GPU of this machine. [`Gpu::open`](crate::gpu::Gpu::open) chooses another.
    ///
    /// # Errors
    /// No GPU, or one that cannot be opened.
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    pub fn gpu() -> Result<Self, crate::Error> {
        Ok(Self::Gpu(crate::gpu::Gpu::open(&crate::gpu::GpuOptions::default())?))
    }

    /// The device for a network with tables, such as a text encoder's of all tokens: a GPU binds a table at once and in
    /// f32, which not every one can; the CPU then reads the text, in a moment.
    pub(super) fn for_tables(&self, graph: &Graph) -> Self {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            let table = |weight: &&Weight| matches!(weight.kind, WeightKind::Table { .. });
            let tables = graph.weights().iter().filter(table);
            if tables.map(|weight| weight.kind.elements() as u64 * 4).max().unwrap_or(0) > gpu.max_binding() {
                return Self::Cpu;
            }
        }
        let _ = graph;
        self.clone()
    }
}
