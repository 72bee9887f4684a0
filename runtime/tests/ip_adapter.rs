//! IP-Adapters and image encoders: every form of a file becomes the same one of ours, what does not fit is refused, and what a run does
//! with them beside caches, sessions and batches. What they compute is held against the reference's in `golden`.

#[cfg(feature = "gpu")]
#[path = "common/device.rs"]
mod device;
#[path = "common/diffusers.rs"]
mod diffusers;
#[path = "common/published.rs"]
mod published;

use diffusers::fixtures;
use nijimi_import::{Model, Types};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Choice, Device, ImageEncoder, ImagePrompt, ImagePromptPlan, IpAdapter, LatentInfo, LatentPlan, LatentRequest,
    ModelError, PlanRequest, RequestError, SeenImages, SessionOptions, ShownImage, StagePlan, TextToImage,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::graph::{Activation, Graph, WeightKind};
use nijimi_runtime::raw::nn::{ClipVision, IpAdapter as Projector, IpProjection, VisionStates};
use published::{Folder, contents, converted, open, renamed, sparse, whole, whole_of, with_extra};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    fixtures().join("pipelines").join(name)
}

fn model(name: &str, device: &Device) -> TextToImage {
    TextToImage::load(&File::new_checked(&whole(&path(name))).unwrap(), device).unwrap()
}

fn adapter(name: &str, device: &Device) -> IpAdapter {
    IpAdapter::load(&File::new_checked(&whole(&path(&format!("{name}.safetensors")))).unwrap(), device).unwrap()
}

fn encoder(device: &Device) -> ImageEncoder {
    ImageEncoder::load(&File::new_checked(&whole(&path("ip_encoder"))).unwrap(), device).unwrap()
}

fn values(size: [usize; 2], step: usize) -> Vec<f32> {
    (0..3 * size[0] * size[1]).map(|i| (i * step % 17) as f32 / 16.0).collect()
}

fn seen(encoder: &ImageEncoder, adapter: &IpAdapter, steps: &[usize]) -> SeenImages {
    let size = [30, 41];
    let pictures: Vec<Vec<f32>> = steps.iter().map(|step| values(size, *step)).collect();
    let shown: Vec<ShownImage<'_>> = pictures.iter().map(|values| ShownImage { values, size }).collect();
    encoder.see(&shown, adapter.info(), &SessionOptions::default()).unwrap()
}

/// Names and shapes of a graph's tensors, as PyTorch has them.
fn shapes(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let shape = |kind: WeightKind| match kind {
        WeightKind::Conv { out, kernel, inp } => vec![out, inp, kernel, kernel],
        kind => kind.row_major(),
    };
    graph.weights().iter().map(|weight| (weight.name.clone(), shape(weight.kind))).collect()
}

/// As the original file has it.
fn published((name, shape): (String, Vec<usize>)) -> (String, Vec<usize>) {
    match name.strip_suffix(".weight") {
        Some(latents @ "image_proj.latents") => (latents.into(), [&[1], &shape[..]].concat()),
        _ => (name, shape),
    }
}

/// The published sizes, which the tensors tell; their order is that of the U-Nets of these families.
///
/// Seen red with the middle before the way up, and with heads of 32 channels.
#[test]
fn published_adapters_are_told_by_their_tensors() {
    let unet = |name: &str| diffusers::unet(&diffusers::json(&fixtures().join("shapes").join(name))["unet"]["config"]);
    let places = ["sd15.json", "sdxl.json"].map(|name| unet(name).text_attentions());
    assert_eq!(places.each_ref().map(Vec::len), [16, 70]);
    for (at, name, channels) in [
        (0, "down_blocks.0.attentions.0.transformer_blocks.0.attn2", 320),
        (6, "up_blocks.1.attentions.0.transformer_blocks.0.attn2", 1280),
        (14, "up_blocks.3.attentions.2.transformer_blocks.0.attn2", 320),
        (15, "mid_block.attentions.0.transformer_blocks.0.attn2", 1280),
    ] {
        assert_eq!(places[0][at], (name.to_owned(), channels));
    }
    let channels = places.map(|places| places.into_iter().map(|(_, channels)| channels).collect::<Vec<_>>());
    let linear = IpProjection::Linear { tokens: 4 };
    let resampler = |width, heads| IpProjection::Resampler {
        tokens: 16,
        width,
        layers: 4,
        heads,
        head_channels: 64,
        hidden: 4 * width,
    };
    let adapter = |projection, image_width, text_width, of: usize| Projector {
        projection,
        image_width,
        text_width,
        channels: channels[of].clone(),
    };
    for network in [
        adapter(linear, 1024, 768, 0),
        adapter(linear, 1024, 2048, 1),
        adapter(linear, 1280, 2048, 1),
        adapter(resampler(768, 12), 1280, 768, 0),
        adapter(resampler(1280, 20), 1280, 2048, 1),
        adapter(IpProjection::Perceptron, 1280, 768, 0),
    ] {
        let (place, tensors) = (Folder::new(), shapes(&network.graph("", [1, 1]).unwrap()));
        let one = place.join("one.safetensors");
        sparse(&one, tensors.into_iter().map(published));
        let Model::IpAdapter(found) = open(&one).model else { panic!("{network:?}") };
        assert_eq!(*found, network);
    }
}

