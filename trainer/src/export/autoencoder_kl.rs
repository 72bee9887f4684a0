//! The autoencoder of latent diffusion as a weight file of its own, and as a part of one.
use super::latent::tensors;
use super::{begin, record};
use crate::error::Result;
use crate::fit::Record;
use crate::param::State;
use nijimi_import::Types;
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
    tensors(&mut w, state, FirstStage::PREFIX, &Types::new(dtype))?;
    Ok(w.finish())
}
