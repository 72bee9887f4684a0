//! What a single file says of itself beside its networks is obeyed, or refused by name.

use super::families::rewritten;
use super::support::{Folder, Stored, config, families, marked};
use crate::{Checkpoint, Options};
use nijimi_runtime::sampler::Field;
use std::collections::BTreeMap;

/// A single file of a pipeline, to be marked.
struct Single {
    folder: Folder,
    tensors: BTreeMap<String, Stored>,
    options: Options,
}

impl Single {
    fn of(family: &str) -> Self {
        let path = &families()[family];
        let tensors = rewritten(&Checkpoint::open(path, &Options::default()).unwrap());
        let options = Options { tokenizer: Some(path.join("tokenizer")), ..Options::default() };
        Self { folder: Folder::new(), tensors, options }
    }

    /// With a tensor of a number.
    fn with(mut self, name: &str) -> Self {
        self.tensors.insert(name.into(), ("F32".into(), vec![], 80f32.to_le_bytes().into()));
        self
    }

    fn open(&self, texts: &[(&str, &str)]) -> Result<Checkpoint, String> {
        self.folder.write("model.safetensors", marked(&self.tensors, texts));
        Checkpoint::find(&self.folder.join("model.safetensors"), &self.options).map_err(|e| e.to_string())
    }

    fn predicts(&self, texts: &[(&str, &str)]) -> String {
        config(&self.open(texts).unwrap()).scheduler.prediction_type.clone()
    }
}

/// Seen red with `modelspec.predict_key` not looked at.
#[test]
fn a_header_says_what_is_predicted() {
    let single = Single::of("sd1full");
    assert_eq!(single.predicts(&[]), "epsilon");
    for key in ["modelspec.prediction_type", "modelspec.predict_key", "prediction_type", "predict_key"] {
        for (text, expected) in [
            ("v", "v_prediction"),
            ("V-Pred", "v_prediction"),
            ("vpred", "v_prediction"),
            ("v prediction", "v_prediction"),
            ("\"v_prediction\"", "v_prediction"),
            ("eps", "epsilon"),
            ("EPSILON", "epsilon"),
            ("sample", "sample"),
            ("None", "epsilon"),
        ] {
            assert_eq!(single.predicts(&[(key, text)]), expected, "{key} = {text}");
        }
        for text in ["edm_vpred", "flow", "edm", "something"] {
            let refused = single.open(&[(key, text)]).unwrap_err();
            assert!(refused.contains(key) && refused.contains(text), "{refused}");
        }
    }
    assert_eq!(single.predicts(&[("ss_v_parameterization", "True")]), "v_prediction");
    assert_eq!(single.predicts(&[("ss_v_parameterization", "False")]), "epsilon");
    assert_eq!(single.predicts(&[("modelspec.architecture", "stable-diffusion-v2-768-v")]), "v_prediction");
    let two = [("modelspec.prediction_type", "epsilon"), ("modelspec.predict_key", "v")];
    let refused = single.open(&two).unwrap_err();
    assert!(["prediction_type", "predict_key", "--prediction-type"].iter().all(|w| refused.contains(w)), "{refused}");
    single.folder.write("model.yaml", "model:\n  params:\n    parameterization: \"v\"\n");
    assert_eq!(single.predicts(&[]), "v_prediction");
}

/// Its user comes first: seen red with a contradiction refused whatever is told.
#[test]
fn what_is_told_comes_first() {
    let mut single = Single::of("sd1full").with("v_pred");
    assert!(single.open(&[("modelspec.prediction_type", "epsilon")]).is_err());
    single.options.prediction_type = Some("sample".into());
    assert_eq!(single.predicts(&[("modelspec.prediction_type", "epsilon")]), "sample");
}

/// Seen red with the run left to begin below the last level.
#[test]
fn a_tensor_says_what_is_predicted() {
    assert_eq!(Single::of("sd1full").with("v_pred").predicts(&[]), "v_prediction");
    let zero = Single::of("sd1full").with("v_pred").with("ztsnr").open(&[]).unwrap();
    let settings = &config(&zero).scheduler.settings;
    let said = |name: &str| settings.iter().filter(|(own, _)| own == name).map(|(_, field)| field).collect::<Vec<_>>();
    assert_eq!(said("rescale_betas_zero_snr"), [&Field::Flag(true)]);
    assert_eq!(said("timestep_spacing"), [&Field::Text("trailing".into())]);
}