/// Encoders of the published sizes, by their configuration and by their tensors alone, with and without the list of places that older
/// files have.
///
/// Seen red with OpenAI's function for all.
#[test]
fn published_encoders_are_told_by_configuration_and_tensors() {
    let vit_l = ClipVision {
        width: 1024,
        layers: 24,
        hidden: 4096,
        activation: Activation::QuickGelu,
        projection: 768,
        ..ClipVision::OPEN_CLIP_H
    };
    for network in [ClipVision::OPEN_CLIP_H, ClipVision::OPEN_CLIP_BIG_G, vit_l] {
        let (place, ClipVision { width, patch, .. }) = (Folder::new(), network);
        let tensors = shapes(&network.graph("", VisionStates::Whole).unwrap()).into_iter().map(|(name, shape)| {
            let name = name.replace("class_embedding.weight", "class_embedding");
            match name.as_str() {
                "vision_model.embeddings.class_embedding" => (name, vec![width]),
                "vision_model.embeddings.patch_embedding.weight" => (name, vec![width, 3, patch, patch]),
                _ => (name, shape),
            }
        });
        let places = ("vision_model.embeddings.position_ids".to_owned(), vec![1, 257]);
        sparse(&place.join("model.safetensors"), tensors.chain([places]));
        let Model::ImageEncoder(found) = open(&place.join("model.safetensors")).model else { panic!("{network:?}") };
        assert_eq!(*found, network);
        let config = json!({
            "architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model", "image_size": 224,
            "hidden_size": width, "intermediate_size": network.hidden, "num_attention_heads": 16, "patch_size": 14,
            "num_hidden_layers": network.layers, "projection_dim": network.projection,
            "hidden_act": if network == vit_l { "quick_gelu" } else { "gelu" },
        });
        fs::write(place.join("config.json"), config.to_string()).unwrap();
        let Model::ImageEncoder(found) = open(&place.0).model else { panic!("{network:?}") };
        assert_eq!(*found, network);
    }
}

/// Files of fewer bits are read, and what is written is what was read.
#[test]
fn files_of_fewer_bits() {
    for name in ["sd1full_ip.safetensors", "sd1_ip_plus.safetensors", "sd1_ip_full.safetensors", "ip_encoder"] {
        let small = whole_of(&path(name), DType::Q8_0);
        assert!(small.len() < whole(&path(name)).len() && contents(&small) != contents(&whole(&path(name))));
        let file = File::new_checked(&small).unwrap();
        match name {
            "ip_encoder" => drop(ImageEncoder::load(&file, &Device::Cpu).unwrap()),
            _ => drop(IpAdapter::load(&file, &Device::Cpu).unwrap()),
        }
    }
}

fn refused(path: &Path) -> String {
    converted(path, &Types::new(DType::F32)).unwrap_err()
}

fn says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
}

