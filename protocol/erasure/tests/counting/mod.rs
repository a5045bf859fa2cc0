//! An allocator that counts what each thread has asked for, so that tests can say how much memory something takes.

// A global allocator is unsafe to write; this one only adds numbers to what the system's does.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

/// Counts what a thread has asked for.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

// Safety: all calls go to the system's allocator with the arguments they came with; the counters are plain numbers of the
// calling thread and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        let now = NOW.get().wrapping_add(memory.size());
        NOW.set(now);
        MOST.set(MOST.get().max(now));
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        NOW.set(NOW.get().saturating_sub(memory.size()));
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` gives, and how many bytes it had at once beyond what there was.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    NOW.set(1 << 40);
    MOST.set(1 << 40);
    let result = work();
    (result, MOST.get() - (1 << 40))
}
