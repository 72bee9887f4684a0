//! What the book's rungs use beside the runtime and no sampler needs: the theory of diffusion in closed form
//! ([`diffusion`], step 8), and scores with what samples by them alone ([`score`], step 10.2).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod diffusion;
pub mod score;
