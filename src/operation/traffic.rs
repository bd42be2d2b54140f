//! The bytes that a stream has moved.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that a stream has sent and received, counted by the one that reads and writes it, and readable at any time.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    pub fn add_sent(&self, bytes: usize) {
        Self::add(&self.sent, bytes);
    }

    pub fn add_received(&self, bytes: usize) {
        Self::add(&self.received, bytes);
    }

    /// Returns the numbers of bytes sent and received so far.
    pub fn moved(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// One task or thread at a time moves bytes, so that this need not be one step.
    fn add(counter: &AtomicU64, bytes: usize) {
        counter.store(counter.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }
}
