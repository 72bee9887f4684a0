//! What is written: standard output, files and what is there already, and what a picture's record draws again.

use super::common::{Folder, tiny_model};
use super::convert::pipeline;
use super::prompts::converted;
use std::fs;
use std::process::{Command, Output, Stdio};

fn nijimi(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi"));
    command.current_dir(&folder.path);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A full disk is an error of every command that prints; a reader that has seen enough is none.
/// Seen red with what is written not looked at.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_an_error() {
    let folder = Folder::new();
    let model = format!("{}/weights/heights.gguf", env!("CARGO_MANIFEST_DIR"));
    fs::write(folder.path.join("d.csv"), "170\n").unwrap();
    folder.draw(&["7", "-s", "1", "-o", "a.png"]);
    for args in [
        &["--help"][..],
        &["-V"],
        &["convert", "--help"],
        &["devices"],
        &["inspect"],
        &["inspect", "a.png"],
        &["-m", &model, "-b", "20000", "-s", "1"],
        &["density", "-m", &model, "d.csv"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = nijimi(&folder).args(args).stdout(full).output().unwrap();
        assert!(output.status.code() == Some(1) && said(&output).contains("standard output"), "{args:?} {output:?}");
        let mut child = nijimi(&folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && !said(&output).contains("standard output"), "{args:?} {output:?}");
    }
}

/// Seen red with inputs that are not looked at, for each kind of output.
#[test]
fn an_output_that_is_an_input_is_refused_before_anything_is_drawn() {
    let folder = Folder::new();
    folder.draw(&["7", "-s", "1", "-o", "a-0.png"]);
    fs::write(folder.path.join("d.csv"), "170\n").unwrap();
    let heights = format!("{}/weights/heights.gguf", env!("CARGO_MANIFEST_DIR"));
    fs::copy(&heights, folder.path.join("h.gguf")).unwrap();
    let (picture, model) = (folder.bytes("a-0.png"), folder.bytes("h.gguf"));
    let refused = |args: &[&str], part: &str| {
        let (code, message) = folder.fail(args);
        assert!(code == 2 && message.contains(part) && message.contains("also read"), "{args:?}: {message}");
    };
    refused(&["-m", "h.gguf", "-o", "h.gguf"], "-m");
    refused(&["density", "-m", "h.gguf", "d.csv", "-o", "./d.csv"], "the rows");
    refused(&["density", "-m", "h.gguf", "d.csv", "-o", "h.gguf"], "-m");
    refused(&["convert", "h.gguf", "-o", "h.gguf"], "the checkpoint");
    if let Some(folder) = converted() {
        fs::write(folder.path.join("a-0.png"), &picture).unwrap();
        let (args, init) = (["-m", "sd1.gguf", "-p", "a", "--steps", "2"], ["-i", "a-0.png"]);
        let more: [&[&str]; 3] =
            [&["-o", "a-0.png"], &["-o", "a-%d.png", "-b", "2"], &["--preview", "a-0.png", "-o", "b.png"]];
        for more in more {
            let (code, message) = folder.fail(&[&args[..], &init, more].concat());
            assert!(code == 2 && message.contains("also read: -i"), "{more:?}: {message}");
        }
        assert!(folder.bytes("a-0.png") == picture && folder.files() == ["a-0.png"]);
    }
    assert!(folder.bytes("h.gguf") == model && folder.bytes("d.csv") == b"170\n");
}

/// Before a model is loaded: so a model that is not there is not missed. Seen red with targets looked at in the end.
#[cfg(target_os = "linux")]
#[test]
fn a_target_is_proved_first() {
    let folder = Folder::new();
    let long = format!("{}.png", "n".repeat(252));
    for (output, part) in
        [("/proc/nijimi.png", "/proc/nijimi.png"), ("none/a.png", "create it first"), (&long, "too long")]
    {
        let (code, message) = folder.fail(&["7", "-m", "tiny.gguf", "-o", output, "--sampling-method", "none"]);
        assert!(code == 3 && message.contains(part), "{output}: {message}");
    }
    let long = &long[1..];
    folder.draw(&["7", "-o", long, "-s", "1"]);
    assert_eq!(folder.files(), [long]);
}

/// A run that may write no large file leaves nothing, and says so; nor does one that is interrupted.
/// Seen red with the signal of the limit not ignored.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left() {
    let Some(source) = pipeline("sd1") else { return };
    let folder = Folder::new();
    fs::create_dir(folder.path.join("to")).unwrap();
    let convert = format!("{} convert {} -o to/m.gguf --type f32", env!("CARGO_BIN_EXE_nijimi"), source.display());
    let sh = |line: String| Command::new("sh").args(["-c", &line]).current_dir(&folder.path).output().unwrap();
    let left = || fs::read_dir(folder.path.join("to")).unwrap().count();
    let output = sh(format!("ulimit -f 64; exec {convert}"));
    assert!(output.status.code() == Some(3) && said(&output).contains("to/m.gguf"), "{output:?}");
    assert_eq!(left(), 0);
    for milliseconds in [1, 5, 10, 20, 40] {
        sh(format!("timeout -s INT 0.{milliseconds:03} {convert}"));
        assert!(left() == 0 || folder.path.join("to/m.gguf").exists());
    }
    fs::remove_dir_all(folder.path.join("to")).unwrap();
    fs::create_dir(folder.path.join("to")).unwrap();
    let draw = format!("{} 7 -m tiny.gguf -b 64 --steps 1000 -o to/p.png", env!("CARGO_BIN_EXE_nijimi"));
    for milliseconds in [20, 100, 300] {
        let output = sh(format!("timeout -s INT 0.{milliseconds:03} {draw}"));
        assert!(!output.status.success() && left() == 0, "{output:?}");
    }
}

