//! A file's tensors, against what the network expects.

use super::ModelError;
use crate::cpu::exec::Weights;
use crate::gguf::File;
use crate::graph::Graph;
use alloc::borrow::ToOwned;
use alloc::vec;

/// Packs the tensors that the graph names. Every tensor of the file must be one of them, and have its shape.
pub(super) fn weights(file: &File<'_>, graph: &Graph) -> Result<Weights, ModelError> {
    let mut used = vec![false; file.tensors().len()];
    let mut weights = Weights::new();
    for weight in graph.weights() {
        let expected = weight.kind.ne();
        let (i, tensor) = file
            .tensors()
            .enumerate()
            .find(|(_, tensor)| tensor.name == weight.name)
            .ok_or_else(|| ModelError::MissingTensor { name: weight.name.clone(), expected })?;
        if tensor.ne != expected {
            return Err(ModelError::TensorShape { name: weight.name.clone(), found: tensor.ne, expected });
        }
        weights
            .push(weight.kind, tensor.dtype, tensor.data)
            .map_err(|source| ModelError::Tensor { name: weight.name.clone(), source })?;
        used[i] = true;
    }
    match file.tensors().zip(used).find(|(_, used)| !used) {
        Some((tensor, _)) => Err(ModelError::ExtraTensor { name: tensor.name.to_owned(), found: tensor.ne }),
        None => Ok(weights),
    }
}
