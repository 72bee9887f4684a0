//! What the writer writes, the reader reads; and what the writer refuses.
//!
//! Seen red: dimensions written in row-major order; offsets not padded; `true` written as 0; f64 written as f32; arrays of f64 with the
//! type of i64, and with infinity let through.

mod common;

use common::seeds::{all_metadata, all_tensors, file};
use nijimi_runtime::gguf::{File, MetaValue, Value, WriteError, Writer};
use nijimi_runtime::quant::{DType, QuantError, decode, encode};

#[test]
fn metadata_of_every_kind() {
    let bytes = file(true, false);
    let read = File::new_checked(&bytes).unwrap();
    assert_eq!(read.metadata().len(), all_metadata().len());
    for ((key, written), (read_key, value)) in all_metadata().into_iter().zip(read.metadata()) {
        assert_eq!(key, read_key, "the order is kept");
        assert_eq!(read.get(key), Some(value));
        match written {
            MetaValue::U32(v) => assert_eq!(read.u32(key), Ok(v)),
            MetaValue::U64(v) => assert_eq!(read.u64(key), Ok(v)),
            MetaValue::I32(v) => assert_eq!(read.i32(key), Ok(v)),
            MetaValue::F32(v) => assert_eq!(read.f32(key), Ok(v)),
            MetaValue::F64(v) => assert_eq!(read.f64(key), Ok(v)),
            MetaValue::Bool(v) => assert_eq!(read.bool(key), Ok(v)),
            MetaValue::Str(v) => assert_eq!(read.str(key), Ok(v.as_str())),
            MetaValue::U8s(v) => assert_eq!(read.u8s(key), Ok(v)),
            MetaValue::U32s(v) => assert_eq!(read.u32s(key), Ok(v)),
            MetaValue::F32s(v) => assert_eq!(read.f32s(key), Ok(v)),
            MetaValue::F64s(v) => assert_eq!(read.f64s(key), Ok(v)),
            MetaValue::Strs(v) => assert_eq!(read.strs(key), Ok(v.iter().map(String::as_str).collect())),
        }
    }
}

#[test]
fn tensors_of_every_format() {
    let bytes = file(true, true);
    let read = File::new_checked(&bytes).unwrap();
    assert_eq!(read.tensors().len(), 8);
    for (name, shape, dtype, data) in all_tensors() {
        let tensor = read.tensor(&name).unwrap();
        assert_eq!((tensor.name, tensor.dtype, tensor.shape()), (name.as_str(), dtype, shape.clone()));
        assert_eq!(tensor.ne[0], *shape.last().unwrap() as u64, "ne is fastest first");
        let mut encoded = Vec::new();
        encode(dtype, &data, &mut encoded).unwrap();
        assert_eq!(tensor.data, encoded);
        let mut decoded = vec![0.0; data.len()];
        decode(dtype, &encoded, &mut decoded).unwrap();
        assert_eq!(tensor.to_f32(), decoded);
    }
    let order: Vec<_> = read.tensors().map(|t| t.name.to_owned()).collect();
    assert_eq!(order, all_tensors().into_iter().map(|t| t.0).collect::<Vec<_>>());
}

/// Seen red with the entry put before the other.
#[test]
fn an_entry_may_stand_behind_another() {
    let mut writer = Writer::new();
    writer.meta("a", 1u32).unwrap();
    writer.meta("b", 2u32).unwrap();
    writer.meta_behind("a", "c", 3u32).unwrap();
    writer.meta_behind("d", "d", 4u32).unwrap();
    assert!(matches!(writer.meta_behind("a", "b", 5u32), Err(WriteError::DuplicateKey { .. })));
    let bytes = writer.finish();
    let keys: Vec<_> = File::new_checked(&bytes).unwrap().metadata().map(|(key, _)| key.to_owned()).collect();
    assert_eq!(keys, ["a", "c", "b", "d"]);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    assert_eq!(file(true, true), file(true, true));
    assert_eq!(file(true, true).len() % 32, 0);
}

