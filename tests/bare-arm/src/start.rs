//! From reset to `main`, and what went wrong.
use crate::heap::HEAP;
use crate::semihosting::{exit, say};
use core::arch::naked_asm;
use core::fmt::Write;

unsafe extern "C" {
    static _stack_end: u32;
    static _stack_top: u32;
    static _data: u32;
    static _bss_end: u32;
    static _flash_end: u32;
    /// The program's.
    fn main() -> bool;
}

/// What a stack holds where it was never used.
const UNUSED: u32 = 0xa5a5_a5a5;

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
        unused = const UNUSED,
        run = sym run,
    )
}

unsafe extern "C" fn run() -> ! {
    // SAFETY: each program has a `main`, which is called once.
    let done = unsafe { main() };
    if done {
        report();
    }
    exit(done)
}

/// What the program took: a line of bytes each.
fn report() {
    let at = |symbol: *const u32| symbol as usize;
    let [end, top] = [&raw const _stack_end, &raw const _stack_top].map(at);
    let [data, bss_end, flash] = [&raw const _data, &raw const _bss_end, &raw const _flash_end].map(at);
    // SAFETY: words of the stack, which is not written between these addresses.
    let unused = (end..top).step_by(4).take_while(|&word| unsafe { (word as *const u32).read_volatile() } == UNUSED);
    let stack = top - end - 4 * unused.count();
    let (statics, heap) = (bss_end - data, HEAP.peak());
    let mut out = say();
    let _ = writeln!(out, "flash {flash}\nstatics {statics}\nheap {heap}\nstack {stack}");
    let _ = writeln!(out, "ram {}", statics + heap + stack);
}

/// There may be no stack left to say it on: a new one.
#[unsafe(naked)]
unsafe extern "C" fn fault() -> ! {
    naked_asm!("ldr r0, =_stack_top", "mov sp, r0", "b {say}", say = sym say_fault)
}

unsafe extern "C" fn say_fault() -> ! {
    let _ = writeln!(say(), "a fault: the stack is too short, or memory was used that is not there");
    exit(false)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(say(), "{info}");
    exit(false)
}
