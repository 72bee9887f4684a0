//! A model that is led by depth. Its folder has what is not the family's that it is of.

use super::refiner::Whole;
use super::{networks, pipeline};
use crate::pipelines::{Family, bytes};
use nijimi_import::Options;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{DepthMap, Device, LatentRequest, RequestError, TextToImage};
use nijimi_runtime::quant::DType;

pub fn is(family: &Family) -> bool {
    family.folder.join("model_index.json").is_file() && family.tensors.find("depth_image").is_some()
}

/// Seen red with the depth upside down in the golden, and with another cubic (-0.5 for -0.75).
pub fn compare(family: &Family, device: &Device) -> usize {
    let whole = Whole::new(family, "sd2", &["text_encoder", "tokenizer", "vae"]);
    let own = bytes(&whole.0, &Options::default(), DType::F32);
    let file = File::new_checked(&own).unwrap();
    let model = TextToImage::load(&file, device).unwrap();
    assert!(model.info().sees_depth());
    let mut compared = networks::texts(family, "", &file, device) + networks::unet(family, "", &file, device);
    for name in family.pictures() {
        let far = family.far(&model, None, name);
        assert!(far <= pipeline::tolerance(device, name), "{name}: {} / 255", far * 255.0);
        compared += 1;
    }
    // From noise alone, and what cannot be.
    let calls = model.info().calls_by(None, None, 2).unwrap();
    let values = [0.0, 0.25, 0.5, 1.0];
    let depth = Some(DepthMap { values: &values, size: [2, 2] });
    let request = LatentRequest { depth, size: [32, 32], ..model.request("a cat", 1, &calls) };
    let mut run = model.run(&request).unwrap();
    while run.step().unwrap().is_some() {}
    run.pictures().unwrap();
    let same = [0.5; 4];
    let wrong = [
        LatentRequest { depth: None, ..request.clone() },
        LatentRequest { depth: Some(DepthMap { values: &same, size: [2, 2] }), ..request.clone() },
        LatentRequest { depth: Some(DepthMap { values: &values, size: [2, 3] }), ..request.clone() },
    ];
    for request in wrong {
        let Err(Error::Request(RequestError::Range { what, .. })) = model.run(&request) else { panic!("it runs") };
        assert!(what.contains("the depth picture"), "{what}");
    }
    let mask = vec![1.0; 32 * 32];
    let masked = model.run(&LatentRequest { mask: Some(&mask), ..request });
    assert!(matches!(masked, Err(Error::Request(RequestError::NotOf { .. }))));
    compared
}
