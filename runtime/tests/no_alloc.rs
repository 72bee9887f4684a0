//! After a session is made, drawing pictures allocates nothing. Alone in its file: the counter counts every thread.

#[path = "common/model.rs"]
mod common;
#[path = "common/counting.rs"]
mod counting;

use common::Tiny;
use counting::ALLOCATIONS;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Pipeline, Request, SessionOptions};
use nijimi_runtime::sampler::Method;
use std::sync::atomic::Ordering::Relaxed;

// Seen red: a `Vec` made for each step's noise; `Vec`s of labels made for each run.
#[test]
fn drawing_allocates_nothing() {
    let bytes = Tiny::new(10).bytes();
    let pipeline = Pipeline::load(&File::new_checked(&bytes).unwrap()).unwrap();
    let mut session = pipeline.session(&SessionOptions { batch: 3, threads: 2, ..Default::default() }).unwrap();
    let mut pictures = [0; 3 * 64];
    let samplers = ["ddpm", "ddim"].map(|name| pipeline.sampler(Method::from_name(name).unwrap(), 5).unwrap());
    let before = ALLOCATIONS.load(Relaxed);
    for sampler in &samplers {
        for guidance_scale in [1.0, 3.0] {
            let labels = [Some(1), None, Some(9)];
            let request = Request { labels: &labels, seeds: &[1, 2, 3], sampler, guidance_scale };
            let mut run = session.run(&request).unwrap();
            while run.step().unwrap().is_some() {
                run.write_u8(&mut pictures).unwrap();
            }
        }
    }
    assert_eq!(ALLOCATIONS.load(Relaxed) - before, 0);
    assert!(before > 0, "the counter counts");
}
