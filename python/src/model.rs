//! Models and devices.

use crate::fault::Fault;
use crate::run::{Asked, Run};
use nijimi_import::{Lora, Options, Types, embedding, stored};
use nijimi_runtime::model::{self, OpenOptions, Patch, Place, RunPlan, Stored};
use nijimi_runtime::quant::DType;
use nijimi_runtime::{Device, Error};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The models that are part of the package, as they are of the program.
const BUILT_IN: [(&str, &[u8]); 2] = [("emoji", EMOJI), ("digits", DIGITS)];
static EMOJI: &[u8] = include_bytes!("../../weights/emoji-q8_0.gguf");
static DIGITS: &[u8] = include_bytes!("../../weights/digits-q8_0.gguf");

/// A model in memory.
#[pyclass(frozen, module = "nijimi._native")]
pub struct Model {
    loaded: model::Model,
    device: Device,
    stored: Arc<dyn Stored>,
}

#[derive(FromPyObject)]
pub enum Source {
    #[pyo3(transparent)]
    Bytes(Vec<u8>),
    #[pyo3(transparent)]
    Path(PathBuf),
}

/// What is added to a model: files of LoRAs with their strengths, of embeddings with their words.
struct Added {
    loras: Vec<(PathBuf, f32)>,
    embeddings: Vec<(PathBuf, Option<String>)>,
}

/// Opens a model: a path, the name of one that is built in, or a weight file's bytes.
#[pyfunction]
pub fn open(
    py: Python<'_>,
    source: Source,
    device: &str,
    loras: Vec<(PathBuf, f32)>,
    embeddings: Vec<(PathBuf, Option<String>)>,
    weight_type: &str,
    cache: Option<PathBuf>,
) -> PyResult<Model> {
    Ok(py.detach(|| {
        let names = if cfg!(feature = "gpu") { "auto, cpu, gpu, gpu:0 and so on" } else { "auto and cpu" };
        let unknown = |what, name, names| Fault::usage(format!("{what} {name:?} is not known: there are {names}"));
        let place = Place::from_name(device).ok_or_else(|| unknown("device", device, names))?;
        let types = "f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q4_0";
        let dtype = DType::from_name(weight_type).ok_or_else(|| unknown("weight_type", weight_type, types))?;
        let added = Added { loras, embeddings };
        match source {
            Source::Bytes(bytes) => Model::open(Arc::new(bytes), place, &added, cache),
            Source::Path(path) => match BUILT_IN.iter().find(|(name, _)| path == Path::new(name) && !path.exists()) {
                Some((_, bytes)) => Model::open(Arc::new(*bytes), place, &added, cache),
                None => {
                    let stored = stored(&path, &Options::default(), &Types::new(dtype))?;
                    let open = Model::open(stored, place, &added, cache);
                    open.map_err(|fault| fault.about_file(&path.to_string_lossy()))
                }
            },
        }
    })?)
}

impl Model {
    fn open(stored: Arc<dyn Stored>, place: Place, added: &Added, cache: Option<PathBuf>) -> Result<Self, Fault> {
        let file = stored.file().map_err(Error::from)?;
        let patch = |(path, strength): &(PathBuf, f32)| Ok(Arc::new(Lora::open(path, *strength, &file)?) as _);
        let patches = added.loras.iter().map(patch).collect::<Result<Vec<Arc<dyn Patch>>, Fault>>()?;
        let vectors = |(path, word): &(PathBuf, Option<String>)| embedding(path, word.as_deref(), &file);
        let embeddings = added.embeddings.iter().map(vectors).collect::<Result<Vec<_>, _>>()?;
        drop(file);
        let load = |device: &Device| {
            let options =
                OpenOptions { patches: patches.clone(), embeddings: embeddings.clone(), device: device.clone() };
            model::Model::load_with(stored.clone(), options)
        };
        let (loaded, device) = load_at(place, cache, load)?;
        // What draws nothing says so now.
        loaded.request("", 0)?;
        Ok(Self { loaded, device, stored })
    }

