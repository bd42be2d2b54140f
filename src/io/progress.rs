//! Measuring how long nothing has moved: a timeout bounds one operation, and every byte begins a new one.

use std::time::{Duration, Instant};

use crate::io::wait_set;

#[derive(Default)]
pub struct ProgressTimer {
    since: Option<(Instant, u64)>,
}

impl ProgressTimer {
    /// Whether nothing has moved for `timeout`; if not, the current poll is repeated when that time has come.
    pub fn is_over(&mut self, progress: u64, timeout: Option<Duration>) -> bool {
        let Some(timeout) = timeout else { return false };
        let now = Instant::now();
        let since = match self.since {
            Some((since, before)) if before == progress => since,
            _ => {
                self.since = Some((now, progress));
                now
            }
        };
        let Some(deadline) = since.checked_add(timeout) else { return false };
        if now < deadline {
            wait_set::wake_at(deadline);
        }
        now >= deadline
    }
}
