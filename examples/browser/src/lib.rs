//! What the page calls: a model on the browser's GPU, drawn step by step.

use js_sys::{Function, Uint8Array};
use nijimi_runtime::gguf::File;
use nijimi_runtime::gpu::{Choice, Gpu, GpuOptions};
use nijimi_runtime::model::{Device, Diffusion, Model, Request, Run, SessionOptions, StepInfo, TextToImage};
use wasm_bindgen::prelude::*;

/// A model in the memory of a device. While it draws, JavaScript can ask nothing else of it.
#[wasm_bindgen]
pub struct Painter {
    device: String,
    model: Model,
}

#[wasm_bindgen]
impl Painter {
    /// Opens the browser's GPU, and loads a weight file into its memory: one that draws prompts, or labels.
    pub async fn open(file: Vec<u8>) -> Result<Painter, JsError> {
        // A browser may offer a CPU that runs the shaders: slow, but it draws.
        let gpu = Gpu::open_async(&GpuOptions { choice: Choice::Any, ..Default::default() }).await?;
        let device = gpu.name();
        let model = Model::load(&File::new_checked(&file)?, &Device::Gpu(gpu))?;
        match model {
            Model::TextToImage(_) | Model::Diffusion(_) => Ok(Self { device, model }),
            _ => Err(JsError::new("this page draws with text-to-image and diffusion models alone")),
        }
    }

    /// What it draws on.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// What it can draw; nothing of a model that reads prompts.
    #[wasm_bindgen(getter)]
    pub fn labels(&self) -> Vec<String> {
        match &self.model {
            Model::Diffusion(model) => model.info().labels.clone(),
            _ => Vec::new(),
        }
    }

    /// Width and height of the pictures, and bytes of a pixel: 1 (gray) or 3 (red, green, blue).
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> Vec<usize> {
        match &self.model {
            Model::Diffusion(model) => {
                let network = &model.info().network;
                vec![network.width, network.height, network.in_channels]
            }
            Model::TextToImage(model) => {
                let [height, width] = model.info().size();
                vec![width, height, model.info().autoencoder.out_channels]
            }
            _ => Vec::new(),
        }
    }

    /// How many steps suit the model.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> usize {
        match &self.model {
            Model::Diffusion(model) => model.info().defaults.steps,
            Model::TextToImage(model) => model.info().steps(),
            _ => 0,
        }
    }

    /// Draws a picture of a prompt, or of a label, and returns its bytes. After each step it calls `show(step, bytes)`, the
    /// step from 1 and the picture that it will be as far as one can tell; if that returns false, it stops and returns
    /// nothing.
    pub async fn draw(
        &mut self,
        prompt: String,
        seed: u32,
        steps: usize,
        show: Function,
    ) -> Result<Option<Vec<u8>>, JsError> {
        let show = |step: StepInfo, bytes: &[u8]| {
            let shown = show.call2(&JsValue::NULL, &(step.index + 1).into(), &Uint8Array::from(bytes));
            shown.map(|more| more != JsValue::FALSE).map_err(|e| JsError::new(&format!("show: {e:?}")))
        };
        match &self.model {
            Model::Diffusion(model) => label(model, &prompt, seed, steps, show).await,
            Model::TextToImage(model) => text(model, &prompt, seed, steps, show).await,
            _ => Ok(None),
        }
    }
}

async fn label(
    model: &Diffusion,
    label: &str,
    seed: u32,
    steps: usize,
    show: impl Fn(StepInfo, &[u8]) -> Result<bool, JsError>,
) -> Result<Option<Vec<u8>>, JsError> {
    let info = model.info();
    let calls = model.calls(info.defaults.solver, steps)?;
    let (labels, guidance_scale) = ([Some(model.label(label)?)], info.defaults.guidance_scale);
    let request = Request { labels: &labels, seeds: &[seed.into()], calls: &calls, guidance_scale };
    let mut session = model.session(&SessionOptions::default())?;
    finish(session.run(&request)?, show).await
}

async fn text(
    model: &TextToImage,
    prompt: &str,
    seed: u32,
    steps: usize,
    show: impl Fn(StepInfo, &[u8]) -> Result<bool, JsError>,
) -> Result<Option<Vec<u8>>, JsError> {
    let info = model.info();
    let calls = model.calls_by(info.defaults.solver, info.defaults.sigmas, steps)?;
    finish(model.run_async(&model.request(prompt, seed.into(), &calls)).await?, show).await
}

/// Makes a run's steps, and shows each.
async fn finish(
    mut run: Run<'_>,
    show: impl Fn(StepInfo, &[u8]) -> Result<bool, JsError>,
) -> Result<Option<Vec<u8>>, JsError> {
    while let Some(step) = run.step_async().await? {
        if !show(step, &run.preview_async().await?)? {
            return Ok(None);
        }
    }
    Ok(Some(run.to_u8_async().await?))
}
