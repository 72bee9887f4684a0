//! The file of a whole model.
use crate::networks::{random, text, unet};
use dfdx::prelude::*;
use nijimi_import::Types;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, FirstStage, LatentDefaults, LatentInfo, LatentRequest, TextInfo, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{AutoencoderKl as AutoencoderConfig, TextStates};
use nijimi_runtime::raw::text::{Special, Tokenizer, Vocabulary};
use nijimi_runtime::sampler::{Field, Solver};
use nijimi_trainer::export::autoencoder_kl::autoencoder_kl;
use nijimi_trainer::export::latent::latent_diffusion;
use nijimi_trainer::fit::Record;
use nijimi_trainer::import;
use nijimi_trainer::nn::autoencoder_kl::AutoencoderKl;
use nijimi_trainer::nn::clip_text::{ClipText, ClipTextConfig};
use nijimi_trainer::nn::sd_unet::SdUnet;
use nijimi_trainer::ops::Precision;
use nijimi_trainer::param::{self, State};
use nijimi_trainer::quantize::quantize;

fn vocabulary() -> Vocabulary {
    let tokens = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"];
    Vocabulary { tokens: tokens.map(String::from).into(), merges: vec!["a b</w>".into()], added: vec![] }
}

/// A model of 16x16 pictures, and its tensors.
fn model() -> (LatentInfo, State) {
    let network = ClipTextConfig { vocabulary: 7, ..text() };
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
        packed: false,
    };
    let info = LatentInfo {
        name: "small".into(),
        license: "CC0-1.0".into(),
        family: "nijimi".into(),
        denoiser: unet.into(),
        autoencoder: autoencoder.into(),
        scaling_factor: 0.5,
        shift_factor: 0.25,
        statistics: None,
        texts: vec![TextInfo {
            prefix: "text_encoder.",
            network,
            states: TextStates::LAST,
            tokenizer: Tokenizer::new(&vocabulary(), special).unwrap(),
        }],
        language: None,
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
    let (mut unet, mut text, mut autoencoder) = networks(&info);
    random(&mut unet);
    random(&mut text);
    random(&mut autoencoder);
    (info, state(&mut unet, &mut text, &mut autoencoder))
}

/// The networks as they begin.
fn networks(info: &LatentInfo) -> (SdUnet<Cpu>, ClipText<Cpu>, AutoencoderKl<Cpu>) {
    let device = Cpu::default();
    (
        SdUnet::new(&device, 0, info.denoiser.unet().unwrap(), Precision::F32).unwrap(),
        ClipText::new(&device, 0, &info.texts[0].network, Precision::F32).unwrap(),
        AutoencoderKl::new(&device, 0, info.autoencoder.kl().unwrap(), Precision::F32).unwrap(),
    )
}

/// All tensors by the names of a whole model.
fn state(unet: &mut SdUnet<Cpu>, text: &mut ClipText<Cpu>, autoencoder: &mut AutoencoderKl<Cpu>) -> State {
    let mut state = param::state(unet, "unet.");
    state.extend(param::state(text, "text_encoder."));
    state.extend(param::state(autoencoder, FirstStage::PREFIX));
    state
}

fn written(dtype: DType) -> (LatentInfo, State, Vec<u8>) {
    let (info, state) = model();
    let record = Record { steps: 12, command: "nijimi-train".into(), ..Record::default() };
    let bytes = latent_diffusion(&state, &info, &vocabulary(), &record, &Types::new(dtype)).unwrap();
    (info, state, bytes)
}

fn draw(bytes: &[u8]) -> Vec<f32> {
    let model = TextToImage::load(&File::new_checked(bytes).unwrap(), &Device::Cpu).unwrap();
    let defaults = model.info().defaults;
    let calls = model.calls_by(defaults.solver, defaults.sigmas, defaults.steps.unwrap()).unwrap();
    let guidance_scale = defaults.guidance_scale.unwrap();
    let mut run =
        model.run(&LatentRequest { guidance_scale, size: [16, 16], ..model.request("ab a", 4, &calls) }).unwrap();
    while run.step().unwrap().is_some() {}
    run.pictures().unwrap().to_vec()
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
    let (info, trained, bytes) = written(DType::F32);
    let file = File::new_checked(&bytes).unwrap();
    assert_eq!(import::tensors(&file, "").unwrap(), trained);
    let read = LatentInfo::read(&file).unwrap();
    assert_eq!(format!("{read:?}"), format!("{info:?}"));
    assert_eq!(import::vocabulary(&file).unwrap(), vocabulary());
    let (unet, text, autoencoder) = networks(&read);
    let mut unet = import::load(unet, "unet.", &file).unwrap();
    let mut text = import::load(text, read.texts[0].prefix, &file).unwrap();
    let mut autoencoder = import::load(autoencoder, FirstStage::PREFIX, &file).unwrap();
    assert_eq!(state(&mut unet, &mut text, &mut autoencoder), trained);

    // The autoencoder alone.
    let (alone, stage) = (param::state(&mut autoencoder, ""), info.first_stage());
    let bytes = autoencoder_kl(&alone, &stage, ("alone", 16), &Record::default(), DType::F32).unwrap();
    let file = File::new_checked(&bytes).unwrap();
    assert_eq!(FirstStage::read(&file).unwrap(), stage);
    let mut autoencoder = import::load(networks(&info).2, FirstStage::PREFIX, &file).unwrap();
    assert_eq!(param::state(&mut autoencoder, ""), alone);
    let none = import::load(unet, "unet.", &file).err().unwrap().to_string();
    assert!(none.contains("unet."), "{none}");
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
