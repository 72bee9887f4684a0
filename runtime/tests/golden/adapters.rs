//! T2I-Adapters: what they make of a picture, also of an odd size, one call of the U-Net with that, and whole pictures of the
//! pipeline that the golden names.

use super::networks::{self, close};
use crate::pipelines::{Family, bytes};
use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Control, ControlNetwork, Device, SessionOptions, TextToImage};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::nn::{SdRequest, SdUnet, T2iAdapter};

pub fn is(family: &Family) -> bool {
    let config = std::fs::read_to_string(family.folder.join("config.json")).unwrap_or_default();
    config.contains("\"T2IAdapter\"")
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let converted = |name: &str| bytes(&family.folder.with_file_name(name), &Options::default(), DType::F32);
    let [base, own] = [family.said("base"), &*family.name].map(converted);
    let file = File::new_checked(&base).unwrap();
    let control = Control::load(&File::new_checked(&own).unwrap(), device).unwrap();
    let mut compared = 0;
    for (picture, suffix) in [("control_image", ""), ("odd_image", "_odd")] {
        let features = features(family, &control, picture, suffix, device);
        let scale: f32 = family.said("scale").parse().unwrap();
        let scaled = features.iter().zip(SdUnet::ADAPTER);
        let scaled: Vec<_> = scaled.map(|(f, name)| (name, f.iter().map(|v| scale * v).collect())).collect();
        compared += features.len() + networks::unet_with(family, suffix, &file, device, &scaled);
    }
    let model = TextToImage::load(&file, device).unwrap();
    for name in family.pictures() {
        let (worst, tolerance) = (family.far(&model, Some(&control), name), networks::of_a_picture(device));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
        compared += 1;
    }
    compared
}

/// The features of a picture, as they are compared.
fn features(family: &Family, control: &Control, picture: &str, suffix: &str, device: &Device) -> Vec<Vec<f32>> {
    let ControlNetwork::T2iAdapter(network) = &control.info().network else { panic!("{}", family.name) };
    let picture = family.tensors.get(picture);
    let latents = family.tensors.get(&format!("latents{suffix}"));
    let [height, width] = [latents.shape[2], latents.shape[3]];
    let request = SdRequest::new(3, [height, width], 1);
    let options = SessionOptions { threads: 2, ..Default::default() };
    let mut evaluator = control.evaluator(&request, &options).unwrap();
    let given = network.unshuffled(&picture.channels_last(), picture.shape[3]);
    evaluator.evaluate(0, &[(T2iAdapter::PICTURE, &given)], &[]).unwrap();
    let names = control.residuals().into_iter().enumerate();
    let found: Vec<Vec<f32>> = names
        .map(|(i, name)| {
            let (found, what) = (evaluator.output(&name).unwrap().to_vec(), format!("feature{suffix}.{i}"));
            let expected = family.tensors.get(&what).channels_last();
            close(&format!("{} {what}", family.name), &found, &expected, networks::tolerance(device));
            found
        })
        .collect();
    assert!(family.tensors.find(&format!("feature{suffix}.{}", found.len())).is_none(), "all of them");
    found
}
