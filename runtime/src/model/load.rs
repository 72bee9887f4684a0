//! A file's tensors, against what a network expects.

use super::ModelError;
use super::patch::{Patch, Patches};
use crate::Error;
use crate::gguf::File;
use crate::graph::{Derivation, Weight, WeightKind};
use crate::plan::ExecError;
use crate::quant::{self, DType};
use crate::sync::Arc;
use alloc::borrow::ToOwned;
use alloc::vec;
use alloc::vec::Vec;

/// Hands the tensors that the weights name to `push`, in their order. Every tensor of the file must be one of them, and
/// have its shape.
pub(super) fn weights(
    file: &File<'_>,
    weights: &[Weight],
    push: impl FnMut(WeightKind, DType, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    part(file, &[""], weights, &[], push)
}

/// As [`weights`], of a file that holds other networks too: only tensors whose names begin with one of `prefixes` must be
/// among the weights. Tensors that `patches` touch are changed before they are handed on.
pub(super) fn part(
    file: &File<'_>,
    prefixes: &[&str],
    weights: &[Weight],
    patches: &[Arc<dyn Patch>],
    mut push: impl FnMut(WeightKind, DType, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut patches = Patches::new(patches);
    let mut used = vec![false; file.tensors().len()];
    for weight in weights {
        let expected = weight.tensor().ne();
        let (i, tensor) = file
            .tensors()
            .enumerate()
            .find(|(_, tensor)| tensor.name == weight.name)
            .ok_or_else(|| ModelError::MissingTensor { name: weight.name.clone(), expected })?;
        if tensor.ne != expected {
            return Err(ModelError::TensorShape { name: weight.name.clone(), found: tensor.ne, expected }.into());
        }
        let data = patches.data(&tensor)?;
        let pushed = match weight.derivation {
            Derivation::Stored => push(weight.kind, tensor.dtype, data),
            Derivation::Adjoint | Derivation::AdjointMatrix { .. } => {
                adjoint(weight, tensor.dtype, data).and_then(|(dtype, data)| push(weight.kind, dtype, &data))
            }
        };
        pushed.map_err(|e| match e {
            // What is wrong with the tensor; a device's own troubles stay what they are.
            Error::Exec(source) => ModelError::Tensor { name: weight.name.clone(), source }.into(),
            e => e,
        })?;
        used[i] = true;
        file.release(tensor.data);
    }
    let ours = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match file.tensors().zip(used).find(|(tensor, used)| !used && ours(tensor.name)) {
        Some((tensor, _)) => Err(ModelError::ExtraTensor { name: tensor.name.to_owned(), found: tensor.ne }.into()),
        None => Ok(()),
    }
}

/// See [`Derivation::Adjoint`]. Floats stay in their type; what was quantized along other inputs becomes f16.
fn adjoint(weight: &Weight, dtype: DType, data: &[u8]) -> Result<(DType, Vec<u8>), Error> {
    // As it is stored: `[out][taps][inp]`.
    let (out, taps, inp) = match weight.tensor() {
        // All taps at once are the inputs of a matrix.
        WeightKind::Conv { out, kernel, inp } if weight.derivation != Derivation::Adjoint => {
            (out, 1, kernel * kernel * inp)
        }
        WeightKind::Conv { out, kernel, inp } => (out, kernel * kernel, inp),
        WeightKind::Linear { out, inp } => (out, 1, inp),
        WeightKind::Vector { len } | WeightKind::Table { rows: len, .. } => (len, 1, weight.kind.elements() / len),
    };
    let mut values = vec![0.0; weight.kind.elements()];
    quant::decode(dtype, data, &mut values).map_err(ExecError::from)?;
    let mut turned = vec![0.0; values.len()];
    for (i, v) in values.into_iter().enumerate() {
        let (o, tap, c) = (i / inp / taps, i / inp % taps, i % inp);
        turned[(c * taps + taps - 1 - tap) * out + o] = v;
    }
    let dtype = if matches!(dtype, DType::F32 | DType::BF16) { dtype } else { DType::F16 };
    let mut bytes = Vec::new();
    quant::encode(dtype, &turned, &mut bytes).map_err(ExecError::from)?;
    Ok((dtype, bytes))
}