/// What is none of them, or a broken one. Seen red with names left over let through.
#[test]
fn broken_files_are_refused() {
    let (plus, place) = (path("sd1_ip_plus.safetensors"), Folder::new());
    let one = place.join("one.safetensors");
    with_extra(&plus, &one, "image_proj.layers.0.0.to_k.weight");
    says(&refused(&one), &["nothing in this model takes the tensor image_proj.layers.0.0.to_k.weight"]);
    let without = |left: &str| {
        renamed(&plus, &one, |name| (name != left).then(|| name.into()));
        refused(&one)
    };
    says(&without("image_proj.latents"), &["it is an IP-Adapter, but how it makes tokens"]);
    says(&without("ip_adapter.5.to_v_ip.weight"), &["lacks the tensor ip_adapter.5.to_v_ip.weight"]);
    says(&without("ip_adapter.5.to_k_ip.weight"), &["the tensor ip_adapter.5.to_k_ip.weight is missing"]);
    let sparsely = |tensors: &[(&str, Vec<usize>)]| {
        sparse(&one, tensors.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())));
        refused(&one)
    };
    for face in ["image_proj.perceiver_resampler.proj_in.weight", "image_proj.norm.weight"] {
        says(&sparsely(&[(face, vec![8, 8]), ("ip_adapter.1.to_k_ip.weight", vec![8, 8])]), &["FaceID", "-plus-face"]);
    }
    says(
        &sparsely(&[("image_proj.norm.weight", vec![8]), ("image_proj.proj.weight", vec![32, 8])]),
        &["attentions to the text"],
    );
    // A pickle is never read.
    fs::write(place.join("ip-adapter.bin"), b"PK\x03\x04 and so on").unwrap();
    says(&refused(&place.join("ip-adapter.bin")), &["is a Python pickle"]);

    let (folder, config) = (Folder::new(), fs::read_to_string(path("ip_encoder").join("config.json")).unwrap());
    let weights = folder.join("model.safetensors");
    let edited = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        fs::write(folder.join("config.json"), config.replace(from, to)).unwrap();
        refused(&folder.0)
    };
    fs::copy(path("ip_encoder").join("model.safetensors"), &weights).unwrap();
    says(&edited("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\""), &["hidden_act is \"relu\""]);
    says(&edited("\"num_channels\": 3", "\"num_channels\": 1"), &["num_channels"]);
    says(&edited("\"image_size\": 32", "\"image_size\": 40"), &["position_embedding.weight", "[17, 32]", "[26, 32]"]);
    says(&edited("\"image_size\": 32", "\"image_size\": 36"), &["image_size"]);
    says(&edited("\"num_attention_heads\": 2", "\"num_attention_heads\": 3"), &["a divisor of the width 32"]);
    says(&edited("\"patch_size\": 8", "\"patch_size\": 16"), &["patch_embedding.weight", "[32, 3, 8, 8]"]);
    says(&edited("clip_vision_model", "clip"), &["names no class"]);
    renamed(&path("ip_encoder").join("model.safetensors"), &weights, |name| {
        (name != "visual_projection.weight").then(|| name.into())
    });
    says(&edited("\"patch_size\": 8", "\"patch_size\": 8"), &["lacks the tensor visual_projection.weight"]);
}

/// An adapter, a model and an encoder that do not belong together: what differs is named, with both.
///
/// Seen red with the attentions not compared.
#[test]
fn what_does_not_belong_together_is_refused() {
    let cpu = &Device::Cpu;
    let [sd1, sdxl, full] = ["sd1", "sdxl", "sd1full"].map(|name| model(name, cpu).info().clone());
    let of = |name: &str, info: &LatentInfo| match adapter(name, cpu).info().check(info) {
        Err(Error::Model(e @ ModelError::Control { kind: "IP-Adapter", .. })) => e.to_string(),
        other => panic!("{other:?}"),
    };
    says(
        &of("sd1full_ip", &sd1),
        &["the IP-Adapter's width of the text's states is 64, the model's is 32", "take one"],
    );
    says(&of("sd1full_ip", &sdxl), &["number of attentions to the text is 16, the model's is 14"]);
    let mut wide = full.clone();
    wide.denoiser.unet_mut().unwrap().levels[0].channels = 64;
    says(&of("sd1full_ip", &wide), &["list of channels of the attentions is [32, 32, 32, 32, 64", "is [64, 64, 32"]);
    let mut other = encoder(cpu).info().clone();
    other.network.width = 64;
    let said = |name: &str| adapter(name, cpu).info().check_encoder(&other).unwrap_err().to_string();
    says(&said("sd1_ip_plus"), &["reads image states of width 32, and this image encoder makes 64"]);
    adapter("sd1full_ip", cpu).info().check_encoder(&other).unwrap();
    let mut real = adapter("sd1full_ip", cpu).info().clone();
    real.network.image_width = 1024;
    says(&real.check_encoder(&other).unwrap_err().to_string(), &["makes 16", ": CLIP ViT-H/14"]);

    // In a request as well.
    let (sd1, plus) = (model("sd1", cpu), adapter("sd1_ip_plus", cpu));
    let (whole, patches) = (adapter("sd1full_ip", cpu), seen(&encoder(cpu), &plus, &[7]));
    let calls = sd1.calls(None, &[], 1).unwrap();
    let ask = |adapter, seen, strength| {
        let image_prompt = Some(ImagePrompt { adapter, seen, strength });
        sd1.run(&LatentRequest { image_prompt, ..sd1.request("a", 1, &calls) }).map(drop).unwrap_err()
    };
    assert!(matches!(ask(&whole, &patches, 1.0), Error::Model(ModelError::Control { .. })));
    let range = |e: Error, name: &str| match e {
        Error::Request(RequestError::Range { what, .. }) => assert_eq!(what, name),
        e => panic!("{e}"),
    };
    range(ask(&plus, &patches, f32::NAN), "strength of an IP-Adapter");
    let full = adapter("sd1full_ip", cpu);
    range(ask(&plus, &seen(&encoder(cpu), &full, &[7]), 1.0), "values of the pictures that lead");
    let none = encoder(cpu).see(&[], plus.info(), &SessionOptions::default()).unwrap_err();
    range(none, "number of pictures that lead");
    let short = ShownImage { values: &[0.0; 3], size: [1, 2] };
    range(
        encoder(cpu).see(&[short], plus.info(), &SessionOptions::default()).unwrap_err(),
        "values of a picture that leads",
    );
}

