//! What the package's JavaScript calls: a model, drawn with step by step.

use js_sys::{Error, Function, JsString, Promise, Reflect, Uint8Array};
use nijimi_runtime::error::Fault;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Device, Diffusion, LatentRequest, ModelKind, Request, RequestError, Run, SessionOptions, TextToImage,
    is_of_one_color,
};
use nijimi_runtime::sampler::Solver;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// A model that draws, where it was loaded.
#[wasm_bindgen]
pub struct Engine {
    device: String,
    model: Drawer,
}

/// Not every model of the runtime, whose code would be loaded with it.
enum Drawer {
    Text(TextToImage),
    Label(Diffusion),
}

fn read(file: &[u8], device: &Device) -> Result<Option<Drawer>, nijimi_runtime::Error> {
    let file = File::new_checked(file)?;
    Ok(match ModelKind::of(&file)? {
        ModelKind::TextToImage => Some(Drawer::Text(TextToImage::load(&file, device)?)),
        ModelKind::Diffusion => Some(Drawer::Label(Diffusion::load(&file, device)?)),
        _ => None,
    })
}

/// What a drawing shall be; what is `None` is as the model's file recommends.
#[wasm_bindgen]
pub struct Wish {
    seed: u64,
    negative: Option<String>,
    steps: Option<usize>,
    guidance: Option<f32>,
    solver: Option<String>,
    size: [Option<usize>; 2],
}

#[wasm_bindgen]
impl Wish {
    #[wasm_bindgen(constructor)]
    pub fn new(
        seed: u64,
        negative: Option<String>,
        steps: Option<usize>,
        guidance: Option<f32>,
        solver: Option<String>,
        width: Option<usize>,
        height: Option<usize>,
    ) -> Self {
        Self { seed, negative, steps, guidance, solver, size: [height, width] }
    }
}

#[wasm_bindgen]
impl Engine {
    /// Loads a weight file for the CPU.
    pub fn open(file: &[u8]) -> Result<Engine, Error> {
        Self::load(file, &Device::Cpu, "CPU".into())
    }

    /// Opens the browser's GPU, and loads a weight file into its memory.
    #[cfg(feature = "webgpu")]
    pub async fn open_webgpu(file: Vec<u8>) -> Result<Engine, Error> {
        use nijimi_runtime::gpu::{Choice, Gpu, GpuOptions};
        // A browser may offer a CPU that runs the shaders: slow, but it draws.
        let gpu = Gpu::open_async(&GpuOptions { choice: Choice::Any, ..Default::default() }).await;
        let gpu = gpu.map_err(|e| thrown(e.into()))?;
        let device = gpu.name();
        Self::load(&file, &Device::Gpu(gpu), device)
    }

    fn load(file: &[u8], device: &Device, name: String) -> Result<Engine, Error> {
        let model = read(file, device).map_err(thrown)?;
        let refusal = "this package draws with text-to-image and diffusion models alone";
        Ok(Self { device: name, model: model.ok_or_else(|| error("input", refusal))? })
    }

    /// What it draws on.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// The model's name, as its file says.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.either(|model| model.info().name.clone(), |model| model.info().name.clone())
    }

    /// What it can draw; nothing of a model that reads prompts.
    #[wasm_bindgen(getter)]
    pub fn labels(&self) -> Vec<String> {
        self.either(|_| Vec::new(), |model| model.info().labels.clone())
    }

    /// Width and height of the pictures, as it was trained.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> Vec<usize> {
        let pixels = |model: &Diffusion| -> Vec<usize> { model.info().network.size().into_iter().rev().collect() };
        self.either(|model| model.info().size().into_iter().rev().collect(), pixels)
    }

    /// How many steps suit the model.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> usize {
        self.either(|model| model.info().steps(), |model| model.info().defaults.steps)
    }

    /// How strong guidance suits the model.
    #[wasm_bindgen(getter, js_name = guidanceScale)]
    pub fn guidance_scale(&self) -> f32 {
        self.either(|model| model.info().guidance_scale(), |model| model.info().defaults.guidance_scale)
    }

    /// Draws a picture of a prompt, or of a label. After each step it awaits `ask(index, total, width, height)`, the index
    /// from 0: `"next"` makes the next step, `"pixels"` calls `show(rgba)` with the picture, or what it will be as far as one
    /// can tell, and asks again; anything else ends it.
    pub async fn draw(&self, prompt: String, wish: Wish, ask: Function, show: Function) -> Result<(), JsValue> {
        match &self.model {
            Drawer::Text(model) => text(model, &prompt, &wish, ask, show).await,
            Drawer::Label(model) => label(model, prompt.trim(), &wish, ask, show).await,
        }
    }

    fn either<T>(&self, text: impl Fn(&TextToImage) -> T, label: impl Fn(&Diffusion) -> T) -> T {
        match &self.model {
            Drawer::Text(model) => text(model),
            Drawer::Label(model) => label(model),
        }
    }
}