/// Keys and values of a line, of which those with a comma are in quotes or, of LoRAs, several.
fn pairs(line: &str) -> Vec<(&str, &str)> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut rest = line;
    while let Some((key, after)) = rest.split_once(": ") {
        let quoted = after.strip_prefix('"').map(|inner| inner.find('"').expect("a quote that ends") + 2);
        let end = quoted.unwrap_or(0);
        let end = after[end..].find(", ").map_or(after.len(), |at| end + at);
        pairs.push((key, after[..end].trim_matches('"')));
        rest = after[end..].strip_prefix(", ").unwrap_or("");
    }
    pairs
}

/// The options that a picture's record stands for.
fn again(parameters: &str) -> Vec<String> {
    let (words, pairs) = parameters.rsplit_once('\n').unwrap_or(("", parameters));
    let (prompt, negative) = words.split_once("\nNegative prompt: ").unwrap_or((words, ""));
    let mut args = vec!["-p".to_owned(), prompt.into()];
    if !negative.is_empty() {
        args.extend(["-n".into(), negative.into()]);
    }
    for (key, value) in self::pairs(pairs) {
        let option = match key {
            "Lora" => {
                let loras =
                    self::pairs(value).into_iter().flat_map(|(f, scale)| ["--lora".into(), format!("{f}:{scale}")]);
                args.extend(loras);
                continue;
            }
            "Embeddings" => {
                let all = self::pairs(value).into_iter();
                args.extend(all.flat_map(|(file, word)| ["--embedding".into(), format!("{file}:{word}")]));
                continue;
            }
            _ if key.starts_with("ControlNet ") => {
                for (key, value) in self::pairs(value) {
                    let option = match key {
                        "Model" => "--control-net",
                        "Weight" => "--control-strength",
                        _ => "--control-image",
                    };
                    args.extend([option.into(), value.into()]);
                }
                continue;
            }
            "IP-Adapter" => {
                for (key, value) in self::pairs(value) {
                    let option = match key {
                        "Model" => "--ip-adapter",
                        "Weight" => "--ip-adapter-strength",
                        "Encoder" => "--clip-vision",
                        _ => "--ip-adapter-image",
                    };
                    args.extend([option.into(), value.into()]);
                }
                continue;
            }
            "Classifier" => "--classifier",
            "Classifier scale" => "--classifier-scale",
            "Steps" => "--steps",
            "Sampler" => "--sampling-method",
            "Schedule type" => "--scheduler",
            "CFG scale" => "--cfg-scale",
            "Seed" => "-s",
            "Eta" => "--eta",
            "No clip" => "--no-clip",
            "CFG rescale" => "--cfg-rescale",
            "Cache interval" => "--cache",
            "Image CFG scale" => "--img-cfg-scale",
            "Denoising strength" => "--strength",
            "Init image" => "-i",
            "Mask" => "--mask",
            "Clip skip" => "--clip-skip",
            "RNG" => "--rng",
            "Latents" => "--latents",
            "Weight type" => "--type",
            "Prediction type" => "--prediction-type",
            "VAE tiling" => "--vae-tiling",
            "Scale" => "--scale",
            "Batch size" => "-b",
            "Size" | "Model" | "Version" => continue,
            other => panic!("{other} is not read: {parameters}"),
        };
        args.push(option.into());
        if value != "True" {
            args.push(value.into());
        }
    }
    args
}

