//! The deadline of an operation: the work that it ends, and the errors of work that it has ended.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use super::wait_set;
use crate::error::{Error, Kind, Result};
use crate::operation::EffectChannel;
use crate::origin::Origin;
use crate::timeout::Deadline;

/// Runs `work` until the deadline of its operation; `None` if that has passed first. Without a deadline this is one comparison a poll.
pub async fn until_deadline<T>(effects: &EffectChannel, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| {
        let poll = work.as_mut().poll(cx).map(Some);
        if let (Poll::Pending, Some(deadline)) = (&poll, effects.deadline()) {
            if deadline.has_passed() {
                return Poll::Ready(None);
            }
            wait_set::wake_at(deadline.at());
        }
        poll
    })
    .await
}

/// Returns the error of an exchange that has ended before the head of its response, by `failure` or by the deadline of its request.
/// In the second case the error says so; also in place of the timeout of an external stream, whose reads and writes end at the deadline.
pub fn within_total(effects: &EffectChannel, failure: Option<Error>, is_sending: bool, origin: &Origin) -> Error {
    let passed = |deadline: &Deadline| {
        if is_sending {
            deadline.error(Kind::WriteTimeout, format_args!("the request was not sent to {origin}"))
        } else {
            deadline.error(Kind::ReadTimeout, format_args!("no response from {origin}"))
        }
    };
    ended(effects, failure, passed)
}

/// Returns the result of work that the deadline of its operation may have ended (`None`). `passed` makes the error of that, which also
/// takes the place of a timeout.
pub fn finished<T>(
    effects: &EffectChannel,
    result: Option<Result<T>>,
    passed: impl FnOnce(&Deadline) -> Error,
) -> Result<T> {
    match result {
        Some(Ok(value)) => Ok(value),
        result => Err(ended(effects, result.and_then(Result::err), passed)),
    }
}

/// Returns the error of work that has ended by `failure`, or by the deadline of its operation (`None`).
fn ended(effects: &EffectChannel, failure: Option<Error>, passed: impl FnOnce(&Deadline) -> Error) -> Error {
    match failure {
        None => effects.deadline().map_or_else(Error::disconnected, passed),
        Some(error) => in_time(effects, error, passed),
    }
}

/// Returns the error that `passed` makes in place of a timeout, if the deadline of the operation has passed or has set that timeout.
pub fn in_time(effects: &EffectChannel, error: Error, passed: impl FnOnce(&Deadline) -> Error) -> Error {
    let is_ended_by = |deadline: &&Deadline| error.is_timeout() && (error.is_by_deadline() || deadline.has_passed());
    match effects.deadline().filter(is_ended_by) {
        Some(deadline) => passed(deadline).with_source(error),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;
    use crate::testing::origin;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        wait_set::clear();
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn until(total: Duration) -> EffectChannel {
        EffectChannel::default().until(Deadline::after(total))
    }

    #[test]
    fn work_that_is_ready_beats_a_deadline_that_has_passed() {
        let (passed, later) = (until(Duration::ZERO), until(Duration::from_secs(3600)));
        assert!(matches!(poll(pin!(until_deadline(&passed, pin!(std::future::ready(1))))), Poll::Ready(Some(1))));
        assert!(matches!(poll(pin!(until_deadline(&passed, pin!(std::future::pending::<()>())))), Poll::Ready(None)));
        assert!(poll(pin!(until_deadline(&later, pin!(std::future::pending::<()>())))).is_pending());
        assert_eq!(wait_set::take().deadline, later.deadline().map(Deadline::at));
    }

    #[test]
    fn without_a_deadline_work_is_waited_for() {
        let never = EffectChannel::default();
        assert!(poll(pin!(until_deadline(&never, pin!(std::future::pending::<()>())))).is_pending());
        assert_eq!(wait_set::take().deadline, None);
        assert!(Deadline::after(Duration::MAX).is_none());
    }

    #[test]
    fn the_error_names_the_phase_and_keeps_its_cause() {
        let passed = until(Duration::ZERO);
        let origin = origin();
        for (is_sending, kind, text) in [
            (true, Kind::WriteTimeout, format!("the request was not sent to {origin} within 0.0 s (total timeout)")),
            (false, Kind::ReadTimeout, format!("no response from {origin} within 0.0 s (total timeout)")),
        ] {
            let external = || Error::new(Kind::ReadTimeout, "of an external stream");
            for failure in [None, Some(external())] {
                let has_cause = failure.is_some();
                let error = within_total(&passed, failure, is_sending, &origin);
                assert_eq!((error.kind(), error.message()), (kind, text.as_str()));
                assert_eq!(error.into_source().is_some(), has_cause);
            }
        }
    }

    #[test]
    fn a_timeout_that_the_deadline_has_set_is_the_deadline() {
        let (origin, minute) = (origin(), Duration::from_secs(60));
        let effects = until(minute);
        for (timeout, is_own) in [(Some(minute / 2), true), (Some(minute), false), (None, false)] {
            let early = effects.limited(timeout).attribute(Error::new(Kind::ReadTimeout, "early"));
            let error = within_total(&effects, Some(early), false, &origin);
            assert_eq!(error.message() == "early", is_own, "{timeout:?}");
        }
        let refused = effects.limited(None).attribute(Error::new(Kind::ReadError, "reset"));
        assert_eq!(within_total(&effects, Some(refused), false, &origin).message(), "reset");
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        for effects in [until(Duration::ZERO), EffectChannel::default()] {
            let reset = Error::new(Kind::ReadError, "reset");
            let error = within_total(&effects, Some(reset), false, &origin());
            assert_eq!((error.kind(), error.message()), (Kind::ReadError, "reset"));
        }
        let slow = Error::new(Kind::ReadTimeout, "slow");
        let error = within_total(&until(Duration::from_secs(3600)), Some(slow), false, &origin());
        assert_eq!(error.message(), "slow");
    }
}
