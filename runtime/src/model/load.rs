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
    mut push: impl FnMut(WeightKind, DType, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    part(file, &[""], weights, &Change::default(), |_, kind, data| match data {
        Some((dtype, data)) => push(kind, dtype, data),
        None => Ok(()),
    })
}

/// How a network is loaded that is not as its file has it.
#[derive(Clone, Copy, Default)]
pub(super) struct Change<'a> {
    /// What changes tensors, in their order.
    pub patches: &'a [Arc<dyn Patch>],
    /// The patches of the same network in memory, if there is one: what is changed by the same is taken from there.
    pub held: Option<&'a [Arc<dyn Patch>]>,
}

impl Change<'_> {
    /// Whether the tensor is as it is in memory: changed by the same patches, if by any.
    fn holds(&self, name: &str) -> bool {
        let changing = |patches: &'_ [Arc<dyn Patch>]| {
            let changes = patches.iter().filter(|patch| patch.touches(name) || !patch.rows(name).is_empty());
            changes.map(|patch| Arc::as_ptr(patch).cast::<()>()).collect::<Vec<_>>()
        };
        self.held.is_some_and(|held| changing(held) == changing(self.patches))
    }
}

/// As [`weights`], of a file that holds other networks too: only tensors whose names begin with one of `prefixes` must be
/// among the weights. `push` is given a weight's number too; no data of those that are taken from memory.
pub(super) fn part(
    file: &File<'_>,
    prefixes: &[&str],
    weights: &[Weight],
    change: &Change<'_>,
    mut push: impl FnMut(usize, WeightKind, Option<(DType, &[u8])>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut patches = Patches::new(change.patches);
    let mut used = vec![false; file.tensors().len()];
    for (index, weight) in weights.iter().enumerate() {
        let expected = weight.tensor().ne();
        let (i, tensor) = file
            .tensors()
            .enumerate()
            .find(|(_, tensor)| tensor.name == weight.name)
            .ok_or_else(|| ModelError::MissingTensor { name: weight.name.clone(), expected })?;
        let found = patches.ne(tensor.name, tensor.ne);
        if found != expected {
            return Err(ModelError::TensorShape { name: weight.name.clone(), found, expected }.into());
        }
        used[i] = true;
        if change.holds(tensor.name) {
            push(index, weight.kind, None)?;
            continue;
        }
        let data = patches.data(&tensor)?;
        let pushed = match weight.derivation {
            Derivation::Stored => push(index, weight.kind, Some((tensor.dtype, data))),
            Derivation::Adjoint | Derivation::AdjointMatrix { .. } => adjoint(weight, tensor.dtype, data)
                .and_then(|(dtype, data)| push(index, weight.kind, Some((dtype, &data)))),
        };
        pushed.map_err(|e| match e {
            // What is wrong with the tensor; a device's own troubles stay what they are.
            Error::Exec(source) => ModelError::Tensor { name: weight.name.clone(), source }.into(),
            e => e,
        })?;
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
    let mut bytes = Vec::new();
    let dtype = quant::encode_float(dtype, &turned, &mut bytes).map_err(ExecError::from)?;
    Ok((dtype, bytes))
}
