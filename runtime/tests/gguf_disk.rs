//! Files on disk: mapped, and written whole or not at all.
//!
//! Seen red: the temporary file kept on failure; `fs::write` in place of the rename (the mapped file changes).
#![cfg(feature = "std")]

mod common;

use common::seeds::file;
use nijimi_runtime::gguf::{AtomicFile, File, MappedFile, open_regular, write_atomic};
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
    assert_eq!(File::new_checked(mapped.bytes()).unwrap().tensors().len(), 8);
    // Replacing the file does not disturb who has it mapped.
    write_atomic(&path, &file(false, true)).unwrap();
    assert_eq!(mapped.bytes(), file(true, true));
    assert_eq!(fs::read(&path).unwrap(), file(false, true));
    assert_eq!(names(&folder), ["a.gguf"]);
}

#[test]
fn failure_leaves_nothing_behind() {
    let folder = folder("failure");
    let path = folder.join("taken");
    fs::create_dir(&path).unwrap();
    let error = write_atomic(&path, b"bytes").unwrap_err();
    assert_eq!((error.action, &error.path), ("write", &path));
    assert!(error.to_string().contains("it is a folder"), "{error}");
    assert_eq!(names(&folder), ["taken"]);

    let path = folder.join("no such folder/a.gguf");
    let error = write_atomic(&path, b"bytes").unwrap_err();
    assert!(error.to_string().contains("no such folder"), "{error}");
    assert!(write_atomic("..", b"bytes").is_err());
    assert_eq!(names(&folder), ["taken"]);
}

/// What is there decides how it is written. Seen red: a link replaced; the mode of a new file; a pipe replaced; a long name
/// made longer; a folder that takes nothing found at the end; a pipe waited for as an input.
#[cfg(target_os = "linux")]
#[test]
fn links_modes_pipes_and_long_names() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let folder = folder("places");
    fs::create_dir(folder.join("far")).unwrap();
    let far = folder.join("far/a");
    for link in ["near", "nearer"] {
        // The first one to a file that is not there yet.
        symlink("far/a", folder.join(link)).unwrap();
        write_atomic(folder.join(link), link.as_bytes()).unwrap();
        assert_eq!(fs::read(&far).unwrap(), link.as_bytes());
        assert!(folder.join(link).is_symlink());
        fs::set_permissions(&far, fs::Permissions::from_mode(0o640)).unwrap();
    }
    write_atomic(&far, b"again").unwrap();
    assert_eq!(fs::metadata(&far).unwrap().permissions().mode() & 0o777, 0o640);

    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    AtomicFile::prove(&pipe).unwrap();
    let reader = thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    write_atomic(&pipe, b"rows").unwrap();
    assert_eq!(reader.join().unwrap(), b"rows");
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(open_regular(&pipe).unwrap_err().to_string().contains("not a regular file"));

    write_atomic(folder.join("n".repeat(255)), b"long").unwrap();
    for (path, part) in [
        (folder.join("n".repeat(256)), "too long"),
        ("/proc/nijimi-a".into(), "/proc/nijimi-a"),
        (folder.join("none/a"), "none/a"),
        (folder.join("a/"), "does not end in a file name"),
    ] {
        let error = AtomicFile::prove(&path).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Seen red: nothing swept; what is being written swept, too.
#[test]
fn what_a_killed_program_left_is_swept() {
    let folder = folder("swept");
    let (dead, live) = (folder.join(".nijimi-0.tmp"), folder.join(".nijimi-3.tmp"));
    fs::write(&dead, b"half").unwrap();
    fs::write(&live, b"half").unwrap();
    let held = fs::File::open(&live).unwrap();
    held.lock().unwrap();
    write_atomic(folder.join("a"), b"whole").unwrap();
    assert!(!dead.exists() && live.exists());
    drop(held);
    // A process that another test starts has the lock, too, until it is a program of its own.
    while fs::File::open(&live).unwrap().try_lock().is_err() {
        thread::sleep(std::time::Duration::from_millis(1));
    }
    let file = AtomicFile::create(folder.join("b")).unwrap();
    assert!(!live.exists() && !folder.join("b").exists());
    drop(file);
    assert_eq!(names(&folder), ["a"]);
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

/// The test runs itself: what a signal ends is a process. Seen red: without the handler.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_cut_while_it_is_read_is_told() {
    const CHILD: &str = "NIJIMI_TEST_CUT";
    if let Some(path) = std::env::var_os(CHILD) {
        nijimi_runtime::gguf::faults_of_files_are_errors();
        let mapped = MappedFile::open(&path).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        println!("{}", mapped.bytes()[5000]);
        return;
    }
    let folder = folder("cut");
    let path = folder.join("a.gguf");
    fs::write(&path, [0; 10_000]).unwrap();
    let itself = std::env::current_exe().unwrap();
    let name = "a_file_that_is_cut_while_it_is_read_is_told";
    let said =
        std::process::Command::new(itself).args(["--exact", name, "--nocapture"]).env(CHILD, &path).output().unwrap();
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("became shorter while it was read"), "{said:?}");
}