fn drawn(
    model: &TextToImage,
    image_prompt: Option<ImagePrompt<'_>>,
    (cache_interval, guidance_scale): (usize, f32),
) -> Vec<f32> {
    let calls = model.calls(None, &[], 4).unwrap();
    let size = [32, 32];
    let request =
        LatentRequest { image_prompt, cache_interval, guidance_scale, size, ..model.request("a red mat", 7, &calls) };
    let mut run = model.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    run.pictures().unwrap().to_vec()
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// No strength is no adapter; the second picture of a session is led by what it is shown; pictures of a batch are as they are alone; and
/// the features that are taken over from step to step are those of the network that is led.
///
/// Seen red with strengths left out, with keys of the first run kept, and with the second text of a batch led by nothing.
#[test]
fn strengths_sessions_batches_and_caches() {
    let cpu = &Device::Cpu;
    let (model, adapter) = (model("sd1", cpu), adapter("sd1_ip_plus", cpu));
    let encoder = encoder(cpu);
    let [one, other] = [7, 11].map(|step| seen(&encoder, &adapter, &[step]));
    let with = |seen, strength| Some(ImagePrompt { adapter: &adapter, seen, strength });
    for (cache, guidance) in [(1, 5.0), (2, 5.0), (1, 1.0)] {
        let way = (cache, guidance);
        let plain = drawn(&model, None, way);
        assert!(far(&drawn(&model, with(&one, 0.0), way), &plain) < 1e-5);
        let led = drawn(&model, with(&one, 1.0), way);
        assert!(far(&led, &plain) > 0.05 && far(&led, &drawn(&model, with(&other, 1.0), way)) > 0.02, "{way:?}");
        assert!(far(&led, &drawn(&model, with(&one, 0.5), way)) > 0.01, "{way:?}");
    }

    let (calls, mut session) = (model.calls(None, &[], 4).unwrap(), model.session());
    for seen in [&one, &other, &one] {
        let image_prompt = with(seen, 1.0);
        let request = LatentRequest {
            image_prompt,
            guidance_scale: 5.0,
            size: [32, 32],
            ..model.request("a red mat", 7, &calls)
        };
        let mut run = session.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        assert!(run.pictures().unwrap() == drawn(&model, image_prompt, (1, 5.0)));
        let pair =
            LatentRequest { prompts: vec!["a red mat"; 2], negatives: vec![None; 2], seeds: vec![3, 7], ..request };
        let mut run = model.run(&pair).unwrap();
        while run.step().unwrap().is_some() {}
        let (_, second) = run.pictures().unwrap().split_at(32 * 32 * 3);
        assert!(far(second, &drawn(&model, image_prompt, (1, 5.0))) < 1e-5);
    }
}

/// The plan knows them: the encoder, which has said all before anything is drawn and is then given back, the adapter's weights and
/// activations to the byte, and the U-Net's inputs; and refuses what a run would.
///
/// Seen red with the encoder's weights counted beside the U-Net's.
#[test]
fn plans_have_them() {
    let [base, own, seer] = ["sd1", "sd1_ip_plus.safetensors", "ip_encoder"].map(|name| whole(&path(name)));
    let [file, own, seer] = [&base, &own, &seer].map(|bytes| File::new_checked(bytes).unwrap());
    let info = LatentInfo::read(&file).unwrap();
    let request = PlanRequest { runs: 3, calls: 5, threads: 1, ..PlanRequest::new([32, 32]) };
    let prompt = ImagePromptPlan { adapter: &own, encoder: &seer, pictures: 2 };
    let planned = |request: &PlanRequest<'_>| LatentPlan::new(&file, &info, request);
    let (plain, led) =
        (planned(&request).unwrap(), planned(&PlanRequest { image_prompt: Some(prompt), ..request }).unwrap());
    let stage = |name: &str| -> StagePlan { led.stages(&Choice::default()).find(|s| s.name == name).unwrap().clone() };
    let cpu = &Device::Cpu;
    let (adapter, encoder) = (adapter("sd1_ip_plus", cpu), encoder(cpu));
    let options = SessionOptions { threads: 1, ..Default::default() };
    let evaluator = adapter.evaluator([2, 17], &options).unwrap();
    let of = stage("IP-Adapter");
    assert_eq!((of.weights, of.arena), (adapter.weight_bytes() as u64, evaluator.bytes() as u64));
    assert_eq!((of.evaluations, of.beside, of.stays), (6, true, true));
    let of = stage("image encoder");
    assert_eq!((of.weights, of.evaluations), (encoder.weight_bytes() as u64, 3));
    assert!(of.once && !of.stays && !of.beside);
    let unet = |plan: &LatentPlan| plan.stages(&Choice::default()).find(|s| s.name == "U-Net").unwrap().clone();
    assert!(unet(&led).arena > unet(&plain).arena && led.kept() > plain.kept());
    let choice = Choice::default();
    assert!(led.resident(&choice) >= plain.resident(&choice) + stage("IP-Adapter").weights);
    // What has worked and is given back does not count where all stays.
    let small = whole_of(&path("ip_encoder"), DType::Q8_0);
    let small = File::new_checked(&small).unwrap();
    let smaller =
        planned(&PlanRequest { image_prompt: Some(ImagePromptPlan { encoder: &small, ..prompt }), ..request });
    assert_eq!(smaller.unwrap().resident(&choice), led.resident(&choice));
    assert!(led.peak(&Choice { staged: true, ..choice }) >= of.peak());

    let refused = |prompt| planned(&PlanRequest { image_prompt: Some(prompt), ..request }).unwrap_err();
    assert!(matches!(refused(ImagePromptPlan { pictures: 0, ..prompt }), Error::Request(RequestError::Range { .. })));
    let other = whole(&path("sdxl_ip.safetensors"));
    let other = File::new_checked(&other).unwrap();
    let other = ImagePromptPlan { adapter: &other, ..prompt };
    assert!(matches!(refused(other), Error::Model(ModelError::Control { kind: "IP-Adapter", .. })));
}

/// On a device, alone and beside a cache. Seen red with keys and values that are not copied to their places.
#[cfg(feature = "gpu")]
#[test]
fn a_device_is_led_as_the_cpu() {
    let Some(gpu) = device::device() else { return };
    let devices = [Device::Cpu, Device::Gpu(gpu)];
    for (base, name, steps) in [("sd1", "sd1_ip_plus", &[7, 11][..]), ("sdxl", "sdxl_ip", &[7])] {
        for cache in [1, 2] {
            let [here, there] = devices.each_ref().map(|device| {
                let (model, adapter) = (model(base, device), adapter(name, device));
                let seen = seen(&encoder(device), &adapter, steps);
                drawn(&model, Some(ImagePrompt { adapter: &adapter, seen: &seen, strength: 0.8 }), (cache, 5.0))
            });
            let worst = far(&here, &there);
            println!("{name}, {cache}: {:.3} / 255", worst * 255.0);
            assert!(worst <= 3.0 / 255.0, "{name}, {cache}: {} / 255", worst * 255.0);
        }
    }
}
