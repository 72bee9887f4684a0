//! What adapters there are, and which to take.

use super::GpuError;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use nijimi_shaders::table::{Class, Coop};
use wgpu::{Backend, DeviceType, Features};

/// An adapter, as `nijimi devices` lists it.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Its place in the list, as [`Choice::Index`] wants it.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: &'static str,
    /// `vulkan`, `metal`, `dx12` or `webgpu`.
    pub api: String,
    /// The driver's name and version.
    pub driver: String,
    /// The most bytes of one buffer.
    pub max_buffer: u64,
    /// The most bytes that a shader sees through one binding.
    pub max_binding: u64,
    /// Half-precision storage and arithmetic.
    pub f16: bool,
    /// Invocations of a subgroup, least and most; `None` where shaders may not use them.
    pub subgroup: Option<(u32, u32)>,
    /// Cooperative matrices, `16x16x16 f16 -> f32`.
    pub cooperative: Vec<String>,
    /// Clocks in the middle of work: [`super::lab::self_test`] and tuning are then exact.
    pub timestamps: bool,
    /// Runs the shaders on the CPU: never chosen by itself.
    pub software: bool,
}

/// Which adapter to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// A real GPU, discrete before integrated before others; never a CPU, since our own CPU backend is faster than one.
    #[default]
    Hardware,
    /// As [`Self::Hardware`], or else a CPU that runs the shaders.
    Any,
    /// A CPU that runs the shaders: for tests.
    Software,
    /// The adapter of that place in [`super::adapters`].
    Index(usize),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware => f.write_str("GPU"),
            Self::Any => f.write_str("adapter"),
            Self::Software => f.write_str("software adapter"),
            Self::Index(i) => write!(f, "adapter {i}"),
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        write!(f, "{}: {} ({}, {}, {})", self.index, self.name, self.kind, self.api, self.driver)?;
        write!(f, "\n   buffers to {}, bindings to {}", mib(self.max_buffer), mib(self.max_binding))?;
        write!(f, "; f16: {}", if self.f16 { "yes" } else { "no" })?;
        match self.subgroup {
            Some((least, most)) if least == most => write!(f, "; subgroups of {least}")?,
            Some((least, most)) => write!(f, "; subgroups of {least} to {most}")?,
            None => write!(f, "; no subgroups")?,
        }
        let cooperative = if self.cooperative.is_empty() { "none".into() } else { self.cooperative.join(", ") };
        write!(f, "; timestamps: {}", if self.timestamps { "yes" } else { "no" })?;
        write!(f, "\n   cooperative matrices: {cooperative}")
    }
}

/// All adapters, each once: where several APIs reach the same hardware, wgpu's own order decides.
pub(super) async fn found(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    instance.enumerate_adapters(wgpu::Backends::all()).await
}

pub(super) fn describe(index: usize, adapter: &wgpu::Adapter) -> Adapter {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let cooperative = adapter.cooperative_matrix_properties().into_iter().map(|p| {
        let kind = |t: wgpu::CooperativeScalarType| format!("{t:?}").to_ascii_lowercase();
        format!("{}x{}x{} {} -> {}", p.m_size, p.n_size, p.k_size, kind(p.ab_type), kind(p.cr_type))
    });
    let driver = [&info.driver, &info.driver_info].map(|s| s.trim()).join(" ");
    Adapter {
        index,
        kind: match info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "cpu",
            DeviceType::Other => "other",
        },
        api: match info.backend {
            Backend::BrowserWebGpu => "webgpu".into(),
            backend => format!("{backend:?}").to_ascii_lowercase(),
        },
        driver: driver.trim().to_string(),
        max_buffer: limits.max_buffer_size,
        max_binding: limits.max_storage_buffer_binding_size,
        f16: features.contains(Features::SHADER_F16),
        subgroup: features.contains(Features::SUBGROUP).then_some((info.subgroup_min_size, info.subgroup_max_size)),
        cooperative: cooperative.collect(),
        timestamps: features.contains(Features::TIMESTAMP_QUERY_INSIDE_PASSES),
        software: class(&info) == Class::Cpu,
        name: name(&info),
    }
}

/// An adapter's name. Browsers keep it to themselves.
pub(super) fn name(info: &wgpu::AdapterInfo) -> String {
    match (info.name.as_str(), class(info)) {
        ("", Class::Cpu) => "a software adapter".into(),
        ("", Class::Gpu) => "a GPU".into(),
        (name, _) => name.into(),
    }
}

/// The cooperative matrices that our shaders use, if an adapter has them: halves summed in f32, square, 16 before 8.
/// Their code counts on one size of subgroup.
pub(super) fn coop(adapter: &wgpu::Adapter) -> Option<Coop> {
    let info = adapter.get_info();
    let (half, single) = (wgpu::CooperativeScalarType::F16, wgpu::CooperativeScalarType::F32);
    let has = |size: &u32| {
        let square = |p: &wgpu::CooperativeMatrixProperties| [p.m_size, p.n_size, p.k_size] == [*size; 3];
        adapter.cooperative_matrix_properties().iter().any(|p| square(p) && p.ab_type == half && p.cr_type == single)
    };
    let size = [16, 8].into_iter().find(has)?;
    let halves = adapter.features().contains(Features::SHADER_F16 | Features::SUBGROUP);
    (halves && info.subgroup_min_size == info.subgroup_max_size)
        .then_some(Coop { size, subgroup: info.subgroup_min_size })
}

