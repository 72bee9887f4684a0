//! The library's one call and the program draw the same pictures.

use crate::common::Folder;
use nijimi_runtime::{Device, Model};
use std::process::Command;

/// The README's first example, compiled here and run below.
#[path = "../../runtime/examples/text_to_image.rs"]
mod example;

fn weights(name: &str) -> String {
    format!("{}/weights/{name}.gguf", env!("CARGO_MANIFEST_DIR"))
}

/// Every kind of file that draws, with a prompt and without. Seen red with guidance left at 1, with the next
/// seed for a pixel model, and with green left dark.
#[test]
fn draws_what_the_program_draws() {
    for (name, prompt) in [
        ("emoji-q8_0", "a red apple"),
        ("emoji-q8_0", ""),
        ("digits-q8_0", "7"),
        ("digits-fast-q8_0", "7"),
        ("digits-q8_0", ""),
        ("digits-vae-f16", ""),
        ("digits-hvae-f16", ""),
    ] {
        let (folder, file) = (Folder::new(), weights(name));
        let program = folder.nijimi(&[prompt, "-m", &file, "-s", "5", "--backend", "cpu", "-o", "x.png"]);
        assert!(program.status.success(), "{name}: {}", String::from_utf8_lossy(&program.stderr));
        let expected = folder.picture("x.png");
        let picture = Model::open(&file, &Device::Cpu).unwrap().draw(prompt, 5).unwrap();
        assert_eq!((picture.width, picture.height), (expected.width, expected.height), "{name}");
        assert!(picture.bytes == expected.pixels, "{name} {prompt:?}: other pixels");
        let rgb = picture.to_rgb();
        let channel = |i: usize| if picture.channels == 1 { i / 3 } else { i };
        assert!(rgb.len() == picture.width * picture.height * 3, "{name}");
        assert!(rgb.iter().enumerate().all(|(i, &v)| v == picture.bytes[channel(i)]), "{name}: other colours");
    }
}

#[test]
fn what_draws_nothing_says_what_it_is_for() {
    let drawn = |name: &str, prompt: &str| Model::open(weights(name), &Device::Cpu).unwrap().draw(prompt, 1);
    for (name, says) in [
        ("digits-classifier-q8_0", "a classifier draws no pictures by itself: it guides a diffusion model"),
        ("emoji-autoencoder-f16", "an autoencoder draws no pictures by itself: it is for training"),
        ("heights", "a model of numbers draws no pictures by itself"),
    ] {
        let error = drawn(name, "").unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    let error = drawn("digits-q8_0", "seven").unwrap_err().to_string();
    assert!(error.starts_with("no label \"seven\": the model knows 0, 1,"), "{error}");
    let error = drawn("digits-vae-f16", "7").unwrap_err().to_string();
    assert_eq!(error, "no label \"7\": the model knows none, so draw without one");
}

/// Seen red with another seed in the example, and with a word of the README changed.
#[test]
fn the_readmes_example_draws_the_programs_apple() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (readme, example) = (read("README.md"), read("runtime/examples/text_to_image.rs"));
    let block = readme.split_once("```rust,no_run\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let (_, code) = example.split_once("\n\n").unwrap();
    assert_eq!(
        block,
        code.replace("pub(crate) fn", "fn"),
        "README.md, its first Rust example, and runtime/examples/text_to_image.rs"
    );

    // It works where it is started, so it is started in a folder of its own.
    let folder = Folder::new();
    std::fs::create_dir(folder.path.join("weights")).unwrap();
    std::fs::copy(weights("emoji-q8_0"), folder.path.join("weights/emoji-q8_0.gguf")).unwrap();
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.args(["--exact", "library::the_example_itself", "--ignored"]).current_dir(&folder.path);
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let program = folder.nijimi(&["a red apple", "-s", "1", "--backend", "cpu", "-o", "program.png"]);
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stderr));
    let apple = image::open(folder.path.join("apple.png")).unwrap().into_rgb8();
    assert!(apple.into_raw() == folder.picture("program.png").pixels, "other pixels");
}

#[test]
#[ignore = "started by the test above, in a folder of its own"]
fn the_example_itself() {
    example::main().unwrap();
}
