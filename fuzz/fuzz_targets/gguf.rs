//! Opens arbitrary bytes as a weight file and uses every accessor: no panic, no allocation beyond what the bytes
//! justify.
#![no_main]

#[path = "../../runtime/tests/common/touch.rs"]
mod touch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    touch::touch(bytes);
});
