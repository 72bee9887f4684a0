//! A Cortex-M4F: its table of vectors, and what runs before there is a memory to speak of.
use core::arch::naked_asm;

unsafe extern "C" {
    static _stack_top: u32;
}

#[repr(C)]
struct Vectors {
    stack: *const u32,
    handlers: [unsafe extern "C" fn() -> !; 15],
}
// SAFETY: constants.
unsafe impl Sync for Vectors {}

#[unsafe(link_section = ".vectors")]
#[used]
static VECTORS: Vectors = Vectors {
    stack: &raw const _stack_top,
    handlers: [reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault],
};

/// Paints the stack, lays out the statics, and switches the floating point unit on, which nothing before may use.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn reset() -> ! {
    naked_asm!(
        "ldr r0, =_stack_end",
        "ldr r1, ={unused}",
        "2: cmp r0, sp",
        "bhs 3f",
        "str r1, [r0], #4",
        "b 2b",
        "3: ldr r0, =_data",
        "ldr r1, =_data_end",
        "ldr r2, =_data_stored",
        "4: cmp r0, r1",
        "bhs 5f",
        "ldr r3, [r2], #4",
        "str r3, [r0], #4",
        "b 4b",
        "5: ldr r0, =_bss",
        "ldr r1, =_bss_end",
        "movs r3, #0",
        "6: cmp r0, r1",
        "bhs 7f",
        "str r3, [r0], #4",
        "b 6b",
        // CPACR: coprocessors 10 and 11.
        "7: ldr r0, =0xe000ed88",
        "ldr r1, [r0]",
        "orr r1, r1, #0xf00000",
        "str r1, [r0]",
        "dsb",
        "isb",
        "b {run}",
        unused = const super::UNUSED,
        run = sym super::run,
    )
}

/// There may be no stack left to say it on: a new one.
#[unsafe(naked)]
unsafe extern "C" fn fault() -> ! {
    naked_asm!("ldr r0, =_stack_top", "mov sp, r0", "b {say}", say = sym super::say_fault)
}

/// The instructions since the timer was begun. In QEMU with `-icount shift=0` one takes a nanosecond, and the board's timer
/// counts at 25 MHz; a chip has a counter of cycles (DWT) in its place.
pub fn instructions() -> u64 {
    const CONTROL: *mut u32 = 0x4000_0000 as *mut u32;
    const VALUE: *mut u32 = 0x4000_0004 as *mut u32;
    const RELOAD: *mut u32 = 0x4000_0008 as *mut u32;
    // SAFETY: registers of the board's first timer (Arm's CMSDK, APB timer), which counts down from what is reloaded.
    unsafe {
        if CONTROL.read_volatile() == 0 {
            RELOAD.write_volatile(u32::MAX);
            VALUE.write_volatile(u32::MAX);
            CONTROL.write_volatile(1);
        }
        40 * u64::from(u32::MAX - VALUE.read_volatile())
    }
}
