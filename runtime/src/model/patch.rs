//! Changes to a file's tensors on their way into a network: a LoRA is merged so.

use super::ModelError;
use crate::Error;
use crate::cpu::exec::ExecError;
use crate::gguf::Tensor;
use crate::quant;
use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Something that changes tensors while they are loaded. The file stays as it is.
pub trait Patch: Send + Sync {
    /// Whether the tensor `name` of the file is changed. Tensors that no patch touches are loaded as they are stored.
    fn touches(&self, name: &str) -> bool;

    /// Changes the numbers of the tensor `name` in place. They are row-major, in the file's layout and of its shape: a
    /// convolution is `[out][kh][kw][in]`, a linear layer `[out][in]`.
    ///
    /// # Errors
    /// Whatever the patch has against the tensor, or cannot read of its own.
    fn apply(&self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<(), Error>;
}

/// The tensor's data with all patches that touch it applied, in their order: decoded once and encoded once, in the
/// tensor's own type, quantized ones too. `None` if none touches it.
///
/// # Errors
/// What a patch says; numbers that the type cannot hold, with the tensor's name.
pub(super) fn patched(tensor: &Tensor<'_>, patches: &[Arc<dyn Patch>]) -> Result<Option<Vec<u8>>, Error> {
    let mut touching = patches.iter().filter(|patch| patch.touches(tensor.name)).peekable();
    if touching.peek().is_none() {
        return Ok(None);
    }
    let named = |e| ModelError::Tensor { name: tensor.name.to_owned(), source: ExecError::Quant(e) };
    let mut values = vec![0.0; tensor.elements()];
    quant::decode(tensor.dtype, tensor.data, &mut values).map_err(named)?;
    let shape = tensor.shape();
    for patch in touching {
        patch.apply(tensor.name, &shape, &mut values)?;
    }
    let mut bytes = Vec::with_capacity(tensor.data.len());
    quant::encode(tensor.dtype, &values, &mut bytes).map_err(named)?;
    Ok(Some(bytes))
}
