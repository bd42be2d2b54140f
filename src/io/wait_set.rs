//! The wait set: all that the current poll waits for.
//!
//! A future that returns `Pending` has left here why: its sockets with a direction, its deadlines, and whether its waker counts. The
//! driver that polled it takes the wait set and waits accordingly. It is a thread-local, since a `Context` has no place for it.
//!
//! Rules:
//! * The driver calls [`clear`] before each poll, so that nothing is carried over from one operation to another.
//! * After the poll it calls [`take`] (a thread) or [`deadline`] (a task, whose sockets are watched by a reactor).
//! * A poll may be repeated for any reason, so each one leaves everything that it waits for, not only what is new.
//!
//! Dropping a wait set lets go of its sockets and has no other effect.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::source::{Direction, Source};

/// The sockets, the deadline and the wake-ups that one poll waits for.
#[derive(Default)]
pub struct WaitSet {
    /// The sockets that no reactor watches.
    pub interests: Vec<(Arc<Source>, Direction)>,
    pub deadline: Option<Instant>,
    /// Another thread may wake the operation while it waits for its sockets.
    pub waits_for_waker: bool,
    /// The poll waits for something that this thread does further down its stack.
    pub waits_for_itself: bool,
}

impl WaitSet {
    /// Ends the wait at `deadline` or earlier.
    pub fn wake_at(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }
}

thread_local! {
    static CURRENT: RefCell<WaitSet> =
        const { RefCell::new(WaitSet { interests: Vec::new(), deadline: None, waits_for_waker: false, waits_for_itself: false }) };
}

/// Empties the wait set of this thread.
pub fn clear() {
    CURRENT.with_borrow_mut(|current| {
        current.interests.clear();
        current.deadline = None;
        current.waits_for_waker = false;
        current.waits_for_itself = false;
    });
}

/// Takes what the poll that has just returned waits for.
pub fn take() -> WaitSet {
    CURRENT.take()
}

/// Returns the earliest deadline of the poll that has just returned.
pub fn deadline() -> Option<Instant> {
    CURRENT.with_borrow(|current| current.deadline)
}

/// Notes that the poll waits for a socket that no reactor watches.
pub fn wait_for(socket: &Arc<Source>, direction: Direction) {
    CURRENT.with_borrow_mut(|current| {
        if !current.interests.iter().any(|(known, what)| *what == direction && Arc::ptr_eq(known, socket)) {
            current.interests.push((Arc::clone(socket), direction));
        }
    });
}

/// Takes back that the poll waits for something to read from a socket, which another thread reads.
pub fn leave_reading_to_others(socket: &Arc<Source>) {
    CURRENT.with_borrow_mut(|current| {
        current.interests.retain(|(known, direction)| *direction != Direction::Read || !Arc::ptr_eq(known, socket));
    });
}

/// Notes that the poll must be repeated at `deadline`, whatever else happens.
pub fn wake_at(deadline: Instant) {
    CURRENT.with_borrow_mut(|current| current.wake_at(deadline));
}

/// Notes that the waker counts, besides sockets and deadlines.
pub fn waits_for_waker() {
    CURRENT.with_borrow_mut(|current| current.waits_for_waker = true);
}

/// Notes that the poll waits for something that this thread does further down its stack: the operation began in a signal handler or a
/// finalizer in the middle of that, and would wait for ever.
pub fn waits_for_itself() {
    CURRENT.with_borrow_mut(|current| current.waits_for_itself = true);
}

/// Returns the end of a limit that begins now; `None` if there is no limit or it is too long to have an end.
pub fn deadline_in(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Completes at `deadline`.
pub async fn sleep_until(deadline: Instant) {
    std::future::poll_fn(|_| {
        if Instant::now() >= deadline {
            return Poll::Ready(());
        }
        wake_at(deadline);
        Poll::Pending
    })
    .await;
}

/// The error of a future that was not ready before its deadline.
#[derive(Debug)]
pub struct Elapsed;

/// Runs `future` until `deadline`; it is dropped when that has passed.
pub async fn timeout_at<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| poll_until(deadline, future.as_mut(), cx)).await
}

