//! Reads arbitrary bytes as the text of a picture.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::infotext(bytes);
});
