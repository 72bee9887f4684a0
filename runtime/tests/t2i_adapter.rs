//! T2I-Adapters: every form of a file becomes the same one of ours, what does not fit is refused, and what a run does with them
//! beside caches, sessions and one another. What they compute is held against the reference's in `golden`.

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
    Choice, Control, ControlNetwork, Device, LatentControl, LatentInfo, LatentPlan, LatentRequest, ModelError,
    PlanRequest, RequestError, SessionOptions, TextToImage,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{T2iAdapter, T2iKind};
use published::{Folder, contents, converted, open, renamed, sparse, whole, whole_of, with_extra};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const ALL: [&str; 3] = ["sd1_t2i_full", "sd1_t2i_light", "sdxl_t2i_full_xl"];

fn folder(name: &str) -> PathBuf {
    fixtures().join("pipelines").join(name)
}

fn loaded(name: &str, device: &Device) -> Control {
    Control::load(&File::new_checked(&whole(&folder(name))).unwrap(), device).unwrap()
}

fn model(name: &str, device: &Device) -> TextToImage {
    TextToImage::load(&File::new_checked(&whole(&folder(name))).unwrap(), device).unwrap()
}

fn network(control: &Control) -> T2iAdapter {
    let ControlNetwork::T2iAdapter(network) = &control.info().network else { panic!("no T2I-Adapter") };
    network.clone()
}

/// The original's name, of `layers` residual blocks a block: where blocks are narrow they are numbered within one, else through
/// all.
fn original(name: &str, layers: usize, light: bool) -> String {
    let name = name.strip_prefix("adapter.").unwrap();
    let Some(rest) = name.strip_prefix("body.") else { return name.into() };
    let (block, rest) = rest.split_once('.').unwrap();
    let block: usize = block.parse().unwrap();
    let (layer, rest) = match rest.strip_prefix("resnets.") {
        Some(rest) => rest.split_once('.').unwrap(),
        None if light => return format!("body.{block}.{rest}"),
        None => ("0", rest),
    };
    match light {
        true => format!("body.{block}.body.{layer}.{rest}"),
        false => format!("body.{}.{rest}", block * layers + layer.parse::<usize>().unwrap()),
    }
}

/// Seen red with narrow blocks counted through, and with a block's first convolution at the block before.
#[test]
fn one_file_is_its_folder() {
    for name in ["sd1_t2i_full", "sd1_t2i_light"] {
        let (folder, place) = (folder(name), Folder::new());
        let expected = contents(&whole(&folder));
        let own = network(&loaded(name, &Device::Cpu));
        let file = place.join("adapter.safetensors");
        fs::copy(folder.join(WEIGHTS), &file).unwrap();
        assert!(contents(&whole(&file)) == expected, "{name} by today's names");
        let light = own.kind == T2iKind::Light;
        renamed(&folder.join(WEIGHTS), &file, |tensor| Some(original(tensor, own.layers, light)));
        assert!(contents(&whole(&file)) == expected, "{name} by the original's");
        let small = whole_of(&file, DType::Q8_0);
        assert!(small.len() < whole(&file).len());
        Control::load(&File::new_checked(&small).unwrap(), &Device::Cpu).unwrap();
    }
}

/// The published sizes, which the tensors tell, SDXL's by what they take as one pixel.
///
/// Seen red with narrow blocks counted through.
#[test]
fn published_adapters_are_told_by_their_tensors() {
    let adapter = |kind, picture_channels, channels: &[usize], layers, unshuffle| {
        let network = T2iAdapter { kind, picture_channels, channels: channels.to_vec(), layers, unshuffle };
        network.validate().unwrap();
        network
    };
    let four = &[320, 640, 1280, 1280];
    for network in [
        adapter(T2iKind::Full, 3, four, 2, 8),
        adapter(T2iKind::Full, 1, four, 2, 8),
        adapter(T2iKind::FullXl, 3, four, 2, 16),
        adapter(T2iKind::FullXl, 1, four, 2, 16),
        adapter(T2iKind::Light, 3, &four[..3], 4, 8),
    ] {
        let place = Folder::new();
        let (config, weights, one) = (place.join("config.json"), place.join(WEIGHTS), place.join("one.safetensors"));
        let graph = network.graph("adapter.", &network.smallest()).unwrap();
        let shapes: Vec<(String, Vec<usize>)> =
            graph.weights().iter().map(|w| (w.name.clone(), shape(w.kind.ne()))).collect();
        let said = json!({
            "_class_name": "T2IAdapter", "adapter_type": network.kind.name(), "in_channels": network.picture_channels,
            "channels": network.channels, "num_res_blocks": network.layers, "downscale_factor": network.unshuffle,
        });
        fs::write(&config, said.to_string()).unwrap();
        sparse(&weights, shapes.iter().cloned());
        let Model::T2iAdapter(found) = open(&place.0).model else { panic!("{network:?}") };
        assert_eq!(*found, network);
        let light = network.kind == T2iKind::Light;
        for today in [true, false] {
            let name = |name: &str| if today { name.to_owned() } else { original(name, network.layers, light) };
            sparse(&one, shapes.iter().map(|(tensor, shape)| (name(tensor), shape.clone())));
            let Model::T2iAdapter(found) = open(&one).model else { panic!("{network:?}") };
            assert_eq!(*found, network, "today's names: {today}");
        }
    }
}

