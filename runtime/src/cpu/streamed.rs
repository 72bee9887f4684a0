//! Matrices that are not held: read from where they are stored and packed each time that they are used, so that a network may be larger
//! than memory.

use super::exec::sizes;
use super::{Context, Matrix};
use crate::graph::WeightKind;
use crate::plan::ExecError;
use crate::quant::DType;
use crate::sync::Arc;
use core::ops::Range;

/// Where the bytes of weights are stored.
pub trait Lend: Send + Sync {
    /// Gives `to` some of the bytes, once, and may then let go of them.
    fn lend(&self, range: Range<usize>, to: &mut dyn FnMut(&[u8]));
}

/// A matrix that is packed when it is used.
#[derive(Clone)]
pub(super) struct Streamed {
    /// Its sizes, without numbers.
    pub sizes: Matrix,
    source: Arc<dyn Lend>,
    range: Range<usize>,
}

impl Streamed {
    /// Of `range` of what the source stores.
    pub fn new(
        kind: WeightKind,
        dtype: DType,
        source: Arc<dyn Lend>,
        range: Range<usize>,
    ) -> Result<Option<Self>, ExecError> {
        let Some([out, taps, inp]) = sizes(kind) else { return Ok(None) };
        let sizes = Matrix::unfilled(dtype, range.len(), [out, taps, inp])?;
        Ok(Some(Self { sizes, source, range }))
    }

    /// Packs it into `slot`, whatever that held.
    pub fn pack(&self, context: &Context, slot: &mut Matrix) {
        self.source.lend(self.range.clone(), &mut |data| slot.refill(context, &self.sizes, data));
    }
}
