//! The idle connections of all origins, in the order in which they became idle.

use std::time::{Duration, Instant};

use hashlink::LinkedHashMap;

/// The numbers of the idle connections: the one that has been idle longest first.
#[derive(Default)]
pub struct IdleConnections {
    by_age: LinkedHashMap<u64, Instant>,
}

impl IdleConnections {
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Adds a connection that has just become idle.
    pub fn push(&mut self, id: u64, now: Instant) {
        self.by_age.insert(id, now);
    }

    pub fn remove(&mut self, id: u64) {
        self.by_age.remove(&id);
    }

    /// Returns the connection that has been idle longest.
    pub fn oldest(&self) -> Option<u64> {
        self.by_age.front().map(|(id, _)| *id)
    }

    /// Returns the connection that has been idle longest if that was for at least `expiry`.
    pub fn expired(&self, expiry: Duration, now: Instant) -> Option<u64> {
        let (id, since) = self.by_age.front()?;
        (now.saturating_duration_since(*since) >= expiry).then_some(*id)
    }

    pub fn clear(&mut self) {
        self.by_age.clear();
    }
}
