//! The program with models of numbers, and what it tells of a file.

use super::common::Folder;
use nijimi_runtime::model::{About, Law, Numbers, Regressor, Trace};
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal, Normal};
use std::fs;

/// Writes a model of these columns into the folder.
fn model(folder: &Folder, name: &str, law: Law, columns: &[&str]) -> Numbers {
    let numbers = Numbers::new(law, About::columns(columns)).unwrap();
    fs::write(folder.path.join(name), numbers.to_file(&[]).unwrap()).unwrap();
    numbers
}

fn geyser(folder: &Folder) -> Numbers {
    let short = MultivariateNormal::new(vec![2.0, 54.5], vec![0.07, 0.44, 0.44, 33.7]).unwrap();
    let long = MultivariateNormal::new(vec![4.3, 80.0], vec![0.17, 0.94, 0.94, 36.0]).unwrap();
    let law = Law::Mixture(Mixture::new(vec![0.35, 0.65], vec![short, long]).unwrap());
    model(folder, "geyser.gguf", law, &["eruption", "waiting"])
}

/// What a call that must succeed prints, and says.
fn said(folder: &Folder, args: &[&str]) -> (String, String) {
    let output = folder.nijimi(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(output.stderr));
    (text(output.stdout), text(output.stderr))
}

fn rows(text: &str) -> Vec<Vec<f64>> {
    text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect()
}

// Seen red: the index left out of the draw.
#[test]
fn rows_are_printed_or_written() {
    let folder = Folder::new();
    let numbers = geyser(&folder);
    let (text, told) = said(&folder, &["-m", "geyser.gguf", "-b", "50", "-s", "7"]);
    assert_eq!(told, "seed 7\n");
    assert_eq!(text.lines().next(), Some("eruption,waiting"));
    let drawn = rows(&text);
    assert_eq!(drawn.len(), 50);
    for (index, row) in (0..).zip(&drawn) {
        let mut want = [0.0; 2];
        assert!(numbers.sample(7, index, &mut want));
        assert_eq!(row[..], want, "exactly, row {index}");
    }
    let (nothing, told) = said(&folder, &["-m", "geyser.gguf", "-b", "50", "-s", "7", "-o", "rows.csv"]);
    assert_eq!((nothing.as_str(), told.as_str()), ("", "seed 7\nwrote rows.csv\n"));
    assert_eq!(fs::read_to_string(folder.path.join("rows.csv")).unwrap(), text);
    let (fewer, _) = said(&folder, &["-m", "geyser.gguf", "-b", "3", "-s", "7"]);
    assert!(text.starts_with(&fewer), "a row does not depend on how many are drawn");
}

// Seen red: the mean divided by the number of values.
#[test]
fn densities_of_rows() {
    let folder = Folder::new();
    geyser(&folder);
    fs::write(folder.path.join("data.txt"), "2 54.5\n4.3 80\n3 67\n").unwrap();
    let (text, told) = said(&folder, &["density", "-m", "geyser.gguf", "data.txt"]);
    assert!(text.starts_with("eruption,waiting,log_density\n2,54.5,"), "{text}");
    // The book's mixture: tests/fixtures/reference, step 4.
    let want = [0.03785463963345765f64, 0.0452081860082869, 1.973323486551629e-4];
    let rows = rows(&text);
    for (row, want) in rows.iter().zip(want) {
        assert!((row[2].exp() / want - 1.0).abs() < 1e-12, "{} {want}", row[2].exp());
    }
    let sum: f64 = want.iter().map(|p| p.ln()).sum();
    let numbers: Vec<f64> = told.split([' ', ',', '\n']).filter_map(|word| word.parse().ok()).collect();
    assert!((numbers[0] - sum).abs() < 1e-9 && numbers[1] == 3.0, "{told}");
    assert!((numbers[2] - sum / 3.0).abs() < 1e-9, "{told}");
}

#[test]
fn a_trace_is_written_whole() {
    let folder = Folder::new();
    let values = vec![0.0, 0.0, 2.0, 1.0, 0.5, 1.5];
    let trace = Trace::new("rosenbrock".into(), 0.001, 3, values).unwrap();
    model(&folder, "path.gguf", Law::Descent(trace), &["step", "x0", "x1"]);
    assert_eq!(said(&folder, &["-m", "path.gguf"]), ("step,x0,x1\n0,0,2\n1,0.5,1.5\n".into(), String::new()));
    let (code, problem) = folder.fail(&["density", "-m", "path.gguf", "path.gguf"]);
    assert!(code == 3, "{problem}");
}

#[test]
fn what_a_file_is() {
    let folder = Folder::new();
    geyser(&folder);
    let (text, _) = said(&folder, &["inspect", "geyser.gguf"]);
    for part in ["a mixture of 2 normal distributions of eruption, waiting", "[0.07, 0.44]", "0.65", "-m geyser.gguf"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    model(&folder, "normal.gguf", Law::Normal(Normal::new(172.7, 4.83).unwrap()), &["height"]);
    let (text, _) = said(&folder, &["inspect", "normal.gguf", "--keys"]);
    for part in ["a normal distribution of height", "sigma      4.83", "nijimi.normal.mean"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let line = vec![(vec![2.0f32], vec![5.5f32])];
    let line = Regressor::new(vec![1, 1], line, 0.28, vec![[0.0, 1.0]]).unwrap();
    model(&folder, "line.gguf", Law::Regression(line), &["x", "y"]);
    let (text, _) = said(&folder, &["inspect", "line.gguf", "--tensors"]);
    for part in ["y from x, with normal noise", "2 x + 5.5", "layers.0.weight", "f32"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let (text, _) = said(&folder, &["inspect"]);
    assert!(text.contains("emoji") && text.contains("license    Apache-2.0"), "the default model: {text}");
    let (text, _) = said(&folder, &["inspect", "digits"]);
    assert!(text.contains("digits") && text.contains("0, 1, 2, 3, 4, 5, 6, 7, 8, 9"), "{text}");
}

#[test]
fn refusals() {
    let folder = Folder::new();
    geyser(&folder);
    let refused = |args: &[&str], code: i32, part: &str| {
        let (found, problem) = folder.fail(args);
        assert!(found == code && problem.contains(part), "{args:?}: {found}, {problem}");
    };
    refused(&["-m", "geyser.gguf", "-o", "a.png"], 2, "numbers, not pictures");
    refused(&["7", "-m", "geyser.gguf"], 3, "has no labels");
    refused(&["-m", "geyser.gguf", "--steps", "3"], 2, "--steps is for diffusion models");
    refused(&["density", "-m", "tiny.gguf", "tiny.gguf"], 3, "has no density");
    refused(&["density", "-m", "geyser.gguf", "absent.csv"], 3, "absent.csv");
    fs::write(folder.path.join("bad.csv"), "eruption,waiting\n1,2\n3\n").unwrap();
    refused(&["density", "-m", "geyser.gguf", "bad.csv"], 3, "bad.csv, line 3: 1 numbers");
    fs::write(folder.path.join("cut.gguf"), &folder.bytes("geyser.gguf")[..100]).unwrap();
    refused(&["inspect", "cut.gguf"], 3, "cut.gguf");
    refused(&["-m", "cut.gguf"], 3, "cut.gguf");
}
