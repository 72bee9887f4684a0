//! From the weight file back to trained tensors: the inverse of [`crate::export`], for tests and for training on.
use crate::error::{Error, Result};
use crate::export::transpose_each;
use crate::nn::book_unet::{BookUnet, BookUnetConfig};
use crate::nn::layers::BATCH_NORM_EPS;
use crate::ops::Kit;
use crate::param::{self, Module, State, Values};
use nijimi_runtime::gguf::{File, Tensor};
use nijimi_runtime::model::{Device, Diffusion};
use nijimi_runtime::raw::nn::PixelUnet;
use nijimi_runtime::raw::text::Vocabulary;

/// `(out, k, k, in)` to `(out, in, k, k)`.
fn channels_first(v: &Values) -> Values {
    let (o, k, i) = (v.shape[0], v.shape[1], v.shape[3]);
    let data = transpose_each(&v.data, k * k, i);
    Values { shape: vec![o, i, k, k], data }
}

/// The tensors of a file whose names begin with `prefix` (all with an empty one), in PyTorch's layouts, dequantized.
///
/// # Errors
/// If there is none.
pub fn tensors(file: &File, prefix: &str) -> Result<State> {
    let ours = file.tensors().filter(|t| t.name.starts_with(prefix));
    let state: State = ours.map(|t| (t.name.to_owned(), values(&t))).collect();
    if state.is_empty() {
        return Err(Error::File(format!("the file has no tensors {prefix}*: it holds another model")));
    }
    Ok(state)
}

fn values(t: &Tensor) -> Values {
    let v = Values { shape: t.shape(), data: t.to_f32() };
    if v.shape.len() == 4 { channels_first(&v) } else { v }
}

/// The network with its tensors overwritten by those of a file, where `prefix` comes before their names: `vae.`, `unet.`,
/// `text_encoder.`.
///
/// # Errors
/// If the file lacks a tensor, or has one of another shape.
pub fn load<D: Kit, M: Module<D>>(mut model: M, prefix: &str, file: &File) -> Result<M> {
    param::load(&mut model, prefix, &tensors(file, prefix)?)
        .map_err(|what| Error::File(format!("the file does not fit its own network: {what}")))?;
    Ok(model)
}

/// The vocabulary of a file's tokenizer.
///
/// # Errors
/// If it has none.
pub fn vocabulary(file: &File) -> Result<Vocabulary> {
    let list = |part: &str| -> Result<Vec<String>> {
        let list = file.strs(&format!("tokenizer.ggml.{part}")).map_err(nijimi_runtime::Error::from)?;
        Ok(list.into_iter().map(str::to_owned).collect())
    };
    let added = if file.get("tokenizer.ggml.added_tokens").is_some() { list("added_tokens")? } else { Vec::new() };
    Ok(Vocabulary { tokens: list("tokens")?, merges: list("merges")?, added })
}

/// The network of a file. Batch norm was folded away, so the norms of this one are passed over, and do nothing where it is exported
/// (mean 0, variance 1 - eps).
///
/// # Errors
/// If the runtime refuses the file, it lacks a tensor, or holds another network.
pub fn book_unet<D: Kit>(device: &D, file: &File) -> Result<BookUnet<D>> {
    let PixelUnet::Book(network) = Diffusion::load(file, &Device::Cpu)?.info().network.clone() else {
        return Err(Error::File("the file holds a published network, and not the book's".into()));
    };
    let config = BookUnetConfig {
        in_channels: network.in_channels,
        channels: network.channels.clone(),
        time_dim: network.time_dim,
        label_count: network.label_count,
    };
    let mut model = BookUnet::new(device, 0, config).with_norms_folded();
    let mut state: State = param::state(&mut model, "");
    for (name, v) in &mut state {
        // A fresh norm is the identity but for eps.
        if name.ends_with("running_var") {
            v.data.fill(1.0 - BATCH_NORM_EPS);
        }
    }
    for t in file.tensors() {
        state.insert(t.name.to_owned(), values(&t));
    }
    param::load(&mut model, "", &state)
        .map_err(|what| Error::File(format!("the file does not fit its own network: {what}")))?;
    Ok(model)
}
