//! A pipeline at sizes whose latents have odd sides, of a golden that is called as its folder and `_odd`.

use super::{networks, pipeline};
use crate::pipelines::{Family, bytes, way};
use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, TextToImage};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;

fn folder(family: &Family) -> Option<PathBuf> {
    let folder = family.folder.with_file_name(family.name.strip_suffix("_odd")?);
    folder.join("model_index.json").is_file().then_some(folder)
}

pub fn is(family: &Family) -> bool {
    folder(family).is_some()
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let own = bytes(&folder(family).unwrap(), &Options::default(), DType::F32);
    let file = File::new_checked(&own).unwrap();
    let model = TextToImage::load(&file, device).unwrap();
    let mut compared = networks::texts(family, "", &file, device);
    let names = family.tensors.names().filter_map(|name| name.strip_prefix("latents_"));
    for size in names {
        let suffix = format!("_{size}");
        compared += networks::unet(family, &suffix, &file, device);
        compared += networks::autoencoder(family, &suffix, &file, device);
    }
    for name in family.pictures() {
        assert!(way(name).is_some_and(|way| way.size.is_some()), "{name}: drawn in an unknown way");
        let (worst, tolerance) = (family.far(&model, None, name), pipeline::tolerance(device, name));
        assert!(worst <= tolerance, "{} {name}: {} / 255", family.name, worst * 255.0);
        compared += 1;
    }
    compared
}
