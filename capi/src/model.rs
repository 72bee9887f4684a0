//! Models: opened from a path or from memory, described, and what a run of them would take.
#![allow(unsafe_code)] // the functions' names, which are the header's, and nothing else: a test looks

use crate::border::{In, Out, Place, Text, Values, put, required, structs};
use crate::context::{Context, text};
use crate::fault::{Fault, OK, Status};
use crate::options::{DrawOptions, Pixels, named};
use nijimi_import::{Lora, Options, Types, embedding, stored};
use nijimi_runtime::Device;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{self, Embedding, OpenOptions, Patch, Stored};
use nijimi_runtime::quant::DType;
use std::ffi::{CString, c_char};
use std::sync::Arc;

/// A program's `nijimi_model`: immutable, for any number of threads.
pub struct Model {
    pub(crate) loaded: model::Model,
    device: Device,
    stored: Arc<dyn Stored>,
    words: Words,
}

/// What there is to say of it, in words that last as long as it does.
struct Words {
    kind: CString,
    name: CString,
    license: CString,
    device: CString,
    solver: Option<CString>,
    scheduler: Option<CString>,
    labels: Vec<CString>,
}

structs! {
    /// How a model is opened.
    ModelOptions as "nijimi_model_options" {
        device: Text,
        lora_paths: Values<Text>,
        lora_strengths: Values<f64>,
        lora_count: usize,
        weight_type: Text,
        cache: Text,
        embedding_paths: Values<Text>,
        embedding_words: Values<Text>,
        embedding_count: usize,
    }

    /// What a model is.
    ModelInfo as "nijimi_model_info" {
        kind: Text,
        name: Text,
        license: Text,
        device: Text,
        width: usize,
        height: usize,
        channels: usize,
        multiple: usize,
        label_count: usize,
        weight_bytes: u64,
    }

    /// What a run would take.
    Plan as "nijimi_plan" {
        weight_bytes: u64,
        peak_bytes: u64,
        steps: usize,
        evaluations: usize,
    }
}

impl ModelOptions {
    fn of_auto() -> Self {
        Self { device: Text::of(c"auto"), weight_type: Text::of(c"f16"), ..Self::default() }
    }

    fn dtype(&self) -> Result<DType, Fault> {
        let names = "f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q4_0";
        Ok(named("weight_type", &self.weight_type, DType::from_name, names)?.unwrap_or(DType::F16))
    }

    fn patches(&self, file: &File<'_>) -> Result<Vec<Arc<dyn Patch>>, Fault> {
        let paths = self.lora_paths.get(self.lora_count, "lora_paths")?.unwrap_or_default();
        let all =
            self.lora_strengths.get(if self.lora_strengths.is_null() { 0 } else { paths.len() }, "lora_strengths")?;
        let open = |(i, path): (usize, &Text)| {
            let strength = all.map_or(1.0, |all| all[i]);
            let lora = Lora::open(path.required("a path of lora_paths")?, strength as f32, file)?;
            Ok::<Arc<dyn Patch>, Fault>(Arc::new(lora))
        };
        paths.iter().enumerate().map(open).collect()
    }

    fn embeddings(&self, file: &File<'_>) -> Result<Vec<Embedding>, Fault> {
        let paths = self.embedding_paths.get(self.embedding_count, "embedding_paths")?.unwrap_or_default();
        let count = if self.embedding_words.is_null() { 0 } else { paths.len() };
        let words = self.embedding_words.get(count, "embedding_words")?;
        let open = |(i, path): (usize, &Text)| {
            let word = words.map_or(Ok(None), |words| words[i].get("a word of embedding_words"))?;
            Ok(embedding(path.required("a path of embedding_paths")?, word, file)?)
        };
        paths.iter().enumerate().map(open).collect()
    }
}

impl Model {
    fn open(stored: Arc<dyn Stored>, options: &ModelOptions) -> Result<Self, Fault> {
        let names = if cfg!(feature = "gpu") { "auto, cpu, gpu, gpu:0 and so on" } else { "auto and cpu" };
        let place = named("device", &options.device, model::Place::from_name, names)?.unwrap_or_default();
        let file = stored.file().map_err(nijimi_runtime::Error::from)?;
        let (patches, embeddings) = (options.patches(&file)?, options.embeddings(&file)?);
        let load = |device: &Device| {
            let options =
                OpenOptions { patches: patches.clone(), embeddings: embeddings.clone(), device: device.clone() };
            model::Model::load_with(stored.clone(), options)
        };
        let (loaded, device) = load_at(place, options.cache.get("cache")?, load)?;
        // What draws nothing says so now.
        let request = loaded.request("", 0)?;
        let said = |key: &str| text(file.str(key).unwrap_or_default());
        let labels = match &loaded {
            model::Model::Diffusion(model) => model.info().labels.iter().map(|label| text(label)).collect(),
            _ => Vec::new(),
        };
        let words = Words {
            kind: said("nijimi.system"),
            name: said("general.name"),
            license: said("general.license"),
            device: text(&device_name(&device)),
            solver: request.solver.and_then(|solver| solver.name()).map(text),
            scheduler: request.sigmas.and_then(|sigmas| sigmas.name()).map(text),
            labels,
        };
        drop(file);
        Ok(Self { loaded, device, stored, words })
    }

