//! Picture files: those that a run begins with, and those that it writes.
//!
//! [`Decoded`] reads PNG and JPEG within [`Limits`], and makes of them what [`LatentRequest`](nijimi_runtime::model::LatentRequest)
//! takes: init images and masks of a run's size. [`png`](fn@png) writes a picture with its [`Parameters`] in the text chunk that picture
//! browsers read; [`Facts`] and [`Infotext`] read it again.
#![forbid(unsafe_code)]

mod decode;
mod fit;
mod infotext;
mod open;
mod parameters;
mod png;

pub use self::png::{Facts, MAGIC, NotEncoded, png};
pub use decode::Decoded;
pub use fit::{Fit, gray};
pub use infotext::Infotext;
pub use open::{Limits, PictureError, open, size};
pub use parameters::{Extras, Parameters, Sampling};
