//! A file's tensors, against what the network expects.

use super::ModelError;
use crate::cpu::exec::Weights;
use crate::gguf::File;
use crate::graph::Graph;
use alloc::borrow::ToOwned;

/// Packs the tensors that the graph names. Every tensor of the file must be one of them, and have its shape.
pub(super) fn weights(file: &File<'_>, graph: &Graph) -> Result<Weights, ModelError> {
    let mut weights = Weights::new();
    for weight in graph.weights() {
        let (name, expected) = (&weight.name, weight.kind.ne());
        let missing = |_| ModelError::MissingTensor { name: name.clone(), expected };
        let tensor = file.tensor(name).map_err(missing)?;
        if tensor.ne != expected {
            return Err(ModelError::TensorShape { name: name.clone(), found: tensor.ne, expected });
        }
        let unusable = |source| ModelError::Tensor { name: name.clone(), source };
        weights.push(weight.kind, tensor.dtype, tensor.data).map_err(unusable)?;
    }
    // Names are unique on both sides, and all of the network's were found: as many tensors, no others.
    if file.tensors().len() != graph.weights().len() {
        let known = |name| graph.weights().iter().any(|weight| weight.name == name);
        if let Some(tensor) = file.tensors().find(|tensor| !known(tensor.name)) {
            return Err(ModelError::ExtraTensor { name: tensor.name.to_owned(), found: tensor.ne });
        }
    }
    Ok(weights)
}