/// What kind of tiles an adapter wants.
pub(super) fn class(info: &wgpu::AdapterInfo) -> Class {
    // SwiftShader behind a browser hides its type, but not always its name.
    let software = ["llvmpipe", "lavapipe", "swiftshader", "basic render"];
    let name = info.name.to_ascii_lowercase();
    if info.device_type == DeviceType::Cpu || software.iter().any(|s| name.contains(s)) {
        Class::Cpu
    } else {
        Class::Gpu
    }
}

/// Where there is a GPU on Linux and Android, one of these files of `/dev` is there: those of kernel drivers in their
/// tree (`dri/renderD128`, ..), NVIDIA's own (also Jetson's), Mali's, Adreno's, PowerVR's, and that of a Windows host.
const NODES: [&str; 7] = ["nvidiactl", "nvhost-gpu", "nvmap", "mali0", "kgsl-3d0", "pvrsrvkm", "dxg"];

/// Whether this machine may have a GPU. In doubt it may; but where it has none for certain, this says so at once, while
/// drivers take a tenth of a second to be loaded and asked.
pub fn may_be_there() -> bool {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return true;
    }
    let render = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("renderD"))
    };
    std::fs::read_dir("/dev/dri").is_ok_and(|mut entries| entries.any(render))
        || NODES.iter().any(|node| std::path::Path::new("/dev").join(node).exists())
}

/// Whether llvmpipe was built with an LLVM that keeps large register tiles in memory: `llvmpipe (LLVM 15.0.6, 256 bits)`.
pub(super) fn spills(info: &wgpu::AdapterInfo) -> bool {
    let version = info.name.split_once("LLVM ").and_then(|(_, rest)| rest.split('.').next()?.parse::<u32>().ok());
    version.is_some_and(|version| version < 19)
}

/// The adapter that `choice` means, of those found: its index.
///
/// # Errors
/// There is none.
pub fn choose(found: &[Adapter], choice: Choice) -> Result<usize, GpuError> {
    let rank = |adapter: &&Adapter| match adapter.kind {
        _ if adapter.software => 4,
        "discrete" => 0,
        "integrated" => 1,
        "virtual" => 2,
        _ => 3,
    };
    let best = |allowed: &dyn Fn(&Adapter) -> bool| found.iter().filter(|a| allowed(a)).min_by_key(rank);
    let chosen = match choice {
        Choice::Hardware => best(&|a| !a.software),
        Choice::Any => best(&|_| true),
        Choice::Software => best(&|a| a.software),
        Choice::Index(i) => found.get(i),
    };
    chosen.map(|adapter| adapter.index).ok_or_else(|| {
        if found.is_empty() {
            return GpuError::NoAdapter { wanted: choice.to_string(), found: "no adapter was found".into() };
        }
        let listed: Vec<String> = found.iter().map(|a| format!("{}: {} ({})", a.index, a.name, a.kind)).collect();
        let found = format!("there are {}", listed.join("; "));
        match choice {
            Choice::Index(index) => GpuError::NoIndex { index, found },
            _ => GpuError::NoAdapter { wanted: choice.to_string(), found },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(index: usize, kind: &'static str) -> Adapter {
        Adapter {
            index,
            name: format!("a{index}"),
            kind,
            api: "vulkan".into(),
            driver: String::new(),
            max_buffer: 1 << 28,
            max_binding: 1 << 27,
            f16: false,
            subgroup: None,
            cooperative: Vec::new(),
            timestamps: false,
            software: kind == "cpu",
        }
    }

    // Seen red with software adapters ranked first, and with them allowed as hardware.
    #[test]
    fn a_software_adapter_is_never_chosen_by_itself() {
        let all = [adapter(0, "cpu"), adapter(1, "integrated"), adapter(2, "discrete")];
        assert_eq!(choose(&all, Choice::Hardware), Ok(2));
        assert_eq!(choose(&all[..2], Choice::Hardware), Ok(1));
        assert_eq!(choose(&all[..2], Choice::Any), Ok(1));
        assert_eq!(choose(&all, Choice::Software), Ok(0));
        assert_eq!(choose(&all, Choice::Index(1)), Ok(1));
        assert_eq!(choose(&all[..1], Choice::Any), Ok(0));
        let error = choose(&all[..1], Choice::Hardware).unwrap_err().to_string();
        assert!(error.starts_with("no GPU: there are 0: a0 (cpu); install"), "{error}");
        assert!(
            choose(&all, Choice::Index(3))
                .unwrap_err()
                .to_string()
                .starts_with("no adapter 3: there are 0: a0 (cpu); ")
        );
        assert!(choose(&[], Choice::Any).unwrap_err().to_string().contains("no adapter was found"));
    }
}
