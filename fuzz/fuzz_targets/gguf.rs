//! Opens arbitrary bytes as a weight file and uses every accessor: no panic, no allocation beyond what the bytes
//! justify.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::gguf(bytes);
});
