//! What a test has allocated: bytes, and not time, which other programs make longer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
}

/// The bytes that this thread has asked for so far.
pub fn allocated() -> usize {
    ALLOCATED.get()
}

/// The bytes of them that it still has.
pub fn live() -> usize {
    ALLOCATED.get().wrapping_sub(FREED.get())
}

/// The system's allocator, which counts the bytes that each thread asks for and frees.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is the system allocator's; counting touches numbers of this thread, and allocates nothing.
#[expect(unsafe_code, reason = "there is no other way to count what is allocated")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps what the trait demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above; it came from the same allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn count(allocated: usize, freed: usize) {
    // A thread that is ending has no numbers any more.
    let _ = ALLOCATED.try_with(|sum| sum.set(sum.get().wrapping_add(allocated)));
    let _ = FREED.try_with(|sum| sum.set(sum.get().wrapping_add(freed)));
}