    fn said(&self, key: &str) -> String {
        let file = self.stored.file();
        file.ok().and_then(|file| Some(file.str(key).ok()?.to_owned())).unwrap_or_default()
    }
}

#[cfg(feature = "gpu")]
fn load_at(
    place: Place,
    cache: Option<PathBuf>,
    load: impl FnMut(&Device) -> Result<model::Model, Error>,
) -> Result<(model::Model, Device), Fault> {
    let options = nijimi_runtime::gpu::GpuOptions { cache, ..Default::default() };
    let (model, device, _) = place.load(&options, load)?;
    Ok((model, device))
}

#[cfg(not(feature = "gpu"))]
fn load_at(
    _: Place,
    _: Option<PathBuf>,
    mut load: impl FnMut(&Device) -> Result<model::Model, Error>,
) -> Result<(model::Model, Device), Fault> {
    Ok((load(&Device::Cpu)?, Device::Cpu))
}

#[pymethods]
impl Model {
    /// `nijimi.system` of its file.
    #[getter]
    fn kind(&self) -> String {
        self.said("nijimi.system")
    }

    #[getter]
    fn name(&self) -> String {
        self.said("general.name")
    }

    #[getter]
    fn license(&self) -> String {
        self.said("general.license")
    }

    #[getter]
    fn device(&self) -> String {
        match &self.device {
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => gpu.name().to_string(),
            _ => "CPU".to_string(),
        }
    }

    /// Width and height.
    #[getter]
    fn size(&self) -> PyResult<(usize, usize)> {
        let [height, width] = self.loaded.request("", 0).map_err(Fault::from)?.size;
        Ok((width, height))
    }

    /// 1 or 3.
    #[getter]
    fn channels(&self) -> usize {
        self.loaded.channels()
    }

    /// Of width and height; 0 where they cannot be chosen.
    #[getter]
    fn multiple(&self) -> usize {
        if let model::Model::TextToImage(model) = &self.loaded { model.info().multiple() } else { 0 }
    }

    #[getter]
    fn labels(&self) -> Vec<String> {
        if let model::Model::Diffusion(model) = &self.loaded { model.info().labels.clone() } else { Vec::new() }
    }

    /// Begins a run.
    fn begin(&self, py: Python<'_>, prompt: &str, asked: Asked) -> PyResult<Run> {
        Ok(py.detach(|| {
            let run = asked.with(&self.loaded, prompt, |request| self.loaded.run(request))??;
            Ok::<_, Fault>(Run::new(run))
        })?)
    }

    /// Bytes of the weights, the most bytes at once, steps, evaluations of the network.
    fn plan(&self, py: Python<'_>, prompt: &str, asked: Asked) -> PyResult<(u64, u64, usize, usize)> {
        Ok(py.detach(|| {
            let file = self.stored.file().map_err(Error::from)?;
            let plan = asked.with(&self.loaded, prompt, |request| self.loaded.plan(&file, &self.device, request))?;
            let RunPlan { weights, peak, steps, calls } = plan?;
            Ok::<_, Fault>((weights, peak, steps, calls))
        })?)
    }
}

/// Name, kind, api, driver, and whether it is software, of each GPU.
#[pyfunction]
pub fn devices(py: Python<'_>) -> Vec<(String, String, String, String, bool)> {
    py.detach(found)
}

#[cfg(feature = "gpu")]
fn found() -> Vec<(String, String, String, String, bool)> {
    let adapters = nijimi_runtime::gpu::adapters().into_iter();
    adapters.map(|a| (a.name, a.kind.to_string(), a.api, a.driver, a.software)).collect()
}

#[cfg(not(feature = "gpu"))]
fn found() -> Vec<(String, String, String, String, bool)> {
    Vec::new()
}
