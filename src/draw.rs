//! Drawing: what each kind of model does with the command line, from its file to its pictures or numbers.

pub mod artist;
pub mod backend;
pub mod diffusion;
pub mod latent;
pub mod listed;
pub mod numbers;
pub mod progress;
pub mod prompt;
pub mod run;
pub mod solver;
pub mod text_to_image;
pub mod upscale;
