//! What is written is what is read.

use super::*;
use crate::gguf::File;
use crate::graph::Activation;
use crate::model::{LanguageInfo, LanguageModel, LatentDefaults, LatentStatistics, Turn};
use crate::nn::{
    Autoencoder, AutoencoderKl, AutoencoderTiny, ClipText, Flux2, Mmdit, Qwen3, SdAdded, SdLevel, SdMiddle, SdUnet,
    TimeCode, ZImage,
};
use crate::sampler::{Field, Sigmas, Solver};
use crate::text::{ByteLevel, Special};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

fn vocabulary() -> Vocabulary {
    let tokens = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"];
    Vocabulary { tokens: tokens.map(String::from).into(), merges: vec!["a b</w>".into()], added: vec![] }
}

fn texts(networks: &[ClipText], states: TextStates) -> Vec<TextInfo> {
    let text = |(i, network): (usize, &ClipText)| TextInfo {
        prefix: ["text_encoder.", "text_encoder_2."][i],
        network: *network,
        states: TextStates { pooled: i > 0, ..states },
        // The second pads otherwise.
        tokenizer: Tokenizer::new(&vocabulary(), Special { start: 5, end: 6, pad: 6 - 6 * i as u32, length: 7 })
            .unwrap(),
    };
    networks.iter().enumerate().map(text).collect()
}

/// No two of its numbers of one kind are equal, where they may differ.
fn info() -> LatentInfo {
    let text = ClipText {
        vocabulary: 7,
        positions: 7,
        width: 12,
        layers: 2,
        heads: 3,
        hidden: 20,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        projection: None,
    };
    LatentInfo {
        name: "small".into(),
        license: "CC0-1.0".into(),
        family: "own".into(),
        denoiser: Denoiser::Unet(SdUnet {
            in_channels: 9,
            out_channels: 4,
            levels: vec![SdLevel::new(8, 2, 3, 0), SdLevel::new(24, 4, 3, 3), SdLevel::new(16, 1, 3, 0)],
            middle: SdMiddle::Transformer(2),
            text_width: 12,
            norm_groups: 2,
            norm_eps: 3e-5,
            linear_projection: true,
            pads_below: true,
            time_code: TimeCode { cosine_first: false, shift: 1.0 },
            added: None,
            guidance_code: 0,
        }),
        autoencoder: Autoencoder::Kl(AutoencoderKl {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            channels: vec![6, 10, 14],
            layers_per_block: 7,
            norm_groups: 2,
            mid_attention: false,
            quant_conv: true,
            post_quant_conv: false,
            packed: false,
        }),
        scaling_factor: 0.25,
        shift_factor: -0.125,
        statistics: None,
        texts: texts(&[text], TextStates::LAST),
        language: None,
        zeros_for_empty: false,
        scheduler: "DDIMScheduler".into(),
        settings: vec![
            ("beta_schedule".into(), Field::Text("scaled_linear".into())),
            ("num_train_timesteps".into(), Field::Number(900.0)),
            ("beta_start".into(), Field::Number(0.00085)),
            ("beta_end".into(), Field::Number(0.012)),
            ("prediction_type".into(), Field::Text("v_prediction".into())),
            ("clip_sample".into(), Field::Flag(false)),
            ("steps_offset".into(), Field::Number(1.0)),
            ("timestep_spacing".into(), Field::Text("trailing".into())),
        ],
        sample_size: 9,
        defaults: LatentDefaults::default(),
    }
}

fn unet(info: &LatentInfo) -> SdUnet {
    info.denoiser.unet().unwrap().clone()
}

/// SDXL's form of it, with all that a file may say.
fn second() -> LatentInfo {
    let first = info();
    let network = first.texts[0].network;
    let other = ClipText { width: 20, heads: 5, activation: Activation::Gelu, projection: Some(9), ..network };
    let mut unet =
        SdUnet { text_width: 32, added: Some(SdAdded { code: 6, width: 45 }), guidance_code: 10, ..unet(&first) };
    unet.levels[2] = SdLevel { down: vec![2, 0, 1], up: vec![4, 3, 0, 10], ..unet.levels[2].clone() };
    unet.middle = SdMiddle::Resnet;
    let sigmas = Some(Sigmas::Karras);
    LatentInfo {
        license: String::new(),
        denoiser: unet.into(),
        texts: texts(&[network, other], TextStates::PENULTIMATE),
        zeros_for_empty: true,
        defaults: LatentDefaults {
            solver: Solver::from_name("dpm++2m"),
            sigmas,
            steps: Some(17),
            guidance_scale: Some(4.5),
        },
        ..first
    }
}

