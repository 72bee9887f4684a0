//! Portable loops compiled once more for wider vectors: the compiler vectorizes them, the operations and their order
//! stay the same, and so do the bits.

/// `fn name(isa, arguments)` that calls the `#[inline(always)]` function `body`, compiled for the instruction set.
macro_rules! vectorized {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        #[allow(unsafe_code)] // calls code compiled for an instruction set
        fn $name(isa: $crate::cpu::Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) {
                $body($($arg),*)
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a context holds only an instruction set that the machine has.
                $crate::cpu::Isa::Avx512 | $crate::cpu::Isa::Avx512Vnni | $crate::cpu::Isa::Amx => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::cpu::Isa::Avx2 => unsafe { avx2($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    };
}
pub(super) use vectorized;
