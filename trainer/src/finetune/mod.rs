//! Fine-tuning of networks as the runtime has them: a walk over a [`Graph`](nijimi_runtime::raw::graph::Graph), forward with the
//! runtime's kernels on weights that stay as their file has them, and back to the few numbers that are trained. The weights
//! themselves get no gradients. Of values only those are kept that one block hands to another: what is within a block is
//! worked out again on the way back (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
pub mod adapter;
mod backward;
mod forward;
pub mod frozen;
mod heads;
mod norms;
pub mod walk;
