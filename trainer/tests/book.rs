//! `nijimi-train book`, by the program itself: rungs that need no data, resumed, and one that fails.
// Its data set is for other tests.
#[allow(dead_code)]
mod common;
use common::Folder;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A data folder in which all files are there, and nothing is in them.
fn empty_data(folder: &Path) {
    std::fs::create_dir_all(folder.join("mnist")).expect("a folder");
    std::fs::create_dir_all(folder.join("book")).expect("a folder");
    for name in ["height.txt", "height_weight.txt", "old_faithful.txt", "flower.png"] {
        std::fs::write(folder.join("book").join(name), "").expect("a file");
    }
}

fn book(out: &Path, data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
    command.arg("book").arg("--out").arg(out).arg("--data").arg(data).args(more);
    command.output().expect("the program runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Seen red with the records' states not compared (a rung that is whole is climbed again), and with the fingerprint
/// left
/// out (another seed's rung is taken for this one's).
#[test]
fn rungs_are_done_once() {
    let folder = Folder::new("book-once");
    let (data, out) = (folder.join("data"), folder.join("out"));
    empty_data(&data);
    let first = book(&out, &data, &["--only", "theory,score"]);
    assert!(first.status.success(), "{}", said(&first));
    let page = std::fs::read_to_string(out.join("index.html")).expect("a page");
    for part in ["href=\"theory/report.html\"", "src=\"score/field.png\"", "4.03583e-5", "Not run."] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let written = |name: &str| out.join(name).metadata().and_then(|m| m.modified()).expect("a file");
    let before = written("theory/report.html");
    // What is not whole is done again, the rest is not.
    std::fs::remove_file(out.join("score/report.json")).expect("the record");
    let again = book(&out, &data, &["--only", "theory,score", "--resume"]);
    assert!(again.status.success() && said(&again).matches("done already").count() == 1, "{}", said(&again));
    assert!(written("theory/report.html") == before && out.join("score/report.json").is_file());
    let other = book(&out, &data, &["--only", "theory,score", "--resume", "--seed", "1"]);
    assert!(other.status.success() && !said(&other).contains("done already"), "{}", said(&other));
}

/// Seen red with the first failure returned at once: the next rung was then missing.
#[test]
fn a_rung_that_fails_stops_no_other() {
    let folder = Folder::new("book-fails");
    let (data, out) = (folder.join("data"), folder.join("out"));
    empty_data(&data);
    let output = book(&out, &data, &["--only", "normal,theory"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("height.txt") && text.contains("failed: normal"), "{text}");
    assert!(out.join("theory/report.html").is_file());
    let page = std::fs::read_to_string(out.join("index.html")).expect("a page");
    assert!(page.contains("Failed: ") && page.contains("height.txt"), "{page}");
}

/// Seen red without the look at what is there.
#[test]
fn what_others_put_there_is_kept() {
    let folder = Folder::new("book-kept");
    let (data, out) = (folder.join("data"), folder.join("out"));
    empty_data(&data);
    std::fs::create_dir_all(out.join("theory")).expect("a folder");
    std::fs::write(out.join("theory/thesis.txt"), "mine").expect("a file");
    let output = book(&out, &data, &["--only", "theory"]);
    assert!(!output.status.success() && said(&output).contains("not made by this command"), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(out.join("theory/thesis.txt")).expect("the file"), "mine");
    let unknown = book(&out, &data, &["--only", "thoery"]);
    assert!(said(&unknown).contains("--only thoery: the rungs are normal, "), "{}", said(&unknown));
}

/// What is told to end ends its child too, which leaves a checkpoint. Seen red with the signal not handed on.
#[cfg(unix)]
#[test]
fn a_ladder_that_is_interrupted_goes_on_later() {
    let folder = Folder::new("book-interrupted");
    let (data, out) = (folder.join("data"), folder.join("out"));
    empty_data(&data);
    common::write_data(&data.join("mnist"), 2000);
    let mut command = Command::new(env!("CARGO_BIN_EXE_nijimi-train"));
    command.arg("book").arg("--out").arg(&out).arg("--data").arg(&data).args(["--only", "vae"]);
    let mut first = command.spawn().expect("the program runs");
    let log = || std::fs::read_to_string(out.join("vae/log.jsonl")).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(60);
    while log().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = Command::new("kill").args(["-TERM", &first.id().to_string()]).status().expect("kill");
    assert!(told.success());
    assert_eq!(first.wait().expect("its end").code(), Some(130));
    assert!(out.join("vae/checkpoint.safetensors").is_file() && !out.join("vae/vae.gguf").exists());
    let again = book(&out, &data, &["--only", "vae", "--resume"]);
    assert!(again.status.success() && out.join("vae/vae.gguf").is_file(), "{}", said(&again));
}
