//! Opening a file allocates no more than its header justifies, whatever its counts claim.
//!
//! Seen red: the room for entries not compared with their count.

mod common;

use common::{Numbers, seeds};
use nijimi_runtime::gguf::File;
use nijimi_runtime::gguf::Writer;
use nijimi_runtime::quant::DType;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is allocated, and the most at any time.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes allocated at a time while `bytes` is opened, or refused.
fn peak(bytes: &[u8]) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let _ = File::new_checked(bytes);
    PEAK.load(Relaxed) - before
}

// One test: others at the same time would be counted.
#[test]
fn opening_allocates_in_proportion_to_the_header() {
    // The worst file: entries as short as they can be. Kept and needed meanwhile are 52 bytes an entry of metadata
    // (at least 14 bytes of file) and 152 a tensor (at least 33, and its data).
    let mut writer = Writer::new();
    for i in 0..2000 {
        writer.meta(&format!("{i:x}"), true).unwrap();
        writer.tensor(&format!("{i:x}"), &[1], DType::F16, &[0.0]).unwrap();
    }
    let bytes = writer.finish();
    assert!(peak(&bytes) > 2000 * 100, "the counter counts");
    assert!(peak(&bytes) <= 2000 * (52 + 152) + 1024, "{}", peak(&bytes));

    let bound = |len: usize| 5 * len + 1024;
    for claim in [1 << 10, 1 << 20, 1 << 40, u64::MAX] {
        for at in [8, 16] {
            for (name, mut bytes) in seeds::seeds() {
                bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
                assert!(peak(&bytes) <= bound(bytes.len()), "{name}: {}", peak(&bytes));
            }
        }
    }
    let mut numbers = Numbers(13);
    for (name, original) in seeds::seeds() {
        for _ in 0..2000 {
            let mut bytes = original.clone();
            let at = numbers.below(bytes.len().saturating_sub(8)).min(600);
            let claim = numbers.bits() >> numbers.below(64);
            bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            assert!(peak(&bytes) <= bound(bytes.len()), "{name}: {}", peak(&bytes));
        }
    }
}
