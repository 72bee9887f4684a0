//! What a picture was drawn with, in the text that picture browsers read.

use crate::Infotext;

/// One drawing's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// What the picture shall show.
    pub prompt: String,
    /// What the picture shall not show; empty where nothing was said.
    pub negative: String,
    /// Where the way to the picture has steps.
    pub sampling: Option<Sampling>,
    /// Of the first picture.
    pub seed: u64,
    /// Pictures for each word.
    pub batch: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The model's name.
    pub model: String,
    /// How often each pixel is repeated, if that was said.
    pub scale: Option<usize>,
    /// What not every model has.
    pub extras: Extras,
}

/// How a picture came out of noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Number of steps.
    pub steps: usize,
    /// The solver's name.
    pub sampler: String,
    /// Noise in each step of DDIM.
    pub eta: f64,
    /// Strength of classifier-free guidance.
    pub guidance_scale: f32,
    /// Name and strength of a classifier that guided it.
    pub classifier: Option<(String, f32)>,
}

/// What not every model has; the default is without any of it. Files go by their names, without folders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extras {
    /// How the noise levels are spread, if not as the model has it.
    pub schedule: Option<String>,
    /// Whether estimates were not clipped, of models of pixels.
    pub no_clip: bool,
    /// How far the contrast of strong guidance was brought back, 0 to 1.
    pub guidance_rescale: f32,
    /// Steps of which the first alone evaluated the whole network, if more than one.
    pub cache_interval: Option<usize>,
    /// Skip-layer guidance: which layers, how strongly, and when.
    pub skip_layers: Option<String>,
    /// How strongly a picture that is changed by instruction is kept to.
    pub image_guidance_scale: Option<f32>,
    /// The init image, and how much of it was replaced.
    pub init_image: Option<(String, f64)>,
    /// The picture of what was drawn anew.
    pub mask: Option<String>,
    /// Pixels around what is masked that were drawn with it, at a size of their own.
    pub mask_crop: Option<usize>,
    /// The picture of depth that led it.
    pub depth_image: Option<String>,
    /// Of a second pass: how many times as large, how much of it was replaced, and what enlarged.
    pub hires: Option<(f64, f64, String)>,
    /// The second model, and the share of the noise levels after which it went on.
    pub refiner: Option<(String, f64)>,
    /// Name and strength of each LoRA.
    pub loras: Vec<(String, f32)>,
    /// Each embedding, and the word that stands for it.
    pub embeddings: Vec<(String, String)>,
    /// The text encoder's layer, counted from the end.
    pub clip_skip: Option<usize>,
    /// Whose random numbers.
    pub rng: Option<String>,
    /// Name and strength of each ControlNet, and the image that it read.
    pub control_nets: Vec<(String, f32, String)>,
    /// Name and strength of an IP-Adapter, the image encoder, and the pictures that it was shown.
    pub ip_adapter: Option<(String, f32, String, Vec<String>)>,
    /// The tiny autoencoder that decoded it.
    pub tiny_decoder: Option<String>,
    /// The file, and tensor, of its starting noise.
    pub latents: Option<String>,
    /// Parts of the model that files of their own have: what a part is called, and the file.
    pub parts: Vec<(String, String)>,
    /// The number format of its weights, if they were converted for it.
    pub dtype: Option<String>,
    /// What the network was taken to predict, if not what the file says.
    pub prediction_type: Option<String>,
    /// Whether it was decoded in tiles.
    pub vae_tiling: bool,
}

impl Parameters {
    /// As AUTOMATIC1111's web UI writes them into the PNG chunk `parameters`.
    #[must_use]
    pub fn text(&self) -> String {
        let (prompt, negative) = (self.prompt.clone(), self.negative.clone());
        Infotext { prompt, negative, pairs: self.pairs() }.to_string()
    }

    /// Keys and values, in the web UI's order and with its names where it has them.
    fn pairs(&self) -> Vec<(String, String)> {
        let Self { prompt: _, negative: _, sampling, seed, batch, width, height, model, scale, extras } = self;
        let mut pairs = Vec::new();
        let mut put = |key: &str, value: String| pairs.push((key.to_owned(), value));
        if let Some(Sampling { steps, sampler, guidance_scale, classifier, .. }) = sampling {
            put("Steps", steps.to_string());
            put("Sampler", sampler.clone());
            if let Some(name) = &extras.schedule {
                put("Schedule type", name.clone());
            }
            if classifier.is_none() {
                put("CFG scale", guidance_scale.to_string());
            }
        }
        put("Seed", seed.to_string());
        put("Size", format!("{width}x{height}"));
        put("Model", model.clone());
        if let Some(Sampling { eta, .. }) = sampling.as_ref().filter(|s| s.eta != 0.0) {
            put("Eta", eta.to_string());
        }
        if let Some((name, scale)) = sampling.as_ref().and_then(|s| s.classifier.as_ref()) {
            put("Classifier", name.clone());
            put("Classifier scale", scale.to_string());
        }
        extras.pairs(&mut put);
        if let Some(scale) = scale {
            put("Scale", scale.to_string());
        }
        if *batch > 1 {
            put("Batch size", batch.to_string());
        }
        put("Version", concat!("nijimi ", env!("CARGO_PKG_VERSION")).into());
        pairs
    }
}

