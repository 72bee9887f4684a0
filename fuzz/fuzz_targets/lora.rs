//! Opens arbitrary bytes as a LoRA.
#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::lora(bytes);
});
