//! The deadlines of one event loop, in their order, so that one timer of the host loop serves them all.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

/// The key of a deadline, by which it can be removed. The number tells equal deadlines apart.
pub type TimerKey = (Instant, u64);

/// Deadlines and their wakers. Dropping it wakes nothing.
#[derive(Default)]
pub struct Timers {
    deadlines: BTreeMap<TimerKey, Waker>,
    next_id: u64,
}

impl Timers {
    pub fn insert(&mut self, deadline: Instant, waker: Waker) -> TimerKey {
        self.next_id += 1;
        let key = (deadline, self.next_id);
        self.deadlines.insert(key, waker);
        key
    }

    /// Removes a deadline and returns its waker, if the deadline has not expired.
    pub fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.deadlines.remove(&key)
    }

    pub fn earliest(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|(key, _)| key.0)
    }

    /// Removes the deadlines that have passed and returns their wakers, the earliest first.
    pub fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let mut expired = Vec::new();
        while let Some(entry) = self.deadlines.first_entry() {
            if entry.key().0 > now {
                break;
            }
            expired.push(entry.remove());
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn expires_in_order_and_only_what_is_due() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let late = timers.insert(start + Duration::from_secs(2), Waker::noop().clone());
        timers.insert(start + Duration::from_secs(1), Waker::noop().clone());
        timers.insert(start + Duration::from_secs(1), Waker::noop().clone());

        assert_eq!(timers.earliest(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.expire(start).len(), 0);
        assert_eq!(timers.expire(start + Duration::from_secs(1)).len(), 2);
        assert_eq!(timers.earliest(), Some(late.0));
        assert!(timers.remove(late).is_some());
        assert!(timers.remove(late).is_none());
        assert_eq!(timers.earliest(), None);
    }
}
