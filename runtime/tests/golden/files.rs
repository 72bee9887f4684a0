//! One model in several files: FP8, GGUF of other programs, a U-Net alone beside a folder. Of each, the golden has what the
//! reference computed from the numbers that the file stands for, under names that end with the file's.

use super::networks;
use crate::pipelines::{Family, bytes};
use nijimi_import::{Options, Part};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, TextToImage};
use nijimi_runtime::quant::DType;

/// A family's files: how the golden calls one, which it is, and the U-Net's if that is another.
type Files = [(&'static str, &'static str, Option<&'static str>)];

const FP8: [(&str, &str, Option<&str>); 4] = [
    ("_e4m3", "sd1mini.fp8_e4m3.safetensors", None),
    ("_e4m3_scaled", "sd1mini.fp8_e4m3_scaled.safetensors", None),
    ("_e5m2", "sd1mini.fp8_e5m2.safetensors", None),
    ("_f16", "sd1mini.checkpoint.safetensors", None),
];
const GGUF: [(&str, &str, Option<&str>); 3] = [
    ("_sdcpp", "ggufsd1.sdcpp.gguf", None),
    ("_comfyui", "ggufsd1", Some("ggufsd1.comfyui.gguf")),
    ("_f16", "ggufsd1", None),
];

fn files(family: &Family) -> Option<&'static Files> {
    match family.name.as_str() {
        "sd1mini_fp8" => Some(&FP8),
        "ggufsd1" => Some(&GGUF),
        _ => None,
    }
}

pub fn is(family: &Family) -> bool {
    files(family).is_some()
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let files = files(family).unwrap();
    let suffixes: Vec<&str> = files.iter().map(|(suffix, ..)| *suffix).collect();
    let mut compared = 0;
    for (suffix, file, unet) in files {
        let beside = |name: &str| family.folder.with_file_name(name);
        let parts = unet.iter().map(|unet| (Part::Unet, beside(unet))).collect();
        let bytes = bytes(&beside(file), &Options { parts, ..Options::default() }, DType::F32);
        let one = Family {
            name: format!("{}{suffix}", family.name),
            folder: beside(file),
            tensors: family.tensors.of(suffix, &suffixes),
            said: family.said.clone(),
        };
        let file = File::new_checked(&bytes).unwrap();
        compared += networks::texts(&one, "", &file, device)
            + networks::unet(&one, "", &file, device)
            + networks::autoencoder(&one, "", &file, device);
        let model = TextToImage::load(&file, device).unwrap();
        for name in one.pictures() {
            let (worst, tolerance) = (one.far(&model, None, name), networks::of_a_picture(device));
            assert!(worst <= tolerance, "{} {name}: {} / 255", one.name, worst * 255.0);
            compared += 1;
        }
    }
    compared
}