    /// The names of the solver and the noise levels that suit it, or null.
    pub fn solver(&self) -> (Text, Text) {
        let word = |word: &Option<CString>| word.as_deref().map_or(Text::default(), Text::of);
        (word(&self.words.solver), word(&self.words.scheduler))
    }

    fn info(&self) -> Result<ModelInfo, Fault> {
        let Words { kind, name, license, device, labels, .. } = &self.words;
        let [height, width] = self.loaded.request("", 0)?.size;
        let (multiple, weight_bytes) = match &self.loaded {
            model::Model::TextToImage(model) => (model.info().multiple(), model.weight_bytes()),
            model::Model::Diffusion(model) => (0, model.weight_bytes()),
            model::Model::Vae(model) => (0, model.weight_bytes()),
            model::Model::Hvae(model) => (0, model.weight_bytes()),
            _ => (0, 0),
        };
        Ok(ModelInfo {
            size: 0,
            kind: Text::of(kind),
            name: Text::of(name),
            license: Text::of(license),
            device: Text::of(device),
            width,
            height,
            channels: self.loaded.channels(),
            multiple,
            label_count: labels.len(),
            weight_bytes: weight_bytes as u64,
        })
    }
}

#[cfg(feature = "gpu")]
fn load_at(
    place: model::Place,
    cache: Option<&str>,
    load: impl FnMut(&Device) -> Result<model::Model, nijimi_runtime::Error>,
) -> Result<(model::Model, Device), Fault> {
    let options = nijimi_runtime::gpu::GpuOptions { cache: cache.map(Into::into), ..Default::default() };
    let (model, device, _) = place.load(&options, load)?;
    Ok((model, device))
}

#[cfg(not(feature = "gpu"))]
fn load_at(
    _: model::Place,
    _: Option<&str>,
    mut load: impl FnMut(&Device) -> Result<model::Model, nijimi_runtime::Error>,
) -> Result<(model::Model, Device), Fault> {
    Ok((load(&Device::Cpu)?, Device::Cpu))
}

fn device_name(device: &Device) -> String {
    match device {
        #[cfg(feature = "gpu")]
        Device::Gpu(gpu) => gpu.name().to_string(),
        _ => "CPU".to_string(),
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_model_options_init(
    context: Option<&Context>,
    mut options: Out<ModelOptions>,
) -> Status {
    Context::guard(context, |_| options.fill(&ModelOptions::of_auto()).map(|()| OK))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_model_open(
    context: Option<&Context>,
    path: Text,
    options: In<ModelOptions>,
    model: Place<'_, Model>,
) -> Status {
    Context::guard(context, |_| {
        put(model, || {
            let (path, options) = (path.required("path")?, options.over(ModelOptions::of_auto())?);
            let stored = stored(path, &Options::default(), &Types::new(options.dtype()?))?;
            Model::open(stored, &options).map_err(|fault| fault.about_file(path))
        })?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_model_open_bytes(
    context: Option<&Context>,
    bytes: Values<u8>,
    len: usize,
    options: In<ModelOptions>,
    model: Place<'_, Model>,
) -> Status {
    Context::guard(context, |_| {
        put(model, || {
            let options = options.over(ModelOptions::of_auto())?;
            let bytes = bytes.get(len, "bytes")?.unwrap_or_default().to_vec();
            Model::open(Arc::new(bytes), &options)
        })?;
        Ok(OK)
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_model_free(model: Option<Box<Model>>) {
    crate::fault::guard(None, || {
        drop(model);
        Ok(OK)
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_model_describe(
    context: Option<&Context>,
    model: Option<&Model>,
    mut info: Out<ModelInfo>,
) -> Status {
    Context::guard(context, |_| info.fill(&required(model, "model")?.info()?).map(|()| OK))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_model_label(model: Option<&Model>, index: usize) -> *const c_char {
    let label = model.and_then(|model| model.words.labels.get(index));
    label.map_or(std::ptr::null(), |label| label.as_ptr())
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_draw_options_init(
    context: Option<&Context>,
    model: Option<&Model>,
    mut options: Out<DrawOptions>,
) -> Status {
    Context::guard(context, |_| options.fill(&DrawOptions::of(required(model, "model")?)?).map(|()| OK))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn nijimi_plan_run(
    context: Option<&Context>,
    model: Option<&Model>,
    prompt: Text,
    options: In<DrawOptions>,
    mut plan: Out<Plan>,
) -> Status {
    Context::guard(context, |_| {
        let model = required(model, "model")?;
        let options = options.over(DrawOptions::of(model)?)?;
        let pixels = Pixels::read(&options)?;
        let request = options.request(model, prompt.get("prompt")?.unwrap_or_default(), &pixels)?;
        let file = model.stored.file().map_err(nijimi_runtime::Error::from)?;
        let model::RunPlan { weights, peak, steps, calls } = model.loaded.plan(&file, &model.device, &request)?;
        plan.fill(&Plan { size: 0, weight_bytes: weights, peak_bytes: peak, steps, evaluations: calls })?;
        Ok(OK)
    })
}