/// Stable Diffusion 3's: a transformer, which is told both encoders' pooled states.
fn third() -> LatentInfo {
    let first = info();
    let network = ClipText { projection: Some(11), ..first.texts[0].network };
    let other = ClipText { width: 20, heads: 5, activation: Activation::Gelu, projection: Some(9), ..network };
    let mut texts = texts(&[network, other], TextStates::PENULTIMATE);
    texts.iter_mut().for_each(|text| text.states.pooled = true);
    let denoiser = Mmdit {
        channels: 4,
        layers: 3,
        heads: 2,
        head_channels: 10,
        text_width: 40,
        pooled_width: 20,
        positions: 17,
        dual: vec![0, 2],
        qk_norm: true,
    };
    LatentInfo { denoiser: denoiser.into(), texts, ..first }
}

/// Z-Image: a transformer of one stream, and a language model that reads alone.
fn fourth() -> LatentInfo {
    let first = info();
    let denoiser = ZImage {
        channels: 4,
        layers: 3,
        refiner_layers: 2,
        heads: 5,
        text_width: 42,
        axes: [2, 4, 6],
        places: [700, 33, 35],
        theta: 257.0,
        eps: 2e-5,
        time_scale: 999.0,
    };
    let network = Qwen3 {
        vocabulary: 300,
        width: 14,
        heads: 6,
        kv_heads: 3,
        head_channels: 8,
        hidden: 21,
        eps: 3e-6,
        theta: 1e5,
        states: vec![1, 2, 5],
    };
    let bytes = (0..=255).map(|byte| crate::text::visible(byte).to_string());
    let turns = ["<|im_start|>", "<|im_end|>"].map(String::from);
    let tokens = bytes.chain(["ab".to_string()]).chain(turns.clone()).collect();
    let vocabulary = Vocabulary { tokens, merges: vec!["a b".into()], added: turns.into() };
    let tokenizer = ByteLevel::new(&vocabulary).unwrap();
    let model = LanguageModel::Qwen3 { network, tokenizer, vocabulary, turn: Turn { thinks: false, pad: Some(3) } };
    let language = Some(LanguageInfo { model, length: 77 });
    LatentInfo { denoiser: denoiser.into(), texts: vec![], language, ..first }
}

/// FLUX.2-klein: packed latents with statistics, the language model's states of all of a window.
fn fifth() -> LatentInfo {
    let fourth = fourth();
    let denoiser = Flux2 {
        channels: 8,
        layers: 3,
        single_layers: 7,
        heads: 5,
        text_width: 42,
        axes: [2, 4, 6, 8],
        mlp_ratio: 2.5,
        theta: 2001.0,
        distilled: true,
    };
    let Autoencoder::Kl(network) = fourth.autoencoder.clone() else { unreachable!("of Stable Diffusion's kind") };
    let network = AutoencoderKl { latent_channels: 8, post_quant_conv: true, packed: true, ..network };
    let numbers = |first: f32| (0..8).map(|i| first + i as f32).collect();
    let statistics = Some(LatentStatistics { mean: numbers(-2.0), std: numbers(0.5) });
    LatentInfo { denoiser: denoiser.into(), autoencoder: network.into(), statistics, ..fourth }
}

/// The first, whose U-Net is told its only encoder's pooled state.
fn pooling() -> LatentInfo {
    let mut info = info();
    let width = info.denoiser.text_width();
    info.denoiser.unet_mut().unwrap().added = Some(SdAdded { code: 0, width });
    info.texts[0].states.pooled = true;
    info
}

/// The first, with a small autoencoder, whose latents have statistics.
fn tiny() -> LatentInfo {
    let network = AutoencoderTiny {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        channels: 16,
        encoder_blocks: vec![1, 3],
        decoder_blocks: vec![2, 4],
        pooled: false,
    };
    let statistics = Some(LatentStatistics { mean: vec![1.0, -2.0, 0.0, 0.5], std: vec![0.5, 3.0, 1.0, 8.0] });
    LatentInfo { autoencoder: Autoencoder::Tiny(network), statistics, ..info() }
}

/// Everything of it, as text: the types compare no tokenizers, but print all that is in them.
fn printed(info: &LatentInfo) -> String {
    format!("{info:#?}")
}

fn written(info: &LatentInfo) -> Vec<u8> {
    let mut writer = Writer::new();
    info.write(&mut writer, &[&vocabulary()], DType::Q8_0).unwrap();
    writer.finish()
}

/// Seen red with `PENULTIMATE` written as `final`, and with the last level's number of blocks written where it does not
/// attend; the pooled one with the pooled state of a second encoder only; the second with depths on the way up from the first
/// level on.
#[test]
fn what_is_written_is_read() {
    for info in [info(), second(), third(), fourth(), fifth(), pooling(), tiny()] {
        let bytes = written(&info);
        let file = File::new_checked(&bytes).unwrap();
        assert_eq!(printed(&LatentInfo::read(&file).unwrap()), printed(&info));
        assert_eq!(FirstStage::read(&file).unwrap(), info.first_stage());
        assert_eq!(file.u32("general.file_type").unwrap(), DType::Q8_0.file_type());
    }
}

