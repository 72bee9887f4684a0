//! `nijimi`: draws pictures from one weight file.
fn main() {}
