//! Reads arbitrary bytes as an IDX file.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::idx(bytes);
});
