//! What a picture was drawn with, in the text that picture browsers read.

/// One drawing's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    pub prompt: String,
    pub steps: usize,
    pub sampler: String,
    /// Noise in each step of DDIM.
    pub eta: f64,
    pub guidance_scale: f32,
    /// Of the first picture.
    pub seed: u64,
    /// Pictures for each word.
    pub batch: usize,
    pub width: usize,
    pub height: usize,
    pub model: String,
}

impl Parameters {
    /// As AUTOMATIC1111's web UI writes them into the PNG chunk `parameters`: the prompt, then a line of pairs.
    pub fn text(&self) -> String {
        let Self { prompt, steps, sampler, eta, guidance_scale, seed, batch, width, height, model } = self;
        let mut text = if prompt.is_empty() { String::new() } else { format!("{prompt}\n") };
        text += &format!("Steps: {steps}, Sampler: {sampler}, CFG scale: {guidance_scale}, Seed: {seed}, ");
        text += &format!("Size: {width}x{height}, Model: {}, ", quoted(model));
        if *eta != 0.0 {
            text += &format!("Eta: {eta}, ");
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
            steps: 50,
            sampler: "DDIM".into(),
            eta: 0.0,
            guidance_scale: 3.0,
            seed: 5,
            batch: 1,
            width: 28,
            height: 28,
            model: "digits".into(),
        };
        let version = concat!("Version: nijimi ", env!("CARGO_PKG_VERSION"));
        let pairs = "Steps: 50, Sampler: DDIM, CFG scale: 3, Seed: 5, Size: 28x28, Model: digits, ";
        assert_eq!(parameters.text(), format!("7\n{pairs}{version}"));
        parameters = Parameters { prompt: String::new(), eta: 0.5, batch: 4, model: "a, b".into(), ..parameters };
        let pairs = "Steps: 50, Sampler: DDIM, CFG scale: 3, Seed: 5, Size: 28x28, Model: \"a, b\", Eta: 0.5, ";
        assert_eq!(parameters.text(), format!("{pairs}Batch size: 4, {version}"));
    }
}
