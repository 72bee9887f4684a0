//! Single files that say only in their header what their network predicts: `NAME.HOW.safetensors` beside `NAME.golden`, with the
//! tokenizer of a folder that the golden names.

use super::{networks, pipeline};
use crate::pipelines::{Family, bytes, way};
use nijimi_import::Options;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, TextToImage};
use nijimi_runtime::quant::DType;
use std::path::PathBuf;

/// The picture of the other prediction, which none of them may be.
const WRONG: &str = "_epsilon";

fn files(family: &Family) -> Vec<PathBuf> {
    let beside = std::fs::read_dir(family.folder.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let how = name.strip_prefix(&format!("{}.", family.name)).and_then(|name| name.strip_suffix(".safetensors"));
        how.is_some_and(|how| how != "golden")
    };
    beside.filter(of).collect()
}

pub fn is(family: &Family) -> bool {
    !family.folder.exists()
        && family.pictures().any(|name| name.ends_with(WRONG))
        && family.pictures().all(|name| way(name.strip_suffix(WRONG).unwrap_or(name)).is_some())
}

pub fn compare(family: &Family, device: &Device) -> usize {
    let folder = family.said("files").rsplit(' ').next().unwrap().trim_end_matches('/');
    let tokenizer = family.folder.with_file_name(folder).join("tokenizer");
    let options = Options { tokenizer: Some(tokenizer), ..Options::default() };
    let mut compared = 0;
    for path in files(family) {
        let own = bytes(&path, &options, DType::F32);
        let file = File::new_checked(&own).unwrap();
        compared += networks::texts(family, "", &file, device) + networks::unet(family, "", &file, device);
        let model = TextToImage::load(&file, device).unwrap();
        for name in family.pictures().filter(|name| !name.ends_with(WRONG)) {
            let (worst, tolerance) = (family.far(&model, None, name), pipeline::tolerance(device, name));
            assert!(worst <= tolerance, "{} {name}: {} / 255", path.display(), worst * 255.0);
            compared += 1;
        }
    }
    compared
}
