//! Published checkpoints of Stable Diffusion 1.x, 2.x and SDXL, of unconditional models of pixels (DDPM, DDIM), of ControlNets, of
//! T2I-Adapters, of IP-Adapters and their image encoders, of the tiny autoencoder and of upscalers, as diffusers folders or single files, `.safetensors` or GGUF of other programs: what they are, and their tensors under one set
//! of names, to be written as one of our files.
//!
//! [`Checkpoint::open`] reads headers and configurations, and finds every tensor or says what is wrong: what a checkpoint
//! says is obeyed, known to change no picture (`aside.rs`, `header.rs`), or refused by name; [`Source::read`]
//! streams numbers, a few rows at a time, in the layout of `docs/format.md`; [`convert`] writes the file. [`Lora::open`]
//! reads what is added to one, [`embedding`] words that it is taught; [`stored`] opens a model at any path, [`Survey`] tells what lies at one. Python pickles (`.ckpt`, `.bin`) can run any program when read, and are refused.
#![forbid(unsafe_code)]

mod aside;
mod checkpoint;
mod config;
mod control;
mod convert;
mod describe;
mod detect;
mod embedding;
mod error;
mod expect;
mod files;
mod flux2;
mod folder;
mod gguf;
mod header;
mod image_encoder;
mod ip_adapter;
mod json;
mod language;
mod llama;
mod lora;
mod marks;
mod names;
mod numbers;
mod open;
mod parse;
mod parts;
mod pieces;
mod pixels;
mod safetensors;
mod scales;
mod sd3;
mod seems;
mod single;
mod stored;
mod survey;
mod t2i_adapter;
mod temporary;
mod tensor_file;
mod tiny;
mod tokenizer;
mod types;
mod upscaler;
mod z_image;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, Format, LanguageVocabulary, Options, Source, Tensor};
pub use config::{Config, Family, Language, Model, SchedulerConfig};
pub use convert::{Event, Summary, convert, convert_into, outline_into};
pub use embedding::embedding;
pub use error::{ImportError, LoraError};
pub use lora::Lora;
pub use parts::Part;
pub use safetensors::MAX_HEADER;
pub use stored::{stem, stored};
pub use survey::{Counted, Kind, Missing, Survey};
pub use temporary::{Temporary, is_checkpoint};
pub use tensor_file::{Entry, TensorFile};
pub use tokenizer::Tokenizer;
pub use types::Types;
