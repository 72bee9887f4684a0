//! A seven, seed 1, in 2 steps of DDIM, from weights in flash: 28x28 bytes to standard output.
#![no_std]
#![no_main]

extern crate alloc;

use core::fmt::Write;
use nijimi_bare_arm::semihosting::{give, say};
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use nijimi_runtime::sampler::Solver;

/// Aligned as the file's tensors are, so that biases can be read where they lie, too.
#[repr(align(32))]
struct Aligned<T: ?Sized>(T);

static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../weights/digits-q8_0.gguf"));

/// The session's memory: as long as the error says that tells of too little.
static mut MEMORY: [f32; 301_664] = [0.0; 301_664];

fn draw() -> Result<alloc::vec::Vec<u8>, Error> {
    let pipeline = Diffusion::load(&File::new_static(&WEIGHTS.0)?, &Device::CpuInPlace)?;
    let place = &raw mut MEMORY;
    // SAFETY: borrowed once.
    let memory = unsafe { &mut *place };
    let options = SessionOptions { guidance: false, ..Default::default() };
    let mut session = pipeline.session_in(&options, memory)?;
    let calls = pipeline.calls(Solver::default(), 2)?;
    let labels = [Some(pipeline.label("7")?)];
    let mut run = session.run(&Request { labels: &labels, seeds: &[1], calls: &calls, guidance_scale: 1.0 })?;
    while run.step()?.is_some() {}
    run.to_u8()
}

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    match draw() {
        Ok(picture) => give(&picture),
        Err(e) => {
            let _ = writeln!(say(), "{e}");
            return false;
        }
    }
    true
}
