//! The book's U-Net (steps 9 and 10) as a weight file.
use super::{begin, channels_last, conv_block, get, layer, pictures, schedule};
use crate::error::Result;
use crate::fit::Record;
use crate::nn::book_unet::{BookUnetConfig, LABEL_EMB};
use crate::param::State;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::DType;

/// What kind of picture and which conditions a file holds, beside its tensors.
#[derive(Clone, Debug)]
pub struct Description {
    /// `general.name`.
    pub name: String,
    /// Picture height and width in pixels.
    pub size: (usize, usize),
    /// Names of the labels, by index; empty if unconditional.
    pub labels: Vec<String>,
    /// Noise levels of the schedule.
    pub steps: usize,
    /// First and last variance of the linear schedule.
    pub betas: (f64, f64),
    /// Of a student, the steps that it was taught: it predicts v, and draws on trailing levels without guidance.
    pub student_steps: Option<usize>,
}

/// The number by which the networks that are trained here know the lowest noise level, as in the book.
pub const FIRST_TIMESTEP: u32 = 1;

/// The bytes of a weight file for the book's U-Net with the tensors of `state` (names as in [`crate::param::state`] with an
/// empty prefix). `docs/format.md` describes the keys.
///
/// # Errors
/// If a tensor is missing or a value does not fit its type.
pub fn book_unet(
    state: &State,
    config: &BookUnetConfig,
    about: &Description,
    record: &Record,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    let u32 = |n: usize| n as u32;
    begin(&mut w, &about.name, dtype, "ddpm")?;
    w.meta("nijimi.network", "book-unet")?;
    w.meta("nijimi.unet.in_channels", u32(config.in_channels))?;
    w.meta("nijimi.unet.channels", config.channels.iter().map(|c| u32(*c)).collect::<Vec<u32>>())?;
    w.meta("nijimi.unet.time_dim", u32(config.time_dim))?;
    w.meta("nijimi.unet.label_count", u32(config.label_count))?;
    pictures(&mut w, about.size, config.in_channels)?;
    if !about.labels.is_empty() {
        w.meta("nijimi.labels", about.labels.clone())?;
    }
    schedule(&mut w, about.steps, about.betas)?;
    let student = about.student_steps.is_some();
    w.meta("nijimi.prediction_type", if student { "v_prediction" } else { "epsilon" })?;
    w.meta("nijimi.first_timestep", FIRST_TIMESTEP)?;
    w.meta("nijimi.sampler.method", "ddim")?;
    w.meta("nijimi.sampler.steps", u32(about.student_steps.unwrap_or(about.steps.min(50))))?;
    if student {
        w.meta("nijimi.sampler.spacing", "trailing")?;
    }
    w.meta("nijimi.sampler.guidance_scale", if config.label_count > 0 && !student { 3f32 } else { 1.0 })?;
    super::record(&mut w, record)?;
    if config.label_count > 0 {
        let table = get(state, LABEL_EMB)?;
        w.tensor(LABEL_EMB, &table.shape, DType::F32, &table.data)?;
    }
    let depth = config.channels.len() - 1;
    let down = (1..=depth).map(|i| format!("down{i}"));
    let up = (1..=depth).rev().map(|i| format!("up{i}"));
    for block in down.chain(["bot1".to_owned()]).chain(up) {
        conv_block(&mut w, state, &block, dtype)?;
    }
    layer(&mut w, "out", &channels_last(get(state, "out.weight")?), get(state, "out.bias")?, dtype)?;
    Ok(w.finish())
}