/// Seen red with the vocabulary not looked at.
#[test]
fn what_could_not_be_read_is_not_written() {
    let refused = |info: LatentInfo, vocabulary: &Vocabulary, what: &str| {
        let error = info.write(&mut Writer::new(), &[vocabulary], DType::F32).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let all = vocabulary();
    refused(LatentInfo { texts: vec![], ..info() }, &all, "no text encoder");
    refused(LatentInfo { settings: vec![], ..info() }, &all, "beta_schedule");
    let mut other = info();
    other.texts[0].states.skip = 1;
    refused(other, &all, "hidden_state");
    let mut other = info();
    other.defaults.solver = Some(Solver::Deis { order: 3 });
    refused(other, &all, "sampler.method");
    refused(info(), &Vocabulary { tokens: all.tokens[..6].to_vec(), ..all.clone() }, "end");
}

/// A file as it is written, with a u32 changed behind this key.
fn changed(key: &str, value: u32) -> String {
    let mut bytes = written(&second());
    let at = bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap() + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    LatentInfo::read(&File::new_checked(&bytes).unwrap()).unwrap_err().to_string()
}

/// Every joint, when a file is read and when it is written. Seen red with the numbers not compared.
#[test]
fn parts_that_do_not_fit_each_other_are_refused() {
    for (key, value, parts) in [
        ("nijimi.unet.out_channels", 8, ["answers with 8 channels", "latents have 4 channels"]),
        ("nijimi.unet.out_channels", 3, ["answers with 3 channels", "latents have 4 channels"]),
        ("nijimi.unet.in_channels", 7, ["reads 7 channels", "9 (inpainting) and 8 (editing"]),
        ("nijimi.autoencoder.latent_channels", 16, ["answers with 4 channels", "latents have 16 channels"]),
        ("nijimi.autoencoder.in_channels", 1, ["pictures of 1 channels", "pictures of 3 channels"]),
        ("nijimi.unet.cross_attention_dim", 33, ["text states of width 33", "together are 32"]),
        ("nijimi.unet.addition_input_dim", 46, ["told 46 numbers", "are 45 numbers"]),
        ("nijimi.text_encoder.vocab_size", 6, ["has 7 tokens", "knows 6"]),
        ("nijimi.text_encoder_2.positions", 8, ["reads 8 tokens", "the first one 7 tokens"]),
        ("nijimi.unet.sample_size", 0, ["sample_size is 0", "1 to 16384"]),
    ] {
        let refused = changed(key, value);
        assert!(parts.iter().all(|part| refused.contains(part)), "{key} = {value}: {refused}");
    }
    let mut info = second();
    info.denoiser.unet_mut().unwrap().out_channels = 8;
    let refused = info.write(&mut Writer::new(), &[&vocabulary()], DType::F32).unwrap_err().to_string();
    assert!(refused.contains("answers with 8 channels"), "{refused}");
}

/// What is not known would not be obeyed. Seen red with every key let through.
#[test]
fn settings_of_later_versions_are_refused() {
    for key in ["nijimi.autoencoder.whitened", "nijimi.unet.rope", "nijimi.text.mode", "nijimi.schedule.shift"] {
        let mut writer = Writer::new();
        info().write(&mut writer, &[&vocabulary()], DType::F32).unwrap();
        writer.meta(key, 1u32).unwrap();
        let bytes = writer.finish();
        let refused = LatentInfo::read(&File::new_checked(&bytes).unwrap()).unwrap_err().to_string();
        assert!(refused.contains(key) && refused.contains("newer version"), "{refused}");
    }
}

/// Added tokens come back. Seen red with them left out of what is written.
#[test]
fn added_tokens_are_written_and_read() {
    let mut all = vocabulary();
    all.added = vec!["ab</w>".into()];
    let mut writer = Writer::new();
    info().write(&mut writer, &[&all], DType::F32).unwrap();
    let bytes = writer.finish();
    let read = LatentInfo::read(&File::new_checked(&bytes).unwrap()).unwrap();
    assert_eq!(read.texts[0].tokenizer.encode("xab</w>"), [6, 4]);
    all.added = vec!["none".into()];
    let refused = info().write(&mut Writer::new(), &[&all], DType::F32).unwrap_err().to_string();
    assert!(refused.contains("\"none\""), "{refused}");
}

/// Seen red without the check of the steps.
#[test]
fn defaults_that_make_no_sense_are_refused() {
    let of = |key: &str, value: MetaValue| {
        let mut writer = Writer::new();
        info().write(&mut writer, &[&vocabulary()], DType::F32).unwrap();
        writer.meta(key, value).unwrap();
        let bytes = writer.finish();
        LatentInfo::read(&File::new_checked(&bytes).unwrap()).unwrap_err().to_string()
    };
    for (key, value) in [
        ("nijimi.sampler.method", MetaValue::from("sde")),
        ("nijimi.sampler.scheduler", "steep".into()),
        ("nijimi.sampler.steps", 901u32.into()),
        ("nijimi.sampler.steps", 0u32.into()),
    ] {
        let error = of(key, value);
        assert!(error.starts_with(key), "{error}");
    }
}
