//! Puts arbitrary bytes in the place of one of a pipeline's configurations.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::configuration(bytes);
});
