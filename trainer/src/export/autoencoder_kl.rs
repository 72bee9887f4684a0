//! The autoencoder of latent diffusion as a weight file of its own, and as a part of one.
use super::{begin, channels_last, record, weight_type};
use crate::error::Result;
use crate::fit::Record;
use crate::param::State;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::quant::DType;

/// The bytes of a weight file for an autoencoder with the tensors of `state` (names as in [`crate::param::state`] with an
/// empty prefix), for pictures of `sample_size` pixels a side. `docs/format.md` describes the keys.
///
/// # Errors
/// If a value does not fit its type.
pub fn autoencoder_kl(
    state: &State,
    stage: &FirstStage,
    (name, sample_size): (&str, usize),
    about: &Record,
    dtype: DType,
) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    begin(&mut w, name, dtype, FirstStage::SYSTEM)?;
    w.meta("nijimi.network", FirstStage::SYSTEM)?;
    stage.write(&mut w)?;
    w.meta("nijimi.autoencoder.sample_size", sample_size as u32)?;
    record(&mut w, about)?;
    for (name, v) in state {
        let v = if v.shape.len() == 4 { channels_last(v) } else { v.clone() };
        let dtype = if v.shape.len() == 1 { DType::F32 } else { weight_type(&v.shape, dtype) };
        w.tensor(&format!("{}{name}", FirstStage::PREFIX), &v.shape, dtype, &v.data)?;
    }
    Ok(w.finish())
}
