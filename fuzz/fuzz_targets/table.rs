//! Reads arbitrary bytes as a table of numbers.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::table(bytes);
});
