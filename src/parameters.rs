//! What a picture was drawn with, in the text that picture browsers read.

/// One drawing's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    pub prompt: String,
    /// What the picture shall not show; empty where nothing was said.
    pub negative: String,
    /// Where the way to the picture has steps.
    pub sampling: Option<Sampling>,
    /// Of the first picture.
    pub seed: u64,
    /// Pictures for each word.
    pub batch: usize,
    pub width: usize,
    pub height: usize,
    pub model: String,
}

/// How a picture came out of noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    pub steps: usize,
    pub sampler: String,
    /// Noise in each step of DDIM.
    pub eta: f64,
    pub guidance_scale: f32,
    /// Name and strength of a classifier that guided it.
    pub classifier: Option<(String, f32)>,
}

impl Parameters {
    /// As AUTOMATIC1111's web UI writes them into the PNG chunk `parameters`: the prompt, then a line of pairs.
    pub fn text(&self) -> String {
        let Self { prompt, negative, sampling, seed, batch, width, height, model } = self;
        let mut text = if prompt.is_empty() { String::new() } else { format!("{prompt}\n") };
        if !negative.is_empty() {
            text += &format!("Negative prompt: {negative}\n");
        }
        if let Some(Sampling { steps, sampler, guidance_scale, .. }) = sampling {
            text += &format!("Steps: {steps}, Sampler: {sampler}, CFG scale: {guidance_scale}, ");
        }
        text += &format!("Seed: {seed}, Size: {width}x{height}, Model: {}, ", quoted(model));
        if let Some(Sampling { eta, .. }) = sampling.as_ref().filter(|s| s.eta != 0.0) {
            text += &format!("Eta: {eta}, ");
        }
        if let Some((name, scale)) = sampling.as_ref().and_then(|s| s.classifier.as_ref()) {
            text += &format!("Classifier: {}, Classifier scale: {scale}, ", quoted(name));
        }
        if *batch > 1 {
            text += &format!("Batch size: {batch}, ");
        }
        text + concat!("Version: nijimi ", env!("CARGO_PKG_VERSION"))
    }
}

/// A value that would be taken for several pairs is put in quotes.
fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n', '"']) { format!("{value:?}") } else { value.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_that_browsers_read() {
        let mut parameters = Parameters {
            prompt: "7".into(),
            negative: String::new(),
            sampling: Some(Sampling {
                steps: 50,
                sampler: "DDIM".into(),
                eta: 0.0,
                guidance_scale: 3.0,
                classifier: None,
            }),
            seed: 5,
            batch: 1,
            width: 28,
            height: 28,
            model: "digits".into(),
        };
        let version = concat!("Version: nijimi ", env!("CARGO_PKG_VERSION"));
        let pairs = "Steps: 50, Sampler: DDIM, CFG scale: 3, Seed: 5, Size: 28x28, Model: digits, ";
        assert_eq!(parameters.text(), format!("7\n{pairs}{version}"));
        let sampling = parameters.sampling.as_mut().unwrap();
        (sampling.eta, sampling.classifier) = (0.5, Some(("c".into(), 2.0)));
        parameters = Parameters { prompt: String::new(), batch: 4, model: "a, b".into(), ..parameters };
        let pairs = "Steps: 50, Sampler: DDIM, CFG scale: 3, Seed: 5, Size: 28x28, Model: \"a, b\", Eta: 0.5, ";
        let classifier = "Classifier: c, Classifier scale: 2, ";
        assert_eq!(parameters.text(), format!("{pairs}{classifier}Batch size: 4, {version}"));
        parameters.negative = "blur".into();
        assert!(parameters.text().starts_with("Negative prompt: blur\nSteps: 50, "), "{}", parameters.text());
        (parameters.sampling, parameters.negative) = (None, String::new());
        let pairs = "Seed: 5, Size: 28x28, Model: \"a, b\", Batch size: 4, ";
        assert_eq!(parameters.text(), format!("{pairs}{version}"));
    }
}
