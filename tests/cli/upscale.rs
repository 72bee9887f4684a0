//! `nijimi upscale`, with the small upscalers of the fixtures.

use super::common::Folder;
use nijimi_pictures::{Facts, Infotext, png};
use std::path::Path;

fn upscaler(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upscalers").join(name);
    path.to_str().unwrap().into()
}

/// A picture of `[height, width]` in the folder.
fn picture(folder: &Folder, name: &str, [height, width]: [usize; 2], text: &str) {
    let bytes: Vec<u8> = (0..height * width * 3).map(|i| (i * 89 % 251) as u8).collect();
    std::fs::write(folder.path.join(name), png([height, width, 3], &bytes, text.into()).unwrap()).unwrap();
}

/// What the program says on stderr.
fn upscale(folder: &Folder, args: &[&str]) -> String {
    let output = folder.nijimi(&[&["upscale"], args].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

/// Seen red with the text of the picture left out, with a checkpoint refused, with tiles of the usual size whatever is asked
/// for, with the file's name for the model's, and with the size left out where the picture says nothing.
#[test]
fn a_picture_grows() {
    let folder = Folder::new();
    picture(&folder, "a.png", [6, 9], "a cat\nSteps: 2, Sampler: ddim, Seed: 1, Size: 9x6");
    let model = upscaler("x4.trunk.safetensors");
    let converted = folder.nijimi(&["convert", &model, "-o", "x4.gguf"]);
    let said = String::from_utf8(converted.stderr).unwrap();
    assert!(said.starts_with("an upscaler of 2 blocks, x4, from a single file\n"), "{said}");
    for (name, with) in [("b.png", "x4.gguf"), ("c.png", &model)] {
        let said = upscale(&folder, &["a.png", "-m", with, "-o", name]);
        assert!(said.ends_with(&format!("wrote {name}, 36x24\n")), "{said}");
    }
    let (grown, direct) = (folder.picture("b.png"), folder.picture("c.png"));
    assert_eq!((grown.width, grown.height), (36, 24));
    assert!(grown.pixels == direct.pixels, "converted or not");
    let text = Infotext::parse(&grown.parameters);
    assert_eq!(text.prompt, "a cat");
    let pairs: Vec<_> = text.pairs.iter().skip(4).map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("Postprocess upscale by", "4"), ("Postprocess upscaler", "x4.trunk")]);
    picture(&folder, "wide.png", [3, 50], "");
    for (side, tiles) in [("40", "in 2 tiles"), ("50", "in 1 tiles")] {
        let told = upscale(&folder, &["wide.png", "-m", "x4.gguf", "-o", "d.png", "--tile-size", side, "-v"]);
        assert!(told.contains(tiles), "{told}");
    }
    let told = String::from_utf8(folder.nijimi(&["inspect", "x4.gguf"]).stdout).unwrap();
    for part in
        ["upscaler: an upscaler (ESRGAN)", "sides times 4", "2 blocks of 8 + 4 channels", "-o large.png -m x4.gguf"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    // Of a picture that says nothing of itself.
    picture(&folder, "plain.png", [2, 2], "");
    upscale(&folder, &["plain.png", "-m", "x4.gguf", "-o", "e.png"]);
    let file = std::fs::File::open(folder.path.join("e.png")).unwrap();
    let facts = Facts::read(std::io::BufReader::new(file)).unwrap();
    assert_eq!(facts.parameters.unwrap(), "Size: 8x8, Postprocess upscale by: 4, Postprocess upscaler: x4.trunk");
}

/// Seen red with the tile's size not looked at, and with an upscaler taken for a model.
#[test]
fn what_cannot_be_upscaled_is_said() {
    let folder = Folder::new();
    picture(&folder, "a.png", [50, 50], "");
    folder.nijimi(&["convert", &upscaler("x2.safetensors"), "-o", "x2.gguf"]);
    let model = "x2.gguf";
    std::fs::write(folder.path.join("model.pth"), "PK\u{3}\u{4}").unwrap();
    for (args, code, part) in [
        (&["a.png", "-m", model, "-o", "a.png"][..], 2, "also read"),
        (&["a.png", "-m", model, "-o", "b.jpg"], 2, ".png"),
        (&["a.png", "-m", model, "-o", "b-%d.png"], 2, "leave out %d"),
        (&["a.png", "-m", model, "-o", "b.png", "--tile-size", "39"], 2, "(--tile-size)"),
        (&["a.png", "-m", model, "-o", "b.png", "--memory-limit", "1K"], 3, "give a smaller --tile-size"),
        (&["a.png", "-m", model, "-o", "b.png", "--backend", "cpu", "--device", "0"], 2, "--device is for GPUs"),
        (&["a.png", "-m", "tiny.gguf", "-o", "b.png"], 3, "nijimi upscale takes an upscaler (ESRGAN)"),
        (&["a.png", "-m", "model.pth", "-o", "b.png"], 3, "pickle"),
        (&["nowhere.png", "-m", model, "-o", "b.png"], 3, "nowhere.png cannot be read"),
        (&["a.png", "-o", "b.png"], 2, "--model"),
    ] {
        let (found, problem) = folder.fail(&[&["upscale"], args].concat());
        assert!(found == code && problem.contains(part), "{args:?}: {found}: {problem}");
    }
    let (code, problem) = folder.fail(&["-m", model, "a cat", "-o", "b.png"]);
    assert!(code == 3 && problem.contains("to nijimi upscale PICTURE with -m FILE"), "{code}: {problem}");
}
