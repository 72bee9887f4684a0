//! A model in memory: what its file says, and its networks, shared by clones.

use super::network::Network;
use crate::sync::Arc;

/// A loaded model of information `I`, immutable. Clones share the weights, and any number of sessions on any threads may
/// use them at once.
pub struct Loaded<I, N = Network> {
    model: Arc<(I, N)>,
}

impl<I, N> Loaded<I, N> {
    pub(super) fn new(info: I, networks: N) -> Self {
        Self { model: Arc::new((info, networks)) }
    }

    /// What the file says of the model.
    pub fn info(&self) -> &I {
        &self.model.0
    }

    pub(super) fn networks(&self) -> &N {
        &self.model.1
    }

    /// Whether it is the same one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.model, &other.model)
    }
}

impl<I> Loaded<I> {
    /// Bytes of the weights in memory, as the kernels read them.
    pub fn weight_bytes(&self) -> usize {
        self.networks().weight_bytes()
    }
}

impl<I, N> Clone for Loaded<I, N> {
    fn clone(&self) -> Self {
        Self { model: self.model.clone() }
    }
}

impl<I: core::fmt::Debug, N> core::fmt::Debug for Loaded<I, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Loaded").field("info", self.info()).finish_non_exhaustive()
    }
}
