//! Instruction sets, found at run time: through `std` where it is there, by `cpuid` and `xgetbv` where not.
#![cfg_attr(all(target_arch = "x86_64", not(feature = "std")), allow(unsafe_code))] // cpuid and xgetbv without std

use core::fmt;

/// A family of kernels. Later ones are faster; all give the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Portable Rust.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL; integer products as [`Isa::Avx2`].
    Avx512,
    /// [`Isa::Avx512`] with VNNI: integer products by `vpdpbusd`.
    Avx512Vnni,
    /// [`Isa::Avx512Vnni`] with AMX, which Linux lets a process use that asks for it; products with q8_0 weights in tiles.
    Amx,
    /// AArch64 with NEON.
    Neon,
    /// WebAssembly with 128-bit vectors, which the build chose (`-C target-feature=+simd128`).
    Simd128,
}

impl Isa {
    const ALL: [Isa; 7] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Amx, Isa::Neon, Isa::Simd128];

    /// The best one of this machine.
    pub fn detect() -> Isa {
        Isa::available().last().unwrap_or(Isa::Scalar)
    }

    /// All that this machine can run, from slow to fast.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|i| i.is_available())
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            // In the base architecture, except on targets without floating point registers.
            Isa::Neon => cfg!(all(target_arch = "aarch64", target_feature = "neon")),
            Isa::Simd128 => cfg!(all(target_arch = "wasm32", target_feature = "simd128")),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx2() && x86::avx512(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => x86::avx2() && x86::avx512() && x86::vnni(),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Isa::Avx512Vnni.is_available() && super::tiles::are_ours(super::tiles::INT8),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 | Isa::Avx512Vnni | Isa::Amx => false,
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "AVX2",
            Isa::Avx512 => "AVX-512",
            Isa::Avx512Vnni => "AVX-512 VNNI",
            Isa::Amx => "AMX",
            Isa::Neon => "NEON",
            Isa::Simd128 => "SIMD128",
        })
    }
}

/// An instruction set that the machine cannot run was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this machine lacks {isa}; its best is {best}: ask for that, or let it be detected")]
pub struct IsaMissing {
    /// What was asked for.
    pub isa: Isa,
    /// What the machine has.
    pub best: Isa,
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod x86 {
    use std::is_x86_feature_detected as has;

    pub fn avx2() -> bool {
        has!("avx2") && has!("fma") && has!("f16c")
    }
    pub fn avx512() -> bool {
        has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
    }
    pub fn vnni() -> bool {
        has!("avx512vnni")
    }
}

#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
mod x86 {
    use super::raw::{AVX, ZMM, features};

    pub fn avx2() -> bool {
        // leaf 1 ecx: FMA 12, F16C 29; leaf 7 ebx: AVX2 5
        features(AVX).is_some_and(|(l1, l7b, _)| l1 & (1 << 12) != 0 && l1 & (1 << 29) != 0 && l7b & (1 << 5) != 0)
    }
    pub fn avx512() -> bool {
        // leaf 7 ebx: F 16, DQ 17, BW 30, VL 31
        let all = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31;
        features(ZMM).is_some_and(|(_, l7b, _)| l7b & all == all)
    }
    pub fn vnni() -> bool {
        features(ZMM).is_some_and(|(_, _, l7c)| l7c & (1 << 11) != 0)
    }
}

/// `cpuid` and `xgetbv` directly; compiled with `std` for its tests only, where it is compared with `std`'s answer.
#[cfg(all(target_arch = "x86_64", any(test, not(feature = "std"))))]
#[cfg_attr(feature = "std", allow(unsafe_code))]
mod raw {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// State the system must save for 256-bit registers: xmm and ymm.
    pub const AVX: u64 = 0x6;
    /// And for 512-bit registers: opmask, upper halves, upper sixteen.
    pub const ZMM: u64 = 0xe6;

    /// (leaf 1 ecx, leaf 7 ebx, leaf 7 ecx), or `None` where the system does not save the registers `state`.
    #[allow(unused_unsafe)] // __cpuid became safe in later toolchains
    pub fn features(state: u64) -> Option<(u32, u32, u32)> {
        #[target_feature(enable = "xsave")]
        fn xcr0() -> u64 {
            // SAFETY: the caller checked OSXSAVE, which makes xgetbv of register 0 available.
            unsafe { _xgetbv(0) }
        }
        // SAFETY: every x86-64 processor has cpuid; leaf 7 is read only where leaf 0 says it exists.
        unsafe {
            let (max, l1) = (__cpuid(0).eax, __cpuid(1));
            if max < 7 || l1.ecx & (1 << 27) == 0 || xcr0() & state != state {
                return None;
            }
            let l7 = __cpuid_count(7, 0);
            Some((l1.ecx, l7.ebx, l7.ecx))
        }
    }
}

#[cfg(all(test, target_arch = "x86_64", feature = "std"))]
mod tests {
    use super::raw::{AVX, ZMM, features};
    use std::is_x86_feature_detected as has;

    /// Seen red with two registers exchanged.
    #[test]
    fn cpuid_agrees_with_std() {
        let bit = |v: u32, b: u32| v >> b & 1 == 1;
        let (l1, b, c) = features(AVX).unwrap_or_default();
        assert_eq!(bit(l1, 12) && bit(l1, 29) && bit(b, 5), has!("fma") && has!("f16c") && has!("avx2"));
        assert_eq!(features(ZMM).is_some() && bit(b, 16), has!("avx512f"));
        assert_eq!(features(ZMM).is_some() && bit(b, 17), has!("avx512dq"));
        assert_eq!(features(ZMM).is_some() && bit(b, 30), has!("avx512bw"));
        assert_eq!(features(ZMM).is_some() && bit(b, 31), has!("avx512vl"));
        assert_eq!(features(ZMM).is_some() && bit(c, 11), has!("avx512vnni"));
    }
}
