//! Strands: the threads that poll, and the greenlets (gevent, eventlet) that take turns on one thread. Each has a number.
//!
//! The number of a thread or greenlet is never 0 and never given to another one.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static STRAND: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of this thread.
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

/// Returns the number of what polls: this thread, or the greenlet that runs on it.
pub fn strand() -> u64 {
    match STRAND.get() {
        0 => thread(),
        strand => strand,
    }
}

/// Sets the number of the greenlet that polls on this thread; 0 for the thread itself.
///
/// Numbers of greenlets begin at 2^63, where those of threads do not come.
pub fn set_strand(strand: u64) {
    STRAND.set(strand);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_a_number_of_its_own() {
        let here = thread();
        assert_eq!(here, thread());
        let other = std::thread::spawn(thread).join().expect("a thread that ends");
        assert!(here != other && here != 0 && other != 0);
    }

    #[test]
    fn a_greenlet_polls_in_place_of_its_thread() {
        assert_eq!(strand(), thread());
        set_strand(1 << 63);
        assert_eq!(strand(), 1 << 63);
        set_strand(0);
        assert_eq!(strand(), thread());
    }
}
