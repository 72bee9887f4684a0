//! Opens arbitrary bytes as a .safetensors file and reads every tensor.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::safetensors(bytes);
});
