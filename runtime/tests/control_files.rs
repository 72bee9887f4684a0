//! ControlNets and tiny autoencoders from published files: every form of a file becomes the same one of ours, which
//! computes what the folder's tensors do; files that do not fit are refused.

#[path = "common/diffusers.rs"]
mod common;
#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;
#[path = "common/published.rs"]
mod published;

use common::{Tensors, control_net, fixtures, gguf, json};
use nijimi_import::{Model, Types};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Control, ControlNetwork, Device, ModelError, Network, SessionOptions, TextToImage, TinyAutoencoder,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{Autoencoder, AutoencoderKl, ControlNet, SdRequest, SdUnet};
use published::{Folder, contents, converted, open, renamed, sparse, whole, whole_of, with_extra};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
/// Greatest difference of any number from the reference's, f32 weights.
const TOLERANCE: f32 = 2e-4;
/// The same on a device.
#[cfg(feature = "gpu")]
const DEVICE_TOLERANCE: f32 = 1e-3;

/// The folders among the fixtures whose `config.json` is of this class.
fn folders(class: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures().join("pipelines")).unwrap().map(|entry| entry.unwrap().path());
    let is =
        |path: &PathBuf| path.join("config.json").is_file() && json(&path.join("config.json"))["_class_name"] == class;
    let found: Vec<PathBuf> = entries.filter(is).collect();
    if found.is_empty() {
        println!("no {class} among the fixtures: nothing was compared");
    }
    found
}

/// cldm's names of a ControlNet's tensors: pairs of a diffusers prefix and the other, counted out block by block.
fn cldm(config: &ControlNet) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut pair = |new: String, old: String| pairs.push((new, old));
    let resnet = |pair: &mut dyn FnMut(String, String), new: &str, old: &str| {
        for (n, o) in [
            ("norm1", "in_layers.0"),
            ("conv1", "in_layers.2"),
            ("time_emb_proj", "emb_layers.1"),
            ("norm2", "out_layers.0"),
            ("conv2", "out_layers.3"),
            ("conv_shortcut", "skip_connection"),
        ] {
            pair(format!("{new}.{n}."), format!("{old}.{o}."));
        }
    };
    pair("conv_in.".into(), "input_blocks.0.0.".into());
    for (new, old) in [("time_embedding", "time_embed"), ("add_embedding", "label_emb.0")] {
        pair(format!("{new}.linear_1."), format!("{old}.0."));
        pair(format!("{new}.linear_2."), format!("{old}.2."));
    }
    let mut block = 0;
    for level in 0..config.unet.levels.len() {
        for i in 0..config.unet.layers_per_block() {
            block += 1;
            resnet(&mut pair, &format!("down_blocks.{level}.resnets.{i}"), &format!("input_blocks.{block}.0"));
            pair(format!("down_blocks.{level}.attentions.{i}."), format!("input_blocks.{block}.1."));
        }
        if level + 1 < config.unet.levels.len() {
            block += 1;
            pair(format!("down_blocks.{level}.downsamplers.0.conv."), format!("input_blocks.{block}.0.op."));
        }
    }
    resnet(&mut pair, "mid_block.resnets.0", "middle_block.0");
    pair("mid_block.attentions.0.".into(), "middle_block.1.".into());
    resnet(&mut pair, "mid_block.resnets.1", "middle_block.2");
    for i in 0..=block {
        pair(format!("controlnet_down_blocks.{i}."), format!("zero_convs.{i}.0."));
    }
    pair("controlnet_mid_block.".into(), "middle_block_out.0.".into());
    // An activation follows each of these.
    let embedding = "controlnet_cond_embedding";
    let convolutions = 2 * (config.embedding.len() - 1);
    pair(format!("{embedding}.conv_in."), "input_hint_block.0.".into());
    for i in 0..convolutions {
        pair(format!("{embedding}.blocks.{i}."), format!("input_hint_block.{}.", 2 + 2 * i));
    }
    pair(format!("{embedding}.conv_out."), format!("input_hint_block.{}.", 2 + 2 * convolutions));
    pairs
}

