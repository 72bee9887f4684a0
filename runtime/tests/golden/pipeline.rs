//! Whole pipelines: a folder of diffusers; also as one file, with a LoRA, and with a ControlNet, where those lie beside it.

use super::networks;
use crate::pipelines::{Family, bytes, opened, way};
use nijimi_import::{Lora, Options};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Control, Device, OpenOptions, Patch, Stored, TextToImage};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;
use std::sync::Arc;

/// Of a picture that a ControlNet led: residuals of random weights are so large that norms leave but 2e-4 of a strength of 1 in
/// place of 0.7.
const CONTROLLED: f32 = 5e-5;

/// Of a picture in [0, 1].
pub fn tolerance(device: &Device, name: &str) -> f32 {
    if name.contains("_control") { CONTROLLED } else { networks::of_a_picture(device) }
}

pub fn is(family: &Family) -> bool {
    family.folder.join("unet").is_dir() && family.pictures().all(|name| way(name).is_some())
}

/// What lies beside the folder under its name, if it does.
fn beside(family: &Family, suffix: &str) -> Option<PathBuf> {
    let path = family.folder.with_file_name(format!("{}{suffix}", family.name));
    path.exists().then_some(path)
}

fn converted(path: &std::path::Path) -> Vec<u8> {
    bytes(path, &Options::default(), DType::F32)
}

/// The folder, or where it has but configurations the one file that has the weights.
fn weights(family: &Family) -> PathBuf {
    let mut files = std::fs::read_dir(family.folder.join("unet")).unwrap().map(|entry| entry.unwrap().path());
    match files.any(|path| path.extension().is_some_and(|end| end == "safetensors")) {
        true => family.folder.clone(),
        false => beside(family, ".checkpoint.safetensors").unwrap_or_else(|| panic!("{}: no weights", family.name)),
    }
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let own = converted(&weights(family));
    let file = File::new_checked(&own).unwrap();
    let mut compared = networks::texts(family, "", &file, device)
        + networks::unet(family, "", &file, device)
        + networks::autoencoder(family, "", &file, device);
    let control = beside(family, "_controlnet").map(|path| {
        let bytes = converted(&path);
        Control::load(&File::new_checked(&bytes).unwrap(), device).unwrap()
    });
    let model = TextToImage::load(&file, device).unwrap();
    let mut draw = |model: &TextToImage, name: &str| {
        let (worst, tolerance) = (family.far(model, control.as_ref(), name), tolerance(device, name));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
        compared += 1;
    };
    for name in family.pictures() {
        match way(name).and_then(|way| way.lora) {
            None => draw(&model, name),
            Some(strength) => {
                let path = beside(family, ".lora.safetensors").unwrap_or_else(|| panic!("{name}: no LoRA"));
                let lora: Arc<dyn Patch> = Arc::new(Lora::open(&path, strength, &file).unwrap());
                let stored: Arc<dyn Stored> = Arc::new(own.clone());
                let options = OpenOptions { patches: vec![lora], device: device.clone(), ..OpenOptions::default() };
                draw(&TextToImage::open(stored, options).unwrap(), name);
            }
        }
    }
    // The same model as one file, which is read the same whatever the device.
    if let (Some(path), Device::Cpu) = (beside(family, ".checkpoint.safetensors"), device) {
        let model = opened(converted(&path), vec![]);
        for name in family.pictures().filter(|name| !name.contains("_lora")) {
            draw(&model, name);
        }
    }
    compared
}
