//! Digits that a classifier asks for, from a diffusion model that is told nothing: `cargo run --release -p
//! nijimi-runtime --example classifier_guidance [LABEL [OUT.png [DIFFUSION.gguf [CLASSIFIER.gguf]]]]`.
//!
//! One row for each strength gamma, of the same eight seeds; printed is how sure the classifier is of the label.

#[path = "common/picture.rs"]
mod picture;

use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Classifier, ClassifierGuided, Device, Diffusion, GuidedRequest, SessionOptions, batch_seeds,
};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.into());
    let (label, out) = (next("7"), next("classifier_guidance.png"));
    let files = [next("weights/digits-q8_0.gguf"), next("weights/digits-classifier-q8_0.gguf")];
    let [diffusion, classifier] = files.map(|file| std::fs::read(&file).map_err(|e| format!("{file}: {e}")));

    let pipeline = Diffusion::load(&File::new_checked(&diffusion?)?, &Device::Cpu)?;
    let classifier = Classifier::load(&File::new_checked(&classifier?)?, &Device::Cpu)?;
    let id = classifier.label(&label)?;
    let options = SessionOptions { batch: 8, guidance: false, ..Default::default() };
    let mut judge = classifier.session(&options)?;
    let mut models = ClassifierGuided::new(pipeline.session(&options)?, classifier.session(&options)?)?;

    let defaults = pipeline.info().defaults;
    let calls = pipeline.calls(defaults.solver, defaults.steps)?;
    let (labels, seeds) = ([Some(id); 8], batch_seeds(1, 8));
    let mut pictures = Vec::new();
    for gamma in [0.0, 1.0, 2.0, 4.0, 8.0] {
        let request = GuidedRequest { labels: &labels, seeds: &seeds, calls: &calls, gamma, conditional: false };
        let mut run = models.run(&request)?;
        while run.step()?.is_some() {}
        pictures.extend(run.to_u8()?);
        let logs = judge.log_probabilities(run.pictures()?, classifier.info().first_timestep as f32)?;
        let sure: Vec<String> = logs
            .chunks_exact(classifier.info().labels.len())
            .map(|logs| format!("{:.3}", logs[id as usize].exp()))
            .collect();
        println!("gamma {gamma}: p({label}) = {}", sure.join(" "));
    }
    picture::save(Path::new(&out), &pictures, pipeline.info().network.size(), 8)
}
