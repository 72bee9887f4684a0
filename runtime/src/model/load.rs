//! A file's tensors, against what the network expects.

use super::ModelError;
use crate::Error;
use crate::gguf::File;
use crate::graph::{Graph, WeightKind};
use crate::quant::DType;
use alloc::borrow::ToOwned;
use alloc::vec;

/// Hands the tensors that the graph names to `push`, in its order. Every tensor of the file must be one of them, and have
/// its shape.
pub(super) fn weights(
    file: &File<'_>,
    graph: &Graph,
    mut push: impl FnMut(WeightKind, DType, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut used = vec![false; file.tensors().len()];
    for weight in graph.weights() {
        let expected = weight.kind.ne();
        let (i, tensor) = file
            .tensors()
            .enumerate()
            .find(|(_, tensor)| tensor.name == weight.name)
            .ok_or_else(|| ModelError::MissingTensor { name: weight.name.clone(), expected })?;
        if tensor.ne != expected {
            return Err(ModelError::TensorShape { name: weight.name.clone(), found: tensor.ne, expected }.into());
        }
        push(weight.kind, tensor.dtype, tensor.data).map_err(|e| match e {
            // What is wrong with the tensor; a device's own troubles stay what they are.
            Error::Exec(source) => ModelError::Tensor { name: weight.name.clone(), source }.into(),
            e => e,
        })?;
        used[i] = true;
    }
    match file.tensors().zip(used).find(|(_, used)| !used) {
        Some((tensor, _)) => Err(ModelError::ExtraTensor { name: tensor.name.to_owned(), found: tensor.ne }.into()),
        None => Ok(()),
    }
}
