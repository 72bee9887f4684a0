//! Memory that is only ever handed out: the program makes one session and ends.
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;

const BYTES: usize = 64 << 20;

#[repr(align(64))]
struct Memory(UnsafeCell<[u8; BYTES]>);

struct Heap {
    memory: Memory,
    used: UnsafeCell<usize>,
}

// SAFETY: the program has one thread.
unsafe impl Sync for Heap {}

// SAFETY: each allocation is a fresh range of `memory`, aligned as asked; none is given twice, and null says that none is left.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, so that nothing else reads or writes `used` meanwhile.
        let used = unsafe { &mut *self.used.get() };
        let start = used.next_multiple_of(layout.align());
        match start.checked_add(layout.size()).filter(|end| *end <= BYTES) {
            Some(end) => {
                *used = end;
                // SAFETY: start lies within the memory.
                unsafe { self.memory.0.get().cast::<u8>().add(start) }
            }
            None => core::ptr::null_mut(),
        }
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Heap = Heap { memory: Memory(UnsafeCell::new([0; BYTES])), used: UnsafeCell::new(0) };
