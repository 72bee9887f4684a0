//! RISC-V: what runs before there is a memory to speak of.
use core::arch::{asm, naked_asm};

/// Sets traps and the stack, paints it, and lays out the statics.
#[unsafe(no_mangle)]
#[unsafe(naked)]
#[unsafe(link_section = ".vectors")]
unsafe extern "C" fn reset() -> ! {
    naked_asm!(
        "la t0, {fault}",
        "csrw mtvec, t0",
        "la sp, _stack_top",
        "la t0, _stack_end",
        "li t1, {unused}",
        "2: bgeu t0, sp, 3f",
        "sw t1, 0(t0)",
        "addi t0, t0, 4",
        "j 2b",
        "3: la t0, _data",
        "la t1, _data_end",
        "la t2, _data_stored",
        "4: bgeu t0, t1, 5f",
        "lw t3, 0(t2)",
        "sw t3, 0(t0)",
        "addi t0, t0, 4",
        "addi t2, t2, 4",
        "j 4b",
        "5: la t0, _bss",
        "la t1, _bss_end",
        "6: bgeu t0, t1, 7f",
        "sw zero, 0(t0)",
        "addi t0, t0, 4",
        "j 6b",
        "7: tail {run}",
        fault = sym fault,
        unused = const super::UNUSED,
        run = sym super::run,
    )
}

/// There may be no stack left to say it on: a new one. Traps go to addresses that 4 divides.
#[unsafe(naked)]
unsafe extern "C" fn fault() -> ! {
    naked_asm!(".balign 4", "la sp, _stack_top", "tail {say}", say = sym super::say_fault)
}

/// The instructions since reset.
pub fn instructions() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: counters are read. Between the two no carry comes in programs as short as these: 2^32 instructions pass once.
    unsafe { asm!("csrr {}, minstreth", "csrr {}, minstret", out(reg) high, out(reg) low) };
    u64::from(high) << 32 | u64::from(low)
}
