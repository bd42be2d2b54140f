//! A timer for how long nothing has moved: httpcore's timeouts bound one operation, and each byte begins a new one.

use std::time::{Duration, Instant};

use crate::io::wait_set;

#[derive(Default)]
pub struct ProgressTimer {
    /// The progress that was seen last, and when that was first.
    since: Option<(Instant, u64)>,
}

impl ProgressTimer {
    /// Returns whether `progress` has not changed for `timeout`. If it may not be over yet, the current poll is repeated when that time
    /// has passed.
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Returns a timer that saw `progress` for the first time so long ago.
    fn timer(progress: u64, ago: Duration) -> ProgressTimer {
        ProgressTimer { since: Some((Instant::now().checked_sub(ago).expect("a clock that is not new"), progress)) }
    }

    #[test]
    fn without_progress_the_time_is_over() {
        let mut timer = timer(1, Duration::from_secs(2));
        assert!(timer.is_over(1, Some(Duration::from_secs(1))));
        assert!(!timer.is_over(1, Some(HOUR)));
        assert!(!timer.is_over(1, None));
    }

    #[test]
    fn each_byte_begins_a_new_operation() {
        let mut timer = timer(1, Duration::from_secs(2));
        wait_set::clear();
        assert!(!timer.is_over(2, Some(HOUR)));
        let deadline = wait_set::take().deadline;
        assert!(!timer.is_over(2, Some(HOUR)));
        assert_eq!(wait_set::take().deadline, deadline, "the wait began with the last byte");
    }

    #[test]
    fn a_limit_without_an_end_is_never_over() {
        assert!(!timer(1, Duration::ZERO).is_over(1, Some(Duration::MAX)));
        assert!(ProgressTimer::default().is_over(0, Some(Duration::ZERO)), "a limit of zero is over at once");
    }
}
