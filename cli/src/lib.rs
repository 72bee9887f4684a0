//! What the programs `nijimi` and `nijimi-train` have in common: options as people give them, numbers that make sense, where
//! files go, and what is printed.

pub mod habits;
pub mod number;
pub mod print;
pub mod target;
