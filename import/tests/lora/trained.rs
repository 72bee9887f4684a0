//! A LoRA that was trained, for SD 1.5 at its full size, of which the names and shapes are enough.

use super::diffusers::{Tensors, fixtures, json, numbers};
use super::made::{Temporary, product};
use nijimi_import::Lora;
use nijimi_runtime::gguf::{MappedFile, Writer};
use nijimi_runtime::model::Patch;
use nijimi_runtime::quant::DType;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Every module has its place, and what is added is what the file's numbers say. Seen red with the processors' names of layers
/// not known.
#[test]
fn a_trained_lora_fits_the_published_shapes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/real/sd15-lora-rank4.safetensors");
    if !path.is_file() {
        return println!("skipped: no {}", path.display());
    }
    let (said, mut writer, mut len) = (json(&fixtures().join("shapes/sd15.json")), Writer::new(), 0);
    for (name, shape) in said["unet"]["tensors"].as_object().unwrap() {
        let shape = match numbers(shape)[..] {
            [out, inp, kh, kw] => vec![out, kh, kw, inp],
            ref other => other.to_vec(),
        };
        len += writer.declare(&format!("unet.{name}"), &shape, DType::F16).unwrap().next_multiple_of(32);
    }
    // With room for numbers, which nobody reads.
    let outline = Temporary(std::env::temp_dir().join(format!("nijimi-lora-sd15-{}.gguf", std::process::id())));
    let (header, mut file) = (writer.finish(), File::create(&outline.0).unwrap());
    file.write_all(&header).unwrap();
    file.set_len(header.len() as u64 + len).unwrap();
    let mapped = MappedFile::open(&outline.0).unwrap();
    let lora = Lora::open(&path, 0.5, &mapped.file().unwrap()).unwrap();
    let tensors: Vec<&str> = lora.tensors().collect();
    assert_eq!(tensors.len(), 128);
    assert!(tensors.iter().all(|name| name.contains(".transformer_blocks.0.attn")), "{tensors:?}");

    let stored = Tensors::read(&path);
    for layer in
        ["down_blocks.0.attentions.0.transformer_blocks.0.attn1", "mid_block.attentions.0.transformer_blocks.0.attn2"]
    {
        for projection in ["to_k", "to_out"] {
            let part = |end: &str| stored.get(&format!("{layer}.processor.{projection}_lora.{end}.weight"));
            let (down, up) = (part("down"), part("up"));
            let shape = [up.shape[0], down.shape[1]];
            let mut values = vec![0.0; shape[0] * shape[1]];
            let tensor = format!("unet.{layer}.{}.weight", projection.replace("to_out", "to_out.0"));
            lora.apply(&tensor, &shape, &mut values).unwrap();
            let want = product(&up.values, &down.values, &shape, down.shape[0]);
            let worst =
                values.iter().zip(&want).map(|(v, want)| (f64::from(*v) - 0.5 * want).abs()).fold(0.0, f64::max);
            let most = want.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
            assert!(worst < 1e-5 * most && most > 1e-4, "{tensor}: {worst:.1e} of {most:.1e}");
        }
    }
}
