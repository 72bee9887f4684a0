//! The public Python package `gguf` reads what we write, number by number, and we read what it writes. Skipped, saying
//! so, where `python3`, `gguf` or `numpy` are absent (`pip install gguf numpy`).
//!
//! Seen red: dimensions written in row-major order; the nibbles of q4_0 swapped in encoder and decoder alike; ids of
//! u64 and i64 exchanged in writer and reader alike, which no round trip notices.
#![cfg(feature = "std")]

mod common;

use common::Numbers as Random;
use common::seeds::{all_metadata, all_tensors};
use nijimi_runtime::gguf::{File, MappedFile, MetaValue, Value, Writer, write_atomic};
use nijimi_runtime::model::{About, Law, Numbers, Regressor, Trace};
use nijimi_runtime::quant::DType;
use nijimi_runtime::raw::dist::{Mixture, MultivariateNormal, Normal};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::Command;

fn python_has_gguf() -> bool {
    let found = Command::new("python3").args(["-c", "import gguf, numpy"]).output();
    found.is_ok_and(|output| output.status.success())
}

fn json_of(value: &MetaValue) -> (bool, &'static str, Json) {
    match value {
        MetaValue::U32(v) => (false, "u32", json!(v)),
        MetaValue::U64(v) => (false, "u64", json!(v)),
        MetaValue::I32(v) => (false, "i32", json!(v)),
        // f32 to f64 is exact, where the shortest decimal of an f32 is not the same number.
        MetaValue::F32(v) => (false, "f32", json!(f64::from(*v))),
        MetaValue::F64(v) => (false, "f64", json!(v)),
        MetaValue::Bool(v) => (false, "bool", json!(v)),
        MetaValue::Str(v) => (false, "str", json!(v)),
        MetaValue::U8s(v) => (true, "u8", json!(v)),
        MetaValue::U32s(v) => (true, "u32", json!(v)),
        MetaValue::F32s(v) => (true, "f32", json!(v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())),
        MetaValue::F64s(v) => (true, "f64", json!(v)),
        MetaValue::Strs(v) => (true, "str", json!(v)),
    }
}

/// Each format once as in the corpus, and once larger, with magnitudes as different as those of a network's tensors.
fn tensors() -> Vec<(String, Vec<usize>, DType, Vec<f32>)> {
    let mut numbers = Random(5);
    let mut tensors = all_tensors();
    for dtype in DType::ALL {
        let scaled = |(i, v): (usize, f32)| v * 10f32.powi((i / 32 % 9) as i32 - 6);
        let data = numbers.units(24 * 3 * 256).into_iter().enumerate().map(scaled).collect();
        tensors.push((format!("large.{dtype}"), vec![24, 3, 256], dtype, data));
    }
    tensors
}

