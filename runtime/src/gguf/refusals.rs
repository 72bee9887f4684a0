//! One test for each way in which a file is refused. The files are put together by hand, since the writer refuses to.
//!
//! Seen red: each check of the reader was taken out once, and the test of its name failed.

use super::*;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

const U32: u32 = 4;
const BOOL: u32 = 7;
const STR: u32 = 8;
const ARRAY: u32 = 9;

/// A file in parts; counts, version and magic can lie.
#[derive(Clone)]
struct Raw {
    magic: [u8; 4],
    version: u32,
    tensor_count: Option<u64>,
    metadata_count: Option<u64>,
    metadata: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

fn raw() -> Raw {
    let (tensor_count, metadata_count) = (None, None);
    Raw { magic: MAGIC, version: 3, tensor_count, metadata_count, metadata: vec![], tensors: vec![], data: 0 }
}

impl Raw {
    fn meta(mut self, key: &str, kind: u32, payload: &[u8]) -> Self {
        self.metadata.push([&string(key.as_bytes())[..], &kind.to_le_bytes(), payload].concat());
        self
    }

    fn tensor(mut self, name: &str, ne: &[u64], kind: u32, offset: u64) -> Self {
        let dims: Vec<u8> = ne.iter().flat_map(|n| n.to_le_bytes()).collect();
        let (count, kind) = ((ne.len() as u32).to_le_bytes(), kind.to_le_bytes());
        self.tensors.push([&string(name.as_bytes())[..], &count, &dims, &kind, &offset.to_le_bytes()].concat());
        self
    }

    fn data(mut self, bytes: usize) -> Self {
        self.data = bytes;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = [&self.magic[..], &self.version.to_le_bytes()].concat();
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.metadata_count.unwrap_or(self.metadata.len() as u64).to_le_bytes());
        out.extend(self.metadata.concat());
        out.extend(self.tensors.concat());
        if self.data > 0 {
            out.resize(out.len().next_multiple_of(32) + self.data, 0);
        }
        out
    }

    fn error(&self) -> GgufError {
        File::new_checked(&self.bytes()).expect_err("the file should be refused")
    }

    fn accepted(&self) {
        File::new_checked(&self.bytes()).unwrap();
    }
}

fn string(s: &[u8]) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s].concat()
}

fn array(kind: u32, count: u64, payload: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), payload].concat()
}

fn s(s: &str) -> String {
    s.to_string()
}

#[test]
fn too_short() {
    raw().accepted();
    for len in [0, 3, 4, 8, 23] {
        assert_eq!(File::new_checked(&raw().bytes()[..len]).unwrap_err(), GgufError::TooShort { len });
    }
}

#[test]
fn bad_magic() {
    let error = Raw { magic: *b"GGML", ..raw() }.error();
    assert_eq!(error, GgufError::BadMagic { found: *b"GGML" });
    assert_eq!(File::new_checked(b"\x89PNG").unwrap_err(), GgufError::BadMagic { found: *b"\x89PNG" });
}

#[test]
fn unsupported_version() {
    for found in [0, 1, 2, 4, u32::MAX] {
        let error = Raw { version: found, ..raw() }.error();
        assert_eq!(error, GgufError::UnsupportedVersion { found });
        assert!(error.to_string().contains("not 1 or 2"));
    }
}

#[test]
fn big_endian() {
    for version in [1u32, 2, 3] {
        assert_eq!(Raw { version: version.swap_bytes(), ..raw() }.error(), GgufError::BigEndian { version });
    }
}

