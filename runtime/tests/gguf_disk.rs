//! Files on disk: mapped, and written whole or not at all.
//!
//! Seen red: the temporary file kept on failure; `fs::write` in place of the rename (the mapped file changes).
#![cfg(feature = "std")]

mod common;

use common::seeds::file;
use nijimi_runtime::gguf::{File, MappedFile, write_atomic};
use std::path::PathBuf;
use std::{fs, thread};

/// An empty folder of this test.
fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn names(path: &PathBuf) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_file_is_written_and_mapped() {
    let folder = folder("written");
    let path = folder.join("a.gguf");
    write_atomic(&path, &file(true, true)).unwrap();
    let mapped = MappedFile::open(&path).unwrap();
    assert_eq!(mapped.bytes(), file(true, true));
    assert_eq!(File::new_checked(mapped.bytes()).unwrap().tensors().len(), 5);
    // Replacing the file does not disturb who has it mapped.
    write_atomic(&path, &file(false, true)).unwrap();
    assert_eq!(mapped.bytes(), file(true, true));
    assert_eq!(fs::read(&path).unwrap(), file(false, true));
    assert_eq!(names(&folder), ["a.gguf"]);
}

#[test]
fn failure_leaves_nothing_behind() {
    let folder = folder("failure");
    // A folder is in the way of the rename.
    let path = folder.join("taken");
    fs::create_dir(&path).unwrap();
    let error = write_atomic(&path, b"bytes").unwrap_err();
    assert_eq!((error.action, &error.path), ("replace", &path));
    assert_eq!(names(&folder), ["taken"]);

    let path = folder.join("no such folder/a.gguf");
    let error = write_atomic(&path, b"bytes").unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");
    assert!(write_atomic("..", b"bytes").is_err());
    assert_eq!(names(&folder), ["taken"]);
}

#[test]
fn concurrent_writers_leave_one_whole_file() {
    let folder = folder("concurrent");
    let path = folder.join("a.gguf");
    thread::scope(|scope| {
        for byte in 0..8 {
            let path = &path;
            scope.spawn(move || write_atomic(path, &vec![byte; 100_000]).unwrap());
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() == 100_000 && bytes.iter().all(|b| *b == bytes[0]));
    assert_eq!(names(&folder), ["a.gguf"]);
}

#[test]
fn errors_name_the_path() {
    let folder = folder("errors");
    let absent = folder.join("absent.gguf");
    let error = MappedFile::open(&absent).unwrap_err();
    assert!(error.to_string().contains("absent.gguf"), "{error}");
    let error = MappedFile::open(&folder).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let empty = folder.join("empty.gguf");
    fs::write(&empty, b"").unwrap();
    assert!(File::new_checked(MappedFile::open(&empty).unwrap().bytes()).is_err());
}

/// Bytes of mapped files that this process has in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Seen red with nothing advised.
#[cfg(target_os = "linux")]
#[test]
fn what_is_released_is_not_in_memory() {
    use nijimi_runtime::gguf::Writer;
    use nijimi_runtime::quant::DType;
    const VALUES: usize = 4 << 20;
    let path = folder("released").join("a.gguf");
    let mut writer = Writer::new();
    let values: Vec<f32> = (0..VALUES).map(|i| i as f32).collect();
    ["a", "b", "c", "d"].iter().for_each(|name| writer.tensor(name, &[VALUES], DType::F32, &values).unwrap());
    write_atomic(&path, &writer.finish()).unwrap();
    let mapped = MappedFile::open(&path).unwrap();
    let file = mapped.file().unwrap();
    let sum = |data: &[u8]| data.iter().map(|b| u64::from(*b)).sum::<u64>();
    let before = resident();
    let used: Vec<u64> = file.tensors().map(|tensor| sum(tensor.data)).collect();
    let all = 16 * VALUES as u64;
    assert!(resident() > before + all / 2, "a mapped file is in memory when it is used");
    file.tensors().for_each(|tensor| file.release(tensor.data));
    assert!(resident() < before + all / 8, "{} before, {} after", before, resident());
    // What is used again comes back; what is no part of the file is not touched.
    assert_eq!(file.tensors().map(|tensor| sum(tensor.data)).collect::<Vec<_>>(), used);
    file.release(&[]);
    file.release(bytemuck::cast_slice(&values));
    assert!(values.iter().enumerate().all(|(i, v)| *v == i as f32));
}
