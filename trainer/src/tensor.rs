//! Short names for dfdx tensors of run-time shape, and the bounds that every trainable network asks for.
use dfdx::prelude::*;

/// A vector `(n,)`.
pub type T1<D, T = NoneTape> = Tensor<(usize,), f32, D, T>;
/// A matrix `(rows, columns)`.
pub type T2<D, T = NoneTape> = Tensor<(usize, usize), f32, D, T>;
/// Sequences `(batch, length, features)`.
pub type T3<D, T = NoneTape> = Tensor<(usize, usize, usize), f32, D, T>;
/// Pictures `(n, channels, height, width)`.
pub type T4<D, T = NoneTape> = Tensor<(usize, usize, usize, usize), f32, D, T>;
/// dfdx's raw buffer: `Vec<f32>` behind a cache on the CPU, a `CudaSlice<f32>` on CUDA.
pub type Buffer<D> = <D as Storage<f32>>::Vec;

/// A tape that records, or none: what a forward pass is generic over.
pub trait Tp<D: Device<f32>>: 'static + Tape<f32, D> + Merge<Self> + Merge<NoneTape> {}
impl<D: Device<f32>, T: 'static + Tape<f32, D> + Merge<T> + Merge<NoneTape>> Tp<D> for T {}
