//! Models that read prompts, as a user runs them: whole pictures against the reference implementation's, from the same noise,
//! and what the options do.

use super::common::{Folder, Picture};
use super::convert::{copy, pipeline};
use nijimi_import::TensorFile;
use std::path::Path;

/// Of a byte: the init image is rounded to bytes, and so is the one that is drawn.
const TOLERANCE: f32 = 2.0;

/// A tensor of a safetensors file, with its shape.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = TensorFile::open(path).unwrap();
    let shape = file.tensors()[name].shape.clone();
    let mut values = Vec::new();
    file.read(name, 0..shape.iter().product(), &mut values).unwrap();
    (shape, values)
}

/// The planes of one picture as pixels.
fn pixels(shape: &[usize], planes: &[f32]) -> Vec<f32> {
    let size = shape[2] * shape[3];
    (0..size * shape[1]).map(|i| planes[i % shape[1] * size + i / shape[1]]).collect()
}

/// Writes a tensor, of values from `low` to 1, as a PNG.
fn save(folder: &Folder, name: &str, (shape, planes): (Vec<usize>, Vec<f32>), low: f32) {
    let color = if shape[1] == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
    let file = std::fs::File::create(folder.path.join(name)).unwrap();
    let mut encoder = png::Encoder::new(file, shape[3] as u32, shape[2] as u32);
    encoder.set_color(color);
    let bytes = pixels(&shape, &planes).into_iter().map(|v| ((v - low) / (1.0 - low) * 255.0).round() as u8);
    encoder.write_header().unwrap().write_image_data(&bytes.collect::<Vec<_>>()).unwrap();
}

