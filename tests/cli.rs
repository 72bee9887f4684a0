//! The program as a user runs it, with a tiny model of random weights.

#[path = "cli/after.rs"]
mod after;
mod common;
#[path = "cli/convert.rs"]
mod convert;
#[path = "cli/gpu.rs"]
mod gpu;
#[path = "cli/library.rs"]
mod library;
#[path = "cli/numbers.rs"]
mod numbers;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/pictures.rs"]
mod pictures;
#[path = "cli/prompts.rs"]
mod prompts;
#[path = "cli/upscale.rs"]
mod upscale;

use common::{Folder, SIDE};
use png::ColorType;
use std::fs;

const VERSION: &str = concat!("Version: nijimi ", env!("CARGO_PKG_VERSION"));

// Seen red: the progress line written to a pipe.
#[test]
fn a_single_picture() {
    let folder = Folder::new();
    let said = folder.draw(&["7", "-o", "seven.png", "-s", "5"]);
    assert_eq!(said, "seed 5\nwrote seven.png\n", "and no progress line, as this is no terminal");
    let picture = folder.picture("seven.png");
    assert_eq!((picture.width, picture.height, picture.color), (SIDE, SIDE, ColorType::Grayscale));
    assert!(picture.pixels.iter().any(|&p| p != picture.pixels[0]), "not a constant picture");
    let pairs = "Steps: 10, Sampler: ddim, CFG scale: 2, Seed: 5, Size: 8x8, Model: tiny, ";
    assert_eq!(picture.parameters, format!("7\n{pairs}{VERSION}"));
    assert_eq!(folder.files(), ["seven.png"], "nothing is left beside it");

    folder.draw(&["-p", "7", "-o", "big.png", "-s", "5", "--scale", "3"]);
    let big = folder.picture("big.png");
    assert_eq!((big.width, big.height), (3 * SIDE, 3 * SIDE));
    for (i, pixel) in big.pixels.iter().enumerate() {
        let (x, y) = (i % big.width / 3, i / big.width / 3);
        assert_eq!(*pixel, picture.pixels[y * SIDE + x]);
    }
}

// Seen red: the random seed made constant.
#[test]
fn the_seed_decides() {
    let folder = Folder::new();
    for (name, args) in [
        ("a.png", &["3", "-s", "8"][..]),
        ("b.png", &["3", "-s", "8", "-t", "2"]),
        ("c.png", &["3", "-s", "9"]),
        ("d.png", &["4", "-s", "8"]),
        ("e.png", &["3", "-s", "8", "--sampling-method", "ddpm", "--steps", "10"]),
    ] {
        folder.draw(&[args, &["-o", name]].concat());
    }
    assert_eq!(folder.bytes("a.png"), folder.bytes("b.png"));
    for other in ["c.png", "d.png", "e.png"] {
        assert_ne!(folder.picture("a.png").pixels, folder.picture(other).pixels, "{other}");
    }

    let random = [folder.draw(&["3", "-o", "r.png"]), folder.draw(&["3"])];
    assert_ne!(random[0].lines().next(), random[1].lines().next());
    let seed = random[0].lines().next().unwrap().strip_prefix("seed ").unwrap();
    folder.draw(&["3", "-o", "again.png", "-s", seed]);
    assert_eq!(folder.bytes("r.png"), folder.bytes("again.png"), "the seed printed draws the same picture");
    assert!(random[1].ends_with("wrote output.png\n"));
}

// Seen red: seeds counted over all words.
#[test]
fn a_file_each() {
    let folder = Folder::new();
    let said = folder.draw(&["1, 7", "-b", "3", "-s", "40", "-o", "x-%03d.png"]);
    assert_eq!(said, "seeds 40 to 42\nwrote x-000.png to x-005.png\n");
    assert_eq!(folder.files(), (0..6).map(|i| format!("x-00{i}.png")).collect::<Vec<_>>());
    for i in 0..6 {
        let (word, seed) = (["1", "7"][i / 3], (40 + i % 3).to_string());
        folder.draw(&[word, "-s", &seed, "-o", "alone.png"]);
        assert_eq!(folder.bytes(&format!("x-00{i}.png")), folder.bytes("alone.png"), "{i}");
    }
}

