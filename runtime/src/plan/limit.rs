//! The memory that a plan's executor may take.

/// How much memory an executor and what belongs to it may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryLimit {
    /// Bytes allowed in all.
    pub allowed: u64,
    /// Bytes of it that the caller needs.
    pub reserved: u64,
}

impl MemoryLimit {
    /// Whatever it takes.
    pub const NONE: Self = Self { allowed: u64::MAX, reserved: 0 };
}
