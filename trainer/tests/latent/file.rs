//! The file of a whole model.
use crate::networks::{random, text, unet};
use dfdx::prelude::*;
use nijimi_runtime::gguf::File;
use nijimi_runtime::import::Types;
use nijimi_runtime::model::{FirstStage, LatentDefaults, LatentDiffusion, LatentInfo, LatentRequest, TextInfo};
use nijimi_runtime::nn::{AutoencoderKl as AutoencoderConfig, TextStates};
use nijimi_runtime::quant::DType;
use nijimi_runtime::sampler::{Field, Solver};
use nijimi_runtime::text::{Special, Tokenizer, Vocabulary};
use nijimi_trainer::export::autoencoder_kl::autoencoder_kl;
use nijimi_trainer::export::latent::latent_diffusion;
use nijimi_trainer::fit::Record;
use nijimi_trainer::import;
use nijimi_trainer::nn::autoencoder_kl::AutoencoderKl;
use nijimi_trainer::nn::clip_text::{ClipText, Config as TextConfig};
use nijimi_trainer::nn::sd_unet::SdUnet;
use nijimi_trainer::ops::Precision;
use nijimi_trainer::param::{self, State};
use nijimi_trainer::quantize::quantize;

fn vocabulary() -> Vocabulary {
    let tokens = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"];
    Vocabulary { tokens: tokens.map(String::from).into(), merges: vec!["a b</w>".into()] }
}

/// A model of 16x16 pictures, and its tensors.
fn model() -> (LatentInfo, State) {
    let network = TextConfig { vocabulary: 7, ..text() };
    let special = Special { start: 5, end: 6, pad: 6, length: network.positions };
    let mut unet = unet();
    // Rows of whole blocks, so that something is quantized.
    unet.levels.iter_mut().for_each(|level| (level.channels, level.heads) = (32, 2));
    let autoencoder = AutoencoderConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        channels: vec![8, 16],
        layers_per_block: 1,
        norm_groups: 4,
        mid_attention: false,
        quant_conv: false,
        post_quant_conv: false,
    };
    let info = LatentInfo {
        name: "small".into(),
        license: "CC0-1.0".into(),
        family: "nijimi".into(),
        unet,
        autoencoder,
        scaling_factor: 0.5,
        shift_factor: 0.25,
        texts: vec![TextInfo {
            prefix: "text_encoder.",
            network,
            states: TextStates::LAST,
            tokenizer: Tokenizer::new(&vocabulary(), special).unwrap(),
        }],
        zeros_for_empty: false,
        scheduler: "DDIMScheduler".into(),
        settings: vec![
            ("beta_schedule".into(), Field::Text("squaredcos_cap_v2".into())),
            ("num_train_timesteps".into(), Field::Number(1000.0)),
            ("beta_start".into(), Field::Number(0.0001)),
            ("beta_end".into(), Field::Number(0.02)),
            ("prediction_type".into(), Field::Text("v_prediction".into())),
            ("clip_sample".into(), Field::Flag(false)),
        ],
        sample_size: 8,
        defaults: LatentDefaults {
            solver: Solver::from_name("dpm++2m"),
            steps: Some(3),
            guidance_scale: Some(2.0),
            ..LatentDefaults::default()
        },
    };
    let device = Cpu::default();
    let mut unet = SdUnet::new(&device, 0, &info.unet, Precision::F32).unwrap();
    let mut text = ClipText::new(&device, 0, &info.texts[0].network, Precision::F32).unwrap();
    let mut autoencoder = AutoencoderKl::new(&device, 0, &info.autoencoder, Precision::F32).unwrap();
    random(&mut unet);
    random(&mut text);
    random(&mut autoencoder);
    let mut state = param::state(&mut unet, "unet.");
    state.extend(param::state(&mut text, "text_encoder."));
    state.extend(param::state(&mut autoencoder, "vae."));
    (info, state)
}