#[test]
fn count_exceeds_file() {
    for count in [1, 2, 1 << 32, u64::MAX] {
        let error = Raw { tensor_count: Some(count), ..raw() }.error();
        assert_eq!(error, GgufError::CountExceedsFile { what: "tensors", count, remaining: 0 });
        let error = Raw { metadata_count: Some(count), ..raw() }.error();
        assert_eq!(error, GgufError::CountExceedsFile { what: "metadata entries", count, remaining: 0 });
    }
    // 34 bytes hold one tensor's entry or two of metadata, but not both.
    let mut bytes = Raw { tensor_count: Some(1), metadata_count: Some(1), ..raw() }.bytes();
    bytes.resize(24 + 34, 0);
    let error = File::new_checked(&bytes).unwrap_err();
    assert_eq!(error, GgufError::CountExceedsFile { what: "tensors", count: 1, remaining: 34 });
}

#[test]
fn too_many() {
    for (metadata_count, tensor_count) in [(Some(65537), None), (None, Some(65537))] {
        let mut bytes = Raw { metadata_count, tensor_count, ..raw() }.bytes();
        bytes.resize(24 + 65537 * 34, 0);
        let error = File::new_checked(&bytes).unwrap_err();
        assert!(matches!(error, GgufError::TooMany { count: 65537, limit: 65536, .. }), "{error}");
    }
}

#[test]
fn truncated() {
    let fields = raw().meta("key", U32, &[]).bytes();
    let error = File::new_checked(&fields).unwrap_err();
    assert_eq!(error, GgufError::Truncated { what: "metadata value", at: fields.len() });
    // An entry of metadata after which nothing is left of the tensor's.
    let file = raw().meta("k", STR, &string(&[b'x'; 40])).tensor("a", &[1, 1, 1, 1], 0, 0).bytes();
    let error = File::new_checked(&file[..file.len() - 20]).unwrap_err();
    assert!(matches!(error, GgufError::Truncated { what: "dimension", .. }), "{error}");
}

#[test]
fn string_too_long() {
    for len in [3, 1 << 40, u64::MAX] {
        let payload = [&len.to_le_bytes()[..], b"ab"].concat();
        let error = raw().meta("k", STR, &payload).error();
        assert_eq!(error, GgufError::StringTooLong { what: "metadata string", at: 37, len, remaining: 2 });
    }
}

#[test]
fn invalid_utf8() {
    let error = raw().meta("k", STR, &string(b"a\xffb")).error();
    assert_eq!(error, GgufError::InvalidUtf8 { what: "metadata string", at: 37 });
    let error = raw().meta("k", ARRAY, &array(STR, 2, &[string(b"ok"), string(b"\xc0")].concat())).error();
    assert_eq!(error, GgufError::InvalidUtf8 { what: "metadata string", at: 59 });
    let mut bytes = raw().tensor("ab", &[8], 0, 0).data(32).bytes();
    bytes[32] = 0xff;
    assert_eq!(File::new_checked(&bytes).unwrap_err(), GgufError::InvalidUtf8 { what: "tensor name", at: 24 });
}

#[test]
fn empty_name() {
    let error = raw().meta("", U32, &[0; 8]).error();
    assert_eq!(error, GgufError::EmptyName { what: "metadata key", at: 24 });
    let error = raw().tensor("", &[1, 1], 0, 0).error();
    assert_eq!(error, GgufError::EmptyName { what: "tensor name", at: 24 });
}

#[test]
fn unknown_value_type() {
    for id in [13, 255, u32::MAX] {
        assert_eq!(raw().meta("k", id, &[0; 8]).error(), GgufError::UnknownValueType { key: s("k"), id });
        let error = raw().meta("k", ARRAY, &array(id, 0, &[])).error();
        assert_eq!(error, GgufError::UnknownValueType { key: s("k"), id });
    }
}

#[test]
fn nested_array() {
    let error = raw().meta("k", ARRAY, &array(ARRAY, 1, &array(U32, 1, &[0; 4]))).error();
    assert_eq!(error, GgufError::NestedArray { key: s("k") });
}