fn rename(pairs: &[(String, String)], name: &str) -> Option<String> {
    let found = pairs.iter().find_map(|(new, old)| name.strip_prefix(new.as_str()).map(|rest| format!("{old}{rest}")));
    Some(found.unwrap_or_else(|| panic!("no name for {name}")))
}

/// Evaluates with numbers that differ from each other everywhere.
fn residuals(
    network: &ControlNet,
    names: &[String],
    evaluator: &mut nijimi_runtime::model::Evaluator,
) -> Vec<Vec<f32>> {
    let wave =
        |len: usize, step: usize| -> Vec<f32> { (0..len).map(|i| (i * step % 101) as f32 / 50.0 - 1.0).collect() };
    let unet = &network.unet;
    let side = 8 * network.factor();
    let mut time = vec![0.0; unet.time_width()];
    unet.write_time(321.0, &mut time);
    let (latents, text) = (wave(8 * 8 * unet.in_channels, 37), wave(77 * unet.text_width, 53));
    let picture: Vec<f32> = wave(side * side * network.picture_channels, 29).iter().map(|v| v.abs()).collect();
    let added = wave(unet.added.map_or(0, |added| added.width), 31);
    let mut inputs: Vec<(&str, &[f32])> = vec![
        (SdUnet::LATENTS, &latents),
        (SdUnet::TEXT, &text),
        (SdUnet::TIME, &time),
        (ControlNet::PICTURE, &picture),
    ];
    if unet.added.is_some() {
        inputs.push((SdUnet::ADDED, &added));
    }
    evaluator.evaluate(0, &inputs, &[]).unwrap();
    names.iter().map(|name| evaluator.output(name).unwrap().to_vec()).collect()
}

/// Seen red with the convolutions of the picture in reverse, and with sines first in the timestep's code.
#[test]
fn a_control_net_s_file_computes_what_its_folder_does() {
    for folder in folders("ControlNetModel") {
        let network = control_net(&json(&folder.join("config.json")));
        let options = SessionOptions { threads: 2, ..Default::default() };
        let request = SdRequest::new(1, [8, 8], 77);
        let graph = network.graph("", &request).unwrap();
        let bytes = gguf(std::slice::from_ref(&graph), &Tensors::read(&folder.join(WEIGHTS)));
        let plain = Network::load(&File::new_checked(&bytes).unwrap(), vec![graph.clone()], &Device::Cpu).unwrap();
        let mut plain = plain.evaluator(vec![graph.clone()], &options).unwrap();

        let bytes = whole(&folder);
        let control = Control::load(&File::new_checked(&bytes).unwrap(), &Device::Cpu).unwrap();
        let (mut own, names) = (network.clone(), control.residuals());
        own.unet.out_channels = own.unet.in_channels;
        assert_eq!(control.info().network, ControlNetwork::ControlNet(own));
        assert_eq!(names, graph.outputs().iter().map(|port| port.name.clone()).collect::<Vec<_>>());
        let mut evaluator = control.evaluator(&request, &options).unwrap();
        let expected = residuals(&network, &names, &mut plain);
        assert_eq!(residuals(&network, &names, &mut evaluator), expected);
        assert!(expected.iter().all(|values| values.iter().any(|v| v.abs() > 1e-3)), "something to compare");
    }
}

/// Seen red with the picture's last convolution one further, and with `zero_convs` counted from 1.
#[test]
fn a_control_net_of_one_file_is_its_folder() {
    for folder in folders("ControlNetModel") {
        let expected = contents(&whole(&folder));
        let pairs = cldm(&control_net(&json(&folder.join("config.json"))));
        let place = Folder::new();
        let file = place.join("control.safetensors");
        fs::copy(folder.join(WEIGHTS), &file).unwrap();
        assert!(contents(&whole(&file)) == expected, "by today's names");
        for prefix in ["control_model.", ""] {
            renamed(&folder.join(WEIGHTS), &file, |name| Some(format!("{prefix}{}", rename(&pairs, name)?)));
            assert!(contents(&whole(&file)) == expected, "{prefix:?}");
        }
        let plain = fs::metadata(&file).unwrap().len();
        let half = whole_of(&file, DType::Q8_0);
        assert!((half.len() as u64) < plain && Control::load(&File::new_checked(&half).unwrap(), &Device::Cpu).is_ok());
    }
}

