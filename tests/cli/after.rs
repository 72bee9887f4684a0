//! What is done after the picture: a second pass, and a part that is put back.

use super::common::Folder;
use super::convert::pipeline;
use drawn::drawn;
use nijimi_pictures::Infotext;
use nijimi_runtime::model::{DrawRequest, Enlarge, Hires, MaskCrop};
use nijimi_runtime::{Device, Model};
use std::path::Path;

#[path = "../../runtime/tests/common/drawn.rs"]
mod drawn;

const SMALL: [&str; 10] = ["-p", "a red mat", "--steps", "2", "-W", "32", "-H", "32", "--backend", "cpu"];

/// What the program says on stderr.
fn draw(folder: &Folder, model: &str, name: &str, more: &[&str]) -> String {
    let output = folder.nijimi(&[&["-m", model, "-o", name][..], &SMALL, more].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{more:?}: {said}");
    said
}

fn pair<'a>(text: &'a Infotext, key: &str) -> Option<&'a str> {
    text.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// Seen red with the first pass's picture written, with the second pass's noise of another seed, and of the batch's first; with
/// latents enlarged whatever is asked for; with an encoder planned for that is not used; and with a scale taken that changes
/// nothing.
#[test]
fn a_second_pass_draws_a_larger_picture() {
    let Some(model) = pipeline("sd1") else { return };
    let (folder, model) = (Folder::new(), model.to_str().unwrap().to_owned());
    folder.nijimi(&["convert", &model, "-o", "sd1.gguf", "--type", "f32"]);
    let upscaler = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upscalers/x4.safetensors");
    let upscaler = upscaler.to_str().unwrap();
    let library = Model::open(folder.path.join("sd1.gguf"), &Device::Cpu).unwrap();
    let mut all = Vec::new();
    for (how, name, enlarge) in [
        ("latent", "Latent", Some(Enlarge::Latents)),
        ("lanczos", "Lanczos", Some(Enlarge::Pixels)),
        (upscaler, "x4.safetensors", None),
    ] {
        let more = ["-s", "5", "--hires", "2", "--hires-strength", "0.6", "--hires-upscaler", how];
        draw(&folder, "sd1.gguf", "large.png", &more);
        let picture = folder.picture("large.png");
        assert_eq!((picture.width, picture.height), (64, 64));
        let text = Infotext::parse(&picture.parameters);
        let keys = ["Size", "Denoising strength", "Hires upscale", "Hires upscaler"];
        assert_eq!(keys.map(|key| pair(&text, key).unwrap()), ["32x32", "0.6", "2", name]);
        assert!(!all.contains(&picture.pixels), "{how}");
        if let Some(enlarge) = enlarge {
            let hires = Some(Hires { size: [64, 64], strength: 0.6, steps: None, enlarge });
            let request = library.request("a red mat", 5).unwrap();
            let request = DrawRequest { size: [32, 32], steps: Some(2), hires, ..request };
            assert!(drawn(&library, &request) == picture.pixels, "{how}: not what the library draws");
        }
        all.push(picture.pixels);
    }
    // Of a batch each is what it is alone, and what stays in memory changes nothing.
    draw(&folder, "sd1.gguf", "both-%d.png", &["-s", "4", "-b", "2", "--hires", "2", "--hires-strength", "0.6"]);
    assert!(folder.picture("both-1.png").pixels == all[0]);
    let resident = ["-s", "5", "--hires", "2", "--hires-strength", "0.6", "--stay-resident"];
    draw(&folder, "sd1.gguf", "resident.png", &resident);
    assert!(folder.picture("resident.png").pixels == all[0]);

    let plan = ["plan", "-m", "sd1.gguf", "-W", "32", "-H", "32", "--steps", "2", "--hires", "2", "--backend", "cpu"];
    let told = String::from_utf8(folder.nijimi(&plan).stdout).unwrap();
    assert!(told.contains("first pass, 32x32, 2 steps:") && told.contains("second pass, 64x64, 2 steps:"), "{told}");
    assert!(!told.lines().any(|line| line.starts_with("encoder")), "{told}");
    let (code, problem) = folder.fail(&[&["-m", "sd1.gguf"][..], &SMALL, &["--hires", "1.01"]].concat());
    assert!(code == 2 && problem.contains("give a larger one"), "{code}: {problem}");
    let (code, problem) =
        folder.fail(&[&["-m", "sd1.gguf"][..], &SMALL, &["--hires", "2", "--hires-upscaler", "sd1.gguf"]].concat());
    assert!(code == 3 && problem.contains("takes an upscaler"), "{code}: {problem}");
}

