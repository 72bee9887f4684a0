//! From trained tensors to the weight file: batch norm folded away, weights laid out as the runtime reads them, quantized.
use crate::error::{Error, Result};
use crate::fit::Record;
use crate::nn::book_unet::{Config, LABEL_EMB};
use crate::nn::layers::BATCH_NORM_EPS;
use crate::param::{State, Values};
use nijimi_runtime::gguf::{WriteError, Writer};
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
}

impl From<WriteError> for Error {
    fn from(e: WriteError) -> Self {
        Self::Usage(format!("the weight file cannot be written: {e}"))
    }
}

fn get<'a>(state: &'a State, name: &str) -> Result<&'a Values> {
    state.get(name).ok_or_else(|| Error::Usage(format!("the model has no tensor {name} to export")))
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

/// Whole networks are small at the edges: only 3x3 convolutions over whole blocks of channels are worth quantizing, the rest
/// stays f16 (f32 in an f32 file), and biases and the label table are always f32.
pub fn weight_type(shape: &[usize], wanted: DType) -> DType {
    let inner = *shape.last().unwrap_or(&1);
    let quantized = wanted.block_len() > 1;
    let large = shape.len() == 4 && shape[1] == 3 && inner.is_multiple_of(wanted.block_len());
    if quantized && !large { DType::F16 } else { wanted }
}

/// The bytes of a weight file for the book's U-Net with the tensors of `state` (names as in [`crate::param::state`] with an
/// empty prefix). `docs/format.md` describes the keys.
///
/// # Errors
/// If a tensor is missing or a value does not fit its type.
pub fn book_unet(
    state: &State,
    config: &Config,
    about: &Description,
    record: &Record,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    let u32 = |n: usize| n as u32;
    w.meta("general.architecture", "nijimi")?;
    w.meta("general.name", about.name.as_str())?;
    w.meta("general.file_type", dtype.file_type())?;
    w.meta("general.quantization_version", 2u32)?;
    w.meta("nijimi.format_version", 1u32)?;
    w.meta("nijimi.system", "ddpm")?;
    w.meta("nijimi.network", "book-unet")?;
    w.meta("nijimi.unet.in_channels", u32(config.in_channels))?;
    w.meta("nijimi.unet.channels", config.channels.iter().map(|c| u32(*c)).collect::<Vec<u32>>())?;
    w.meta("nijimi.unet.time_dim", u32(config.time_dim))?;
    w.meta("nijimi.unet.label_count", u32(config.label_count))?;
    w.meta("nijimi.image.width", u32(about.size.1))?;
    w.meta("nijimi.image.height", u32(about.size.0))?;
    w.meta("nijimi.image.channels", u32(config.in_channels))?;
    w.meta("nijimi.image.range", vec![0f32, 1.0])?;
    if !about.labels.is_empty() {
        w.meta("nijimi.labels", about.labels.clone())?;
    }
    w.meta("nijimi.schedule.kind", "linear")?;
    w.meta("nijimi.schedule.steps", u32(about.steps))?;
    w.meta("nijimi.schedule.beta_start", about.betas.0)?;
    w.meta("nijimi.schedule.beta_end", about.betas.1)?;
    w.meta("nijimi.prediction_type", "epsilon")?;
    w.meta("nijimi.first_timestep", 1u32)?;
    w.meta("nijimi.sampler.method", "ddim")?;
    w.meta("nijimi.sampler.steps", u32(about.steps.min(50)))?;
    w.meta("nijimi.sampler.guidance_scale", if config.label_count > 0 { 3f32 } else { 1.0 })?;
    w.meta("nijimi.train.command", record.command.as_str())?;
    w.meta("nijimi.train.epochs", record.epochs as u32)?;
    w.meta("nijimi.train.steps", record.steps as u32)?;
    w.meta("nijimi.train.seconds", record.seconds)?;
    w.meta("nijimi.train.ema_decay", record.ema_decay.unwrap_or(0.0))?;
    w.meta("nijimi.train.epoch_losses", record.epoch_losses.iter().map(|l| *l as f32).collect::<Vec<f32>>())?;

    let mut put =
        |name: String, v: &Values, dtype: DType| -> Result<()> { Ok(w.tensor(&name, &v.shape, dtype, &v.data)?) };
    if config.label_count > 0 {
        put(LABEL_EMB.into(), get(state, LABEL_EMB)?, DType::F32)?;
    }
    let depth = config.channels.len() - 1;
    let down = (1..=depth).map(|i| format!("down{i}"));
    let up = (1..=depth).rev().map(|i| format!("up{i}"));
    for block in down.chain(["bot1".to_owned()]).chain(up) {
        for layer in ["mlp.0", "mlp.2"] {
            let (weight, bias) = (format!("{block}.{layer}.weight"), format!("{block}.{layer}.bias"));
            let v = get(state, &weight)?;
            put(weight, v, weight_type(&v.shape, dtype))?;
            let v = get(state, &bias)?;
            put(bias, v, DType::F32)?;
        }
        for (conv, norm) in [(0, 1), (3, 4)] {
            let name = format!("{block}.convs.{conv}");
            let (weight, bias) = fold(state, &name, &format!("{block}.convs.{norm}"))?;
            let weight = channels_last(&weight);
            put(format!("{name}.weight"), &weight, weight_type(&weight.shape, dtype))?;
            put(format!("{name}.bias"), &bias, DType::F32)?;
        }
    }
    let out = channels_last(get(state, "out.weight")?);
    put("out.weight".into(), &out, weight_type(&out.shape, dtype))?;
    put("out.bias".into(), get(state, "out.bias")?, DType::F32)?;
    Ok(w.finish())
}