#[test]
fn invalid_bool() {
    raw().meta("k", BOOL, &[1]).accepted();
    assert_eq!(raw().meta("k", BOOL, &[2]).error(), GgufError::InvalidBool { key: s("k"), byte: 2 });
    let error = raw().meta("k", ARRAY, &array(BOOL, 3, &[0, 1, 255])).error();
    assert_eq!(error, GgufError::InvalidBool { key: s("k"), byte: 255 });
}

#[test]
fn array_too_long() {
    for (kind, bytes) in [(U32, 4), (STR, 8), (BOOL, 1), (12, 8)] {
        for count in [3, 1 << 61, u64::MAX] {
            let remaining = 2 * bytes;
            let error = raw().meta("k", ARRAY, &array(kind, count, &vec![0; remaining])).error();
            assert_eq!(error, GgufError::ArrayTooLong { key: s("k"), count, remaining });
        }
        raw().meta("k", ARRAY, &array(kind, 2, &vec![0; 2 * bytes])).accepted();
    }
}

#[test]
fn duplicate_key() {
    let file = raw().meta("b", U32, &[0; 4]).meta("a", U32, &[0; 4]);
    file.accepted();
    assert_eq!(file.meta("b", BOOL, &[1]).error(), GgufError::DuplicateKey { key: s("b") });
}

#[test]
fn duplicate_tensor() {
    let file = raw().tensor("b", &[8], 0, 0).tensor("a", &[8], 0, 32);
    file.clone().data(64).accepted();
    assert_eq!(file.tensor("b", &[8], 0, 64).data(96).error(), GgufError::DuplicateTensor { name: s("b") });
}

#[test]
fn bad_dim_count() {
    raw().tensor("a", &[8, 1, 1, 1], 0, 0).data(32).accepted();
    for n_dims in [0usize, 5, 6] {
        let error = raw().meta("k", STR, &string(&[b'x'; 99])).tensor("a", &vec![1; n_dims], 0, 0).data(32).error();
        assert_eq!(error, GgufError::BadDimCount { name: s("a"), n_dims: n_dims as u32 });
    }
}

#[test]
fn zero_dimension() {
    for dim in 0..3 {
        let mut ne = [32, 2, 2];
        ne[dim] = 0;
        for kind in [0, 8] {
            let error = raw().tensor("a", &ne, kind, 0).data(32).error();
            assert_eq!(error, GgufError::ZeroDimension { name: s("a"), dim });
        }
    }
}

#[test]
fn tensor_too_large() {
    let large = [[1 << 32, 1 << 32, 1, 1], [u64::MAX - 31, 1, 1, 1], [1 << 61, 1, 1, 1], [32, 1 << 60, 2, 3]];
    for ne in large {
        for kind in [0, 2, 8] {
            let error = raw().tensor("a", &ne, kind, 0).data(32).error();
            assert_eq!(error, GgufError::TensorTooLarge { name: s("a") });
        }
    }
}

#[test]
fn unsupported_tensor_type() {
    for id in [3, 4, 6, 10, 28, 39, 255, u32::MAX] {
        let error = raw().tensor("a", &[256], id, 0).data(1024).error();
        assert_eq!(error, GgufError::UnsupportedTensorType { name: s("a"), id });
    }
}

#[test]
fn partial_block() {
    // As many values as two blocks, but in rows of 16.
    let error = raw().tensor("a", &[16, 4], 8, 0).data(96).error();
    assert_eq!(error, GgufError::PartialBlock { name: s("a"), row: 16, block: 32 });
}

#[test]
fn invalid_alignment() {
    let with = |value: u32| raw().meta(ALIGNMENT_KEY, U32, &value.to_le_bytes());
    for value in [0, 1, 4, 24, 33, 131_072, 1 << 31, u32::MAX] {
        assert_eq!(with(value).error(), GgufError::InvalidAlignment { value });
    }
    for value in [8, 16, 32, 64, 65536] {
        with(value).accepted();
    }
    let error = raw().meta(ALIGNMENT_KEY, 10, &[0; 8]).error();
    assert!(matches!(error, GgufError::WrongType { .. }), "{error}");
}