/// The topologies of SD 1.5, 2.1 and SDXL at full size: their U-Nets' published tensors but for the way up, and what a
/// ControlNet has beside them. The tensors alone tell what `config.json` says.
///
/// Seen red with 8 heads everywhere.
#[test]
fn published_control_nets_are_told_by_their_tensors() {
    for name in ["sd15", "sd21", "sdxl"] {
        let Ok(text) = fs::read_to_string(fixtures().join("shapes").join(format!("{name}.json"))) else { continue };
        let published: Value = serde_json::from_str(&text).unwrap();
        let mut config = published["unet"]["config"].clone();
        config["_class_name"] = "ControlNetModel".into();
        config["conditioning_channels"] = 3.into();
        config["conditioning_embedding_out_channels"] = json!([16, 32, 96, 256]);
        let network = control_net(&config);
        let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
        for (name, shape) in published["unet"]["tensors"].as_object().unwrap() {
            if !["up_blocks.", "conv_norm_out.", "conv_out."].iter().any(|up| name.starts_with(up)) {
                tensors.push((name.clone(), common::numbers(shape)));
            }
        }
        let mut conv = |name: String, inp: usize, out: usize, kernel: usize| {
            tensors.push((format!("{name}.weight"), vec![out, inp, kernel, kernel]));
            tensors.push((format!("{name}.bias"), vec![out]));
        };
        let picture = "controlnet_cond_embedding";
        conv(format!("{picture}.conv_in"), 3, 16, 3);
        for (i, (inp, out)) in [(16, 16), (16, 32), (32, 32), (32, 96), (96, 96), (96, 256)].into_iter().enumerate() {
            conv(format!("{picture}.blocks.{i}"), inp, out, 3);
        }
        conv(format!("{picture}.conv_out"), 256, 320, 3);
        let skips: &[usize] = match network.unet.levels.len() {
            4 => &[320, 320, 320, 320, 640, 640, 640, 1280, 1280, 1280, 1280, 1280],
            _ => &[320, 320, 320, 320, 640, 640, 640, 1280, 1280],
        };
        for (i, &c) in skips.iter().enumerate() {
            conv(format!("controlnet_down_blocks.{i}"), c, c, 1);
        }
        conv("controlnet_mid_block".into(), 1280, 1280, 1);

        let place = Folder::new();
        fs::write(place.join("config.json"), config.to_string()).unwrap();
        sparse(&place.join(WEIGHTS), tensors.iter().cloned());
        let Model::ControlNet(folder) = open(&place.0).model else { panic!("{name}") };
        let pairs = cldm(&network);
        for prefix in [None, Some("control_model."), Some("")] {
            let old = |name: &str| prefix.map_or(name.into(), |p| format!("{p}{}", rename(&pairs, name).unwrap()));
            sparse(&place.join("one.safetensors"), tensors.iter().map(|(name, shape)| (old(name), shape.clone())));
            let Model::ControlNet(mut single) = open(&place.join("one.safetensors")).model else { panic!("{name}") };
            // What tensors do not tell, and a ControlNet has no use for.
            single.unet.out_channels = folder.unet.out_channels;
            assert_eq!(single, folder, "{name} {prefix:?}");
        }
    }
}

