//! A heap: a list of free pieces by address, the first that is large enough is taken, and what is given back grows together
//! with its neighbours.
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

unsafe extern "C" {
    static mut _heap: u8;
    static mut _heap_end: u8;
}

/// What a free piece begins with; its size is what pieces are multiples of.
#[repr(C, align(8))]
struct Free {
    bytes: usize,
    next: *mut Free,
}

struct State {
    first: *mut Free,
    /// The end of the memory that was ever handed out; null before the first.
    reached: *mut u8,
}

pub struct Heap(UnsafeCell<State>);

// SAFETY: the program has one thread, and no interrupts that allocate.
unsafe impl Sync for Heap {}

#[global_allocator]
pub static HEAP: Heap = Heap(UnsafeCell::new(State { first: null_mut(), reached: null_mut() }));

impl Heap {
    /// Bytes of the shortest memory in which everything so far had its place.
    pub fn peak(&self) -> usize {
        // SAFETY: one thread; a symbol of which the address is taken.
        let (reached, start) = unsafe { ((*self.0.get()).reached, &raw mut _heap) };
        (reached as usize).saturating_sub(start as usize)
    }
}

fn bytes_of(layout: Layout) -> usize {
    layout.size().max(1).next_multiple_of(size_of::<Free>())
}

// SAFETY: what is handed out is cut off the free pieces, which lie within the heap, do not overlap, and begin at multiples
// of 8 bytes; it comes back with the same layout.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread; the free pieces are nobody else's memory.
        unsafe {
            let state = &mut *self.0.get();
            if state.reached.is_null() {
                let (start, end) = (&raw mut _heap, &raw mut _heap_end);
                state.first = start.cast();
                state.first.write(Free { bytes: (end as usize - start as usize) & !15, next: null_mut() });
                state.reached = start;
            }
            let (bytes, mut link) = (bytes_of(layout), &raw mut state.first);
            while let Some(&Free { bytes: has, next }) = (*link).as_ref() {
                let start = (*link).cast::<u8>();
                // Whole pieces in front, too.
                let front = start.align_offset(layout.align().max(size_of::<Free>()));
                if front + bytes <= has {
                    let place = start.add(front);
                    let mut rest = next;
                    if front + bytes < has {
                        rest = place.add(bytes).cast();
                        rest.write(Free { bytes: has - front - bytes, next });
                    }
                    if front > 0 {
                        (**link).bytes = front;
                        link = &raw mut (**link).next;
                    }
                    *link = rest;
                    state.reached = state.reached.max(place.add(bytes));
                    return place;
                }
                link = &raw mut (**link).next;
            }
            null_mut()
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            let state = &mut *self.0.get();
            let (mut before, mut link) = (null_mut::<Free>(), &raw mut state.first);
            while !(*link).is_null() && (*link).cast::<u8>() < place {
                before = *link;
                link = &raw mut (*before).next;
            }
            let piece: *mut Free = place.cast();
            piece.write(Free { bytes: bytes_of(layout), next: *link });
            *link = piece;
            join(piece);
            if !before.is_null() {
                join(before);
            }
        }
    }
}

/// Makes one of a piece and the next, if they touch.
unsafe fn join(piece: *mut Free) {
    // SAFETY: the caller's piece is in the list.
    unsafe {
        let next = (*piece).next;
        if piece.cast::<u8>().add((*piece).bytes) == next.cast() {
            (*piece).bytes += (*next).bytes;
            (*piece).next = (*next).next;
        }
    }
}
