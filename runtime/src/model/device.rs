//! Where a model's networks are put, and its runs take place.

use crate::graph::Graph;
#[cfg(feature = "gpu")]
use crate::graph::{Weight, WeightKind};

/// The processor that a model is loaded for: its weights go to that one's memory, and its sessions and runs take place
/// there.
///
/// ```no_run
/// use nijimi_runtime::{Device, Error, Model};
///
/// # fn main() -> Result<(), Error> {
/// # #[cfg(feature = "gpu")]
/// let model = Model::open("weights/emoji-q8_0.gguf", &Device::gpu()?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// The CPU: weights are packed for its kernels.
    #[default]
    Cpu,
    /// The CPU, for machines whose flash is larger than their memory: weights are read where they lie in a file that was
    /// opened by [`File::new_static`](crate::gguf::File::new_static), by portable code. The same bits as [`Self::Cpu`],
    /// without its speed. On WebAssembly, where there is only memory, the matrices are packed all the same.
    CpuInPlace,
    /// A GPU: weights lie in its memory, quantized as in the file.
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::Gpu),
}

/// Where a model is asked to be loaded.
///
/// ```no_run
/// use nijimi_runtime::model::Place;
///
/// assert_eq!(Place::from_name("cpu"), Some(Place::Cpu));
/// assert_eq!(Place::from_name("toaster"), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// On the CPU.
    Cpu,
    /// On a real GPU if there is one that works, or else on the CPU.
    #[default]
    Auto,
    /// On this adapter and no other.
    #[cfg(feature = "gpu")]
    Gpu(crate::gpu::Choice),
}

impl Place {
    /// By the names `auto`, `cpu`, `gpu` (a real one, or else one that runs shaders on the CPU) and `gpu:1`, an adapter by its index
    /// in `gpu::adapters`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            #[cfg(feature = "gpu")]
            "gpu" => Self::Gpu(crate::gpu::Choice::Any),
            #[cfg(feature = "gpu")]
            _ => Self::Gpu(crate::gpu::Choice::Index(name.strip_prefix("gpu:")?.parse().ok()?)),
            #[cfg(not(feature = "gpu"))]
            _ => return None,
        })
    }
}

#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
impl Place {
    /// Has `load` load something there: on a device that is opened with these options (but their `choice`), or on the CPU. Of
    /// [`Self::Auto`] on the CPU, why there.
    ///
    /// # Errors
    /// No GPU, or one that cannot be opened or fails, where it must be one; what `load` has to say.
    pub fn load<T>(
        self,
        options: &crate::gpu::GpuOptions,
        mut load: impl FnMut(&Device) -> Result<T, crate::Error>,
    ) -> Result<(T, Device, Option<alloc::string::String>), crate::Error> {
        use alloc::string::ToString;
        let mut on_gpu = |choice| {
            let device = Device::Gpu(crate::gpu::Gpu::open(&crate::gpu::GpuOptions { choice, ..options.clone() })?);
            load(&device).map(|loaded| (loaded, device, None))
        };
        let instead = match self {
            Self::Cpu => None,
            Self::Gpu(choice) => return on_gpu(choice),
            // Its driver would have to be loaded before it could say so.
            Self::Auto if !crate::gpu::may_be_there() => Some("this machine has none".to_string()),
            Self::Auto => match on_gpu(crate::gpu::Choice::Hardware) {
                Err(crate::Error::Gpu(e)) => Some(e.to_string()),
                done => return done,
            },
        };
        Ok((load(&Device::Cpu)?, Device::Cpu, instead))
    }
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
