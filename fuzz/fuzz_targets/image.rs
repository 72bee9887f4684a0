//! Decodes arbitrary bytes as a picture.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::image(bytes);
});