/// As PyTorch has it, of dimensions that begin with the fastest.
fn shape([inp, kw, kh, out]: [u64; 4]) -> Vec<usize> {
    let shape = if out == 1 && kh == 1 { vec![inp] } else { vec![out, inp, kh, kw] };
    shape.into_iter().map(|n| n as usize).collect()
}

/// An adapter and a model that do not belong together: what differs is named, with both.
///
/// Seen red with the sides not compared.
#[test]
fn an_adapter_of_another_model_is_refused() {
    let all = ALL.map(|name| loaded(name, &Device::Cpu));
    let [sd1, sdxl] = ["sd1", "sdxl"].map(|name| model(name, &Device::Cpu).info().clone());
    let [full, light, xl] = &all;
    for (control, info) in [(full, &sd1), (light, &sd1), (xl, &sdxl)] {
        control.check(info).unwrap();
    }
    let refused = |control: &Control, info: &LatentInfo| match control.check(info) {
        Err(Error::Model(e @ ModelError::Control { kind: "T2I-Adapter", .. })) => e.to_string(),
        other => panic!("{other:?}"),
    };
    let mut wide = sd1.clone();
    wide.denoiser.unet_mut().unwrap().levels[1].channels = 64;
    let sides = "list of how many times a picture's side is that of its features";
    for (message, parts) in [
        // As many channels, but SDXL's first level halves before anything is added.
        (refused(full, &sdxl), [sides, "[2, 4, 8]", "[4, 4, 8]"]),
        (refused(xl, &sd1), ["the T2I-Adapter's list of how many", "[4, 4, 8, 8]", "[2, 4, 8, 8]"]),
        (refused(full, &wide), ["list of channels by level", "[16, 32, 32]", "[16, 64, 32]"]),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    }
    // What has no middle has no place for a fourth feature.
    let mut sdxs = sdxl.clone();
    sdxs.denoiser.unet_mut().unwrap().middle = nijimi_runtime::raw::nn::SdMiddle::None;
    assert!(refused(xl, &sdxs).contains("[16, 32, 32, 32], the model's is [16, 32, 32]"));
}

fn refused(path: &Path) -> String {
    converted(path, &Types::new(DType::F32)).unwrap_err()
}

fn says(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
}