// Three rounds of the session, which do not begin where a word does. Seen red: each round given the seeds, or the
// labels, of the first.
#[test]
fn more_pictures_than_are_drawn_at_a_time() {
    let folder = Folder::new();
    folder.draw(&["2 3", "-b", "35", "-s", "1", "--steps", "2", "-o", "%d.png"]);
    assert_eq!(folder.files().len(), 70);
    for (i, word, seed) in [(0, "2", "1"), (24, "2", "25"), (35, "3", "1"), (69, "3", "35")] {
        folder.draw(&[word, "-s", seed, "--steps", "2", "-o", "alone.png"]);
        assert_eq!(folder.bytes(&format!("{i}.png")), folder.bytes("alone.png"), "{i}");
    }
}

// Seen red: all labels in the first row; seeds counted over all words.
#[test]
fn a_labelled_grid() {
    let folder = Folder::new();
    let said = folder.draw(&["0 5", "-b", "3", "-s", "1", "-o", "grid.png"]);
    assert_eq!(said, "seeds 1 to 3\nwrote grid.png\n");
    let grid = folder.picture("grid.png");
    // Gap 4; a letter of 16 and two gaps at the left; pictures of 16.
    assert_eq!((grid.width, grid.height), (16 + 8 + 3 * 20, 4 + 2 * 20));
    let pairs = "Steps: 10, Sampler: ddim, CFG scale: 2, Seed: 1, Size: 8x8, Model: tiny, Batch size: 3, ";
    assert_eq!(grid.parameters, format!("0, 5\n{pairs}{VERSION}"));
    for (row, word) in ["0", "5"].into_iter().enumerate() {
        let label = grid.cut(4, 4 + row * 20, 16, 16);
        assert!(label.contains(&0) && label.contains(&255), "a label of row {row}");
        for column in 0..3 {
            let seed = (1 + column).to_string();
            folder.draw(&[word, "-s", &seed, "--scale", "2", "-o", "alone.png"]);
            let cell = grid.cut(24 + column * 20, 4 + row * 20, 16, 16);
            assert_eq!(cell, folder.picture("alone.png").pixels, "{word}, seed {seed}");
        }
    }
}

// Seen red: label 0 in place of none.
#[test]
fn without_a_prompt() {
    let folder = Folder::new();
    folder.draw(&["-s", "3", "-o", "a.png"]);
    let picture = folder.picture("a.png");
    assert!(picture.parameters.starts_with("Steps: 10, Sampler: ddim, CFG scale: 1, Seed: 3"), "{picture:?}");
    folder.draw(&["7", "-s", "3", "--cfg-scale", "0", "-o", "b.png"]);
    assert_eq!(picture.pixels, folder.picture("b.png").pixels, "as no guidance at all");
    folder.draw(&["7", "-s", "3", "-o", "c.png"]);
    assert_ne!(picture.pixels, folder.picture("c.png").pixels);
    folder.draw(&["-b", "4", "-o", "grid.png"]);
    assert_eq!(folder.picture("grid.png").width, 4 + 2 * 20, "a square without labels");
}

// Seen red: every word a name of its own.
#[test]
fn colour_and_names_of_several_words() {
    let folder = Folder::new();
    fs::write(folder.path.join("rgb.gguf"), common::tiny_model(3, &["Ankle boot", "Bag"])).unwrap();
    let output = folder.nijimi(&["Bag Ankle boot", "-m", "rgb.gguf", "-s", "1", "-o", "%d.png"]);
    assert!(output.status.success(), "{output:?}");
    let picture = folder.picture("1.png");
    assert_eq!((picture.color, picture.pixels.len()), (ColorType::Rgb, SIDE * SIDE * 3));
    assert!(picture.parameters.starts_with("Ankle boot\n"), "{}", picture.parameters);
}