/// Systems of numbers, most of them files without a single tensor.
#[test]
fn the_python_package_reads_systems_of_numbers() {
    if !python_has_gguf() {
        eprintln!("skipped: python3 with the packages gguf and numpy is not here");
        return;
    }
    let normal = || MultivariateNormal::new(vec![0.1, -2.5e-7], vec![2.0, 1.0 / 3.0, 1.0 / 3.0, 1e9]).unwrap();
    let trace = Trace::new("rosenbrock".into(), 1e-3, 3, vec![0.0, 0.0, 2.0, 1.0, 0.002, 1.6]).unwrap();
    let layers = vec![(vec![2.0, -1.0], vec![0.1, 0.2]), (vec![1.5, -2.0], vec![4.0])];
    let regressor = Regressor::new(vec![1, 2, 1], layers, 0.3, vec![[0.0, 1.0]]).unwrap();
    let laws = [
        (Law::Normal(Normal::new(172.70250853667997, 4.830167473396299).unwrap()), &["height"][..]),
        (Law::Mvn(normal()), &["a", "b"]),
        (Law::Mixture(Mixture::new(vec![0.25, 0.75], vec![normal(), normal()]).unwrap()), &["a", "b"]),
        (Law::Descent(trace), &["step", "x0", "x1"]),
        (Law::Regression(regressor), &["x", "y"]),
    ];
    for (law, columns) in laws {
        let numbers = Numbers::new(law, About::columns(columns)).unwrap();
        let bytes = numbers.to_file(&[("rows", 272u64.into())]).unwrap();
        let file = File::new_checked(&bytes).unwrap();
        let metadata = file.metadata().map(|(key, value)| {
            let (array, kind, json) = json_of_value(value);
            json!({ "key": key, "array": array, "type": kind, "value": json })
        });
        let tensors = file.tensors().map(|tensor| {
            let values: Vec<f64> = tensor.to_f32().into_iter().map(f64::from).collect();
            let kind = tensor.dtype.name();
            json!({ "name": tensor.name, "shape": tensor.shape(), "type": kind, "source": values, "decoded": values })
        });
        let expected = json!({ "metadata": metadata.collect::<Vec<_>>(), "tensors": tensors.collect::<Vec<_>>() });
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("{}.gguf", numbers.system()));
        let expected_path = folder.join(format!("{}.json", numbers.system()));
        write_atomic(&path, &bytes).unwrap();
        std::fs::write(&expected_path, expected.to_string()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gguf_python.py");
        let output = Command::new("python3").arg(script).args([&path, &expected_path]).output().unwrap();
        assert!(output.status.success(), "{}: {}", numbers.system(), String::from_utf8_lossy(&output.stderr));
    }
}

/// As [`json_of`], of what was read.
fn json_of_value(value: Value<'_>) -> (bool, &'static str, Json) {
    match value {
        Value::Array(a) => (true, a.kind().name(), a.iter().map(|v| json_of_value(v).2).collect()),
        Value::U32(v) => (false, "u32", json!(v)),
        Value::U64(v) => (false, "u64", json!(v)),
        Value::F64(v) => (false, "f64", json!(v)),
        Value::Str(v) => (false, "str", json!(v)),
        other => panic!("{other:?} is not in these files"),
    }
}

#[test]
fn the_python_package_reads_our_file_and_we_read_its() {
    if !python_has_gguf() {
        eprintln!("skipped: python3 with the packages gguf and numpy is not here");
        return;
    }
    let mut writer = Writer::new();
    let mut metadata = Vec::new();
    for (key, value) in all_metadata() {
        let (array, kind, json) = json_of(&value);
        metadata.push(json!({ "key": key, "array": array, "type": kind, "value": json }));
        writer.meta(key, value).unwrap();
    }
    for (name, shape, dtype, data) in tensors() {
        writer.tensor(&name, &shape, dtype, &data).unwrap();
    }
    let bytes = writer.finish();
    let file = File::new_checked(&bytes).unwrap();
    let exact = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let entries = tensors().into_iter().map(|(name, shape, dtype, data)| {
        let decoded = exact(&file.tensor(&name).unwrap().to_f32());
        json!({ "name": name, "shape": shape, "type": dtype.name(), "source": exact(&data), "decoded": decoded })
    });
    let expected = json!({ "metadata": metadata, "tensors": entries.collect::<Vec<_>>() });

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (path, expected_path) = (folder.join("ours.gguf"), folder.join("ours.json"));
    write_atomic(&path, &bytes).unwrap();
    std::fs::write(&expected_path, expected.to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gguf_python.py");
    let output = Command::new("python3").arg(script).args([&path, &expected_path]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let theirs = MappedFile::open(folder.join("ours.gguf.python")).unwrap();
    let theirs = File::new_checked(theirs.bytes()).unwrap();
    assert_eq!(theirs.str("general.architecture"), Ok("nijimi"));
    assert_eq!((theirs.u32("test.u32"), theirs.strs("test.strs")), (Ok(7), Ok(vec!["a", "b"])));
    assert_eq!(theirs.tensors().len(), file.tensors().len());
    for ours in file.tensors() {
        assert_eq!(theirs.tensor(ours.name), Ok(ours));
    }
}
