//! The idle connections of all origins, in the order in which they became idle, and which of them keep their buffers.

use std::time::{Duration, Instant};

use hashlink::LinkedHashMap;

/// The number of connections that keep their buffers while they are idle: those that were used last, and are used next.
const WARM: usize = 32;

/// The numbers of the idle connections.
#[derive(Default)]
pub struct IdleConnections {
    /// Those that keep their buffers: the one that has been idle longest first.
    warm: LinkedHashMap<u64, Instant>,
    /// Those that have been idle for longer, in the same order.
    resting: LinkedHashMap<u64, Instant>,
}

impl IdleConnections {
    pub fn len(&self) -> usize {
        self.warm.len() + self.resting.len()
    }

    /// Adds a connection that has just become idle. Returns one that is to free its buffers.
    pub fn push(&mut self, id: u64, now: Instant) -> Option<u64> {
        self.warm.insert(id, now);
        if self.warm.len() <= WARM {
            return None;
        }
        let (oldest, since) = self.warm.pop_front()?;
        self.resting.insert(oldest, since);
        Some(oldest)
    }

    pub fn remove(&mut self, id: u64) {
        if self.warm.remove(&id).is_none() {
            self.resting.remove(&id);
        }
    }

    /// Returns the connection that has been idle longest.
    pub fn oldest(&self) -> Option<u64> {
        self.front().map(|(id, _)| *id)
    }

    /// Returns the connection that has been idle longest if that was for at least `expiry`.
    pub fn expired(&self, expiry: Duration, now: Instant) -> Option<u64> {
        let (id, since) = self.front()?;
        (now.saturating_duration_since(*since) >= expiry).then_some(*id)
    }

    pub fn clear(&mut self) {
        self.warm.clear();
        self.resting.clear();
    }

    fn front(&self) -> Option<(&u64, &Instant)> {
        self.resting.front().or_else(|| self.warm.front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_that_were_used_last_stay_warm() {
        let (mut idle, now, warm) = (IdleConnections::default(), Instant::now(), WARM as u64);
        for id in 0..warm {
            assert_eq!(idle.push(id, now), None);
        }
        assert_eq!(idle.push(warm, now), Some(0));
        assert_eq!(idle.push(warm + 1, now), Some(1));
        assert_eq!((idle.len(), idle.oldest()), (WARM + 2, Some(0)));
        idle.remove(0);
        assert_eq!(idle.oldest(), Some(1));
        idle.remove(1);
        idle.remove(5);
        assert_eq!((idle.len(), idle.oldest()), (WARM - 1, Some(2)));
        assert_eq!(idle.push(warm + 2, now), None);
        assert_eq!(idle.expired(Duration::ZERO, now), Some(2));
        idle.clear();
        assert_eq!((idle.len(), idle.oldest()), (0, None));
    }
}