#[test]
fn values_are_shown_for_people() {
    let bytes = file(true, false);
    let read = File::new_checked(&bytes).unwrap();
    let shown = |key| read.get(key).unwrap().to_string();
    assert_eq!(shown("test.f64"), "0.02");
    assert_eq!(shown("test.strs"), "[\"zero\", \"\", \"\u{4e8c}\"]");
    let mut writer = Writer::new();
    writer.meta("long", (0..100u32).collect::<Vec<_>>()).unwrap();
    let bytes = writer.finish();
    let read = File::new_checked(&bytes).unwrap();
    assert_eq!(read.get("long").unwrap().to_string(), "[0, 1, 2, 3, 4, 5, 6, 7, ... 100 in all]");
    assert!(matches!(read.get("long"), Some(Value::Array(a)) if a.len() == 100));
}

#[test]
fn keys_that_cannot_be_written() {
    let mut writer = Writer::new();
    for key in ["", "a b", "a\n", "\u{e4}", "a\0"] {
        assert_eq!(writer.meta(key, 1u32), Err(WriteError::InvalidKey { key: key.into() }));
    }
    let long = "k".repeat(65536);
    assert!(matches!(writer.meta(&long, 1u32), Err(WriteError::InvalidKey { .. })));
    writer.meta(&long[1..], 1u32).unwrap();
    let key = String::from("general.alignment");
    assert_eq!(writer.meta(&key, 32u32), Err(WriteError::ReservedKey { key }));
    writer.meta("a", 1u32).unwrap();
    assert_eq!(writer.meta("a", "x"), Err(WriteError::DuplicateKey { key: "a".into() }));
    let lists: [MetaValue; 2] = [vec![0.0, f32::NAN].into(), vec![f64::NEG_INFINITY].into()];
    let values = [f32::NAN.into(), f64::INFINITY.into()].into_iter().chain(lists);
    for value in values {
        assert_eq!(writer.meta("nan", value), Err(WriteError::NonFiniteValue { key: "nan".into() }));
    }
    assert_eq!(File::new_checked(&writer.finish()).unwrap().metadata().len(), 2, "a refused entry leaves nothing");
}

#[test]
fn tensors_that_cannot_be_written() {
    let mut writer = Writer::new();
    let mut refused =
        |name: &str, shape: &[usize], dtype, data: &[f32]| writer.tensor(name, shape, dtype, data).unwrap_err();
    let long = "n".repeat(128);
    for name in ["", long.as_str(), "a\0b", "a\n"] {
        // Errors quote the beginning.
        let quoted = name.get(..80).unwrap_or(name).into();
        assert_eq!(refused(name, &[1], DType::F32, &[1.0]), WriteError::InvalidTensorName { name: quoted });
    }
    for shape in [vec![], vec![0], vec![2, 0], vec![1; 5]] {
        let error = refused("a", &shape, DType::F32, &[1.0]);
        assert_eq!(error, WriteError::InvalidShape { name: "a".into(), shape });
    }
    for shape in [vec![3], vec![2, 2], vec![usize::MAX, 2]] {
        let error = refused("a", &shape, DType::F32, &[1.0, 2.0]);
        assert_eq!(error, WriteError::WrongLength { name: "a".into(), shape, len: 2 });
    }
    let error = refused("a", &[4, 16], DType::Q8_0, &[0.0; 64]);
    assert_eq!(error, WriteError::PartialBlock { name: "a".into(), row: 16, dtype: DType::Q8_0 });
    let error = refused("a", &[2], DType::F32, &[1.0, f32::INFINITY]);
    let source = QuantError::NonFinite { dtype: DType::F32, index: 1, value: f32::INFINITY };
    assert_eq!(error, WriteError::Values { name: "a".into(), source });

    writer.tensor("a", &[1], DType::F32, &[1.0]).unwrap();
    writer.tensor(&long[1..], &[1], DType::F32, &[1.0]).unwrap();
    let error = writer.tensor("a", &[2], DType::F16, &[1.0, 2.0]).unwrap_err();
    assert_eq!(error, WriteError::DuplicateTensor { name: "a".into() });
    assert_eq!(File::new_checked(&writer.finish()).unwrap().tensors().len(), 2, "a refused tensor leaves nothing");
}
