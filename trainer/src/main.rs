//! The trainer: fits models and writes the files that `nijimi` samples.
fn main() {}
