//! SDXL's refiner, whose parts but for the U-Net are SDXL's.

use super::families::rewritten;
use super::support::{Folder, config, find, safetensors, values};
use crate::detect::is_refiner;
use crate::{Checkpoint, Family, Kind, Missing, Options, Source, Survey};
use nijimi_runtime::raw::nn::SdAdded;

/// Its folder, put together.
fn folder() -> Folder {
    let whole = Folder::copy_at(&find("pipelines/refiner").unwrap());
    let base = find("pipelines/sdxl").unwrap();
    for part in ["text_encoder_2", "tokenizer_2", "vae"] {
        for entry in std::fs::read_dir(base.join(part)).unwrap() {
            let path = entry.unwrap().path();
            whole.write(&format!("{part}/{}", path.file_name().unwrap().display()), std::fs::read(&path).unwrap());
        }
    }
    whole
}

/// One text encoder, SDXL's second, and five numbers beside its pooled state; as a folder and as one file.
///
/// Seen red with six sizes in a file, and with its text encoder's projection left aside.
#[test]
fn a_folder_and_a_file() {
    let whole = folder();
    let checkpoint = whole.open().unwrap();
    let found = config(&checkpoint);
    assert_eq!(found.family, Family::SdxlRefiner);
    assert!(!found.force_zeros_for_empty_prompt && found.text_2.is_none());
    assert_eq!(found.unet().unwrap().added, Some(SdAdded { code: 8, width: 32 + 5 * 8 }));
    let expected: Vec<Vec<f32>> = (0..checkpoint.tensors().len()).map(|i| values(&checkpoint, i, usize::MAX)).collect();
    whole.write("a.safetensors", safetensors(&rewritten(&checkpoint)));
    let options = Options { tokenizer: Some(whole.join("tokenizer_2")), ..Options::default() };
    // Heads of so small a network are not those of published ones, so whether it could be drawn is not asked.
    let single = Checkpoint::find(&whole.join("a.safetensors"), &options).unwrap();
    assert_eq!(
        (config(&single).family, config(&single).unet().unwrap().added),
        (found.family, found.unet().unwrap().added)
    );
    assert_eq!(config(&single).text.unwrap().projection, Some(32));
    let read: Vec<Vec<f32>> = (0..single.tensors().len()).map(|i| values(&single, i, usize::MAX)).collect();
    assert_eq!(read, expected);
    let survey = Survey::of(whole.join("a.safetensors")).unwrap();
    assert!(matches!(survey.kind, Kind::Whole(_)), "{:?}", survey.kind);
    assert_eq!(survey.missing, [Missing::Vocabulary]);

    whole.edit("model_index.json", |map| {
        map.remove("requires_aesthetics_score");
    });
    assert!(whole.refused().contains("requires_aesthetics_score"), "{}", whole.refused());
}

/// The published U-Nets, by what they are told: 1280 + 5 * 256 numbers, and 1280 + 6 * 256.
#[test]
fn a_unet_alone_is_told_from_sdxls() {
    for (told, width, is) in [(2560, 1280, true), (2816, 2048, false)] {
        let tensor = |name: &str, shape: [usize; 2]| (format!("model.diffusion_model.{name}"), shape.to_vec());
        let shapes = [
            tensor("label_emb.0.0.weight", [1536, told]),
            tensor("input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", [768, width]),
        ];
        assert_eq!(is_refiner(&shapes.into()), is);
    }
}
