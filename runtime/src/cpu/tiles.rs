//! The registers of AMX, tiles: whether a process may use them, and the sizes that they are given.
#![allow(unsafe_code)] // a system call, which the standard library has not

/// What `ldtilecfg` reads: for each of 8 tiles the bytes of a row, and rows.
#[repr(C, align(64))]
pub struct TileSizes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileSizes {
    /// Bytes of a row, at most 64, and rows, at most 16, of each tile; 0 and 0 of one that is not used.
    pub const fn new(tiles: [[u8; 2]; 8]) -> Self {
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        let mut i = 0;
        while i < tiles.len() {
            (row_bytes[i], rows[i]) = (tiles[i][0] as u16, tiles[i][1]);
            i += 1;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
    }
}

/// Products of pairs of bf16 (bit 22 of edx of cpuid's leaf 7).
pub const BF16: u32 = 1 << 22;
/// Products of bytes.
pub const INT8: u32 = 1 << 25;

/// Whether the processor has tiles and these products of them, and the system gives the tiles to this process: they are so large that it
/// must be asked once. Other systems than Linux are not asked.
#[cfg(all(target_os = "linux", feature = "std", not(miri)))]
pub fn are_ours(products: u32) -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;
    static GIVEN: OnceLock<bool> = OnceLock::new();
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    const TILES: u32 = 1 << 24;
    let needed = TILES | products;
    #[allow(unused_unsafe)] // __cpuid became safe in later toolchains
    // SAFETY: every x86-64 processor has cpuid; leaf 7 is read only where leaf 0 says it exists.
    let has = unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & needed == needed };
    has && *GIVEN.get_or_init(|| {
        let code: i64;
        // SAFETY: the call takes two numbers, and touches no memory of ours; systems that do not know it refuse.
        unsafe {
            core::arch::asm!("syscall", inlateout("rax") ARCH_PRCTL => code, in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XTILEDATA, out("rcx") _, out("r11") _, options(nostack));
        }
        code == 0
    })
}

/// Other systems are not asked.
#[cfg(not(all(target_os = "linux", feature = "std", not(miri))))]
pub fn are_ours(_products: u32) -> bool {
    false
}