fn written(dtype: DType) -> (LatentInfo, State, Vec<u8>) {
    let (info, state) = model();
    let record = Record { steps: 12, command: "nijimi-train".into(), ..Record::default() };
    let bytes = latent_diffusion(&state, &info, &vocabulary(), &record, &Types::new(dtype)).unwrap();
    (info, state, bytes)
}

fn draw(bytes: &[u8]) -> Vec<f32> {
    let model = LatentDiffusion::load(&File::new_checked(bytes).unwrap()).unwrap();
    let defaults = model.info().defaults;
    let calls = model.calls_by(defaults.solver, defaults.sigmas, defaults.steps.unwrap()).unwrap();
    let guidance_scale = defaults.guidance_scale.unwrap();
    let mut run =
        model.run(&LatentRequest { guidance_scale, ..LatentRequest::new("ab a", 4, [16, 16], &calls) }).unwrap();
    while run.step().unwrap().is_some() {}
    run.pictures().unwrap()
}

/// Seen red with the autoencoder's tensors left out.
#[test]
fn the_file_draws() {
    let pictures = [DType::F32, DType::F16, DType::Q8_0].map(|dtype| draw(&written(dtype).2));
    assert_eq!(pictures[0].len(), 16 * 16 * 3);
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    let spread = far(&pictures[0], &[0.5; 16 * 16 * 3]);
    assert!(spread.is_finite() && spread > 0.05, "{spread}");
    let (half, quantized) = (far(&pictures[0], &pictures[1]), far(&pictures[0], &pictures[2]));
    assert!(half > 0.0 && half < 0.02 && quantized > half && quantized < 0.3, "{half} and {quantized}");
}

/// Seen red with convolutions left channels last when they are read.
#[test]
fn what_was_trained_is_read_back() {
    let device = Cpu::default();
    let (info, state, bytes) = written(DType::F32);
    let file = File::new_checked(&bytes).unwrap();
    assert_eq!(import::tensors(&file, "").unwrap(), state);
    let (mut unet, mut text, read) = import::text_to_image(&device, &file, Precision::F32).unwrap();
    let (mut autoencoder, stage) = import::autoencoder_kl(&device, &file, Precision::F32).unwrap();
    let mut again = param::state(&mut unet, "unet.");
    again.extend(param::state(&mut text, "text_encoder."));
    again.extend(param::state(&mut autoencoder, "vae."));
    assert_eq!(again, state);
    assert_eq!(format!("{read:?}"), format!("{info:?}"));
    assert_eq!(import::vocabulary(&file).unwrap(), vocabulary());

    // The autoencoder alone.
    let bytes =
        autoencoder_kl(&param::state(&mut autoencoder, ""), &stage, ("alone", 16), &Record::default(), DType::F32);
    let bytes = bytes.unwrap();
    let file = File::new_checked(&bytes).unwrap();
    let (mut alone, again) = import::autoencoder_kl(&device, &file, Precision::F32).unwrap();
    assert_eq!(again, stage);
    assert_eq!(param::state(&mut alone, "vae."), import::tensors(&file, FirstStage::PREFIX).unwrap());
    assert_eq!(param::state(&mut alone, ""), param::state(&mut autoencoder, ""));
    let none = import::text_to_image(&device, &file, Precision::F32).err().unwrap().to_string();
    assert!(none.contains("latent-diffusion"), "{none}");
    assert!(import::tensors(&file, "unet.").unwrap_err().to_string().contains("unet."));
}

/// A file that is quantized later is the one that would have been written at once.
/// Seen red with the rules of the book's U-Net for it.
#[test]
fn quantized_later_is_quantized_at_once() {
    let folder = crate::common::Folder::new("latent-quantize");
    let (whole, small) = (folder.join("whole.gguf"), folder.join("small.gguf"));
    std::fs::write(&whole, written(DType::F32).2).unwrap();
    quantize(&whole, &small, DType::Q8_0).unwrap();
    assert!(std::fs::read(&small).unwrap() == written(DType::Q8_0).2, "the files differ");
}