/// Draws, and draws again from what is recorded; the first file of each.
fn recorded(folder: &Folder, model: &str, args: &[&str], output: &str, more: &[&str]) {
    let draw = |args: &[&str], output: &str| {
        let output = folder.nijimi(&[args, &["-m", model, "--backend", "cpu", "-o", output], more].concat());
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    };
    draw(args, output);
    let first = folder.picture(&output.replace("%d", "1"));
    let again = again(&first.parameters);
    draw(&again.iter().map(String::as_str).collect::<Vec<_>>(), "again.png");
    assert!(folder.picture("again.png").pixels == first.pixels, "{args:?}: {}", first.parameters);
}

/// Of each kind of model, into one file, a grid or a file each, with each option that changes the picture (tiles do not: these
/// pictures are smaller than one).
/// Seen red with the prompt left out for single pictures, the sampler in capitals, and each option (No clip, Eta, Scale, RNG, ...) not
/// recorded.
#[test]
fn what_is_recorded_draws_the_same_picture() {
    let folder = Folder::new();
    fs::write(folder.path.join("names.gguf"), tiny_model(1, &["Ankle boot", "Bag"])).unwrap();
    let labels: [&[&str]; 7] = [
        &["3"],
        &[],
        &["3 4", "-b", "2"],
        &["3", "--sampling-method", "ddim", "--eta", "0.7", "--steps", "4", "--cfg-scale", "1.5"],
        &["3", "--no-clip", "--steps", "5"],
        &["3", "--scale", "3"],
        &["3", "--sampling-method", "euler_a", "--scheduler", "karras", "--steps", "4"],
    ];
    for args in labels {
        recorded(&folder, "tiny.gguf", &[args, &["-s", "5"]].concat(), "a.png", &[]);
    }
    recorded(&folder, "tiny.gguf", &["3 4", "-b", "2"], "a-%d.png", &[]);
    recorded(&folder, "names.gguf", &["Bag Ankle boot"], "a-%d.png", &[]);
    for model in ["digits-vae-f16", "digits-hvae-f16"] {
        let model = format!("{}/weights/{model}.gguf", env!("CARGO_MANIFEST_DIR"));
        recorded(&folder, &model, &["-b", "2"], "a-%d.png", &[]);
    }
    let weights = |name: &str| format!("{}/weights/{name}.gguf", env!("CARGO_MANIFEST_DIR"));
    fs::copy(weights("digits-classifier-q8_0"), folder.path.join("judge.gguf")).unwrap();
    let led = ["7", "--steps", "2", "-s", "1", "--classifier", "judge.gguf", "--classifier-scale", "2.5"];
    recorded(&folder, &weights("digits-q8_0"), &led, "a.png", &[]);
    let Some(folder) = converted() else { return };
    let model = "sd1.gguf";
    let draw =
        |args: &[&str]| recorded(&folder, model, &[&["a (red:1.2) mat", "--steps", "2"], args].concat(), "a.png", &[]);
    draw(&[]);
    draw(&["-n", "a \"blue\" one, dark", "--cfg-scale", "4.5", "--cfg-rescale", "0.35", "--cache", "2"]);
    draw(&["--sampling-method", "euler_a", "--scheduler", "karras", "-b", "2"]);
    draw(&["--sampling-method", "ddim", "--eta", "0.3", "--rng", "cpu", "--clip-skip", "2"]);
    recorded(&folder, model, &["a mat", "--steps", "2", "-b", "2"], "a-%d.png", &[]);
    let save = ["-m", model, "-p", "a", "--steps", "1", "-o", "i.png", "--save-latents", "n.safetensors"];
    assert!(folder.nijimi(&save).status.success());
    draw(&["-i", "i.png", "--strength", "0.61"]);
    draw(&["-i", "i.png", "--mask", "i.png", "--strength", "0.9"]);
    draw(&["--latents", "n.safetensors:latents"]);
    draw(&["--vae-tiling"]);
    draw(&["--prediction-type", "sample"]);
    let header = r#"{"emb_params":{"dtype":"F32","shape":[2,32],"data_offsets":[0,256]}}"#;
    let toy = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0x3e; 256]].concat();
    fs::write(folder.path.join("toy.safetensors"), toy).unwrap();
    let taught =
        ["a <mine> on toy", "--steps", "1", "--embedding", "toy.safetensors:<mine>", "--embedding", "toy.safetensors"];
    recorded(&folder, model, &taught, "a.png", &[]);
    for (name, from) in [("style.safetensors", "sd1full.lora.safetensors"), ("edges.gguf", "sd1full_controlnet")] {
        let from = pipeline(from).unwrap();
        match from.is_dir() {
            true => assert!(folder.nijimi(&["convert", from.to_str().unwrap(), "-o", name]).status.success()),
            false => drop(fs::copy(from, folder.path.join(name)).unwrap()),
        }
    }
    let full = pipeline("sd1full").unwrap();
    let begin = ["a mat", "--steps", "2"];
    let loras = ["--lora", "style.safetensors:0.8", "--lora", "style.safetensors:-0.3"];
    let control =
        |strength| ["--control-net", "edges.gguf", "--control-image", "i.png", "--control-strength", strength];
    recorded(&folder, full.to_str().unwrap(), &[&begin[..], &loras, &control("0.7")].concat(), "a.png", &[]);
    let two = [&begin[..], &control("0.7"), &control("-0.2")].concat();
    recorded(&folder, full.to_str().unwrap(), &two, "a.png", &[]);
    for (name, from) in [("plain.gguf", "sd1full_ip.safetensors"), ("seer.gguf", "ip_encoder")] {
        let from = pipeline(from).unwrap();
        assert!(folder.nijimi(&["convert", from.to_str().unwrap(), "-o", name]).status.success());
    }
    let led = ["--ip-adapter", "plain.gguf", "--clip-vision", "seer.gguf", "--ip-adapter-strength", "0.4"];
    let shown = ["--ip-adapter-image", "i.png", "--ip-adapter-image", "i.png"];
    recorded(&folder, full.to_str().unwrap(), &[&begin[..], &led, &shown].concat(), "a.png", &[]);
    let source = pipeline("sd1").unwrap();
    recorded(&folder, source.to_str().unwrap(), &["a", "--steps", "1", "--type", "q8_0"], "a.png", &[]);
}

/// The noise and the latents of every picture. Seen red with those of the last one alone.
#[test]
fn latents_of_all_pictures_are_saved() {
    let Some(folder) = converted() else { return };
    let draw = |more: &[&str]| {
        let output =
            folder.nijimi(&[&["-m", "sd1.gguf", "-p", "a", "--steps", "2", "--backend", "cpu"], more].concat());
        assert!(output.status.success(), "{}", said(&output));
    };
    draw(&["-s", "3", "-b", "2", "-o", "a-%d.png", "--save-latents", "two.safetensors"]);
    draw(&["-s", "9", "-b", "2", "-o", "b-%d.png", "--latents", "two.safetensors"]);
    assert_eq!(folder.picture("a-0.png").pixels, folder.picture("b-0.png").pixels);
    assert_eq!(folder.picture("a-1.png").pixels, folder.picture("b-1.png").pixels);
}
