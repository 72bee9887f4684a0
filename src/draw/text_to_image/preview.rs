//! `--preview`: a picture of how far it is, written again and again.

use crate::cli::{MachineOptions, PreviewMethod, TextOptions};
use crate::draw::artist::failed;
use crate::fault::Fault;
use crate::file::canvas::Canvas;
use nijimi_runtime::gguf::write_atomic;
use nijimi_runtime::model::{Decoding, Run, SessionOptions, StepInfo, TextToImage, TinyAutoencoder};
use std::path::PathBuf;

/// What is shown, and how.
pub struct Preview<'a> {
    path: PathBuf,
    /// Steps from one to the next.
    interval: usize,
    method: PreviewMethod,
    tiny: Option<&'a TinyAutoencoder>,
    options: SessionOptions,
}

impl<'a> Preview<'a> {
    /// What the command line asks for, if it does.
    pub fn new(text: &TextOptions, machine: &MachineOptions, tiny: Option<&'a TinyAutoencoder>) -> Option<Self> {
        let method = text.preview_method.unwrap_or(PreviewMethod::Proj);
        let options = super::options(machine);
        let interval = text.preview_interval.unwrap_or(1);
        text.preview.clone().map(|path| Self { path, interval, method, tiny, options })
    }

    /// Writes the picture of the estimate, if it is its turn.
    pub fn show(&mut self, model: &TextToImage, run: &mut Run<'_>, step: StepInfo) -> Result<(), Fault> {
        if !(step.index + 1).is_multiple_of(self.interval) {
            return Ok(());
        }
        let ([h, w, _], factor) = (run.sample_shape(), model.factor());
        let estimate = run.estimate().map_err(failed)?;
        let decode = |how| model.decode(estimate, [h, w], how, &self.options).map_err(failed);
        let (values, width, scale) = match (self.method, self.tiny) {
            (PreviewMethod::Taesd, Some(tiny)) => (decode(Decoding::Tiny(tiny))?, w * factor, 1),
            (PreviewMethod::Vae, _) => (decode(Decoding::Whole)?, w * factor, 1),
            _ => (model.project(estimate), w, factor),
        };
        let bytes = TextToImage::to_u8(&values);
        let channels = bytes.len() * scale * scale / (h * w * factor * factor);
        let mut canvas = Canvas::new(w * factor, h * factor, channels);
        canvas.put(0, 0, &bytes, width, scale);
        let text = format!("step {} of {}", step.index + 1, step.total);
        write_atomic(&self.path, &canvas.png(text)?)
            .map_err(|e| Fault::Input(format!("{e}: write to another place with --preview")))
    }
}
