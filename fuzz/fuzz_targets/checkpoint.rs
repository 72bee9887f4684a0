//! Reads arbitrary bytes as the checkpoint of a training run.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::checkpoint(bytes);
});
