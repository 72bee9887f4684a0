//! The tensors that a configuration asks for: names as in today's diffusers and transformers, shapes as PyTorch has
//! them. What a checkpoint has is held against this list, so that nothing is missing, left over or of another shape.

mod clip;
mod control;
mod tiny;
mod unet;
mod vae;

use super::config::Config;

pub use clip::clip;
pub use control::control;
pub use tiny::{tiny_decoder, tiny_encoder};
pub use unet::unet;
pub use vae::vae;

/// A tensor: its name within its part, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Today's name, without the part's prefix.
    pub name: String,
    /// `[out][in]`, `[out][in][kh][kw]`, or `[n]`.
    pub shape: Vec<usize>,
}

/// The parts of a model with their tensors, in the order of our file: as they are needed.
pub fn parts(config: &Config) -> Vec<(&'static str, Vec<Expected>)> {
    let mut parts = vec![("text_encoder", clip(&config.text))];
    parts.extend(config.text_2.as_ref().map(|text| ("text_encoder_2", clip(text))));
    parts.push(("unet", unet(&config.unet)));
    parts.push(("vae", vae(&config.vae)));
    parts
}

/// Collects tensors.
#[derive(Default)]
struct List(Vec<Expected>);

impl List {
    fn tensor(&mut self, name: String, shape: &[usize]) {
        self.0.push(Expected { name, shape: shape.into() });
    }

    /// A layer with a bias.
    fn layer(&mut self, name: &str, weight: &[usize]) {
        self.tensor(format!("{name}.weight"), weight);
        self.tensor(format!("{name}.bias"), &weight[..1]);
    }

    fn linear(&mut self, name: &str, inp: usize, out: usize) {
        self.layer(name, &[out, inp]);
    }

    fn conv(&mut self, name: &str, inp: usize, out: usize, kernel: usize) {
        self.layer(name, &[out, inp, kernel, kernel]);
    }

    fn norm(&mut self, name: &str, n: usize) {
        self.layer(name, &[n]);
    }

    /// A residual block, with a time embedding of `time` or without.
    fn resnet(&mut self, name: &str, inp: usize, out: usize, time: Option<usize>) {
        self.norm(&format!("{name}.norm1"), inp);
        self.conv(&format!("{name}.conv1"), inp, out, 3);
        if let Some(time) = time {
            self.linear(&format!("{name}.time_emb_proj"), time, out);
        }
        self.norm(&format!("{name}.norm2"), out);
        self.conv(&format!("{name}.conv2"), out, out, 3);
        if inp != out {
            self.conv(&format!("{name}.conv_shortcut"), inp, out, 1);
        }
    }
}