fn poll_until<F: Future>(
    deadline: Option<Instant>,
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Elapsed>> {
    if let Poll::Ready(output) = future.poll(cx) {
        return Poll::Ready(Ok(output));
    }
    let Some(deadline) = deadline else { return Poll::Pending };
    if Instant::now() >= deadline {
        return Poll::Ready(Err(Elapsed));
    }
    wake_at(deadline);
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    const HOUR: Duration = Duration::from_secs(3600);

    fn source() -> Arc<Source> {
        let (socket, _) =
            socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a pair of sockets");
        Arc::new(Source::new(socket))
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_interest_is_noted_once_for_each_direction() {
        let (first, second) = (source(), source());
        clear();
        for _ in 0..2 {
            wait_for(&first, Direction::Read);
            wait_for(&first, Direction::Write);
            wait_for(&second, Direction::Read);
        }
        let interests: Vec<_> =
            take().interests.into_iter().map(|(source, direction)| (source.descriptor(), direction)).collect();
        assert_eq!(
            interests,
            [
                (first.descriptor(), Direction::Read),
                (first.descriptor(), Direction::Write),
                (second.descriptor(), Direction::Read)
            ]
        );
    }

    #[test]
    fn reading_is_left_to_others_for_one_socket() {
        let (first, second) = (source(), source());
        clear();
        wait_for(&first, Direction::Read);
        wait_for(&first, Direction::Write);
        wait_for(&second, Direction::Read);
        leave_reading_to_others(&first);
        let interests: Vec<_> =
            take().interests.into_iter().map(|(source, direction)| (source.descriptor(), direction)).collect();
        assert_eq!(interests, [(first.descriptor(), Direction::Write), (second.descriptor(), Direction::Read)]);
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let now = Instant::now();
        clear();
        assert_eq!(deadline(), None);
        for after in [3, 1, 2] {
            wake_at(now + after * HOUR);
        }
        assert_eq!(deadline(), Some(now + HOUR));
        assert_eq!(take().deadline, Some(now + HOUR));
    }

    #[test]
    fn taking_or_clearing_leaves_nothing() {
        for empty in [clear, || drop(take())] {
            wait_for(&source(), Direction::Read);
            wake_at(Instant::now());
            waits_for_waker();
            waits_for_itself();
            empty();
            let left = take();
            assert!(left.interests.is_empty() && left.deadline.is_none());
            assert!(!left.waits_for_waker && !left.waits_for_itself);
        }
    }

    #[test]
    fn a_limit_without_an_end_has_no_deadline() {
        assert_eq!(deadline_in(None), None);
        assert_eq!(deadline_in(Some(Duration::MAX)), None);
        assert!(deadline_in(Some(HOUR)).is_some_and(|deadline| deadline > Instant::now()));
    }

    #[test]
    fn a_pending_sleep_leaves_its_deadline() {
        let deadline = Instant::now() + HOUR;
        clear();
        assert!(poll(pin!(sleep_until(deadline))).is_pending());
        assert_eq!(take().deadline, Some(deadline));
        assert!(poll(pin!(sleep_until(Instant::now()))).is_ready());
    }

    #[test]
    fn a_future_that_is_ready_beats_a_deadline_that_has_passed() {
        let past = Instant::now();
        assert!(matches!(poll(pin!(timeout_at(Some(past), std::future::ready(1)))), Poll::Ready(Ok(1))));
        assert!(matches!(poll(pin!(timeout_at(Some(past), std::future::pending::<()>()))), Poll::Ready(Err(Elapsed))));
        clear();
        assert!(poll(pin!(timeout_at(None, std::future::pending::<()>()))).is_pending());
        assert_eq!(take().deadline, None);
        assert!(poll(pin!(timeout_at(Some(past + HOUR), std::future::pending::<()>()))).is_pending());
        assert_eq!(take().deadline, Some(past + HOUR));
    }
}
