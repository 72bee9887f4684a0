//! How many bytes an activation has on a device.

/// How activations lie in device memory. Sums are f32 in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Storage {
    /// 4 bytes each.
    #[default]
    F32,
    /// 2 bytes each: half the memory and traffic, where the device has `shader-f16` and the network's values stay
    /// below 65504.
    F16,
}

impl Storage {
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}
