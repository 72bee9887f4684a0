//! Published checkpoints on the command line.

use super::common::Folder;
use std::path::{Path, PathBuf};

/// A pipeline among the fixtures: `NIJIMI_FIXTURES`, or the project's own.
fn pipeline(name: &str) -> Option<PathBuf> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let path = std::env::var_os("NIJIMI_FIXTURES").map_or_else(own, PathBuf::from).join("pipelines").join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn a_folder_becomes_a_file_that_inspect_explains() {
    let Some(path) = pipeline("sdxl") else { return };
    let folder = Folder::new();
    let source = path.to_str().unwrap();
    let args = ["convert", source, "-o", "xl.gguf", "--type", "q8_0", "--tensor-type", "^vae=f32"];
    let output = folder.nijimi(&args);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.starts_with("SDXL, predicts epsilon, from a diffusers folder\n"), "{told}");
    assert!(told.contains("q8_0 (") && told.contains("wrote xl.gguf, "), "{told}");
    assert!(folder.files().is_empty(), "nothing is left beside it");

    let output = folder.nijimi(&["inspect", "xl.gguf", "--tensors"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["name       sdxl\n", "latent-diffusion: SDXL", "U-Net of [16, 32, 32] channels", "predicts   epsilon"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let of = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1);
    assert_eq!(of("vae.decoder.mid_block.attentions.0.to_q.weight"), Some("f32"));
    assert_eq!(of("unet.mid_block.resnets.0.conv1.weight"), Some("q8_0"));
    assert_eq!(of("unet.conv_in.weight"), Some("f16"));
}

#[test]
fn what_cannot_be_converted_is_said() {
    let folder = Folder::new();
    std::fs::write(folder.path.join("model.ckpt"), "PK\u{3}\u{4}").unwrap();
    std::fs::write(folder.path.join("empty.safetensors"), "").unwrap();
    for (args, code, part) in [
        (&["convert", "model.ckpt", "-o", "x.gguf"][..], 3, "pickle"),
        (&["convert", "empty.safetensors", "-o", "x.gguf"], 3, "is empty"),
        (&["convert", ".", "-o", "x.gguf"], 3, "model_index.json"),
        (&["convert", "tiny.gguf", "-o", "x.gguf"], 3, "use it as it is"),
        (&["convert", "model.ckpt"], 2, "--output"),
        (&["convert", "model.ckpt", "-o", "x.gguf", "--type", "q5"], 2, "there is no type \"q5\""),
        (&["convert", "model.ckpt", "-o", "x.gguf", "--tensor-type", "(=f16"], 2, "--tensor-type"),
        (&["convert", "model.ckpt", "-o", "x.gguf", "--prediction-type", "x"], 2, "v_prediction"),
    ] {
        let (found, problem) = folder.fail(args);
        assert!(found == code && problem.contains(part), "{args:?}: {found} {problem}");
    }
}
