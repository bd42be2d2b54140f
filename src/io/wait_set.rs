//! What the current poll is waiting for.
//!
//! A future that returns `Pending` has told this module why: sockets their direction, timeouts their deadline. The driver that
//! polled it takes the notes and waits accordingly. They live in a thread-local because a future's `Context` has no room for
//! them; a driver clears them before each poll, so nothing is carried from one exchange to another.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::source::{Direction, Source};

/// The notes of one poll.
#[derive(Default)]
pub struct WaitSet {
    pub interests: Vec<(Arc<Source>, Direction)>,
    pub deadline: Option<Instant>,
    /// Another thread may wake the exchange while it waits for its sockets.
    pub waits_for_waker: bool,
    /// The wait is for something that this thread does further down its stack.
    pub waits_for_itself: bool,
}

impl WaitSet {
    /// Sleeps no longer than until `deadline`.
    pub fn wake_at(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
    }
}

thread_local! {
    static CURRENT: RefCell<WaitSet> =
        const { RefCell::new(WaitSet { interests: Vec::new(), deadline: None, waits_for_waker: false, waits_for_itself: false }) };
}

/// Forgets the notes of the poll before.
pub fn clear() {
    CURRENT.with_borrow_mut(|park| {
        park.interests.clear();
        park.deadline = None;
        park.waits_for_waker = false;
        park.waits_for_itself = false;
    });
}

/// Takes the notes of the poll that has just returned.
pub fn take() -> WaitSet {
    CURRENT.take()
}

/// The earliest deadline of the poll that has just returned.
pub fn deadline() -> Option<Instant> {
    CURRENT.with_borrow(|park| park.deadline)
}

/// Notes that the poll waits for a socket that no reactor watches.
pub(super) fn wait_for(socket: &Arc<Source>, direction: Direction) {
    CURRENT.with_borrow_mut(|park| {
        if !park.interests.iter().any(|(known, what)| *what == direction && Arc::ptr_eq(known, socket)) {
            park.interests.push((Arc::clone(socket), direction));
        }
    });
}

/// Takes back that the poll waits for something to read from a socket: somebody else sees to that.
pub(super) fn leave_reading_to_others(socket: &Arc<Source>) {
    CURRENT.with_borrow_mut(|park| {
        park.interests.retain(|(known, direction)| *direction != Direction::Read || !Arc::ptr_eq(known, socket));
    });
}

/// Notes that the poll must be repeated at `deadline`, whatever else happens.
pub fn wake_at(deadline: Instant) {
    CURRENT.with_borrow_mut(|park| park.wake_at(deadline));
}

/// Notes that the waker counts, too, not only sockets and deadlines.
pub fn waits_for_waker() {
    CURRENT.with_borrow_mut(|park| park.waits_for_waker = true);
}

/// Notes that the wait is for something that this thread does further down its stack: the operation began in a signal handler or a
/// finalizer in the middle of that, and would wait for ever.
pub fn waits_for_itself() {
    CURRENT.with_borrow_mut(|park| park.waits_for_itself = true);
}

/// When a limit that begins now is over; never, if there is none or it lies beyond all time.
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

/// The deadline passed before the future was ready.
#[derive(Debug)]
pub struct Elapsed;

/// Runs `future` until `deadline`; it is dropped when that passes.
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
