//! The C library `libnijimi`, of `include/nijimi.h`, which tells what each function does.
//!
//! `border.rs` has what is unsafe: all that points into a C program's memory is read and written there. Objects come and go as references
//! and boxes, for which null is `None`.
#![deny(unsafe_code)]

mod border;
mod context;
mod fault;
#[cfg(test)]
mod header;
mod model;
mod options;
mod run;
