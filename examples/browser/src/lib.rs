//! What the page calls: a model on the browser's GPU, drawn step by step.

use js_sys::{Function, Uint8Array};
use nijimi_runtime::cpu::to_u8;
use nijimi_runtime::gguf::File;
use nijimi_runtime::gpu::{Choice, Gpu, GpuOptions};
use nijimi_runtime::model::{Device, Pipeline, Request, Session, SessionOptions};
use wasm_bindgen::prelude::*;

/// A model in the memory of a device. While it draws, JavaScript can ask nothing else of it.
#[wasm_bindgen]
pub struct Painter {
    device: String,
    pipeline: Pipeline,
    session: Session,
}

#[wasm_bindgen]
impl Painter {
    /// Opens the browser's GPU, and loads a weight file into its memory.
    pub async fn open(file: Vec<u8>) -> Result<Painter, JsError> {
        // A browser may offer a CPU that runs the shaders: slow, but it draws.
        let gpu = Gpu::open_async(&GpuOptions { choice: Choice::Any, ..Default::default() }).await?;
        let pipeline = Pipeline::load(&File::new_checked(&file)?, &Device::Gpu(gpu.clone()))?;
        let session = pipeline.session(&SessionOptions::default())?;
        Ok(Self { device: gpu.name(), pipeline, session })
    }

    /// What it draws on.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// What it can draw.
    #[wasm_bindgen(getter)]
    pub fn labels(&self) -> Vec<String> {
        self.pipeline.info().labels.clone()
    }

    /// Pixels in a row.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> usize {
        self.pipeline.info().network.width
    }

    /// Rows.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> usize {
        self.pipeline.info().network.height
    }

    /// How many steps suit the model.
    #[wasm_bindgen(getter)]
    pub fn steps(&self) -> usize {
        self.pipeline.info().defaults.steps
    }

    /// Draws a picture, and returns its bytes. After each step it calls `show(step, bytes)`, the step from 1 and the
    /// picture that it will be as far as one can tell; if that returns false, it stops and returns nothing.
    pub async fn draw(
        &mut self,
        label: String,
        seed: u32,
        steps: usize,
        show: Function,
    ) -> Result<Option<Vec<u8>>, JsError> {
        let info = self.pipeline.info();
        let calls = self.pipeline.calls(info.defaults.solver, steps)?;
        let labels = [Some(self.pipeline.label(&label)?)];
        let guidance_scale = info.defaults.guidance_scale;
        let request = Request { labels: &labels, seeds: &[seed.into()], calls: &calls, guidance_scale };
        let mut run = self.session.run(&request)?;
        while let Some(step) = run.step_async().await? {
            let estimate = run.estimate_async().await?;
            let mut bytes = vec![0; estimate.len()];
            to_u8(info.range, estimate, &mut bytes)?;
            let shown = show.call2(&JsValue::NULL, &(step.index + 1).into(), &Uint8Array::from(&bytes[..]));
            let more = shown.map_err(|e| JsError::new(&format!("show: {e:?}")))?;
            if more == JsValue::FALSE {
                return Ok(None);
            }
        }
        Ok(Some(run.to_u8_async().await?))
    }
}
