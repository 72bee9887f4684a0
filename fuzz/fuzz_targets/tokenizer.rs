//! Puts arbitrary bytes in the place of one of a vocabulary's files.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::tokenizer(bytes);
});