#[test]
fn unaligned_offset() {
    for offset in [1, 16, 33, u64::MAX] {
        let error = raw().tensor("a", &[8], 0, offset).data(96).error();
        assert_eq!(error, GgufError::UnalignedOffset { name: s("a"), offset, alignment: 32 });
    }
}

#[test]
fn offset_overflow() {
    let offset = u64::MAX - 31;
    let error = raw().tensor("a", &[16], 0, offset).data(64).error();
    assert_eq!(error, GgufError::OffsetOverflow { name: s("a"), offset });
}

#[test]
fn out_of_range() {
    for (offset, end) in [(0, 68), (32, 100), (64, 132), (1 << 40, (1 << 40) + 68)] {
        let error = raw().tensor("a", &[17], 0, offset).data(64).error();
        assert_eq!(error, GgufError::OutOfRange { name: s("a"), offset, end, len: 64 });
    }
}

#[test]
fn data_missing() {
    let error = raw().tensor("a", &[8], 0, 0).error();
    assert_eq!(error, GgufError::DataMissing { start: 64, len: 57 });
}

#[test]
fn overlap() {
    for second in [0, 32] {
        let error = raw().tensor("a", &[16], 0, 0).tensor("b", &[8], 0, second).data(64).error();
        assert!(matches!(error, GgufError::Overlap { .. }), "{error}");
    }
    // In any order of the header.
    let error = raw().tensor("b", &[8], 0, 32).tensor("a", &[9], 0, 0).data(64).error();
    assert_eq!(error, GgufError::Overlap { first: s("a"), second: s("b") });
    raw().tensor("b", &[8], 0, 32).tensor("a", &[8], 0, 0).data(64).accepted();
}

#[test]
fn hole() {
    let error = raw().tensor("a", &[1], 0, 0).tensor("b", &[8], 0, 64).data(96).error();
    assert_eq!(error, GgufError::Hole { name: s("b"), bytes: 32 });
    assert_eq!(raw().tensor("a", &[8], 0, 32).data(64).error(), GgufError::Hole { name: s("a"), bytes: 32 });
}

#[test]
fn trailing_bytes() {
    // The padding of the last tensor may be there, in part, or not.
    for data in [4, 5, 32] {
        raw().tensor("a", &[1], 0, 0).data(data).accepted();
    }
    assert_eq!(raw().tensor("a", &[1], 0, 0).data(33).error(), GgufError::TrailingBytes { bytes: 1 });
    assert_eq!(raw().data(7).error(), GgufError::TrailingBytes { bytes: 7 });
}

#[test]
fn missing_and_mistyped_keys_are_named() {
    let bytes = raw().meta("n", U32, &[7, 0, 0, 0]).meta("a", ARRAY, &array(STR, 0, &[])).bytes();
    let file = File::new_checked(&bytes).unwrap();
    assert_eq!(file.u32("n"), Ok(7));
    assert_eq!(file.str("m"), Err(GgufError::MissingKey { key: s("m") }));
    let found = s("u32");
    assert_eq!(file.f32("n"), Err(GgufError::WrongType { key: s("n"), expected: "f32", found: found.clone() }));
    assert_eq!(file.strs("n"), Err(GgufError::WrongType { key: s("n"), expected: "array of str", found }));
    // An empty array still has a type.
    assert_eq!(file.strs("a"), Ok(vec![]));
    let found = s("array of str");
    assert_eq!(file.u32s("a"), Err(GgufError::WrongType { key: s("a"), expected: "array of u32", found }));
    assert_eq!(file.tensor("t"), Err(GgufError::MissingTensor { name: s("t") }));
}

#[test]
fn messages_stay_short() {
    let long = "x".repeat(100_000);
    let error = raw().meta(&long, 99, &[]).error();
    assert!(error.to_string().len() < 200);
}
