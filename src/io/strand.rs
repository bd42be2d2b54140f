//! Numbers for what polls: threads, and the greenlets that take turns on one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static STRAND: Cell<u64> = const { Cell::new(0) };
}

/// Returns a number for this thread, never 0.
pub fn thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static THREAD: Cell<u64> = const { Cell::new(0) };
    }
    THREAD.with(|thread| {
        if thread.get() == 0 {
            thread.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        thread.get()
    })
}

/// Returns a number, never 0, for what polls: the thread, or one of the greenlets that take turns on it.
pub fn strand() -> u64 {
    match STRAND.get() {
        0 => thread(),
        strand => strand,
    }
}

/// Sets the greenlet that polls on this thread; 0 for the thread itself.
pub fn set_strand(strand: u64) {
    STRAND.set(strand);
}
