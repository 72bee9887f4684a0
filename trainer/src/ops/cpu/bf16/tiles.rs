//! Products of 16x16 tiles in one instruction: AMX, of Sapphire Rapids and later. Some fifteen times the vectors' peak.
#![allow(unsafe_code)] // Instructions that the standard library does not offer yet, 
use nijimi_runtime::raw::cpu::tiles::{self, TileSizes};
use std::arch::asm;

/// Proof that this CPU has the instructions and that the system lets this process use them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiles(());

impl Tiles {
    /// Asks the CPU, and then the system.
    pub fn detect() -> Option<Self> {
        tiles::are_ours(tiles::BF16).then_some(Self(()))
    }
}

/// Every tile has 16 rows of 64 bytes.
static SIZES: TileSizes = TileSizes::new([[64, 16]; 8]);

/// What the assembly reads, at the offsets that it names.
#[repr(C)]
struct Operands {
    one: *const u32,          // 0
    one_row: usize,           // 8
    many: [*const u32; 4],    // 16
    many_row: usize,          // 48
    sums: [*mut f32; 4],      // 56
    sums_row: usize,          // 88
    steps: *const [usize; 2], // 96
    end: *const [usize; 2],   // 104
}

macro_rules! kernel {
    ($operands:expr, $first:literal, $second:literal, $(($i:literal, $tile:literal)),*) => {
        asm!(
            "ldtilecfg [{config}]",
            "mov r11, [rdi + 88]",
            $(concat!("mov rax, [rdi + 56 + 8 * ", $i, "]"), concat!("tileloadd tmm", $i, ", [rax + r11 * 1]"),)*
            "mov r8, [rdi]",
            "mov r9, [rdi + 8]",
            "mov r10, [rdi + 48]",
            "mov rsi, [rdi + 96]",
            "2:",
            "mov rax, [rsi]",
            "mov rcx, [rsi + 8]",
            "add rax, r8",
            "tileloadd tmm7, [rax + r9 * 1]",
            $(
                concat!("mov rdx, [rdi + 16 + 8 * ", $i, "]"),
                "add rdx, rcx",
                concat!("tileloadd tmm", $tile, ", [rdx + r10 * 1]"),
                concat!("tdpbf16ps tmm", $i, $first, $tile, $second),
            )*
            "add rsi, 16",
            "cmp rsi, [rdi + 104]",
            "jne 2b",
            $(concat!("mov rax, [rdi + 56 + 8 * ", $i, "]"), concat!("tilestored [rax + r11 * 1], tmm", $i),)*
            "tilerelease",
            config = in(reg) &SIZES,
            in("rdi") $operands,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// Adds to each of `N` tiles of sums, whose rows are `sums_row` bytes apart, the products of a tile from `one` and one from its
/// own of `many`, over all `steps`: offsets in bytes of the tile in `one` and in `many`. Left tiles are `[row][pair]`, right ones
/// `[pair][column]`, of 16 each; `one` is the right one of each product if `RIGHT`, else the left one.
///
/// # Safety
/// All tiles lie in memory that can be read, and the sums in memory that can be written, which nothing else uses.
pub unsafe fn multiply<const N: usize, const RIGHT: bool>(
    _: Tiles,
    one: (*const u32, usize),
    many: [*const u32; N],
    many_row: usize,
    sums: [*mut f32; N],
    sums_row: usize,
    steps: &[[usize; 2]],
) {
    if steps.is_empty() {
        return;
    }
    let range = steps.as_ptr_range();
    let mut x = Operands {
        one: one.0,
        one_row: one.1,
        many: [std::ptr::null(); 4],
        many_row,
        sums: [std::ptr::null_mut(); 4],
        sums_row,
        steps: range.start,
        end: range.end,
    };
    x.many[..N].copy_from_slice(&many);
    x.sums[..N].copy_from_slice(&sums);
    let x = &raw const x;
    // SAFETY: the caller's word; `Tiles` proves the instructions.
    unsafe {
        match (N, RIGHT) {
            (1, true) => kernel!(x, ", tmm", ", tmm7", (0, 4)),
            (2, true) => kernel!(x, ", tmm", ", tmm7", (0, 4), (1, 5)),
            (3, true) => kernel!(x, ", tmm", ", tmm7", (0, 4), (1, 5), (2, 6)),
            (4, true) => kernel!(x, ", tmm", ", tmm7", (0, 4), (1, 5), (2, 6), (3, 4)),
            (1, false) => kernel!(x, ", tmm7, tmm", "", (0, 4)),
            (2, false) => kernel!(x, ", tmm7, tmm", "", (0, 4), (1, 5)),
            (3, false) => kernel!(x, ", tmm7, tmm", "", (0, 4), (1, 5), (2, 6)),
            (4, false) => kernel!(x, ", tmm7, tmm", "", (0, 4), (1, 5), (2, 6), (3, 4)),
            (n, _) => panic!("one to four products at once, not {n}"),
        }
    }
}
