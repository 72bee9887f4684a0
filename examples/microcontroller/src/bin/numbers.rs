//! Rows of a mixture and of a small network, and their log densities, to standard output.
#![no_std]
#![no_main]

use core::fmt::Write;
use nijimi_microcontroller::mixture;
use nijimi_microcontroller::semihosting::{give, say};

static MLP: &[u8] = include_bytes!("../../../../weights/sine-mlp.gguf");

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    for rows in [mixture::rows(), mixture::rows_of(MLP)] {
        match rows {
            Ok(rows) => give(&rows),
            Err(e) => {
                let _ = writeln!(say(), "{e}");
                return false;
            }
        }
    }
    true
}
