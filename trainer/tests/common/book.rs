//! The book's data and the reference's figures.
use nijimi_trainer::data::table::Table;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A file of the book, if the data are on this machine (`NIJIMI_DATA`, or `../shared/data` beside the project); says so
/// if not.
pub fn path(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("NIJIMI_DATA").map_or_else(beside, PathBuf::from);
    let path = folder.join("book").join(name);
    if !path.is_file() {
        eprintln!("skipped: {} is not there (NIJIMI_DATA names the folder of data)", path.display());
        return None;
    }
    Some(path)
}

/// A table of the book.
pub fn table(name: &str) -> Option<Table> {
    path(name).map(|p| Table::read(&p, None).expect("the book's table"))
}

/// The figures of steps 1 to 5, computed with numpy in f64.
fn reference() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/reference/classic.json");
    serde_json::from_slice(&std::fs::read(path).expect("the reference")).expect("JSON")
}

/// A figure by its name, of which the last part may be a key within another's figure.
pub fn figure(name: &str) -> Value {
    let reference = reference();
    let nested = || name.rsplit_once('.').and_then(|(a, b)| reference.get(a)?.get(b));
    reference.get(name).or_else(nested).unwrap_or_else(|| panic!("the reference has no {name}")).clone()
}

/// All numbers of a reference, nested lists flattened.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        v => vec![v.as_f64().expect("a number")],
    }
}

/// Asserts that numbers agree with a figure's, relative to each.
pub fn close(ours: &[f64], name: &str, tolerance: f64) {
    let expected = numbers(&figure(name));
    assert_eq!(ours.len(), expected.len(), "{name}");
    for (i, (a, b)) in ours.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs(), "{name}, number {i}: {a}, the reference has {b}");
    }
}
