//! The runtime without `std`: a static program for x86-64 Linux that makes two system calls, `write` and `exit`. It draws
//! label 7 with seed 1 in 20 DDIM steps from the shipped weights and writes the 28x28 bytes to standard output, then the
//! rows and log densities of a mixture of two, f64 by f64, which `tests/no_std.rs` compares with those of the hosted library, and
//! what it says of models that are left out of it.
#![no_std]
#![no_main]

extern crate alloc;

mod heap;
mod memory;
mod mixture;
mod refused;

use core::arch::{asm, naked_asm};
use core::panic::PanicInfo;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use nijimi_runtime::sampler::Solver;

static WEIGHTS: &[u8] = include_bytes!("../../../weights/digits-q8_0.gguf");

fn draw() -> Result<alloc::vec::Vec<u8>, Error> {
    let pipeline = Diffusion::load(&File::new_checked(WEIGHTS)?, &Device::Cpu)?;
    let mut session = pipeline.session(&SessionOptions::default())?;
    let calls = pipeline.calls(Solver::default(), 20)?;
    let labels = [Some(pipeline.label("7")?)];
    let guidance_scale = pipeline.info().defaults.guidance_scale;
    let mut run = session.run(&Request { labels: &labels, seeds: &[1], calls: &calls, guidance_scale })?;
    while run.step()?.is_some() {}
    run.to_u8()
}

extern "C" fn main() -> ! {
    match draw().and_then(|picture| Ok((picture, mixture::rows()?, refused::lines()?))) {
        Ok((picture, rows, refused)) => {
            write(1, &picture);
            write(1, &rows);
            write(1, refused.as_bytes());
            exit(0)
        }
        Err(e) => {
            write(2, alloc::format!("{e}\n").as_bytes());
            exit(1)
        }
    }
}

const WRITE: usize = 1;
const EXIT: usize = 60;

fn system_call(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: only `write`, of a slice that lives across the call, and `exit` are asked for.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            out("rcx") _, out("r11") _);
    }
    result
}

fn write(to: usize, bytes: &[u8]) {
    system_call(WRITE, to, bytes.as_ptr() as usize, bytes.len());
}

fn exit(code: usize) -> ! {
    system_call(EXIT, code, 0, 0);
    loop {}
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    exit(101)
}

/// The stack is aligned as the calling convention wants it; there are no arguments to read.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {main}", "ud2", main = sym main)
}

// The prebuilt `alloc` has unwind tables that name these; with `panic = "abort"` neither is ever called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    exit(102)
}
