//! The committed corpus of the fuzz target passes through the same function as in the fuzzer.

mod common;

use common::{seeds::seeds, touch::touch};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/gguf")
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused() {
    let files: Vec<_> = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= seeds().len());
    for path in files {
        touch(&fs::read(path).unwrap());
    }
}

/// The writer is deterministic, and the format does not drift: these bytes were written once. Where a change of the
/// format is meant, NIJIMI_BLESS=1 writes them anew.
///
/// Seen red: the padding of the data section by 64 instead of 32; metadata kinds u32 and i32 exchanged.
#[test]
fn seeds_are_what_was_once_written() {
    for (name, bytes) in seeds() {
        let path = corpus().join(name);
        if env::var_os("NIJIMI_BLESS").is_some() {
            fs::create_dir_all(corpus()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes, "{name} has changed");
        assert!(touch(&bytes), "{name} must be read");
    }
}