impl Extras {
    fn pairs(&self, put: &mut impl FnMut(&str, String)) {
        #[rustfmt::skip]
        let Self {
            schedule: _, no_clip, guidance_rescale, cache_interval, skip_layers, image_guidance_scale, init_image, mask, mask_crop, depth_image,
            hires, refiner, loras, embeddings, clip_skip, rng, control_nets, ip_adapter,
            tiny_decoder, latents, parts, dtype, prediction_type, vae_tiling,
        } = self;
        if *no_clip {
            put("No clip", "True".into());
        }
        if *guidance_rescale != 0.0 {
            put("CFG rescale", guidance_rescale.to_string());
        }
        if let Some(n) = cache_interval {
            put("Cache interval", n.to_string());
        }
        if let Some(how) = skip_layers {
            put("Skip layer guidance", how.clone());
        }
        if let Some(scale) = image_guidance_scale {
            put("Image CFG scale", scale.to_string());
        }
        if let Some((name, strength)) = init_image {
            put("Denoising strength", strength.to_string());
            put("Init image", name.clone());
        }
        if let Some(name) = mask {
            put("Mask", name.clone());
        }
        if let Some(padding) = mask_crop {
            put("Inpaint area", "Only masked".into());
            put("Masked area padding", padding.to_string());
        }
        if let Some(name) = depth_image {
            put("Depth image", name.clone());
        }
        if let Some((scale, strength, upscaler)) = hires {
            put("Denoising strength", strength.to_string());
            put("Hires upscale", scale.to_string());
            put("Hires upscaler", upscaler.clone());
        }
        if let Some((name, share)) = refiner {
            put("Refiner", name.clone());
            put("Refiner switch at", share.to_string());
        }
        if let Some(layer) = clip_skip {
            put("Clip skip", layer.to_string());
        }
        if let Some(name) = rng {
            put("RNG", name.clone());
        }
        if !loras.is_empty() {
            let loras: Vec<String> = loras.iter().map(|(name, strength)| format!("{name}: {strength}")).collect();
            put("Lora", loras.join(", "));
        }
        if !embeddings.is_empty() {
            let embeddings: Vec<String> = embeddings.iter().map(|(name, word)| format!("{name}: {word}")).collect();
            put("Embeddings", embeddings.join(", "));
        }
        for (i, (name, strength, image)) in control_nets.iter().enumerate() {
            put(&format!("ControlNet {i}"), format!("Model: {name}, Weight: {strength}, Image: {image}"));
        }
        if let Some((name, strength, encoder, images)) = ip_adapter {
            let images = images.join(", Image: ");
            put("IP-Adapter", format!("Model: {name}, Weight: {strength}, Encoder: {encoder}, Image: {images}"));
        }
        if let Some(name) = tiny_decoder {
            put("VAE Decoder", "TAESD".into());
            put("TAESD", name.clone());
        }
        if let Some(name) = latents {
            put("Latents", name.clone());
        }
        for (part, name) in parts {
            put(part, name.clone());
        }
        if let Some(name) = dtype {
            put("Weight type", name.clone());
        }
        if let Some(name) = prediction_type {
            put("Prediction type", name.clone());
        }
        if *vae_tiling {
            put("VAE tiling", "True".into());
        }
    }
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
                sampler: "ddim".into(),
                eta: 0.0,
                guidance_scale: 3.0,
                classifier: None,
            }),
            seed: 5,
            batch: 1,
            width: 28,
            height: 28,
            model: "digits".into(),
            scale: None,
            extras: Extras::default(),
        };
        let version = concat!("Version: nijimi ", env!("CARGO_PKG_VERSION"));
        let pairs = "Steps: 50, Sampler: ddim, CFG scale: 3, Seed: 5, Size: 28x28, Model: digits, ";
        assert_eq!(parameters.text(), format!("7\n{pairs}{version}"));
        let sampling = parameters.sampling.as_mut().unwrap();
        (sampling.eta, sampling.classifier) = (0.5, Some(("c".into(), 2.0)));
        parameters = Parameters { prompt: String::new(), batch: 4, model: "a, b".into(), ..parameters };
        let pairs = "Steps: 50, Sampler: ddim, Seed: 5, Size: 28x28, Model: \"a, b\", Eta: 0.5, ";
        let classifier = "Classifier: c, Classifier scale: 2, ";
        assert_eq!(parameters.text(), format!("{pairs}{classifier}Batch size: 4, {version}"));
        parameters.negative = "blur".into();
        assert!(parameters.text().starts_with("Negative prompt: blur\nSteps: 50, "), "{}", parameters.text());
        (parameters.sampling, parameters.negative) = (None, String::new());
        let pairs = "Seed: 5, Size: 28x28, Model: \"a, b\", Batch size: 4, ";
        assert_eq!(parameters.text(), format!("{pairs}{version}"));
    }

    // Seen red: the LoRAs put apart by semicolons; a ControlNet of strength 1 whatever it was.
    #[test]
    fn extras_are_read_back_from_the_file() {
        let sampler = "dpm++2m".to_owned();
        let parameters = Parameters {
            prompt: "a \"quoted\" horse, (astronaut:1.2): 宇宙飛行士\nБелая лошадь \\ é".into(),
            negative: "blurry, \"text\"\n: 文字".into(),
            sampling: Some(Sampling { steps: 20, sampler, eta: 0.0, guidance_scale: 7.5, classifier: None }),
            seed: u64::MAX,
            batch: 1,
            width: 3,
            height: 2,
            model: "sd: \"1.5\", α".into(),
            scale: Some(2),
            extras: Extras {
                no_clip: true,
                schedule: Some("karras".into()),
                guidance_rescale: 0.7,
                cache_interval: Some(3),
                skip_layers: Some("layers 7 8 by 2.8 from 0.01 to 0.2".into()),
                image_guidance_scale: Some(1.5),
                init_image: Some(("horse, grey.png".into(), 0.75)),
                mask: Some("mask.png".into()),
                mask_crop: Some(32),
                depth_image: Some("near.png".into()),
                hires: Some((1.5, 0.25, "Latent".into())),
                refiner: Some(("refiner".into(), 0.8)),
                loras: vec![("style".into(), 0.8), ("Größe \"1\"".into(), -1.0)],
                embeddings: vec![("toy.safetensors".into(), "<toy>".into())],
                clip_skip: Some(2),
                rng: Some("cuda".into()),
                control_nets: vec![("canny".into(), 0.5, "lines.png".into()), ("depth".into(), 1.0, "d.png".into())],
                ip_adapter: Some(("plus".into(), 0.6, "vit-h".into(), vec!["a.png".into(), "b.png".into()])),
                tiny_decoder: Some("tae".into()),
                latents: Some("run.safetensors:noise".into()),
                parts: vec![("VAE".into(), "fine, tuned.safetensors".into())],
                dtype: Some("q8_0".into()),
                prediction_type: Some("v_prediction".into()),
                vae_tiling: true,
            },
        };
        let bytes = crate::png([2, 3, 3], &[255; 18], parameters.text()).unwrap();
        let read = crate::Facts::read(std::io::Cursor::new(bytes)).unwrap();
        let read = Infotext::parse(&read.parameters.unwrap());
        assert_eq!((&read.prompt, &read.negative), (&parameters.prompt, &parameters.negative));
        let want = [
            ("Steps", "20"),
            ("Sampler", "dpm++2m"),
            ("Schedule type", "karras"),
            ("CFG scale", "7.5"),
            ("Seed", "18446744073709551615"),
            ("Size", "3x2"),
            ("Model", "sd: \"1.5\", α"),
            ("No clip", "True"),
            ("CFG rescale", "0.7"),
            ("Cache interval", "3"),
            ("Skip layer guidance", "layers 7 8 by 2.8 from 0.01 to 0.2"),
            ("Image CFG scale", "1.5"),
            ("Denoising strength", "0.75"),
            ("Init image", "horse, grey.png"),
            ("Mask", "mask.png"),
            ("Inpaint area", "Only masked"),
            ("Masked area padding", "32"),
            ("Depth image", "near.png"),
            ("Denoising strength", "0.25"),
            ("Hires upscale", "1.5"),
            ("Hires upscaler", "Latent"),
            ("Refiner", "refiner"),
            ("Refiner switch at", "0.8"),
            ("Clip skip", "2"),
            ("RNG", "cuda"),
            ("Lora", "style: 0.8, Größe \"1\": -1"),
            ("Embeddings", "toy.safetensors: <toy>"),
            ("ControlNet 0", "Model: canny, Weight: 0.5, Image: lines.png"),
            ("ControlNet 1", "Model: depth, Weight: 1, Image: d.png"),
            ("IP-Adapter", "Model: plus, Weight: 0.6, Encoder: vit-h, Image: a.png, Image: b.png"),
            ("VAE Decoder", "TAESD"),
            ("TAESD", "tae"),
            ("Latents", "run.safetensors:noise"),
            ("VAE", "fine, tuned.safetensors"),
            ("Weight type", "q8_0"),
            ("Prediction type", "v_prediction"),
            ("VAE tiling", "True"),
            ("Scale", "2"),
            ("Version", concat!("nijimi ", env!("CARGO_PKG_VERSION"))),
        ];
        let pairs: Vec<_> = read.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, want);
    }
}
