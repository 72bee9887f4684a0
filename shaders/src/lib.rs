//! The WGSL compute shaders of nijimi: sources, variants, bindings and workgroup sizes. No GPU API.
//!
//! Every kernel is one file beside this crate's `src`, named as its twin in `nijimi-runtime`'s `cpu` folder. What is
//! shared lies in `parts/`. A [`Shader`] is a kernel with its flags and constants; [`Shader::wgsl`] gives its text, and
//! [`Shader::interface`] what that text binds: whoever runs it finds operands and parameters by the names in the WGSL.
//! [`table`] chooses tiles by adapter and shape.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod interface;
mod kernel;
mod source;
mod strip;
pub mod table;

pub use interface::{Access, Binding, Field, Interface};
pub use kernel::{Flag, Kernel, Shader};