// Seen red: eta left at 0; 50 steps of DDPM.
#[test]
fn options_reach_the_sampler() {
    let folder = Folder::new();
    folder.draw(&["1", "-s", "1", "--steps", "7", "--cfg-scale", "1.5", "--eta", "0.5", "-o", "a.png"]);
    let pairs = "Steps: 7, Sampler: ddim, CFG scale: 1.5, Seed: 1, Size: 8x8, Model: tiny, Eta: 0.5, ";
    assert_eq!(folder.picture("a.png").parameters, format!("1\n{pairs}{VERSION}"));
    folder.draw(&["1", "-s", "1", "--steps", "7", "--cfg-scale", "1.5", "-o", "b.png"]);
    assert_ne!(folder.picture("a.png").pixels, folder.picture("b.png").pixels);
    folder.draw(&["1", "-s", "1", "--sampling-method", "ddpm", "-o", "c.png"]);
    let parameters = folder.picture("c.png").parameters;
    assert!(parameters.contains("Steps: 1000, Sampler: ddpm, "), "every level: {parameters}");
}

#[test]
fn verbose_tells_what_ran() {
    let folder = Folder::new();
    let said = folder.draw(&["1", "-b", "2", "-v", "-t", "1"]);
    for part in [
        "version ",
        "model: tiny from tiny.gguf",
        "CPU: ",
        ", threads: 1",
        "weights: ",
        "memory: ",
        "loaded in ",
        "planned in ",
        "first picture after ",
        " ms a step of 2 pictures",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_weights_built_in_draw_emoji_and_digits() {
    let folder = Folder::new();
    let (emoji, digits) = (("a red apple", 64, ColorType::Rgb), ("7", 28, ColorType::Grayscale));
    for (model, (prompt, side, color)) in [(&[][..], emoji), (&["-m", "emoji"], emoji), (&["-m", "digits"], digits)] {
        let output = folder.nijimi(&[&[prompt, "-s", "1", "--steps", "2", "-o", "a.png"], model].concat());
        assert!(output.status.success(), "{output:?}");
        let picture = folder.picture("a.png");
        assert_eq!((picture.width, picture.height, picture.color), (side, side, color));
    }
    // A file of that name is meant where there is one.
    fs::write(folder.path.join("digits"), b"no weights").unwrap();
    let output = folder.nijimi(&["7", "-m", "digits", "-o", "seven.png"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

// What is not white has the colour that the prompt's thing has. Seen red with an empty prompt for each.
#[test]
fn the_default_model_draws_what_it_is_told() {
    let folder = Folder::new();
    for (prompt, channel) in [("a red apple", 0), ("evergreen tree", 1), ("blue square", 2)] {
        let output = folder.nijimi(&[prompt, "-s", "1", "-o", "a.png"]);
        assert!(output.status.success(), "{output:?}");
        let picture = folder.picture("a.png");
        let drawn: Vec<_> = picture.pixels.chunks(3).filter(|p| p.iter().any(|v| *v < 200)).collect();
        assert!(drawn.len() > 64 * 64 / 5, "{prompt}: {} pixels", drawn.len());
        let mean = [0, 1, 2].map(|c| drawn.iter().map(|p| f32::from(p[c])).sum::<f32>() / drawn.len() as f32);
        assert!((0..3).all(|c| c == channel || mean[c] + 20.0 < mean[channel]), "{prompt}: {mean:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let folder = Folder::new();
    for arg in ["--help", "-h"] {
        let help = folder.nijimi(&[arg]);
        assert!(help.status.success() && help.stderr.is_empty());
        assert!(String::from_utf8(help.stdout).unwrap().contains("--cfg-scale"));
    }
    assert_eq!(folder.nijimi(&["--version"]).stdout, format!("nijimi {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

// Seen red: another exit code.
#[test]
fn wrong_usage_exits_with_2() {
    let folder = Folder::new();
    for (args, part) in [
        (&["-7"][..], "Unrecognized argument: -7: see nijimi --help"),
        (&["--frobnicate"], "Unrecognized argument: --frobnicate"),
        (&["7", "8"], "put a prompt of several words in quotes"),
        (&["7", "-p", "8"], "given twice"),
        (&["-b", "0"], "'-b' with value '0': must be a whole number from 1"),
        (&["--steps", "many"], "'--steps' with value 'many': must be a whole number"),
        (&["-o", "a.jpg"], "must end in .png"),
        (&["-o", "%d-%d.png"], "use only one number"),
        (&["--sampling-method", "euler_b"], "there are ddpm, ddim, pndm"),
        (&["--scheduler", "even"], "there are discrete, karras"),
        (&["--sampling-method", "flow_euler"], "flow belongs together"),
        (&["--sampling-method", "ddpm", "--eta", "1"], "--eta is for --sampling-method ddim and tcd"),
        (&["--eta", "-1"], "'--eta' with value '-1': must be a number from 0 to 1"),
        (&["--steps", "1001"], "1001 sampling steps asked"),
        (&["--lora", "a.safetensors:0.5"], "--lora is for models that read prompts: leave it out"),
        (&["--mask", "m.png"], "needs an init image to repaint: give one with -i"),
        (&["-b", "1000000", "-o", "grid.png"], "one file each with -o out-%05d.png"),
    ] {
        // The model that is not about labels allows more.
        let (code, message) = folder.fail(&[args, &["-m", "digits"]].concat());
        assert_eq!(code, 2, "{args:?}: {message}");
        assert!(message.contains(part), "{args:?}: {message}");
    }
    assert!(folder.files().is_empty());
}

// Seen red: another exit code; the folder not looked for.
#[test]
fn wrong_input_exits_with_3() {
    let folder = Folder::new();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path.join(name), bytes).unwrap();
    let whole = folder.bytes("tiny.gguf");
    file("empty.gguf", &[]);
    file("text.gguf", b"This is not a weight file, but long enough for one.");
    file("short.gguf", &whole[..whole.len() - 100]);
    fs::create_dir(folder.path.join("folder.png")).unwrap();
    for (args, part) in [
        (&["seven", "-m", "tiny.gguf"][..], "no label \"seven\": the model knows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (&["-m", "missing.gguf"], "cannot open missing.gguf: "),
        (&["-m", "empty.gguf"], "empty.gguf: "),
        (&["-m", "text.gguf"], "text.gguf: "),
        (&["-m", "short.gguf"], "short.gguf: "),
        (&["-m", "folder.png"], "neither a model_index.json nor a config.json"),
        (&["-o", "nowhere/a.png"], "there is no folder nowhere: create it first"),
        (&["-o", "folder.png"], "folder.png is a folder"),
    ] {
        let (code, message) = folder.fail(args);
        assert_eq!(code, 3, "{args:?}: {message}");
        assert!(message.contains(part), "{args:?}: {message}");
    }
    assert_eq!(folder.files(), ["folder.png"]);
}

// Seen red: taken for an internal error.
#[test]
fn a_failed_run_leaves_the_old_picture() {
    let folder = Folder::new();
    folder.draw(&["1", "-s", "1", "-o", "a.png"]);
    let old = folder.bytes("a.png");
    let output = folder.nijimi(&["1", "-m", "tiny.gguf", "--cfg-scale", "3e38", "--no-clip", "-o", "a.png", "-s", "2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("nijimi: step 1 of 10: ") && said.contains("--cfg-scale is too large"), "{said}");
    assert_eq!(folder.bytes("a.png"), old);
    assert_eq!(folder.files(), ["a.png"]);
}