async fn text(model: &TextToImage, prompt: &str, wish: &Wish, ask: Function, show: Function) -> Result<(), JsValue> {
    let info = model.info();
    let (solver, sigmas) = match wish.solver()? {
        // A spacing suits the solver that the file names.
        Some(solver) => (Some(solver), None),
        None => (info.defaults.solver, info.defaults.sigmas),
    };
    let own = info.size();
    let [height, width] = [0, 1].map(|side| wish.size[side].unwrap_or(own[side]));
    let steps = wish.steps.unwrap_or(info.steps());
    let calls = info.calls_for([height, width], solver, sigmas, steps).map_err(thrown)?;
    let request = model.request(prompt, wish.seed, &calls);
    let request = LatentRequest {
        negatives: vec![wish.negative.as_deref()],
        guidance_scale: wish.guidance.unwrap_or(request.guidance_scale),
        size: [height, width],
        ..request
    };
    let run = model.run_async(&request).await.map_err(thrown)?;
    let why = async || model.check_constant_async(&SessionOptions::default()).await;
    finish(run, ask, show, why).await
}

async fn label(model: &Diffusion, label: &str, wish: &Wish, ask: Function, show: Function) -> Result<(), JsValue> {
    if wish.negative.is_some() {
        return Err(
            error("request", "negativePrompt: this model draws labels, and reads no prompts: leave it out").into()
        );
    }
    let info = model.info();
    let [height, width] = info.network.size();
    for (what, side, found) in [("height", height, wish.size[0]), ("width", width, wish.size[1])] {
        if let Some(found) = found.filter(|found| *found != side) {
            let (found, expected) = (found.to_string(), format!("{side}, as this model draws no other"));
            return Err(thrown(RequestError::Range { what, found, expected }.into()).into());
        }
    }
    let calls = model.calls(wish.solver()?.unwrap_or(info.defaults.solver), wish.steps.unwrap_or(info.defaults.steps));
    let calls = calls.map_err(thrown)?;
    let label = Some(label).filter(|label| !label.is_empty()).map(|label| model.label(label)).transpose();
    let label = label.map_err(|e| thrown(e.into()))?;
    // Without a label there is nothing to be guided to.
    let guidance_scale = label.map_or(1.0, |_| wish.guidance.unwrap_or(info.defaults.guidance_scale));
    let options = SessionOptions { guidance: ![0.0, 1.0].contains(&guidance_scale), ..SessionOptions::default() };
    let mut session = model.session(&options).map_err(thrown)?;
    let request = Request { labels: &[label], seeds: &[wish.seed], calls: &calls, guidance_scale };
    let run = session.run(&request).map_err(thrown)?;
    let why = async || model.check_constant_async(&SessionOptions::default()).await;
    finish(run, ask, show, why).await
}

impl Wish {
    fn solver(&self) -> Result<Option<Solver>, Error> {
        let unknown =
            |name: &str| error("request", &format!("solver {name:?} is not known: there are {}", Solver::NAMES));
        self.solver.as_deref().map(|name| Solver::from_name(name).ok_or_else(|| unknown(name))).transpose()
    }
}

/// Makes a run's steps, as they are asked for; `why` says why a picture may be of one color.
async fn finish(
    mut run: Run<'_>,
    ask: Function,
    show: Function,
    why: impl AsyncFn() -> Result<(), nijimi_runtime::Error>,
) -> Result<(), JsValue> {
    let [height, width, channels] = run.picture_shape();
    while let Some(step) = run.step_async().await.map_err(thrown)? {
        let last = step.index + 1 == step.total;
        loop {
            let answer =
                ask.call4(&JsValue::NULL, &step.index.into(), &step.total.into(), &width.into(), &height.into())?;
            let answer = JsFuture::from(Promise::resolve(&answer)).await?;
            match answer.dyn_ref::<JsString>().map(String::from).as_deref() {
                Some("next") => break,
                Some("pixels") => {
                    let bytes =
                        if last { run.to_u8_async().await } else { run.preview_async().await }.map_err(thrown)?;
                    if last && is_of_one_color(&bytes, channels) {
                        why().await.map_err(thrown)?;
                    }
                    show.call1(&JsValue::NULL, &Uint8Array::from(&rgba(&bytes, channels)[..]))?;
                }
                _ => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Gray, or red, green and blue, as a canvas has it.
fn rgba(bytes: &[u8], channels: usize) -> Vec<u8> {
    let pixel = |p: &[u8]| if let [red, green, blue] = *p { [red, green, blue, 255] } else { [p[0], p[0], p[0], 255] };
    bytes.chunks_exact(channels).flat_map(pixel).collect()
}

/// An `Error` of JavaScript's that says whose fault it is.
fn thrown(e: nijimi_runtime::Error) -> Error {
    let fault = match e.fault() {
        Fault::Request => "request",
        Fault::Input => "input",
        Fault::Device => "device",
        Fault::Internal => "internal",
    };
    error(fault, &e.to_string())
}

fn error(fault: &str, message: &str) -> Error {
    let error = Error::new(message);
    // A plain object takes any property.
    let _ = Reflect::set(&error, &"fault".into(), &fault.into());
    error
}
