//! Reads arbitrary bytes as a file of the user's cache.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::cache(bytes);
});