fn drawn(folder: &Folder, args: &[&str]) {
    let output = folder.nijimi(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Draws a picture of a family's golden file, with its prompts, steps and size, and compares it.
fn compare(folder: &Folder, family: &str, model: &str, picture: &str, more: &[&str]) {
    let golden = pipeline(&format!("{family}.golden.safetensors")).unwrap();
    let (shape, want) = tensor(&golden, picture);
    let file = TensorFile::open(&golden).unwrap();
    let said = |key: &str| file.metadata()[key].clone();
    let (width, height) = (shape[3].to_string(), shape[2].to_string());
    let (prompt, negative, steps) = (said("prompt"), said("negative_prompt"), said("steps"));
    let args = ["-m", model, "-p", &prompt, "-n", &negative, "--steps", &steps, "-W", &width, "-H", &height];
    drawn(folder, &[&args[..], &["-o", "out.png", "-s", "1", "--backend", "cpu"], more].concat());
    let picture_of = folder.picture("out.png");
    let far = pixels(&shape, &want).into_iter().zip(&picture_of.pixels).map(|(a, b)| (a * 255.0 - f32::from(*b)).abs());
    let far = far.fold(0.0, f32::max);
    println!("{family} {picture}: {far:.3} / 255");
    assert!(far <= TOLERANCE, "{family} {picture}: {far} / 255");
}

/// Seen red with noise of its own in place of the file's, and with the solver's own spacing of the timesteps.
#[test]
fn pictures_are_the_reference_implementations() {
    let Some(model) = pipeline("sd1") else { return };
    let (folder, model) = (Folder::new(), model.to_str().unwrap().to_owned());
    let golden = pipeline("sd1.golden.safetensors").unwrap();
    let noise = |name: &str| format!("{}:{name}", golden.display());
    let latents = noise("latents");
    let draw = |picture: &str, more: &[&str]| {
        compare(&folder, "sd1", &model, picture, &[&["--latents", &latents], more].concat());
    };
    draw("image_ddim_cfg7.5", &["--cfg-scale", "7.5"]);
    draw("image_ddim_cfg7.5_rescale0.7", &["--cfg-scale", "7.5", "--cfg-rescale", "0.7"]);
    draw("image_euler_cfg5", &["--cfg-scale", "5", "--sampling-method", "euler"]);
    let karras = ["--cfg-scale", "5", "--sampling-method", "dpm++2m", "--scheduler", "karras"];
    draw("image_dpmpp2m_karras_cfg5", &karras);
    save(&folder, "init.png", tensor(&golden, "img2img_init"), -1.0);
    let (latents, strength) = (noise("img2img_noise"), ["--strength", "0.6", "--cfg-scale", "5"]);
    let args = [&["--latents", &latents, "-i", "init.png"][..], &strength].concat();
    compare(&folder, "sd1", &model, "image_img2img_ddim_s0.6_cfg5", &args);
}

/// Depth of 16 bits at a size of its own leads a picture. Seen red with a picture of 8 bits in its place.
#[test]
fn depth_leads() {
    let (Some(base), Some(own)) = (pipeline("sd2"), pipeline("depth")) else { return };
    let folder = Folder::new();
    let whole = folder.path.join("sd2-depth");
    copy(&own, &whole);
    for part in ["text_encoder", "tokenizer", "vae"] {
        copy(&base.join(part), &whole.join(part));
    }
    let golden = pipeline("depth.golden.safetensors").unwrap();
    save(&folder, "init.png", tensor(&golden, "img2img_init"), -1.0);
    let (shape, values) = tensor(&golden, "depth_image");
    let file = std::fs::File::create(folder.path.join("near.png")).unwrap();
    let mut encoder = png::Encoder::new(file, shape[3] as u32, shape[2] as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let bytes: Vec<u8> = values.iter().flat_map(|v| ((v * 65535.0).round() as u16).to_be_bytes()).collect();
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    let latents = format!("{}:img2img_noise", golden.display());
    let args = ["-i", "init.png", "--strength", "0.6", "--cfg-scale", "5", "--latents", &latents];
    let picture = "image_img2img_ddim_s0.6_cfg5";
    compare(&folder, "depth", "sd2-depth", picture, &[&args[..], &["--depth-image", "near.png"]].concat());
    assert!(folder.picture("out.png").parameters.contains("Depth image: near.png"));
    for (path, name) in [("sd2-depth", "depth.gguf"), (base.to_str().unwrap(), "sd2.gguf")] {
        let output = folder.nijimi(&["convert", path, "-o", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let own = ["-m", "depth.gguf", "-p", "a cat", "--steps", "2", "--backend", "cpu", "-o", "x.png"];
    let cases: [(&[&str], &str); 4] = [
        (&own, "--depth-image"),
        (&[&own[..], &["--depth-image", "near.png", "-i", "init.png", "--mask", "init.png"]].concat(), "--mask"),
        (&[&own[..], &["--depth-image", "near.png", "--hires", "2"]].concat(), "--hires"),
        (&[&["-m", "sd2.gguf"], &own[2..], &["--depth-image", "near.png"]].concat(), "this is none"),
    ];
    for (args, part) in cases {
        let (code, problem) = folder.fail(args);
        assert!(code == 2 && problem.contains(part), "{args:?}: {code} {problem}");
    }
}

/// SDXL's refiner takes the last steps: a weight file or a folder, in one picture or several, as it is recorded.
///
/// Seen red with the refiner's first step one later, and with noise added to the first model's latents.
#[test]
fn a_refiner_goes_on() {
    let (Some(base), Some(refiner)) = (pipeline("sdxl"), pipeline("refiner")) else { return };
    let folder = Folder::new();
    let whole = folder.path.join("xl_refiner");
    copy(&refiner, &whole);
    for part in ["text_encoder_2", "tokenizer_2", "vae"] {
        copy(&base.join(part), &whole.join(part));
    }
    let model = base.to_str().unwrap();
    let golden = pipeline("refiner.golden.safetensors").unwrap();
    let latents = format!("{}:latents", golden.display());
    let args = ["--cfg-scale", "5", "--latents", &latents, "--refiner", "xl_refiner"];
    compare(&folder, "refiner", model, "image_ddim_cfg5", &args);
    let said = folder.picture("out.png").parameters;
    assert!(said.contains("Refiner: xl_refiner, Refiner switch at: 0.8"), "{said}");

    let sd1 = pipeline("sd1").unwrap();
    for (name, path) in [("base.gguf", model), ("last.gguf", "xl_refiner"), ("sd1.gguf", sd1.to_str().unwrap())] {
        let output = folder.nijimi(&["convert", path, "-o", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let told = String::from_utf8(folder.nijimi(&["inspect", "last.gguf"]).stdout).unwrap();
    assert!(told.contains("SDXL's refiner"), "{told}");
    let small = ["-m", "base.gguf", "-p", "a cat", "--steps", "5", "-W", "32", "-H", "32", "--backend", "cpu"];
    // Fresh noise goes on as well, and pictures of a batch are as they are alone.
    let draw = |more: &[&str]| drawn(&folder, &[&small[..], &["--sampling-method", "euler_a"], more].concat());
    let refiner = ["--refiner", "last.gguf", "--refiner-start", "0.6"];
    draw(&[&["-s", "3", "-b", "2", "-o", "of-%d.png"][..], &refiner].concat());
    draw(&[&["-s", "4", "-o", "four.png"][..], &refiner].concat());
    draw(&["-s", "4", "-o", "plain.png"]);
    assert_eq!(folder.picture("of-1.png").pixels, folder.picture("four.png").pixels);
    assert_ne!(folder.picture("plain.png").pixels, folder.picture("four.png").pixels);
    let plan = folder.nijimi(&[&["plan"], &small[..2], &small[4..], &refiner].concat());
    let told = String::from_utf8(plan.stdout).unwrap();
    assert!(told.contains("first model, 32x32, 3 steps") && told.contains("second model, 32x32, 2 steps"), "{told}");

    let cases: [(&[&str], i32, &str); 8] = [
        (&["--refiner", "base.gguf"], 3, "the refiner is SDXL"),
        (&["--refiner", "sd1.gguf"], 3, "the refiner is another model"),
        (&["-m", "sd1.gguf", "--refiner", "last.gguf"], 3, "the model that is refined is another model"),
        (&["--refiner", "last.gguf", "--refiner-start", "1"], 2, "leaves the refiner none"),
        (&["--refiner", "last.gguf", "--refiner-start", "0"], 2, "leaves the model none"),
        (&["--refiner-start", "0.5"], 2, "needs a refiner"),
        (&["--refiner", "last.gguf", "--hires", "2"], 2, "--hires"),
        (&["--refiner", "last.gguf", "--stay-resident"], 2, "--stay-resident"),
    ];
    for (more, code, part) in cases {
        let own = if more.contains(&"-m") { &small[2..] } else { &small[..] };
        let (found, problem) = folder.fail(&[own, more, &["-o", "x.png"]].concat());
        assert!(found == code && problem.contains(part), "{more:?}: {found} {problem}");
    }
}

/// Seen red with the mask upside down, and with a LoRA and a ControlNet of no strength.
#[test]
fn inpainting_loras_and_controls() {
    let Some(model) = pipeline("inpaint") else { return };
    let folder = Folder::new();
    let golden = pipeline("inpaint.golden.safetensors").unwrap();
    save(&folder, "init.png", tensor(&golden, "init_image"), -1.0);
    save(&folder, "mask.png", tensor(&golden, "mask"), 0.0);
    let latents = format!("{}:latents", golden.display());
    let args = ["-i", "init.png", "--mask", "mask.png", "--cfg-scale", "7.5", "--latents", &latents];
    compare(&folder, "inpaint", model.to_str().unwrap(), "image_ddim_cfg7.5", &args);

    let Some(model) = pipeline("sd1full") else { return };
    let model = model.to_str().unwrap();
    let golden = pipeline("sd1full.golden.safetensors").unwrap();
    let latents = format!("{}:latents", golden.display());
    let args = ["--cfg-scale", "4", "--latents", &latents];
    compare(&folder, "sd1full", model, "image_ddim_cfg4", &args);
    let lora = format!("{}:0.8", pipeline("sd1full.lora.safetensors").unwrap().display());
    compare(&folder, "sd1full", model, "image_ddim_cfg4_lora0.8", &[&args[..], &["--lora", &lora]].concat());
    save(&folder, "control.png", tensor(&golden, "control_image"), 0.0);
    let control = pipeline("sd1full_controlnet").unwrap();
    let shown = ["--control-net", control.to_str().unwrap(), "--control-image", "control.png"];
    let args = [&args[..], &shown, &["--control-strength", "0.7"]].concat();
    compare(&folder, "sd1full", model, "image_ddim_cfg4_control0.7", &args);
}

/// Pictures as a prompt: of each projection, beside a LoRA and a ControlNet, from an init image, by one picture and by two, from
/// published files and from ours; what does not fit is refused, and a plan knows it.
///
/// Seen red with the first picture alone shown, and with a strength of 1 whatever is asked.
#[test]
fn image_prompts() {
    let [Some(encoder), Some(sd1), Some(full)] = ["ip_encoder", "sd1", "sd1full"].map(pipeline) else { return };
    let [encoder, sd1, full] = [&encoder, &sd1, &full].map(|path| path.to_str().unwrap());
    let folder = Folder::new();
    let files = |name: &str| {
        let golden = pipeline(&format!("{name}.golden.safetensors")).unwrap();
        save(&folder, "shown.png", tensor(&golden, "shown"), 0.0);
        save(&folder, "shown_2.png", tensor(&golden, "shown_2"), 0.0);
        (pipeline(&format!("{name}.safetensors")).unwrap().to_str().unwrap().to_owned(), golden)
    };
    let seen = ["--clip-vision", encoder, "--ip-adapter-image", "shown.png", "--ip-adapter-strength", "0.6"];
    let (plus, golden) = files("sd1_ip_plus");
    let latents = format!("{}:latents", golden.display());
    let led = [&["--ip-adapter", &plus, "--latents", &latents][..], &seen].concat();
    let guided = [&led[..], &["--cfg-scale", "5"]].concat();
    compare(&folder, "sd1_ip_plus", sd1, "image_ddim_cfg5_ip0.6", &guided);
    let told = String::from_utf8(folder.nijimi(&["inspect", "out.png"]).stdout).unwrap();
    assert!(
        told.contains("Model: sd1_ip_plus.safetensors, Weight: 0.6, Encoder: ip_encoder, Image: shown.png"),
        "{told}"
    );
    let two = [&guided[..], &["--ip-adapter-image", "shown_2.png"]].concat();
    compare(&folder, "sd1_ip_plus", sd1, "image_two_ddim_cfg5_ip0.6", &two);

    let plain = pipeline("sd1full_ip.safetensors").unwrap();
    let plain = plain.to_str().unwrap();
    for (name, from) in [("ip.gguf", &*plus), ("seer.gguf", encoder), ("plain.gguf", plain), ("sd1.gguf", sd1)] {
        drawn(&folder, &["convert", from, "-o", name]);
    }
    let ours = ["--ip-adapter", "ip.gguf", "--clip-vision", "seer.gguf", "--ip-adapter-image", "shown.png"];
    let ours = [&ours[..], &["--ip-adapter-strength", "0.6", "--cfg-scale", "5", "--latents", &latents]].concat();
    compare(&folder, "sd1_ip_plus", sd1, "image_ddim_cfg5_ip0.6", &ours);
    for more in [&["--cache", "2"][..], &["--hires", "2"], &["-b", "2"], &["--stay-resident"]] {
        let small = ["-m", sd1, "-p", "a", "-s", "1", "--steps", "2", "-W", "32", "-H", "32", "-o", "more.png"];
        drawn(&folder, &[&small[..], &ours[..8], more].concat());
    }

    let (perceptron, golden) = files("sd1_ip_full");
    save(&folder, "init.png", tensor(&golden, "img2img_init"), -1.0);
    let latents = format!("{}:img2img_noise", golden.display());
    let args =
        ["--ip-adapter", &perceptron, "--latents", &latents, "-i", "init.png", "--strength", "0.5", "--cfg-scale", "5"];
    compare(&folder, "sd1_ip_full", sd1, "image_img2img_ddim_s0.5_cfg5_ip0.6", &[&args[..], &seen].concat());

    let (_, golden) = files("sd1full_ip");
    save(&folder, "lines.png", tensor(&golden, "control_image"), 0.0);
    let latents = format!("{}:latents", golden.display());
    let (control, lora) = (pipeline("sd1full_controlnet").unwrap(), pipeline("sd1full.lora.safetensors").unwrap());
    let lora = format!("{}:0.8", lora.display());
    let args = ["--ip-adapter", plain, "--latents", &latents, "--cfg-scale", "4", "--lora", &lora];
    let shown =
        ["--control-net", control.to_str().unwrap(), "--control-image", "lines.png", "--control-strength", "0.02"];
    let args = [&args[..], &shown, &seen].concat();
    compare(&folder, "sd1full_ip", full, "image_ddim_cfg4_control0.02_lora0.8_ip0.6", &args);

    let plan = |more: &[&str]| folder.nijimi(&[&["plan", "-m", sd1], more].concat());
    let told = String::from_utf8(plan(&["--ip-adapter", "ip.gguf", "--clip-vision", encoder]).stdout).unwrap();
    assert!(told.contains("image encoder") && told.contains("IP-Adapter"), "{told}");
    for problem in [
        folder.fail(&[&["-m", "sd1.gguf", "-p", "a", "--ip-adapter", "plain.gguf"][..], &ours[2..8]].concat()),
        (3, String::from_utf8(plan(&["--ip-adapter", "plain.gguf", "--clip-vision", encoder]).stderr).unwrap()),
    ] {
        let parts = ["the IP-Adapter's width of the text's states is 64, the model's is 32"];
        assert!(problem.0 == 3 && parts.iter().all(|part| problem.1.contains(part)), "{problem:?}");
    }
    let (code, problem) =
        folder.fail(&[&["-m", "sd1.gguf", "-p", "a"][..], &ours[..4], &["--ip-adapter-image", "no.png"]].concat());
    assert!(code == 3 && problem.contains("no.png cannot be read"), "{code} {problem}");
}

/// Stable Diffusion 3.5, from its folder and converted, with skip-layer guidance; a plan knows it, and what it has not is refused.
///
/// Seen red with the scale of skip-layer guidance left out.
#[test]
fn a_transformer_draws() {
    let (folder, model) = (Folder::new(), pipeline("sd35").unwrap());
    let (golden, model) = (pipeline("sd35.golden.safetensors").unwrap(), model.to_str().unwrap());
    let latents = format!("{}:latents", golden.display());
    let skip = ["--slg-scale", "2.8", "--skip-layers", "1", "--skip-layer-end", "0.6"];
    let args = ["--latents", &*latents, "--cfg-scale", "4", "--type", "f32"];
    compare(&folder, "sd35", model, "image_cfg4_skip1", &[&args[..], &skip].concat());
    drawn(&folder, &["convert", model, "-o", "sd35.gguf", "--type", "f32"]);
    compare(&folder, "sd35", "sd35.gguf", "image_cfg5", &["--latents", &latents, "--cfg-scale", "5"]);

    let told = |args: &[&str]| String::from_utf8(folder.nijimi(args).stdout).unwrap();
    let plan = told(&[&["plan", "-m", "sd35.gguf", "-W", "32", "-H", "32"][..], &skip].concat());
    assert!(plan.contains("transformer") && plan.contains("layers skipped"), "{plan}");
    for what in [told(&["inspect", "sd35.gguf"]), told(&["inspect", model])] {
        assert!(what.contains("Stable Diffusion 3.5"), "{what}");
    }
    let (base, sd1) =
        (["-m", "sd35.gguf", "-p", "a", "-W", "32", "-H", "32", "--steps", "2"], pipeline("sd1").unwrap());
    for (args, said) in [
        (&["--cache", "2"][..], "models with a U-Net"),
        (&["--sampling-method", "ddim"], "dpm++2m"),
        (&["--skip-layers", "1"], "need --slg-scale"),
        (&["--slg-scale", "2.8"], "skipped block"),
        (&["-W", "34"], "multiple of 4"),
        (&["--slg-scale", "1", "--cfg-scale", "1", "--skip-layers", "1"], "guided runs"),
    ] {
        let (code, problem) = folder.fail(&[&base[..], args].concat());
        assert!(code == 2 && problem.contains(said), "{args:?}: {code} {problem}");
    }
    drawn(&folder, &["convert", sd1.to_str().unwrap(), "-o", "sd1.gguf", "--type", "f16"]);
    let (code, problem) = folder.fail(&["-m", "sd1.gguf", "-p", "a", "--steps", "2", "--slg-scale", "2"]);
    assert!(
        code == 2 && problem.contains("network is Stable Diffusion 3's") && !problem.contains("-W"),
        "{code} {problem}"
    );
}

/// T2I-Adapters by the same option as ControlNets: one that reads red, green and blue, and one that reads lines, which are shown to
/// it in gray or in colors. Beside `--cache` an adapter is drawn with, and a ControlNet refused before it is converted.
///
/// Seen red with the red channel for the luma, with a cache that lets ControlNets through, and with a plan that refuses adapters.
#[test]
fn adapters() {
    let (Some(model), Some(control)) = (pipeline("sd1"), pipeline("sd1full_controlnet")) else { return };
    let (folder, model) = (Folder::new(), model.to_str().unwrap());
    for name in ["sd1_t2i_full", "sd1_t2i_light"] {
        let golden = pipeline(&format!("{name}.golden.safetensors")).unwrap();
        save(&folder, "control.png", tensor(&golden, "control_image"), 0.0);
        let latents = format!("{}:latents", golden.display());
        let adapter = pipeline(name).unwrap();
        let shown =
            ["--control-net", adapter.to_str().unwrap(), "--control-image", "control.png", "--latents", &latents];
        let args = [&shown[..], &["--control-strength", "0.7", "--cfg-scale", "5"]].concat();
        compare(&folder, name, model, "image_ddim_cfg5_control0.7", &args);
        if name == "sd1_t2i_light" {
            // The same luma in colors.
            let (shape, gray) = tensor(&golden, "control_image");
            let planes = [1.0 / 0.299, 0.0, 0.0].map(|share: f32| gray.iter().map(move |v| (v * share).min(1.0)));
            let colored: Vec<f32> = planes.into_iter().flatten().collect();
            let dark: Vec<f32> = gray.iter().map(|v| (v / 0.299).min(1.0) * 0.299).collect();
            save(&folder, "control.png", (vec![1, 3, shape[2], shape[3]], colored), 0.0);
            drawn(
                &folder,
                &[&["-m", model, "-p", "a", "-s", "1", "--steps", "2", "-o", "colored.png"], &args[..]].concat(),
            );
            save(&folder, "control.png", (shape, dark), 0.0);
            drawn(
                &folder,
                &[&["-m", model, "-p", "a", "-s", "1", "--steps", "2", "-o", "gray.png"], &args[..]].concat(),
            );
            let [a, b] = ["colored.png", "gray.png"].map(|name| folder.picture(name).pixels);
            let far = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(16), "{far:?}");
        }
        let cached =
            [&["-m", model, "-p", "a", "-s", "1", "--steps", "3", "-o", "cached.png", "--cache", "2"], &shown[..]]
                .concat();
        drawn(&folder, &cached);
        let planned = folder.nijimi(&["plan", "-m", model, "--control-net", shown[1], "--cache", "2"]);
        let text = String::from_utf8(planned.stdout).unwrap();
        assert!(planned.status.success() && text.contains("T2I-Adapter") && text.contains("U-Net, reused"), "{text}");
    }
    let shown = ["--control-net", control.to_str().unwrap(), "--control-image", "control.png", "--cache", "2"];
    let planned = ["plan", "-m", model, "--control-net", shown[1], "--cache", "2"];
    for args in [&[&["-m", model, "-p", "a"], &shown[..]].concat()[..], &planned] {
        let output = folder.nijimi(args);
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(problem.contains("nijimi: --cache does not go with a ControlNet"), "{problem}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// A small model as one of our files, and how it is asked for a picture.
pub fn converted() -> Option<Folder> {
    let (folder, model) = (Folder::new(), pipeline("sd1")?);
    let done = folder.nijimi(&["convert", model.to_str().unwrap(), "-o", "sd1.gguf"]);
    assert!(done.status.success());
    Some(folder)
}

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let own = ["-m", "sd1.gguf", "-p", "a red mat", "--steps", "3", "--backend", "cpu"];
    [&own, more].concat()
}

/// Seen red with one seed for all pictures of a batch, with noise and latents exchanged in the file, and with a preview of the
/// noise.
#[test]
fn batches_latents_and_previews() {
    let Some(folder) = converted() else { return };
    let draw = |more: &[&str]| drawn(&folder, &args(more));
    draw(&["-s", "4", "-b", "3", "-o", "of-%d.png"]);
    draw(&["-s", "5", "-o", "five.png", "--save-latents", "five.safetensors"]);
    assert!(folder.picture("of-1.png").pixels == folder.picture("five.png").pixels);
    assert_ne!(folder.picture("of-0.png").pixels, folder.picture("of-1.png").pixels);
    // Parts in turn, or all in memory, and a limit: the same pictures.
    draw(&["-s", "4", "-b", "2", "-o", "held-%d.png", "--stay-resident"]);
    assert_eq!(folder.picture("held-1.png").pixels, folder.picture("five.png").pixels);
    // From a picture, which is encoded once for both.
    draw(&["-s", "4", "-b", "2", "-o", "from-%d.png", "-i", "of-2.png"]);
    draw(&["-s", "5", "-o", "from.png", "-i", "of-2.png", "--stay-resident"]);
    assert_eq!(folder.picture("from-1.png").pixels, folder.picture("from.png").pixels);
    assert_ne!(folder.picture("from.png").pixels, folder.picture("five.png").pixels);
    // The same noise with another seed.
    draw(&["-s", "9", "-o", "again.png", "--latents", "five.safetensors"]);
    assert_eq!(folder.picture("again.png").pixels, folder.picture("five.png").pixels);
    draw(&["-s", "5", "-o", "torch.png", "--rng", "cpu"]);
    assert_ne!(folder.picture("torch.png").pixels, folder.picture("five.png").pixels);
    draw(&["-s", "5", "-o", "skip.png", "--clip-skip", "2"]);
    assert_ne!(folder.picture("skip.png").pixels, folder.picture("five.png").pixels);
    let last = |method: &str| -> Picture {
        draw(&["-s", "5", "-o", "five.png", "--preview", "now.png", "--preview-method", method]);
        folder.picture("now.png")
    };
    // The last step's estimate is the picture, but for the little noise that DDIM's settings leave.
    let (shown, whole) = (last("vae").pixels, folder.picture("five.png").pixels);
    let far = shown.iter().zip(&whole).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(shown.len() == whole.len() && far <= Some(8), "{far:?}");
    let rough = last("proj");
    assert_eq!((rough.width, rough.height, rough.parameters.as_str()), (32, 32, "step 3 of 3"));
}

/// `-p -` draws a picture for each line, as if each had been asked for alone, with the same seed. Seen red with a seed for each.
#[test]
fn prompts_come_from_standard_input() {
    let Some(folder) = converted() else { return };
    let listed = ["-m", "sd1.gguf", "-p", "-", "--steps", "2", "--backend", "cpu", "-s", "7", "-o", "line-%d.png"];
    let output = folder.nijimi_reading(&listed, "a red mat\r\n\n  a cat \n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folder.files(), ["line-0.png", "line-1.png"]);
    for (prompt, file) in [("a red mat", "line-0.png"), ("a cat", "line-1.png")] {
        drawn(
            &folder,
            &["-m", "sd1.gguf", "-p", prompt, "--steps", "2", "--backend", "cpu", "-s", "7", "-o", "alone.png"],
        );
        assert!(folder.picture(file) == folder.picture("alone.png"), "{prompt}");
    }
    let output = folder.nijimi_reading(&listed, " \n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("has no prompt"), "{said}");
}

/// Seen red with a limit that is not looked at, and with a plan that does not fit ended as one that does.
#[test]
fn a_plan_and_a_refusal_have_figures() {
    let Some(folder) = converted() else { return };
    let told = folder.nijimi(&["plan", "-m", "sd1.gguf", "-W", "64", "-H", "32"]);
    let text = String::from_utf8(told.stdout).unwrap();
    for part in ["64x32", "text encoder", "U-Net", "decoder", "operations", "peak"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // Deep features that are reused: the whole network in the first of each three steps.
    let cached = |more: &[&str]| {
        let args = ["plan", "-m", "sd1.gguf", "--backend", "cpu", "--steps", "7", "--cache", "3"];
        folder.nijimi(&[&args[..], more].concat())
    };
    let text = String::from_utf8(cached(&[]).stdout).unwrap();
    let times = |stage: &str| {
        let line = text.lines().find(|line| line.starts_with(stage)).unwrap();
        line.split("  ").filter(|cell| !cell.trim().is_empty()).nth(6).unwrap().trim().to_owned()
    };
    assert_eq!((times("U-Net  "), times("U-Net, reused")), ("3".into(), "4".into()), "{text}");
    let control = pipeline("sd1full_controlnet").unwrap();
    let refused = cached(&["--control-net", control.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    // What does not fit is told in the table, and by the code.
    let plan = |more: &[&str]| folder.nijimi(&[&["plan", "-m", "sd1.gguf", "-W", "64", "-H", "32"], more].concat());
    let small = plan(&["--memory-limit", "10K"]);
    assert_eq!(small.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&small.stdout).contains("does not fit"));
    assert!(String::from_utf8_lossy(&small.stderr).contains("of 0 MB that may be used"));
    let stays = plan(&["--memory-limit", "1G", "--stay-resident"]);
    let text = String::from_utf8_lossy(&stays.stdout).into_owned();
    assert!(stays.status.success() && !text.contains("one part of the model at a time"), "{text}");
    let (code, problem) = folder.fail(&args(&["--memory-limit", "10K", "-o", "x.png"]));
    assert!(code == 3 && problem.contains("U-Net") | problem.contains("decoder"), "{code} {problem}");
    for (more, code, part) in [
        (&["-W", "33"][..], 2, "multiple of"),
        (&["--sampling-method", "none"], 2, "there are ddpm"),
        (&["--eta", "0.5", "--sampling-method", "euler"], 2, "--eta is for"),
        (&["-i", "none.png"], 3, "none.png"),
        (&["--clip-skip", "99"], 2, "layers"),
        (&["--latents", "sd1.gguf"], 2, "name a .safetensors file"),
        (&["--no-clip"], 2, "models of pixels"),
    ] {
        let (found, problem) = folder.fail(&args(more));
        assert!(found == code && problem.contains(part), "{more:?}: {found} {problem}");
    }
}

/// A model that is larger than the memory that may be used draws the same picture, reading weights as they are used.
///
/// Seen red with another weight packed for a step.
#[test]
fn more_than_memory_has() {
    let folder = Folder::new();
    let model = format!("{}/weights/emoji-q8_0.gguf", env!("CARGO_MANIFEST_DIR"));
    let args = ["a red apple", "-m", &model, "-s", "1", "--backend", "cpu"];
    for (name, limit) in [("whole.png", "1G"), ("streamed.png", "9M")] {
        drawn(&folder, &[&args[..], &["--memory-limit", limit, "-o", name]].concat());
        let plan = folder.nijimi(&["plan", "-m", &model, "--backend", "cpu", "--memory-limit", limit]);
        let text = String::from_utf8(plan.stdout).unwrap();
        assert!(text.contains("reading its weights as they are used: "), "{text}");
        let fits = text.lines().find(|line| line.starts_with("fits ")).unwrap();
        assert_eq!(fits.contains("of its weights in memory and the others read"), limit == "9M", "{fits}");
    }
    let [whole, streamed] = ["whole.png", "streamed.png"].map(|name| folder.bytes(name));
    assert!(whole == streamed);
}

/// What is at fault is named, and nothing else; and what is advised works.
/// Seen red with the model blamed, and with prompts that count as one window.
#[test]
fn faults_name_what_is_at_fault() {
    let Some(folder) = converted() else { return };
    let huge = format!("(dog:{})", "9".repeat(41));
    let tags = "a cat, ".repeat(3000);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["-p", &huge], 3, "a weight in the prompt"),
        (&["-n", &huge, "--cfg-scale", "5"], 3, "a weight in the negative prompt (-n)"),
        (&["-H", "71"], 2, "-H 71 is not a multiple of 2: take 70 or 72"),
        (&["--steps", "1001"], 2, "--steps: 1001 sampling steps"),
        (&["-p", &tags, "--memory-limit", "6M"], 3, "a shorter prompt"),
        (&["-n", &tags, "--memory-limit", "6M"], 3, "a shorter prompt"),
    ];
    let own = ["-m", "sd1.gguf", "--steps", "2", "--backend", "cpu", "-o", "a.png"];
    for (more, code, part) in cases {
        let output = folder.nijimi(&[&own[..], more].concat());
        let problem = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && problem.contains(part), "{part}: {problem}");
        let options = ["--cfg-scale", "-H", "-W", "--steps", "--mask", "--clip-skip", "--scheduler", "--backend"];
        for option in options.iter().filter(|option| !part.contains(**option)) {
            assert!(!problem.contains(&format!("{option} ")), "{part}: {option} in {problem}");
        }
        if let Some((_, near)) = problem.split_once("take ") {
            drawn(&folder, &[&own[..], &["-H", near.split(' ').next().unwrap()]].concat());
        }
    }
    for (more, code) in [(&["--memory-limit", "6M"][..], 0), (&["--memory-limit", "6M", "-p", &tags], 3)] {
        let output = folder.nijimi(&[&["plan", "-m", "sd1.gguf"], more].concat());
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // A checkpoint is planned as the file that is made of it, without being converted.
    let source = pipeline("sd1").unwrap();
    let plan = |model: &str| folder.nijimi(&["plan", "-m", model, "--backend", "cpu"]);
    let (file, checkpoint) = (plan("sd1.gguf"), plan(source.to_str().unwrap()));
    // All but the time, which is measured.
    let stages = |output: &std::process::Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines =
            text.lines().filter(|line| ["text", "U-Net", "decoder"].iter().any(|stage| line.starts_with(stage)));
        lines.map(|line| line.rsplit_once("  ").unwrap().0.trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert!(stages(&file).len() == 3 && stages(&file) == stages(&checkpoint), "{checkpoint:?}");
    assert!(!String::from_utf8_lossy(&checkpoint.stderr).contains("converted to"));
    let lora = folder.nijimi(&["plan", "-m", "sd1.gguf", "--lora", "none.safetensors"]);
    assert!(lora.status.code() == Some(3) && String::from_utf8_lossy(&lora.stderr).contains("none.safetensors"));
}

/// What other programs read in a prompt is noted, and a mask that is not what it seems. Seen red without the notes.
#[test]
fn what_is_not_obeyed_is_noted() {
    let Some(folder) = converted() else { return };
    let told = |more: &[&str]| {
        let own = ["-m", "sd1.gguf", "--steps", "3", "--backend", "cpu", "-o", "a.png"];
        let output = folder.nijimi(&[&own[..], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    assert!(!told(&["-p", "a (red:1.2) mat"]).contains("note"));
    assert!(told(&["-p", "a cat <lora:style:1>"]).contains("note: <lora:style:1> in the prompt is read as words"));
    assert!(told(&["-p", "a", "-n", "[x:y:0.5]"]).contains("note: [x:y:0.5] in -n"));
    assert!(told(&["-p", "a", "-n", "b", "--cfg-scale", "1"]).contains("note: -n has no effect"));
    let save = |name: &str, width: u32, value: u8| {
        let file = std::fs::File::create(folder.path.join(name)).unwrap();
        let mut encoder = png::Encoder::new(file, width, 32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&vec![value; width as usize * 32]).unwrap();
    };
    save("i.png", 32, 99);
    save("black.png", 32, 0);
    save("wide.png", 64, 255);
    let mask = |name: &str| told(&["-p", "a", "-i", "i.png", "--mask", name]);
    assert!(mask("black.png").contains("note: the mask black.png selects nothing"));
    assert!(mask("wide.png").contains("note: the mask wide.png is 64x32, and -i is 32x32"));
}
