//! A seven, seed 4, in the 4 steps of a student, from weights in flash: what it will become after each step as text, and 28x28 bytes to
//! standard output at the end.
#![no_std]
#![no_main]

extern crate alloc;

use core::fmt::Write;
use nijimi_microcontroller::semihosting::{give, say};
use nijimi_microcontroller::start::instructions;
use nijimi_runtime::Error;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Device, Diffusion, Request, SessionOptions};
use nijimi_runtime::sampler::Solver;

const SIDE: usize = 28;
const STEPS: usize = 4;

/// Aligned as the file's tensors are, so that biases can be read where they lie, too.
#[repr(align(32))]
struct Aligned<T: ?Sized>(T);

static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!("../../../../weights/digits-tiny-fast-q8_0.gguf"));

/// The session's memory: as long as the error says that tells of too little.
static mut MEMORY: [f32; 100_548] = [0.0; 100_548];

fn draw() -> Result<(), Error> {
    let pipeline = Diffusion::load(&File::new_static(&WEIGHTS.0)?, &Device::CpuInPlace)?;
    let place = &raw mut MEMORY;
    // SAFETY: borrowed once.
    let memory = unsafe { &mut *place };
    let options = SessionOptions { guidance: false, ..Default::default() };
    let mut session = pipeline.session_in(&options, memory)?;
    let calls = pipeline.calls(Solver::default(), STEPS)?;
    let labels = [Some(pipeline.label("7")?)];
    let mut run = session.run(&Request { labels: &labels, seeds: &[4], calls: &calls, guidance_scale: 1.0 })?;
    let mut begun = instructions();
    while let Some(step) = run.step()? {
        let taken = instructions() - begun;
        let _ = writeln!(say(), "step {} of {}: {taken} instructions", step.index + 1, step.total);
        show(run.estimate()?);
        begun = instructions();
    }
    let mut picture = [0; SIDE * SIDE];
    run.write_u8(&mut picture)?;
    give(&picture);
    Ok(())
}

/// Every second row, as letters are twice as high as wide.
fn show(picture: &[f32]) {
    for row in picture.chunks(SIDE).step_by(2) {
        let mut line = [b'\n'; SIDE + 1];
        for (letter, value) in line.iter_mut().zip(row) {
            *letter = b" .:*#"[(5.0 * value).clamp(0.0, 4.0) as usize];
        }
        let _ = say().write_str(core::str::from_utf8(&line).unwrap_or_default());
    }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    let drawn = draw();
    if let Err(e) = &drawn {
        let _ = writeln!(say(), "{e}");
    }
    drawn.is_ok()
}
