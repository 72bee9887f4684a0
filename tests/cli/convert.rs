//! Published checkpoints on the command line.

use super::common::Folder;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::model::FirstStage;
use nijimi_runtime::raw::nn::AutoencoderKl;
use std::path::{Path, PathBuf};

/// A pipeline among the project's fixtures.
pub fn pipeline(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name);
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
        (&["convert", "tiny.gguf", "-o", "x.gguf"], 3, "with -m"),
        (&["convert", "model.ckpt"], 2, "--output"),
        (&["convert", "model.ckpt", "-o", "x.gguf", "--type", "q5"], 2, "--type \"q5\" is not known"),
        (&["convert", "model.ckpt", "-o", "x.gguf", "--tensor-type", "(=f16"], 2, "--tensor-type"),
        (&["convert", "model.ckpt", "-o", "x.gguf", "--prediction-type", "x"], 2, "v_prediction"),
    ] {
        let (found, problem) = folder.fail(args);
        assert!(found == code && problem.contains(part), "{args:?}: {found} {problem}");
    }
}

/// The arguments of a small picture of two steps, of a pipeline's own size.
const DRAW: [&str; 8] = ["-p", "a cat", "-s", "3", "--steps", "2", "--backend", "cpu"];

/// Draws with `-m model`; what is said, and the pixels.
fn draw(folder: &Folder, model: &str, more: &[&str]) -> (String, Vec<u8>) {
    let output = folder.nijimi(&[&DRAW[..], &["-m", model, "-o", "a.png"], more].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{model}: {told}");
    (told, folder.picture("a.png").pixels)
}

/// An unconditional model of pixels: in one folder, converted, planned. Yet to be seen red with its steps taken for 20.
#[test]
fn a_model_of_pixels_is_a_folder_too() {
    let Some(path) = pipeline("ddpm") else { return };
    let (folder, source) = (Folder::new(), path.to_str().unwrap());
    let output = folder.nijimi(&["convert", source, "-o", "pixels.gguf", "--type", "f32"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("an unconditional model of pictures of 16x16 (DDPMScheduler), from a diffusers"),
        "{told}"
    );
    let text = String::from_utf8(folder.nijimi(&["inspect", "pixels.gguf"]).stdout).unwrap();
    for part in ["16x16, 3 channels", "U-Net of [12, 20] channels, attention on 1 of 2 levels", "ddpm, 1000 steps"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let draw = |model: &str, more: &[&str]| {
        let args = [&["-m", model, "-s", "1", "--steps", "5", "--backend", "cpu", "-o", "a.png"], more].concat();
        let output = folder.nijimi(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.picture("a.png").pixels
    };
    // The types of its weights and the variant are asked of the folder alone.
    assert_eq!(draw(source, &["--type", "f32"]), draw("pixels.gguf", &[]));
    for (option, value) in [("--type", "f32"), ("--variant", "fp16"), ("--lora", "a.safetensors")] {
        let (code, problem) = folder.fail(&["-m", "pixels.gguf", option, value, "-o", "a.png"]);
        assert!(code == 2 && problem.contains(option), "{problem}");
    }
    let plan = |more: &[&str]| folder.nijimi(&[&["plan", "-m", source, "--backend", "cpu"], more].concat());
    let planned = plan(&["--memory-limit", "100k"]);
    let told = String::from_utf8(planned.stdout).unwrap();
    assert!(told.contains("1 picture of 16x16, 1000 steps, without guidance"), "{told}");
    assert!(told.contains("does not fit") && planned.status.code() == Some(3), "{told}");
    assert_eq!(plan(&["-W", "16"]).status.code(), Some(2));
    assert_eq!(plan(&["--cache", "2"]).status.code(), Some(2));
}

/// Seen red with weights of f32 whatever is asked for.
#[test]
fn a_checkpoint_draws_as_its_weight_file_does() {
    let Some(path) = pipeline("sd1") else { return };
    let folder = Folder::new();
    let source = path.to_str().unwrap();
    for dtype in ["f16", "q8_0"] {
        let output = folder.nijimi(&["convert", source, "-o", "sd.gguf", "--type", dtype]);
        assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
        let (_, expected) = draw(&folder, "sd.gguf", &[]);
        // f16 is the default.
        let more = ["--type", dtype];
        let (told, found) = draw(&folder, source, if dtype == "f16" { &[] } else { &more });
        assert!(told.contains("Stable Diffusion 1.x") && told.contains(&format!("converted to {dtype} in")), "{told}");
        assert!(found == expected && found.iter().any(|&v| v != found[0]), "{dtype}");
    }
    assert_eq!(folder.files(), ["a.png"], "nothing is left beside it");
}

/// The published single file of a folder: the same picture, with the folder's vocabulary or with a named one.
/// Seen red with the folder of the vocabulary not looked at.
#[test]
fn a_single_file_draws_as_its_folder_does() {
    let (Some(path), Some(file)) = (pipeline("sd1full"), pipeline("sd1full.checkpoint.safetensors")) else { return };
    let folder = Folder::new();
    std::fs::copy(&file, folder.path.join("one.safetensors")).unwrap();
    let size = ["-W", "64", "-H", "64", "--sampling-method", "euler"];
    let (code, problem) = folder.fail(&[&DRAW[..], &["-m", "one.safetensors"]].concat());
    assert!(code == 3 && problem.contains("with --tokenizer"), "{problem}");
    let tokenizer = path.join("tokenizer");
    let (_, expected) = draw(&folder, path.to_str().unwrap(), &size);
    let (told, found) =
        draw(&folder, "one.safetensors", &[&size[..], &["--tokenizer", tokenizer.to_str().unwrap()]].concat());
    assert!(told.contains("from a single file"), "{told}");
    assert!(found == expected);
}

/// A U-Net with its parts draws as the folder that they are from, and the picture says what it was drawn with.
/// Seen red with the autoencoder's file not looked at, with two of its blocks exchanged, with the parts left out of what is
/// said, of the picture's text, of the conversion and of the plan.
#[test]
fn a_model_of_several_files() {
    let Some(path) = pipeline("sd1full") else { return };
    let folder = Folder::new();
    let at = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let size = ["-W", "64", "-H", "64", "--sampling-method", "euler"];
    let (_, expected) = draw(&folder, path.to_str().unwrap(), &size);
    let (unet, vae) = (at("unet/diffusion_pytorch_model.safetensors"), at("vae/diffusion_pytorch_model.safetensors"));
    let (clip, tokenizer) = (at("text_encoder/model.safetensors"), at("tokenizer"));
    let parts = ["--vae", &vae, "--clip-l", &clip, "--tokenizer", &tokenizer];
    let (told, found) = draw(&folder, &unet, &[&size[..], &parts].concat());
    assert!(told.contains("--vae") && found == expected, "{told}");
    let output = folder.nijimi(&["inspect", "a.png"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("VAE") && told.contains("CLIP L"), "{told}");
    let output = folder.nijimi(&[&["convert", &unet, "-o", "sd.gguf"], &parts[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
    let (_, found) = draw(&folder, "sd.gguf", &size);
    assert!(found == expected);
    let output = folder.nijimi(&[&["plan", "-m", &unet], &parts[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
}

/// What a `-m` may be given and is none.
/// Seen red with files of any role taken.
#[test]
fn what_is_no_model_is_refused() {
    let (Some(control), Some(tiny), Some(sd1)) = (pipeline("sd1full_controlnet"), pipeline("tae"), pipeline("sd1"))
    else {
        return;
    };
    let folder = Folder::new();
    let at = |name: &str| folder.path.join(name);
    let weights = "diffusion_pytorch_model.safetensors";
    let unet = std::fs::read(sd1.join("unet").join(weights)).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).unwrap();
    for name in ["a.ckpt", "a.bin", "a.pth"] {
        write(name, b"PK\x03\x04");
    }
    write("zipped.model", b"PK\x03\x04 as torch writes");
    write("old.pt", b"\x80\x02}q");
    write("empty.safetensors", b"");
    write("empty.gguf", b"");
    write("cut.safetensors", &unet[..unet.len() / 2]);
    write("short.safetensors", &unet[..5]);
    write("lies.safetensors", &[&u64::MAX.to_le_bytes()[..], b"{}"].concat());
    write("unet.safetensors", &unet);
    std::fs::create_dir(at("nothing")).unwrap();
    std::fs::create_dir(at("part")).unwrap();
    std::fs::copy(sd1.join("unet/config.json"), at("part/config.json")).unwrap();
    let led = control.with_file_name("sd1_ip_plus.safetensors");
    for (name, source) in [("control.gguf", &control), ("tiny.gguf.tae", &tiny), ("sd.gguf", &sd1), ("ip.gguf", &led)] {
        let output = folder.nijimi(&["convert", source.to_str().unwrap(), "-o", name]);
        assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
    }
    let [control, tiny, sd1] = [&control, &tiny, &sd1].map(|path| path.to_str().unwrap());
    let [adapter, ip, seer] = ["sd1_t2i_light", "sd1_ip_plus.safetensors", "ip_encoder"]
        .map(|name| control.replace("sd1full_controlnet", name));
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["-m", control], 3, &["sd1full_controlnet is a ControlNet", "--control-net FILE"]),
        (&["-m", "control.gguf"], 3, &["control.gguf is a ControlNet", "--control-net FILE"]),
        (&["-m", &adapter], 3, &["sd1_t2i_light is a T2I-Adapter", "--control-net FILE"]),
        (&["-m", &ip], 3, &["sd1_ip_plus.safetensors is an IP-Adapter", "--ip-adapter FILE"]),
        (&["-m", &seer], 3, &["ip_encoder is an image encoder", "--clip-vision FILE"]),
        (&["-m", "sd.gguf", "--control-net", &ip, "--control-image", "x.png"], 3, &["--ip-adapter FILE"]),
        (
            &["-m", "sd.gguf", "--ip-adapter", "control.gguf", "--clip-vision", &seer, "--ip-adapter-image", "x.png"],
            3,
            &["control.gguf is a ControlNet", "--ip-adapter takes an IP-Adapter"],
        ),
        (
            &["-m", "sd.gguf", "--ip-adapter", "ip.gguf", "--clip-vision", "ip.gguf", "--ip-adapter-image", "x.png"],
            3,
            &["--clip-vision takes an image encoder"],
        ),
        (&["-m", tiny], 3, &["tae is a tiny autoencoder", "--taesd FILE"]),
        (&["-m", "tiny.gguf.tae"], 3, &["tiny.gguf.tae is a tiny autoencoder", "--taesd FILE"]),
        (&["-m", "a.ckpt"], 3, &["a.ckpt is a Python pickle", "download the model as .safetensors"]),
        (&["-m", "a.bin"], 3, &["a.bin is a Python pickle"]),
        (&["-m", "a.pth"], 3, &["a.pth is a Python pickle"]),
        (&["-m", "zipped.model"], 3, &["zipped.model is a Python pickle"]),
        (&["-m", "old.pt"], 3, &["old.pt is a Python pickle"]),
        (&["-m", "empty.safetensors"], 3, &["empty.safetensors is empty", "download it again"]),
        (&["-m", "empty.gguf"], 3, &["empty.gguf"]),
        (&["-m", "cut.safetensors"], 3, &["cut.safetensors", "truncated"]),
        (&["-m", "short.safetensors"], 3, &["short.safetensors", "5 bytes"]),
        (&["-m", "lies.safetensors"], 3, &["lies.safetensors", "18446744073709551615 bytes"]),
        (&["-m", "unet.safetensors"], 3, &["unet.safetensors", "no text encoder", "--clip-l"]),
        (
            &["-m", "sd.gguf", "--vae", "unet.safetensors"],
            2,
            &["--vae takes the place of a part", "sd.gguf is a weight file"],
        ),
        (&["-m", control, "--vae", "unet.safetensors"], 3, &["--vae is for Stable Diffusion checkpoints"]),
        (&["-m", sd1, "--vae", "unet.safetensors"], 3, &["given as autoencoder with --vae"]),
        (&["7", "-m", "digits", "--unet", "unet.safetensors"], 2, &["--unet"]),
        (&["-m", "nothing"], 3, &["neither a model_index.json nor a config.json"]),
        (&["-m", "part"], 3, &["UNet2DConditionModel", "whole pipeline"]),
        (&["-m", "none.safetensors"], 3, &["none.safetensors"]),
        (&["-m", "sd.gguf", "--tokenizer", "."], 2, &["--tokenizer is for Stable Diffusion checkpoints"]),
        (&["-m", "tiny.gguf", "--type", "f16"], 2, &["--type is for models that read prompts"]),
        (
            &["plan", "-m", "tiny.gguf", "--ip-adapter", "a", "--clip-vision", "b"],
            2,
            &["--ip-adapter is for models that read prompts"],
        ),
        (&["inspect", "nothing"], 3, &["neither a model_index.json nor a config.json"]),
        (&["inspect", "none.safetensors"], 3, &["none.safetensors"]),
        (&["density", "-m", sd1], 3, &["is a checkpoint, not a weight file", "nijimi convert"]),
        (
            &["convert", control, "-o", "x.gguf", "--tokenizer", "."],
            2,
            &["--tokenizer is for Stable Diffusion checkpoints"],
        ),
        (&["convert", control, "-o", "x.gguf", "--prediction-type", "epsilon"], 2, &["--prediction-type is for"]),
    ];
    let before = folder.files();
    for (args, code, parts) in cases {
        let (found, problem) = folder.fail(args);
        assert!(found == *code && parts.iter().all(|part| problem.contains(part)), "{args:?}: {found} {problem}");
    }
    assert_eq!(folder.files(), before, "nothing is left");
}

/// Tensors of a pipeline that are missing, or of another shape.
#[test]
fn broken_pipelines_are_refused() {
    let Some(path) = pipeline("sd1") else { return };
    let folder = Folder::new();
    let weights = "unet/diffusion_pytorch_model.safetensors";
    copy(&path, &folder.path.join("sd"));
    let bytes = std::fs::read(path.join(weights)).unwrap();
    // The header as it is read, with other words of the same length.
    let changed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(folder.path.join("sd").join(weights), bytes).unwrap();
        let (code, problem) = folder.fail(&["-m", "sd"]);
        assert_eq!(code, 3, "{problem}");
        problem
    };
    let problem = changed("mid_block.resnets.0.conv1.weight", "mid_block.resnets.0.convX.weight");
    assert!(problem.contains("lacks the tensor mid_block.resnets.0.conv1.weight of shape [32, 32, 3, 3]"), "{problem}");
    let problem = changed("[16,4,3,3]", "[16,3,4,3]");
    assert!(problem.contains("conv_in.weight has the shape [16, 3, 4, 3], expected [16, 4, 3, 3]"), "{problem}");
    assert_eq!(folder.files(), ["sd"]);
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        // The fixtures may be read-only: their bytes are copied, not their permissions.
        if path.is_dir() { copy(&path, &to) } else { std::fs::write(to, std::fs::read(&path).unwrap()).unwrap() }
    }
}

/// A checkpoint is told from its headers, and what is said to be done with it is what works.
///
/// Seen red with nothing said of what is missing.
#[test]
fn inspect_explains_checkpoints() {
    let Some(path) = pipeline("sd1full") else { return };
    let folder = Folder::new();
    copy(&path, &folder.path.join("sd"));
    let tell = |args: &[&str]| {
        let output = folder.nijimi(&[&["inspect"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |text: &str, parts: &[&str]| assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    let text = tell(&["sd"]);
    has(
        &text,
        &["a diffusers folder", "Stable Diffusion 1.x, predicts", "U-Net", "decoder", "parameters", "nijimi -m sd -p"],
    );
    assert!(!text.contains("missing"), "{text}");
    let unet = "sd/unet/diffusion_pytorch_model.safetensors";
    let text = tell(&[unet, "--tensors"]);
    has(
        &text,
        &[
            "a part of Stable Diffusion 1.x",
            "conv_in.weight",
            "(--vae FILE)",
            "--clip-l FILE --vae FILE --tokenizer FOLDER",
        ],
    );
    // As it says, with what is missing.
    let line = text.lines().find_map(|line| line.strip_prefix("convert")).unwrap().trim();
    let [clip, vae] = ["sd/text_encoder/model.safetensors", "sd/vae/diffusion_pytorch_model.safetensors"];
    let line =
        line.replace("--clip-l FILE", &format!("--clip-l {clip}")).replace("--vae FILE", &format!("--vae {vae}"));
    let line = line.replace("--tokenizer FOLDER", "--tokenizer sd/tokenizer");
    let output = folder.nijimi(&line.split(' ').skip(1).collect::<Vec<_>>());
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    has(&tell(&["diffusion_pytorch_model.gguf"]), &["latent-diffusion"]);
    has(&tell(&[vae]), &["an autoencoder: latents of 4 channels", "--vae sd/vae"]);
    has(&tell(&[clip]), &["a text encoder", "--clip-l sd/text_encoder"]);
    let Some(control) = pipeline("sd1full_controlnet") else { return };
    has(&tell(&[control.to_str().unwrap()]), &["a ControlNet", "--control-net"]);
    let Some(adapter) = pipeline("sd1_t2i_light") else { return };
    has(&tell(&[adapter.to_str().unwrap()]), &["a T2I-Adapter", "--control-net", "convert"]);
    for (name, parts) in [
        (
            "sd1full_ip.safetensors",
            ["an IP-Adapter (of whole pictures) for 16 attentions", "--clip-vision image_encoder/", "convert"],
        ),
        ("sd1_ip_plus.safetensors", ["by a resampler: plus", "image states of 32", "--ip-adapter /"]),
        ("ip_encoder", ["an image encoder of 3 layers of 32", "pictures of 32x32", "--clip-vision /"]),
    ] {
        has(&tell(&[pipeline(name).unwrap().to_str().unwrap()]), &parts);
    }
}

#[test]
fn what_goes_beside_a_model_is_explained() {
    let folder = Folder::new();
    for (name, parts) in [
        (
            "sd1full_controlnet",
            ["control-net: a ControlNet", "U-Nets of [32, 32, 64, 64] channels", "--control-net x.gguf"],
        ),
        (
            "sd1_t2i_light",
            ["t2i-adapter: a T2I-Adapter", "light_adapter, blocks of [16, 32] channels", "--control-net x.gguf"],
        ),
        (
            "sd1_ip_plus.safetensors",
            [
                "ip-adapter: an IP-Adapter",
                "3 tokens of a picture, of image states of 32 (resampler)",
                "--ip-adapter x.gguf",
            ],
        ),
        ("ip_encoder", ["image-encoder: an image encoder", "32x32, in patches of 8x8", "--clip-vision x.gguf"]),
        ("tae", ["autoencoder-tiny: a tiny autoencoder", "[2, 2, 1] blocks of 16 channels", "--taesd x.gguf"]),
    ] {
        let Some(path) = pipeline(name) else { continue };
        let output = folder.nijimi(&["convert", path.to_str().unwrap(), "-o", "x.gguf"]);
        assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
        let text = String::from_utf8(folder.nijimi(&["inspect", "x.gguf"]).stdout).unwrap();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

/// What is trained before the rest of a model.
#[test]
fn an_autoencoder_alone_is_explained_and_not_drawn_with() {
    let folder = Folder::new();
    let network = AutoencoderKl {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        channels: vec![8, 16, 24],
        layers_per_block: 1,
        norm_groups: 4,
        mid_attention: false,
        quant_conv: false,
        post_quant_conv: false,
        packed: false,
    };
    let mut writer = Writer::new();
    writer.meta("general.architecture", "nijimi").unwrap();
    writer.meta("nijimi.format_version", 1u32).unwrap();
    writer.meta("nijimi.system", FirstStage::SYSTEM).unwrap();
    FirstStage { network: network.into(), scaling_factor: 0.5, shift_factor: 0.25, statistics: None }
        .write(&mut writer)
        .unwrap();
    std::fs::write(folder.path.join("ae.gguf"), writer.finish()).unwrap();
    let text = String::from_utf8(folder.nijimi(&["inspect", "ae.gguf"]).stdout).unwrap();
    let parts = ["halved 2 times; (z - 0.25) 0.5", "autoencoder of [8, 16, 24] channels", "--autoencoder ae.gguf"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let (code, problem) = folder.fail(&["-m", "ae.gguf", "a cat"]);
    assert!(code == 3 && problem.contains("draws nothing by itself"), "{code}: {problem}");
}
