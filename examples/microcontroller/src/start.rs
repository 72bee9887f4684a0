//! From reset to `main`, and what went wrong.
use crate::heap::HEAP;
use crate::semihosting::{exit, say};
use core::fmt::Write;

#[cfg(target_arch = "arm")]
mod arm;
#[cfg(target_arch = "arm")]
pub use arm::instructions;
#[cfg(target_arch = "riscv32")]
mod riscv;
#[cfg(target_arch = "riscv32")]
pub use riscv::instructions;

unsafe extern "C" {
    static _stack_end: u32;
    static _stack_top: u32;
    static _data: u32;
    static _bss_end: u32;
    static _flash_begin: u32;
    static _flash_end: u32;
    /// The program's.
    fn main() -> bool;
}

/// What a stack holds where it was never used.
const UNUSED: u32 = 0xa5a5_a5a5;

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
    let [data, bss_end] = [&raw const _data, &raw const _bss_end].map(at);
    let flash = at(&raw const _flash_end) - at(&raw const _flash_begin);
    // SAFETY: words of the stack, which is not written between these addresses.
    let unused = (end..top).step_by(4).take_while(|&word| unsafe { (word as *const u32).read_volatile() } == UNUSED);
    let stack = top - end - 4 * unused.count();
    let (statics, heap) = (bss_end - data, HEAP.peak());
    let mut out = say();
    let _ = writeln!(out, "flash {flash}\nstatics {statics}\nheap {heap}\nstack {stack}");
    let _ = writeln!(out, "ram {}", statics + heap + stack);
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
