//! IP-Adapters: how a picture is shown to the encoder, what that says of it and of nothing, the tokens of the projection, one call of
//! the U-Net with them, and whole pictures of the pipeline that the golden names: beside a LoRA and a ControlNet, from an init image,
//! led by two pictures.

use super::networks::{self, close};
use crate::pipelines::{Family, Led, bytes, way};
use nijimi_import::{Lora, Options};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{
    Control, Device, ImageEncoder, IpAdapter, OpenOptions, Patch, SeenImages, SessionOptions, ShownImage, Stored,
    TextToImage,
};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{IpAdapter as Projector, SdUnet};
use std::path::PathBuf;
use std::sync::Arc;

pub fn is(family: &Family) -> bool {
    family.tensors.find("ip_tokens").is_some()
}

fn file(family: &Family) -> PathBuf {
    family.folder.with_file_name(format!("{}.safetensors", family.name))
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let converted = |path: PathBuf| bytes(&path, &Options::default(), DType::F32);
    let beside = |key: &str| family.folder.with_file_name(family.said(key));
    let [base, encoder, own] = [beside("base"), beside("encoder"), file(family)].map(converted);
    let file = File::new_checked(&base).unwrap();
    let adapter = IpAdapter::load(&File::new_checked(&own).unwrap(), device).unwrap();
    let encoder = ImageEncoder::load(&File::new_checked(&encoder).unwrap(), device).unwrap();
    let options = SessionOptions { threads: 2, ..Default::default() };

    let pictures = ["shown", "shown_2"].map(|name| {
        let picture = family.tensors.get(name);
        (picture.channels_last(), [picture.shape[2], picture.shape[3]])
    });
    let shown = pictures.each_ref().map(|(values, size)| ShownImage { values, size: *size });
    let tolerance = networks::tolerance(device);
    let pixels = shown[0].fitted(encoder.info().network.size).unwrap();
    close(&format!("{} pixels", family.name), &pixels, &family.tensors.get("pixel_values").channels_last(), 1e-5);
    let see = |pictures: &[ShownImage<'_>]| encoder.see(pictures, adapter.info(), &options).unwrap();
    let (one, both) = (see(&shown[..1]), see(&shown));
    for (what, found) in [("seen", one.states()), ("seen_nothing", one.nothing())] {
        close(&format!("{} {what}", family.name), found, &family.tensors.get(what).values, tolerance);
    }
    assert!(both.states().starts_with(one.states()) && both.states().len() == 2 * one.states().len());

    let given = tokens(family, &adapter, &one, &own, device);
    let given: Vec<_> = given.iter().map(|(name, values)| (name.as_str(), values.clone())).collect();
    let mut compared = 3 + networks::unet_with(family, "", &file, device, &given);
    let control = family
        .tensors
        .find("control_image")
        .map(|_| Control::load(&File::new_checked(&converted(beside("control"))).unwrap(), device).unwrap());
    let led = Led { control: control.as_ref(), image: Some((&adapter, [&one, &both])) };
    for name in family.pictures() {
        let lora = way(name)
            .and_then(|way| way.lora)
            .map(|strength| -> Arc<dyn Patch> { Arc::new(Lora::open(beside("lora"), strength, &file).unwrap()) });
        let stored: Arc<dyn Stored> = Arc::new(base.clone());
        let patches = lora.into_iter().collect();
        let model =
            TextToImage::open(stored, OpenOptions { patches, device: device.clone(), ..OpenOptions::default() });
        let (worst, tolerance) = (family.far_led(&model.unwrap(), led, name), networks::of_a_picture(device));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
        compared += 1;
    }
    compared
}

/// Keys and values of what is seen, whose tokens are compared.
fn tokens(
    family: &Family,
    adapter: &IpAdapter,
    seen: &SeenImages,
    own: &[u8],
    device: &Device,
) -> Vec<(String, Vec<f32>)> {
    let network = &adapter.info().network;
    let states = seen.states().len() / network.image_width;
    let options = SessionOptions { threads: 2, ..Default::default() };
    let ids = network.ids(1);
    let mut evaluator = adapter.evaluator([1, states], &options).unwrap();
    let mut made = Vec::new();
    let scale: f32 = family.said("scale").parse().unwrap();
    for (what, states) in [("ip_tokens_nothing", seen.nothing()), ("ip_tokens", seen.states())] {
        let mut inputs = vec![(Projector::STATES, states)];
        inputs.extend((!ids.is_empty()).then_some((Projector::QUERIES, &[][..])));
        evaluator.evaluate(0, &inputs, &ids).unwrap();
        let names =
            (0..network.channels.len()).flat_map(|i| [(SdUnet::image_keys(i), 1.0), (SdUnet::image_values(i), scale)]);
        let scaled = |(name, by): (String, f32)| {
            let values: Vec<f32> = evaluator.output(&name).unwrap().iter().map(|v| by * v).collect();
            (name, values)
        };
        made = names.map(scaled).collect();
        // The keys of the first attention are the tokens, times a matrix that is in the file.
        let file = File::new_checked(own).unwrap();
        let matrix = file.tensor("ip.ip_adapter.1.to_k_ip.weight").unwrap().to_f32();
        let tokens = &family.tensors.get(what).values;
        let keys = tokens.chunks(network.text_width).flat_map(|token| {
            matrix.chunks(network.text_width).map(move |row| row.iter().zip(token).map(|(a, b)| a * b).sum::<f32>())
        });
        let keys: Vec<f32> = keys.collect();
        close(&format!("{} {what}", family.name), &made[0].1, &keys, networks::tolerance(device));
    }
    made
}
