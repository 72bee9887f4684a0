//! After a session is made, drawing pictures allocates nothing. Alone in its file: the counter counts every thread.
#![allow(unsafe_code)] // a global allocator is an unsafe trait

mod common;

use common::Tiny;
use nijimi_runtime::gguf::File;
use nijimi_runtime::model::{Pipeline, Request, SessionOptions, method};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

// Seen red: a `Vec` made in each step.
#[test]
fn drawing_allocates_nothing() {
    let bytes = Tiny::new(10).bytes();
    let pipeline = Pipeline::load(&File::new_checked(&bytes).unwrap()).unwrap();
    let mut session = pipeline.session(&SessionOptions { batch: 3, threads: 2, ..Default::default() }).unwrap();
    let mut pictures = [0; 3 * 64];
    let samplers = ["ddpm", "ddim"].map(|name| pipeline.sampler(method(name).unwrap(), 5).unwrap());
    // The session's threads, and the test harness's, may still be starting: that allocates, in the system's time.
    std::thread::sleep(std::time::Duration::from_millis(200));
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