/// Seen red with all of the part pasted, with nothing of it, and with its rows as long as the whole's; with the part cut at
/// another size than it is drawn at, with a pixel more around it, and with the area left out of the text.
#[test]
fn a_masked_part_is_drawn_by_itself() {
    let Some(model) = pipeline("sd1") else { return };
    let folder = Folder::new();
    folder.nijimi(&["convert", model.to_str().unwrap(), "-o", "sd1.gguf"]);
    let model = "sd1.gguf";
    let (width, height) = (50, 43);
    let bytes: Vec<u8> = (0..width * height * 3).map(|i| (i * 89 % 251) as u8).collect();
    let selected = |i: usize| (8..20).contains(&(i / width)) && (30..45).contains(&(i % width));
    let mask: Vec<u8> = (0..width * height).map(|i| if selected(i) { 255 } else { 0 }).collect();
    let write = |name: &str, channels, bytes: &[u8]| {
        let png = nijimi_pictures::png([height, width, channels], bytes, String::new()).unwrap();
        std::fs::write(folder.path.join(name), png).unwrap();
    };
    write("init.png", 3, &bytes);
    write("mask.png", 1, &mask);
    write("none.png", 1, &vec![0; width * height]);
    let more = ["-i", "init.png", "--mask", "mask.png", "--mask-crop", "4", "-s", "5", "--strength", "0.9"];
    draw(&folder, model, "out.png", &more);
    let picture = folder.picture("out.png");
    assert_eq!((picture.width, picture.height), (width, height));
    let mut changed = 0;
    for (i, (new, old)) in picture.pixels.chunks(3).zip(bytes.chunks(3)).enumerate() {
        assert!(new == old || selected(i), "pixel {i}");
        changed += usize::from(new != old);
    }
    assert!(changed > 150, "{changed} of 180");
    // What the library draws of it.
    let [values, select] = [&bytes, &mask].map(|bytes| bytes.iter().map(|&v| f32::from(v) / 255.0).collect::<Vec<_>>());
    let crop = MaskCrop::new(&select, [height, width], 4, [32, 32]).unwrap();
    let (part, small) = (crop.picture(&values).unwrap(), crop.mask(&select).unwrap());
    let library = Model::open(folder.path.join(model), &Device::Cpu).unwrap();
    let request = DrawRequest {
        size: [32, 32],
        steps: Some(2),
        init_image: Some(&part),
        mask: Some(&small),
        strength: Some(0.9),
        ..library.request("a red mat", 5).unwrap()
    };
    let mut expected = bytes;
    crop.paste(&drawn(&library, &request), &select, &mut expected).unwrap();
    assert!(picture.pixels == expected, "not what the library draws");
    let text = Infotext::parse(&picture.parameters);
    let keys = ["Size", "Inpaint area", "Masked area padding", "Mask"];
    assert_eq!(keys.map(|key| pair(&text, key).unwrap()), ["32x32", "Only masked", "4", "mask.png"]);
    let none = ["-i", "init.png", "--mask", "none.png", "--mask-crop", "4"];
    let (code, problem) = folder.fail(&[&["-m", model, "-o", "x.png"][..], &SMALL, &none].concat());
    assert!(code == 2 && problem.contains("--mask-crop: what the mask selects is nothing"), "{code}: {problem}");
}