/// Nothing outside of the networks is waved through: seen red with every such name let through.
#[test]
fn marks_that_cannot_be_obeyed() {
    for (name, what) in [
        ("control_model.time_embed.0.weight", "ControlNet"),
        ("something.of.its.own", "nothing in this model takes"),
        ("v_pred_scale", "nothing in this model takes"),
        ("betas2", "nothing in this model takes"),
        ("lora_unet_conv_in.alpha", "nothing in this model takes"),
    ] {
        let refused = Single::of("sd1full").with(name).open(&[]).unwrap_err();
        assert!(refused.contains(name) && refused.contains(what), "{refused}");
    }
    // A half of what must be there.
    for (name, other) in [("edm_std", "edm_mean"), ("edm_vpred.sigma_max", "edm_vpred.sigma_min")] {
        let refused = Single::of("sd1full").with(name).open(&[]).unwrap_err();
        assert!(refused.contains(&format!("EDM's marks, but not {other}")), "{refused}");
    }
    for name in ["betas", "alphas_cumprod_prev", "denoiser.sigmas", "model_ema.decay", "optimizer_states.0.exp_avg"] {
        assert_eq!(Single::of("sd1full").with(name).open(&[]).unwrap().aside.iter().filter(|n| *n == name).count(), 1);
    }
}

/// Seen red with the deviation taken about 0 in place of the mean.
#[test]
fn the_second_familys_prediction_is_read_from_its_weights() {
    let mut single = Single::of("sd2");
    let of = |name: &&String| name.contains("output_blocks") && name.ends_with("transformer_blocks.0.norm1.bias");
    let block = |name: &String| name.split('.').nth(3).unwrap().parse::<usize>().unwrap();
    let last = single.tensors.keys().filter(of).max_by_key(|name| block(name)).unwrap().clone();
    for (spread, expected) in [(0.2f32, "v_prediction"), (0.08, "epsilon")] {
        let (_, shape, bytes) = single.tensors.get_mut(&last).unwrap();
        let values = (0..shape[0]).map(|i| half::f16::from_f32(if i % 2 == 0 { 3.0 + spread } else { 3.0 - spread }));
        *bytes = values.flat_map(half::f16::to_le_bytes).collect();
        let checkpoint = single.open(&[]).unwrap();
        assert_eq!(config(&checkpoint).scheduler.prediction_type, expected);
        assert!(checkpoint.notes.iter().any(|note| note.contains("by its weights")), "{:?}", checkpoint.notes);
        assert_eq!(single.predicts(&[("modelspec.prediction_type", "v")]), "v_prediction");
    }
}

/// As SD-Turbo is published: seen red with such a file taken for SDXL's refiner.
#[test]
fn the_second_family_by_names_of_sdxls_code() {
    let mut single = Single::of("sd2");
    let tensors = std::mem::take(&mut single.tensors).into_iter();
    single.tensors = tensors
        .map(|(name, t)| (name.replace("cond_stage_model.model.", "conditioner.embedders.0.model."), t))
        .collect();
    assert_eq!(config(&single.open(&[]).unwrap()).family.name(), "sd2");
}

/// Texts that nobody knows are told, and so is what a person can obey: seen red with none told.
#[test]
fn unknown_texts_are_told() {
    let single = Single::of("sd1full");
    let notes = |texts: &[(&str, &str)]| single.open(texts).unwrap().notes;
    assert!(notes(&[("format", "pt"), ("modelspec.title", "x"), ("ss_steps", "9")]).is_empty());
    let told = notes(&[("strange\u{1b}[31m", "1"), ("modelspec.encoder_layer", "2")]).join("\n");
    assert!(told.contains("1 texts") && told.contains("strange\\u{1b}") && told.contains("--clip-skip 2"), "{told}");
}