/// What is no T2I-Adapter, or a broken one. Seen red with names left over let through.
#[test]
fn broken_files_are_refused() {
    let (folder, place) = (folder("sd1_t2i_full"), Folder::new());
    let (config, weights, one) = (place.join("config.json"), place.join(WEIGHTS), place.join("one.safetensors"));
    let plain: Value = serde_json::from_str(&fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
    fs::copy(folder.join(WEIGHTS), &weights).unwrap();
    let edited = |key: &str, value: Value| {
        let mut edited = plain.clone();
        edited[key] = value;
        fs::write(&config, edited.to_string()).unwrap();
        refused(&place.0)
    };
    says(&edited("adapter_type", json!("tiny_adapter")), &["adapter_type is \"tiny_adapter\"", "full_adapter_xl"]);
    says(&edited("channels", json!([16, 32, 64])), &["adapter.body.2", "64"]);
    says(&edited("in_channels", json!(1)), &["adapter.conv_in.weight", "[16, 12, 3, 3]", "[16, 4, 3, 3]"]);
    says(&edited("num_res_blocks", json!(3)), &["lacks the tensor adapter.body.0.resnets.2.block1.weight"]);
    says(&edited("num_res_blocks", json!(17)), &["num_res_blocks"]);
    says(&edited("attention", json!(true)), &["attention"]);
    // The fourth block has no convolution that would bring it to its width.
    let xl = json!([16, 32, 32, 64]);
    fs::write(
        &config,
        json!({ "_class_name": "T2IAdapter", "adapter_type": "full_adapter_xl", "channels": xl }).to_string(),
    )
    .unwrap();
    says(&refused(&place.0), &["channels of a block after the third"]);

    with_extra(&folder.join(WEIGHTS), &one, "adapter.body.0.skep.weight");
    says(&refused(&one), &["nothing in this model takes the tensor adapter.body.0.skep.weight"]);
    renamed(&folder.join(WEIGHTS), &one, |name| (name != "adapter.body.1.in_conv.bias").then(|| name.into()));
    says(&refused(&one), &["lacks the tensor adapter.body.1.in_conv.bias of shape [32]"]);
    renamed(&folder.join(WEIGHTS), &one, |name| (name != "adapter.conv_in.weight").then(|| name.into()));
    says(&refused(&one), &["it is a T2I-Adapter, but the tensor adapter.conv_in.weight is missing"]);
    sparse(&one, [("style_embedding".to_owned(), vec![1, 8, 1024])].into_iter());
    says(&refused(&one), &["a style adapter", "canny"]);
    let square = [("body.0.block1.weight", vec![16, 16, 3, 3]), ("conv_in.weight", vec![16, 10, 3, 3])];
    sparse(&one, square.into_iter().map(|(name, shape)| (name.to_owned(), shape)));
    says(&refused(&one), &["it reads 10 channels", "config.json"]);
}

/// A run with adapters, of a picture that is not the same everywhere.
fn drawn(
    model: &TextToImage,
    controls: Vec<LatentControl<'_>>,
    cache_interval: usize,
    size: [usize; 2],
) -> Result<Vec<f32>, Error> {
    let calls = model.calls(None, &[], 4).unwrap();
    let request = LatentRequest { controls, cache_interval, size, ..model.request("a red mat", 7, &calls) };
    let mut run = model.run(&request)?;
    while run.step()?.is_some() {}
    Ok(run.pictures()?.to_vec())
}

fn picture(size: [usize; 2], channels: usize, step: usize) -> Vec<f32> {
    (0..size[0] * size[1] * channels).map(|i| (i * step % 11) as f32 / 10.0).collect()
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Strengths add up; none is none; the second picture of a session is led by what it is shown; and the features that are taken
/// over from step to step are those of the adapted network, so that at any interval the adapter leads.
///
/// Seen red with strengths left out, and with features of the first run kept.
#[test]
fn strengths_sessions_and_caches() {
    let (model, control) = (model("sd1", &Device::Cpu), loaded("sd1_t2i_full", &Device::Cpu));
    let size = [32, 32];
    let (shown, other) = (picture(size, 3, 37), picture(size, 3, 53));
    let with = |picture, strength| LatentControl { network: &control, picture, strength };
    let draw = |controls, cache| drawn(&model, controls, cache, size).unwrap();
    for cache in [1, 2] {
        let plain = draw(vec![], cache);
        assert!(far(&draw(vec![with(&shown, 0.0)], cache), &plain) < 1e-5);
        let led = draw(vec![with(&shown, 1.0)], cache);
        assert!(far(&led, &plain) > 0.05, "{cache}");
        let both = draw(vec![with(&shown, 0.75), with(&shown, 0.25)], cache);
        assert!(far(&both, &led) < 1e-3, "{cache}: {}", far(&both, &led));
    }
    // Where features are taken over, another picture.
    assert!(far(&draw(vec![with(&shown, 1.0)], 1), &draw(vec![with(&shown, 1.0)], 2)) > 1e-3);

    let (calls, mut session) = (model.calls(None, &[], 4).unwrap(), model.session());
    for picture in [&shown, &other, &shown] {
        let controls = vec![with(picture, 1.0)];
        let request = LatentRequest { controls: controls.clone(), size, ..model.request("a red mat", 7, &calls) };
        let mut run = session.run(&request).unwrap();
        while run.step().unwrap().is_some() {}
        assert!(run.pictures().unwrap() == draw(controls, 1));
    }
}

/// Sides that SDXL's adapters cannot take, strengths that are none, pictures of other channels: refused by name.
#[test]
fn requests_that_cannot_be_are_refused() {
    let (model, control) = (model("sdxl", &Device::Cpu), loaded("sdxl_t2i_full_xl", &Device::Cpu));
    let ask = |size: [usize; 2], channels, strength| {
        let shown = picture(size, channels, 37);
        let controls = vec![LatentControl { network: &control, picture: &shown, strength }];
        drawn(&model, controls, 1, size).unwrap_err()
    };
    let range = |e: &Error, name: &str, said: &str| {
        let Error::Request(RequestError::Range { what, expected, .. }) = e else { panic!("{e}") };
        assert!(*what == name && expected.contains(said), "{e}");
    };
    // The latents' sides are the half of that, and the adapter's the half again.
    range(&ask([34, 32], 3, 1.0), "height", "a multiple of 4 for this T2I-Adapter: 32 or 36");
    range(&ask([32, 38], 3, 1.0), "width", "36 or 40");
    range(&ask([32, 32], 3, f32::NAN), "strength of a T2I-Adapter", "finite");
    range(&ask([32, 32], 1, 1.0), "values of the picture that controls", "3072");
}

/// The plan knows what adapters take: their weights and activations to the byte, one evaluation a picture, and the U-Net's
/// inputs; and refuses what a run would.
///
/// Seen red with an evaluation for each call.
#[test]
fn plans_have_them() {
    let base = whole(&folder("sdxl"));
    let own = whole(&folder("sdxl_t2i_full_xl"));
    let (file, control) = (File::new_checked(&base).unwrap(), [File::new_checked(&own).unwrap()]);
    let (info, size) = (LatentInfo::read(&file).unwrap(), [64, 32]);
    let request = PlanRequest { runs: 3, calls: 5, threads: 1, ..PlanRequest::new(size) };
    let planned = |request: &PlanRequest<'_>| LatentPlan::new(&file, &info, request);
    let (plain, led) = (planned(&request).unwrap(), planned(&PlanRequest { controls: &control, ..request }).unwrap());
    let stage = led.stages(&Choice::default()).find(|stage| stage.name == "T2I-Adapter").unwrap();
    let loaded = loaded("sdxl_t2i_full_xl", &Device::Cpu);
    let options = SessionOptions { threads: 1, ..Default::default() };
    let unet = nijimi_runtime::raw::nn::SdRequest { height: 32, width: 16, ..info.denoiser.smallest() };
    let evaluator = loaded.evaluator(&unet, &options).unwrap();
    assert_eq!((stage.weights, stage.arena), (loaded.weight_bytes() as u64, evaluator.bytes() as u64));
    assert_eq!((stage.evaluations, stage.beside), (3, true));
    let unet = |plan: &LatentPlan| plan.stages(&Choice::default()).find(|s| s.name == "U-Net").unwrap().clone();
    assert!(unet(&led).arena > unet(&plain).arena && led.kept() > plain.kept());
    assert!(led.peak(&Choice::default()) >= plain.peak(&Choice::default()) + stage.weights);
    let refused = |size, controls| planned(&PlanRequest { controls, ..PlanRequest::new(size) }).unwrap_err();
    assert!(matches!(refused([34, 32], &control), Error::Request(RequestError::Range { what: "height", .. })));
    let other = whole(&folder("sd1_t2i_full"));
    let other = [File::new_checked(&other).unwrap()];
    assert!(matches!(refused([32, 32], &other), Error::Model(ModelError::Control { .. })));
}

/// On a device, alone and beside a cache. Seen red with features that are not copied to their places.
#[cfg(feature = "gpu")]
#[test]
fn a_device_is_led_as_the_cpu() {
    let Some(gpu) = device::device() else { return };
    let devices = [Device::Cpu, Device::Gpu(gpu)];
    for (base, name, channels) in [("sd1", "sd1_t2i_light", 1), ("sdxl", "sdxl_t2i_full_xl", 3)] {
        let shown = picture([32, 32], channels, 37);
        for cache in [1, 2] {
            let [here, there] = devices.each_ref().map(|device| {
                let (model, control) = (model(base, device), loaded(name, device));
                let controls = vec![LatentControl { network: &control, picture: &shown, strength: 0.8 }];
                drawn(&model, controls, cache, [32, 32]).unwrap()
            });
            let worst = far(&here, &there);
            println!("{name}, {cache}: {:.3} / 255", worst * 255.0);
            assert!(worst <= 3.0 / 255.0, "{name}, {cache}: {} / 255", worst * 255.0);
        }
    }
}
