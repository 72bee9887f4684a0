//! One model in several files: FP8, GGUF of other programs, a U-Net alone beside a folder. Of each, the golden has what the
//! reference computed from the numbers that the file stands for, under names that end with the file's.
//!
//! Each tensor of these goldens was seen red with one number changed; those of scaled FP8 also with the scales left out.

use super::networks;
use crate::pipelines::{Family, bytes};
use nijimi_import::{Options, Part};
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, TextToImage};
use nijimi_runtime::quant::DType;

/// Files of one model: by how names of the golden end, which it is, and the U-Net's if that is another.
type Files = Vec<(String, String, Option<String>)>;

/// `NAME_fp8` is of the files `NAME.fp8_KIND.safetensors`; `NAME` of `NAME.sdcpp.gguf` and `NAME.comfyui.gguf`.
fn files(family: &Family) -> Option<Files> {
    let is = |file: &str| family.folder.with_file_name(file).is_file();
    let mut files: Files = Vec::new();
    if let Some(base) = family.name.strip_suffix("_fp8") {
        let kinds = family.tensors.names().filter_map(|name| name.strip_prefix("image_ddim_cfg7.5_"));
        for kind in kinds {
            let file = if kind == "f16" { "checkpoint".into() } else { format!("fp8_{kind}") };
            files.push((format!("_{kind}"), format!("{base}.{file}.safetensors"), None));
        }
    } else if let [sdcpp, comfyui] = ["sdcpp", "comfyui"].map(|program| format!("{}.{program}.gguf", family.name))
        && is(&sdcpp)
    {
        files.push(("_sdcpp".into(), sdcpp, None));
        files.push(("_comfyui".into(), family.name.clone(), Some(comfyui)));
        files.push(("_f16".into(), family.name.clone(), None));
    }
    (!files.is_empty()).then_some(files)
}

pub fn is(family: &Family) -> bool {
    files(family).is_some()
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let files = files(family).unwrap();
    let suffixes: Vec<&str> = files.iter().map(|(suffix, ..)| suffix.as_str()).collect();
    let mut compared = 0;
    for (suffix, file, unet) in &files {
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
