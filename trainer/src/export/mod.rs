//! From trained tensors to the weight file: batch norm folded away, weights laid out as the runtime reads them, quantized.
pub mod autoencoder;
pub mod autoencoder_kl;
pub mod book_unet;
pub mod classifier;
pub mod latent;
pub mod numbers;

use crate::error::{Error, Result};
use crate::fit::Record;
use crate::nn::layers::BATCH_NORM_EPS;
use crate::param::{State, Values};
use nijimi_runtime::gguf::{WriteError, Writer};
use nijimi_runtime::quant::DType;

impl From<WriteError> for Error {
    fn from(e: WriteError) -> Self {
        Self::Usage(format!("the weight file cannot be written: {e}"))
    }
}

fn get<'a>(state: &'a State, name: &str) -> Result<&'a Values> {
    state.get(name).ok_or_else(|| Error::Internal(format!("the model has no tensor {name} to export")))
}

/// Transposes each `(rows, columns)` matrix of `data`, one behind the other.
pub(crate) fn transpose_each(data: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let transposed = |m: &[f32]| (0..rows * columns).map(|i| m[i % rows * columns + i / rows]).collect::<Vec<f32>>();
    data.chunks_exact(rows * columns).flat_map(transposed).collect()
}

/// `(out, in, k, k)` to `(out, k, k, in)`.
fn channels_last(v: &Values) -> Values {
    let (o, i, k) = (v.shape[0], v.shape[1], v.shape[2]);
    let data = transpose_each(&v.data, i, k * k);
    Values { shape: vec![o, k, k, i], data }
}

/// A convolution and the batch norm behind it as one convolution, computed in f64:
/// `w' = w g / sqrt(var + eps)`, `b' = (b - mean) g / sqrt(var + eps) + beta`.
fn fold(state: &State, conv: &str, norm: &str) -> Result<(Values, Values)> {
    let (mut w, mut b) = (get(state, &format!("{conv}.weight"))?.clone(), get(state, &format!("{conv}.bias"))?.clone());
    let part = |what: &str| get(state, &format!("{norm}.{what}"));
    let (gamma, beta, mean, var) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
    let row = w.data.len() / w.shape[0];
    for (o, row) in w.data.chunks_exact_mut(row).enumerate() {
        let scale = f64::from(gamma.data[o]) / (f64::from(var.data[o]) + f64::from(BATCH_NORM_EPS)).sqrt();
        row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        b.data[o] = ((f64::from(b.data[o]) - f64::from(mean.data[o])) * scale + f64::from(beta.data[o])) as f32;
    }
    Ok((w, b))
}

/// Whole networks are small at the edges: only convolutions of 3x3 and more over whole blocks of channels are worth quantizing,
/// the rest stays f16 (f32 in an f32 file), and biases and the label table are always f32.
pub fn weight_type(shape: &[usize], wanted: DType) -> DType {
    let inner = *shape.last().unwrap_or(&1);
    let large = shape.len() == 4 && shape[1] >= 3;
    match wanted.is_quantized() {
        true if large => wanted.of_rows(inner),
        true => DType::F16,
        false => wanted,
    }
}

/// The entries that every file begins with; `file_type` is the type of most weights.
fn begin(w: &mut Writer, name: &str, dtype: DType, system: &str) -> Result<()> {
    w.meta("general.architecture", "nijimi")?;
    w.meta("general.name", name)?;
    w.meta("general.file_type", dtype.file_type())?;
    w.meta("general.quantization_version", 2u32)?;
    w.meta("nijimi.format_version", 1u32)?;
    Ok(w.meta("nijimi.system", system)?)
}

/// The pictures of a system: width, height and channels, values from 0 to 1.
fn pictures(w: &mut Writer, (height, width): (usize, usize), channels: usize) -> Result<()> {
    w.meta("nijimi.image.width", width as u32)?;
    w.meta("nijimi.image.height", height as u32)?;
    w.meta("nijimi.image.channels", channels as u32)?;
    Ok(w.meta("nijimi.image.range", vec![0f32, 1.0])?)
}

/// The linear schedule of noise levels.
fn schedule(w: &mut Writer, steps: usize, betas: (f64, f64)) -> Result<()> {
    w.meta("nijimi.schedule.kind", "linear")?;
    w.meta("nijimi.schedule.steps", steps as u32)?;
    w.meta("nijimi.schedule.beta_start", betas.0)?;
    Ok(w.meta("nijimi.schedule.beta_end", betas.1)?)
}

/// How the weights came to be.
fn record(w: &mut Writer, record: &Record) -> Result<()> {
    w.meta("nijimi.train.command", record.command.as_str())?;
    w.meta("nijimi.train.epochs", record.epochs as u32)?;
    w.meta("nijimi.train.steps", record.steps as u32)?;
    w.meta("nijimi.train.ema_decay", record.ema_decay.unwrap_or(0.0))?;
    Ok(w.meta("nijimi.train.epoch_losses", record.epoch_losses.iter().map(|l| *l as f32).collect::<Vec<f32>>())?)
}

/// A weight as [`weight_type`] says, and its bias in f32.
fn layer(w: &mut Writer, name: &str, weight: &Values, bias: &Values, dtype: DType) -> Result<()> {
    w.tensor(&format!("{name}.weight"), &weight.shape, weight_type(&weight.shape, dtype), &weight.data)?;
    Ok(w.tensor(&format!("{name}.bias"), &bias.shape, DType::F32, &bias.data)?)
}

/// A linear layer of that name.
fn linear(w: &mut Writer, state: &State, name: &str, dtype: DType) -> Result<()> {
    layer(w, name, get(state, &format!("{name}.weight"))?, get(state, &format!("{name}.bias"))?, dtype)
}

/// A block of the U-Net: its two linear layers of the time vector, its two convolutions with their norms folded.
fn conv_block(w: &mut Writer, state: &State, block: &str, dtype: DType) -> Result<()> {
    linear(w, state, &format!("{block}.mlp.0"), dtype)?;
    linear(w, state, &format!("{block}.mlp.2"), dtype)?;
    for (conv, norm) in [(0, 1), (3, 4)] {
        let name = format!("{block}.convs.{conv}");
        let (weight, bias) = fold(state, &name, &format!("{block}.convs.{norm}"))?;
        layer(w, &name, &channels_last(&weight), &bias, dtype)?;
    }
    Ok(())
}
