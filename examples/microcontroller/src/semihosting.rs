//! Calls that an emulator or a debugger answers.
use core::arch::asm;
use core::fmt;

const OPEN: usize = 0x01;
const WRITE: usize = 0x05;
const EXIT: usize = 0x18;
/// Reasons to exit: the program ended, and a run-time error.
const DONE: usize = 0x20026;
const FAILED: usize = 0x20023;

fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: only the three operations, whose arguments live across the call.
    #[cfg(target_arch = "arm")]
    unsafe {
        asm!("bkpt #0xab", inlateout("r0") operation => result, in("r1") argument);
    }
    // SAFETY: as above. The sequence is what tells the call from a breakpoint; it must lie within a page.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inlateout("a0") operation => result,
            in("a1") argument,
        );
    }
    result
}

/// The terminal's output (opened to be written, 4) or errors (to be appended, 8).
fn write(mode: usize, bytes: &[u8]) {
    let name = b":tt\0";
    let open = [name.as_ptr() as usize, mode, 3];
    let handle = call(OPEN, open.as_ptr() as usize);
    let block = [handle, bytes.as_ptr() as usize, bytes.len()];
    call(WRITE, block.as_ptr() as usize);
}

/// Writes to standard output.
pub fn give(bytes: &[u8]) {
    write(4, bytes);
}

/// Standard error, for text.
pub fn say() -> impl fmt::Write {
    struct Errors;
    impl fmt::Write for Errors {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            write(8, text.as_bytes());
            Ok(())
        }
    }
    Errors
}

/// Ends the emulator.
pub fn exit(well: bool) -> ! {
    call(EXIT, if well { DONE } else { FAILED });
    loop {
        core::hint::spin_loop();
    }
}
