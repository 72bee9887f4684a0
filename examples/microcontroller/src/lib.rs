//! A chip without a system: what starts a program, its heap, and its way to say what it made (semihosting, which an
//! emulator or a debugger answers).
#![no_std]

extern crate alloc;

pub mod heap;
#[path = "../../../tests/bare/src/mixture.rs"]
pub mod mixture;
pub mod semihosting;
pub mod start;
