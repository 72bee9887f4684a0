//! A latent diffusion model, or its autoencoder alone, as a weight file: diffusers' and transformers' tensors by their names.
use super::{channels_last, record};
use crate::error::Result;
use crate::fit::Record;
use crate::param::State;
use nijimi_import::Types;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::model::LatentInfo;
use nijimi_runtime::raw::text::Vocabulary;

/// The bytes of a weight file for the model that `info` describes: `state` has the tensors of all its networks in PyTorch's
/// layouts, under `text_encoder.`, `unet.` and `vae.`; `types` says what each is stored as. `docs/format.md` describes the
/// keys.
///
/// # Errors
/// A description that could not be read back, a vocabulary that is not the tokenizer's, a value that does not fit its type.
/// What of the tensors is missing or has another shape is found when the file is loaded.
pub fn latent_diffusion(
    state: &State,
    info: &LatentInfo,
    vocabulary: &Vocabulary,
    about: &Record,
    types: &Types,
) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    info.write(&mut w, &[vocabulary], types.rest())?;
    record(&mut w, about)?;
    tensors(&mut w, state, "", types)?;
    Ok(w.finish())
}

/// Writes tensors of PyTorch's layouts, under `prefix` and their names, as `types` says: convolutions channels last.
///
/// # Errors
/// A name that is taken, a value that does not fit its type.
pub fn tensors(w: &mut Writer, state: &State, prefix: &str, types: &Types) -> Result<()> {
    for (name, v) in state {
        let name = format!("{prefix}{name}");
        let v = if v.shape.len() == 4 { &channels_last(v) } else { v };
        w.tensor(&name, &v.shape, types.of(&name, &v.shape), &v.data)?;
    }
    Ok(())
}