/// A ControlNet and a model that do not belong together: the first size that differs is named, with both.
///
/// Seen red with the widths not compared.
#[test]
fn a_control_net_of_another_model_is_refused() {
    let pipelines = fixtures().join("pipelines");
    let (control, own) = (pipelines.join("sd1full_controlnet"), pipelines.join("sd1full"));
    if !control.is_dir() || !own.is_dir() {
        return println!("skipped: no sd1full among the fixtures");
    }
    let control = Control::load(&File::new_checked(&whole(&control)).unwrap(), &Device::Cpu).unwrap();
    let info = TextToImage::load(&File::new_checked(&whole(&own)).unwrap(), &Device::Cpu).unwrap().info().clone();
    control.check(&info).unwrap();
    let refused = |edit: &dyn Fn(&mut nijimi_runtime::model::LatentInfo)| {
        let mut info = info.clone();
        edit(&mut info);
        match control.check(&info) {
            Err(Error::Model(e @ ModelError::Control { .. })) => e.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let kl =
        |info: &mut nijimi_runtime::model::LatentInfo, edit: &dyn Fn(&mut AutoencoderKl)| match &mut info.autoencoder {
            Autoencoder::Kl(network) => edit(network),
            Autoencoder::Tiny(_) => unreachable!(),
        };
    for (message, parts) in [
        (
            refused(&|info| info.denoiser.unet_mut().unwrap().text_width = 768),
            ["width of the text's states is 64", "model's is 768"],
        ),
        (
            refused(&|info| info.denoiser.unet_mut().unwrap().levels[2].channels = 96),
            ["[32, 32, 64, 64]", "[32, 32, 96, 64]"],
        ),
        (refused(&|info| info.denoiser.unet_mut().unwrap().levels.truncate(3)), ["[32, 32, 64, 64]", "[32, 32, 64]"]),
        (
            refused(&|info| info.denoiser.unet_mut().unwrap().levels.iter_mut().for_each(|level| level.down.push(1))),
            ["blocks of a level is 2", "is 3"],
        ),
        (
            refused(&|info| {
                info.denoiser.unet_mut().unwrap().added =
                    Some(nijimi_runtime::raw::nn::SdAdded { code: 256, width: 2816 })
            }),
            ["added condition (pooled text and sizes) is none", "2816 numbers"],
        ),
        (refused(&|info| kl(info, &|network| network.latent_channels = 16)), ["channels of the latents is 4", "is 16"]),
        (refused(&|info| kl(info, &|network| network.channels = vec![32])), ["latents' is 8", "is 1"]),
        (
            refused(&|info| kl(info, &|network| network.in_channels = 1)),
            ["picture that it is led by is 3", "model's is 1"],
        ),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    }
    // The number of channels that a U-Net reads says nothing: inpainting's has 9.
    let mut inpainting = info.clone();
    inpainting.denoiser.unet_mut().unwrap().in_channels = 9;
    control.check(&inpainting).unwrap();
    let e = Control::load(&File::new_checked(&whole(&own)).unwrap(), &Device::Cpu).unwrap_err().to_string();
    assert!(e.contains("nijimi.system is \"latent-diffusion\"") && e.contains("control-net"), "{e}");
}

/// The tiny autoencoders with expected values: folder, and what is computed.
fn tiny() -> Vec<(PathBuf, Tensors)> {
    let golden = |folder: &PathBuf| folder.with_extension("golden.safetensors");
    let found = folders("AutoencoderTiny").into_iter().filter(|folder| golden(folder).is_file());
    found.map(|folder| (folder.clone(), Tensors::read(&golden(&folder)))).collect()
}

/// Decodes and encodes what the reference did.
fn compare_tiny(model: &TinyAutoencoder, golden: &Tensors, tolerance: f32) {
    let far = |a: &[f32], b: &[f32]| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let options = SessionOptions { threads: 2, ..Default::default() };
    let latents = golden.get("latents");
    let mut decoder = model.decoder([latents.shape[2], latents.shape[3]], &options).unwrap();
    let (latents, decoded) = (latents.channels_last(), golden.get("decoded").channels_last());
    // diffusers' pictures are in [-1, 1], and not held there.
    let decoded: Vec<f32> = decoded.iter().map(|v| (v / 2.0 + 0.5).clamp(0.0, 1.0)).collect();
    let worst = far(&model.decode(&mut decoder, &latents).unwrap(), &decoded);
    // Once more: an evaluator is for any number of latents.
    assert_eq!(far(&model.decode(&mut decoder, &latents).unwrap(), &decoded), worst);
    let picture = golden.get("image");
    let mut encoder = model.encoder([picture.shape[2], picture.shape[3]], &options).unwrap();
    let unit: Vec<f32> = picture.channels_last().iter().map(|v| v / 2.0 + 0.5).collect();
    let encoded = far(&model.encode(&mut encoder, &unit).unwrap(), &golden.get("encoded").channels_last());
    println!("decoded {worst:.2e}, encoded {encoded:.2e}");
    assert!(worst <= tolerance && encoded <= tolerance, "decoded {worst:.2e}, encoded {encoded:.2e}");
    assert!(model.decode(&mut decoder, &latents[1..]).is_err());
}

/// Seen red with latents that are not held.
#[test]
fn a_tiny_autoencoder_s_file_computes_what_the_reference_does() {
    for (folder, golden) in tiny() {
        let model = TinyAutoencoder::load(&File::new_checked(&whole(&folder)).unwrap(), &Device::Cpu).unwrap();
        compare_tiny(&model, &golden, TOLERANCE);
    }
}

/// One file with today's names, or the original's two, of which either leads to both; its decoder alone draws.
///
/// Seen red with the decoder's layers counted as the encoder's.
#[test]
fn a_tiny_autoencoder_of_other_files_is_its_folder() {
    for (folder, golden) in tiny() {
        let expected = contents(&whole(&folder));
        let (weights, place) = (folder.join(WEIGHTS), Folder::new());
        let one = place.join("one.safetensors");
        fs::copy(&weights, &one).unwrap();
        assert!(contents(&whole(&one)) == expected);

        let layer = |name: &str, part: &str, first: usize| {
            let (layer, rest) = name.strip_prefix(part)?.split_once('.')?;
            Some(format!("{}.{rest}", layer.parse::<usize>().unwrap() + first))
        };
        let (encoder, decoder) = (place.join("taesd_encoder.safetensors"), place.join("taesd_decoder.safetensors"));
        renamed(&weights, &decoder, |name| layer(name, "decoder.layers.", 1));
        let alone = whole(&decoder);
        let model = TinyAutoencoder::load(&File::new_checked(&alone).unwrap(), &Device::Cpu).unwrap();
        assert!(!model.info().has_encoder);
        let latents = golden.get("latents");
        let size = [latents.shape[2], latents.shape[3]];
        let options = SessionOptions { threads: 2, ..Default::default() };
        let mut evaluator = model.decoder(size, &options).unwrap();
        let both = TinyAutoencoder::load(&File::new_checked(&whole(&folder)).unwrap(), &Device::Cpu).unwrap();
        let mut other = both.decoder(size, &options).unwrap();
        let latents = latents.channels_last();
        assert_eq!(model.decode(&mut evaluator, &latents).unwrap(), both.decode(&mut other, &latents).unwrap());
        let e = model.encoder(size, &options).err().unwrap().to_string();
        assert!(e.contains("a decoder alone"), "{e}");

        renamed(&weights, &encoder, |name| layer(name, "encoder.layers.", 0));
        assert!(contents(&whole(&encoder)) == expected && contents(&whole(&decoder)) == expected);
        fs::remove_file(&decoder).unwrap();
        let e = converted(&encoder, &Types::new(DType::F32)).unwrap_err();
        assert!(e.contains("its encoder alone: name the decoder's file"), "{e}");
    }
}

/// First and last convolutions stay f16, whatever their names.
///
/// Seen red with names alone looked at.
#[test]
fn a_quantized_tiny_autoencoder() {
    let place = Folder::new();
    let Ok(text) = fs::read_to_string(fixtures().join("shapes").join("taesd.json")) else { return };
    let published: Value = serde_json::from_str(&text).unwrap();
    fs::write(place.join("config.json"), published["vae"]["config"].to_string()).unwrap();
    let tensors = published["vae"]["tensors"].as_object().unwrap();
    sparse(&place.join(WEIGHTS), tensors.iter().map(|(name, shape)| (name.clone(), common::numbers(shape))));
    let bytes = whole_of(&place.0, DType::Q8_0);
    let file = File::new_checked(&bytes).unwrap();
    let dtype = |name: &str| file.tensors().find(|tensor| tensor.name == name).unwrap().dtype;
    for layer in ["encoder.layers.0", "encoder.layers.14", "decoder.layers.0", "decoder.layers.18"] {
        assert_eq!(dtype(&format!("tiny.{layer}.weight")), DType::F16, "{layer}");
    }
    assert_eq!(dtype("tiny.decoder.layers.2.conv.0.weight"), DType::Q8_0);
    assert_eq!(dtype("tiny.decoder.layers.2.conv.0.bias"), DType::F32);
    let model = TinyAutoencoder::load(&file, &Device::Cpu).unwrap();
    assert_eq!((model.factor(), model.info().network.channels), (8, 64));
}

/// What is no ControlNet and no tiny autoencoder, or a broken one.
///
/// Seen red with names left over let through.
#[test]
fn broken_files_are_refused() {
    let refused = |path: &Path| converted(path, &Types::new(DType::F32)).unwrap_err();
    let says = |message: &str, parts: &[&str]| {
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    };
    for folder in folders("ControlNetModel") {
        let place = Folder::new();
        let (config, weights) = (place.join("config.json"), place.join(WEIGHTS));
        let plain = json(&folder.join("config.json"));
        let edited = |key: &str, value: Value| {
            let mut config_of = plain.clone();
            config_of[key] = value;
            fs::write(&config, config_of.to_string()).unwrap();
            fs::copy(folder.join(WEIGHTS), &weights).unwrap();
            refused(&place.0)
        };
        says(&edited("controlnet_conditioning_channel_order", json!("bgr")), &["config.json", "\"bgr\"", "\"rgb\""]);
        says(&edited("global_pool_conditions", json!(true)), &["global_pool_conditions is true"]);
        says(&edited("conditioning_embedding_out_channels", json!([])), &["conditioning_embedding_out_channels"]);
        says(
            &edited("conditioning_channels", json!(4)),
            &["controlnet_cond_embedding.conv_in.weight", ", 3, 3, 3]", ", 4, 3, 3]"],
        );
        says(&edited("_class_name", json!("UNet2DConditionModel")), &["UNet2DConditionModel", "whole pipeline"]);
        says(&edited("_class_name", json!(null)), &["names no class"]);

        fs::write(&config, plain.to_string()).unwrap();
        let lost = "controlnet_down_blocks.3.weight";
        renamed(&folder.join(WEIGHTS), &weights, |name| (name != lost).then(|| name.into()));
        says(&refused(&place.0), &["lacks the tensor controlnet_down_blocks.3.weight of shape ["]);
        with_extra(&folder.join(WEIGHTS), &weights, "task_embedding");
        says(&refused(&place.0), &["nothing in this model takes the tensor task_embedding of shape [1]"]);
        fs::write(&weights, &fs::read(folder.join(WEIGHTS)).unwrap()[..4000]).unwrap();
        says(&refused(&place.0), &[WEIGHTS, "download it again"]);
        fs::rename(&weights, place.join("diffusion_pytorch_model.bin")).unwrap();
        says(&refused(&place.0), &["pickle"]);

        let one = place.join("one.safetensors");
        let pairs = cldm(&control_net(&plain));
        let extra = |extra: &'static str| {
            renamed(&folder.join(WEIGHTS), &one, |name| {
                let old = rename(&pairs, name)?;
                Some(if old == "zero_convs.0.0.bias" { extra.into() } else { old })
            });
            refused(&one)
        };
        says(&extra("difference"), &["the difference to a ControlNet"]);
        says(&extra("lora_controlnet"), &["Control-LoRA"]);
        says(&extra("zero_convs.0.0.bia"), &["lacks the tensor zero_convs.0.0.bias of shape"]);
        renamed(&folder.join(WEIGHTS), &one, |name| {
            (name != "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight").then(|| name.into())
        });
        says(&refused(&one), &["lacks the tensor mid_block.attentions.0", "attn2.to_k.weight of shape"]);
    }
    for (folder, _) in tiny() {
        let place = Folder::new();
        let (config, weights) = (place.join("config.json"), place.join(WEIGHTS));
        fs::copy(folder.join(WEIGHTS), &weights).unwrap();
        let edited = |key: &str, value: Value| {
            let mut config_of = json(&folder.join("config.json"));
            config_of[key] = value;
            fs::write(&config, config_of.to_string()).unwrap();
            refused(&place.0)
        };
        says(&edited("act_fn", json!("silu")), &["act_fn is \"silu\""]);
        says(&edited("scaling_factor", json!(0.18215)), &["scaling_factor is 0.18215, expected 1"]);
        says(&edited("decoder_block_out_channels", json!([16, 16, 8])), &["decoder_block_out_channels", "3 times 16"]);
        says(&edited("num_decoder_blocks", json!([2, 2, 2])), &["lacks the tensor decoder.layers.11.conv.0.weight"]);
        says(&edited("num_decoder_blocks", json!([1, 1_000_000, 1])), &["num_decoder_blocks"]);
        says(&edited("latent_channels", json!(8)), &["encoder.layers.8.weight", "[4, 16, 3, 3]", "[8, 16, 3, 3]"]);
        let one = place.join("one.safetensors");
        with_extra(&weights, &one, "decoder.layers.12.weight");
        says(&refused(&one), &["nothing in this model takes the tensor decoder.layers.12.weight"]);
        renamed(&weights, &one, |name| (name != "decoder.layers.7.conv.4.bias").then(|| name.into()));
        says(&refused(&one), &["lacks the tensor decoder.layers.7.conv.4.bias of shape [16]"]);
        renamed(&weights, &one, |name| (name != "decoder.layers.9.weight").then(|| name.into()));
        says(&refused(&one), &["it is a tiny autoencoder, but the tensor decoder.layers.9.weight is missing"]);
        renamed(&weights, &one, |name| Some(name.replace("encoder.layers.8.bias", "extra")));
        says(&refused(&one), &["it is a tiny autoencoder, but the tensor encoder.layers.9.weight is missing"]);
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_device_computes_the_same() {
    let Some(gpu) = device::device() else { return };
    for (folder, golden) in tiny() {
        let bytes = whole(&folder);
        let model = TinyAutoencoder::load(&File::new_checked(&bytes).unwrap(), &Device::Gpu(gpu.clone())).unwrap();
        compare_tiny(&model, &golden, DEVICE_TOLERANCE);
    }
    for folder in folders("ControlNetModel") {
        let bytes = whole(&folder);
        let file = File::new_checked(&bytes).unwrap();
        let (here, there) =
            (Control::load(&file, &Device::Cpu).unwrap(), Control::load(&file, &Device::Gpu(gpu.clone())).unwrap());
        let options = SessionOptions { threads: 2, ..Default::default() };
        let request = SdRequest::new(1, [8, 8], 77);
        let ControlNetwork::ControlNet(network) = &here.info().network else { panic!("a ControlNet") };
        let names = here.residuals();
        let expected = residuals(network, &names, &mut here.evaluator(&request, &options).unwrap());
        let found = residuals(network, &names, &mut there.evaluator(&request, &options).unwrap());
        let largest = expected.iter().flatten().fold(0.0f32, |most, v| most.max(v.abs()));
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("residuals {worst:.2e} of {largest}");
        assert!(worst <= DEVICE_TOLERANCE * largest.max(1.0), "{worst:.2e} of {largest}");
    }
}
