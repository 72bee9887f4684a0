//! Changes to a file's tensors on their way into a network: a LoRA is merged so.

use super::ModelError;
use crate::Error;
use crate::gguf::Tensor;
use crate::plan::ExecError;
use crate::quant::{self, DType, QuantError};
use crate::sync::Arc;
use alloc::borrow::ToOwned;
use alloc::vec::Vec;

/// Something that changes tensors while they are loaded. The file stays as it is.
///
/// ```no_run
/// use nijimi_runtime::{Error, model::Patch};
///
/// /// A decoder whose last layer is darker.
/// struct Darker;
///
/// impl Patch for Darker {
///     fn touches(&self, name: &str) -> bool {
///         name == "vae.decoder.conv_out.weight"
///     }
///
///     fn apply(&self, _: &str, _: &[usize], values: &mut [f32]) -> Result<(), Error> {
///         values.iter_mut().for_each(|v| *v *= 0.5);
///         Ok(())
///     }
/// }
/// ```
pub trait Patch: Send + Sync {
    /// Whether the tensor `name` of the file is changed. Tensors that no patch touches are loaded as they are stored.
    fn touches(&self, name: &str) -> bool;

    /// Changes the numbers of the tensor `name` in place. They are row-major, in the file's layout and of its shape: a
    /// convolution is `[out][kh][kw][in]`, a linear layer `[out][in]`.
    ///
    /// # Errors
    /// Whatever the patch has against the tensor, or cannot read of its own.
    fn apply(&self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<(), Error>;

    /// Rows that are put behind those of the table `name`, as the network that is loaded expects them: vectors of words that
    /// were added. None by default.
    fn rows(&self, name: &str) -> &[f32] {
        let _ = name;
        &[]
    }

    /// Appends changed numbers as the network is to have them: by default in `dtype`, the tensor's own type. It is the patch's,
    /// so that a program without patches is built without the encoders.
    ///
    /// # Errors
    /// Numbers that the type cannot hold.
    fn encode(&self, dtype: DType, values: &[f32], out: &mut Vec<u8>) -> Result<(), QuantError> {
        quant::encode(dtype, values, out)
    }
}

/// The patches of one load, and the memory for the tensor at hand: fresh memory of the largest tensors' sizes takes longer
/// to get than to use.
pub(super) struct Patches<'a> {
    patches: &'a [Arc<dyn Patch>],
    values: Vec<f32>,
    bytes: Vec<u8>,
}

impl<'a> Patches<'a> {
    pub fn new(patches: &'a [Arc<dyn Patch>]) -> Self {
        Self { patches, values: Vec::new(), bytes: Vec::new() }
    }

    /// Dimensions of the tensor `name`, of `ne` in the file, with the rows that are put behind its own.
    pub fn ne(&self, name: &str, mut ne: [u64; 4]) -> [u64; 4] {
        let more = self.patches.iter().map(|patch| patch.rows(name).len() as u64).sum::<u64>();
        ne[1] += more.checked_div(ne[0]).unwrap_or(0);
        ne
    }

    /// The tensor's data with all patches that touch it applied, in their order: decoded once and encoded once, in the
    /// tensor's own type, quantized ones too. What is stored if none touches it.
    ///
    /// # Errors
    /// What a patch says; numbers that the type cannot hold, with the tensor's name.
    pub fn data<'s>(&'s mut self, tensor: &Tensor<'s>) -> Result<&'s [u8], Error> {
        let touching: Vec<_> = self.patches.iter().filter(|patch| patch.touches(tensor.name)).collect();
        let more = || self.patches.iter().filter(|patch| !patch.rows(tensor.name).is_empty());
        if touching.is_empty() && more().next().is_none() {
            return Ok(tensor.data);
        }
        let named = |e| ModelError::Tensor { name: tensor.name.to_owned(), source: ExecError::Quant(e) };
        self.bytes.clear();
        if let Some(last) = touching.last() {
            self.values.resize(tensor.elements(), 0.0);
            quant::decode(tensor.dtype, tensor.data, &mut self.values).map_err(named)?;
            let shape = tensor.shape();
            for patch in &touching {
                patch.apply(tensor.name, &shape, &mut self.values)?;
            }
            last.encode(tensor.dtype, &self.values, &mut self.bytes).map_err(named)?;
        } else {
            self.bytes.extend_from_slice(tensor.data);
        }
        for patch in more() {
            patch.encode(tensor.dtype, patch.rows(tensor.name), &mut self.bytes).map_err(named)?;
        }
        Ok(&self.bytes)
    }
}
