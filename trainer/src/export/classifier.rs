//! The classifier of noised pictures (book step 10.3) as a weight file.
use super::{begin, conv_block, get, layer, linear, pictures, schedule, transpose_each};
use crate::error::Result;
use crate::export::book_unet::Description;
use crate::fit::Record;
use crate::nn::noisy_classifier::NoisyClassifierConfig;
use crate::param::{State, Values};
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::DType;

/// The bytes of a weight file for the classifier with the tensors of `state` (names as in [`crate::param::state`] with an empty
/// prefix). The head's linear layer becomes a convolution, `[features][height][width][channels]`.
///
/// # Errors
/// If a tensor is missing or a value does not fit its type.
pub fn noisy_classifier(
    state: &State,
    config: &NoisyClassifierConfig,
    about: &Description,
    record: &Record,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    begin(&mut w, &about.name, dtype, "classifier")?;
    w.meta("nijimi.network", "noisy-classifier")?;
    w.meta("nijimi.classifier.in_channels", config.in_channels as u32)?;
    w.meta("nijimi.classifier.channels", config.channels.iter().map(|c| *c as u32).collect::<Vec<u32>>())?;
    w.meta("nijimi.classifier.time_dim", config.time_dim as u32)?;
    w.meta("nijimi.classifier.label_count", config.label_count as u32)?;
    pictures(&mut w, about.size, config.in_channels)?;
    w.meta("nijimi.labels", about.labels.clone())?;
    schedule(&mut w, about.steps, about.betas)?;
    w.meta("nijimi.first_timestep", 1u32)?;
    super::record(&mut w, record)?;
    for i in 1..=config.channels.len() {
        conv_block(&mut w, state, &format!("block{i}"), dtype)?;
    }
    layer(&mut w, "head", &head(get(state, "head.weight")?, config), get(state, "head.bias")?, dtype)?;
    linear(&mut w, state, "out", dtype)?;
    Ok(w.finish())
}

/// `(features, channels height width)` to `(features, height, width, channels)`.
fn head(v: &Values, config: &NoisyClassifierConfig) -> Values {
    let (height, width) = config.bottom();
    let channels = v.shape[1] / (height * width);
    let data = transpose_each(&v.data, channels, height * width);
    Values { shape: vec![v.shape[0], height, width, channels], data }
}
