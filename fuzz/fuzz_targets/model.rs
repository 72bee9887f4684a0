//! Loads arbitrary bytes as a weight file and makes a step of what it holds.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::model(bytes);
});
