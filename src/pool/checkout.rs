//! Waiting for a connection: what a request holds while it is in a wait queue of the pool.
//!
//! The pool's state holds the sending end of each waiter ([`WaiterSender`]), the request the receiving end. Dropping a [`QueuedRequest`]
//! leaves the queue; a reservation that was sent meanwhile is dropped with it, and so goes to the next waiter.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::types::{Destination, Poolable, THREADS, Waiter, WaiterId};
use super::{Holder, Limits, Process, Reservation, Snapshot, WaitReport};
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::timeout::Seconds;
use crate::timings::{Mark, Timings};

/// The pool's answer to a request.
pub enum Checkout<'a, C: Poolable> {
    Ready(Reservation<C>),
    QueuedRequest(QueuedRequest<'a, C>),
}

/// A request in a wait queue.
pub struct QueuedRequest<'a, C: Poolable> {
    process: Arc<Process<C>>,
    destination: &'a Destination,
    waiter: WaiterId,
    queued: WaiterReceiver<C>,
    since: Instant,
    timings: &'a Timings,
}

/// The receiving end of a waiter.
pub(super) struct WaiterReceiver<C: Poolable> {
    granted: oneshot::Receiver<Reservation<C>>,
    notice: Option<Arc<RouteNotice>>,
}

/// The sending end of a waiter.
pub(super) struct WaiterSender<C: Poolable> {
    sender: oneshot::Sender<Reservation<C>>,
    notice: Option<Arc<RouteNotice>>,
}

/// Tells a thread that waits of another shared connection on its route, which it then takes part in reading. Waiters of a loop need no
/// notice: the loop reads its connections.
#[derive(Default)]
pub struct RouteNotice {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl RouteNotice {
    pub(super) fn notify(&self) {
        self.is_set.store(true, Ordering::Release);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> bool {
        let before = lock(&self.waker).replace(cx.waker().clone());
        drop(before);
        self.is_set.swap(false, Ordering::AcqRel)
    }
}

/// Returns the two ends of a waiter.
pub(super) fn channel<C: Poolable>(destination: &Destination) -> (WaiterSender<C>, WaiterReceiver<C>) {
    let (sender, granted) = oneshot::channel();
    let notice = (destination.loop_id == THREADS).then(Arc::<RouteNotice>::default);
    (WaiterSender { sender, notice: notice.clone() }, WaiterReceiver { granted, notice })
}

impl<C: Poolable> WaiterSender<C> {
    /// Sends a reservation to the waiter. If the waiter has left, the reservation is dropped, and so given back.
    pub(super) fn send(self, reservation: Reservation<C>) {
        drop(self.sender.send(reservation));
    }
}

impl<C: Poolable> Waiter for WaiterSender<C> {
    type Notice = Arc<RouteNotice>;

    fn notice(&self) -> Option<Self::Notice> {
        self.notice.clone()
    }
}

impl<'a, C: Poolable> QueuedRequest<'a, C> {
    pub(super) fn new(
        process: Arc<Process<C>>,
        destination: &'a Destination,
        waiter: WaiterId,
        queued: WaiterReceiver<C>,
        since: Instant,
        timings: &'a Timings,
    ) -> Self {
        Self { process, destination, waiter, queued, since, timings }
    }

    /// Returns the end of a limit that began when the request was enqueued.
    pub fn deadline(&self, timeout: Option<Duration>) -> Option<Instant> {
        timeout.and_then(|timeout| self.since.checked_add(timeout))
    }

    /// Polls for the reservation. While there is none, `attend` is called with whether there is another shared connection on the route
    /// since the last poll.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        attend: impl FnOnce(&mut Context<'_>, bool),
    ) -> Poll<Result<Reservation<C>>> {
        let WaiterReceiver { granted, notice } = &mut self.queued;
        match Pin::new(granted).poll(cx) {
            Poll::Pending => {
                attend(cx, notice.as_ref().is_some_and(|notice| notice.poll(cx)));
                Poll::Pending
            }
            Poll::Ready(Ok(reservation)) => {
                self.timings.mark_now(Mark::Acquired);
                Poll::Ready(Ok(reservation))
            }
            Poll::Ready(Err(_)) if self.destination.only.is_some() => {
                Poll::Ready(Err(Error::not_available(&self.destination.origin)))
            }
            Poll::Ready(Err(_)) => {
                let message = "the connection pool went away while a request waited for it";
                Poll::Ready(Err(Error::new(Kind::PoolTimeout, message)))
            }
        }
    }

    /// Returns for how long the request has waited, and what it waits for. Returns `None` if there was another report within the last
    /// `interval`, or if the request waits for one certain connection.
    pub fn report(&self, interval: Duration) -> Option<(Duration, WaitReport)> {
        if self.destination.only.is_some() || !self.process.generation.is_current() {
            return None;
        }
        let now = Instant::now();
        let report = self.process.state().report_wait(interval, now)?;
        Some((now.saturating_duration_since(self.since), report))
    }

    /// Returns the error of a request that has waited for `limit`, which is called `name`.
    pub fn timed_out(&self, limit: Duration, name: &str) -> Error {
        let (origin, limit) = (&self.destination.origin, Seconds(limit));
        let message = match self.destination.only {
            // A forked child does not take the lock: another thread of the parent may have held it at the fork.
            None if !self.process.generation.is_current() => {
                format!("no connection to {origin} became free within {limit} ({name} timeout)")
            }
            None => {
                let (snapshot, limits, holders) = {
                    let state = self.process.state();
                    (state.snapshot(), state.limits, state.holders(Instant::now()))
                };
                let pool = describe(&snapshot);
                let use_of = describe_use(limits, &holders);
                format!("no connection to {origin} became free within {limit} ({name} timeout): {pool}; {use_of}")
            }
            Some(_) => format!("the connection to {origin} took no more requests within {limit} ({name} timeout)"),
        };
        Error::new(Kind::PoolTimeout, message)
    }
}

impl<C: Poolable> Drop for QueuedRequest<'_, C> {
    fn drop(&mut self) {
        if self.process.generation.is_current() {
            let changes = self.process.state().leave(self.destination, self.waiter);
            self.process.apply(changes);
        }
    }
}

/// Returns how many connections a pool has, and what they do, as a part of a sentence.
fn describe(snapshot: &Snapshot) -> String {
    let connections = &snapshot.connections;
    let connecting = connections.iter().filter(|connection| connection.status.is_connecting()).count();
    let idle = connections.iter().filter(|connection| connection.is_idle).count();
    match (connections.len(), connecting, idle) {
        (0, ..) => "the pool has no connections".to_owned(),
        (1, 1, _) => "the pool has 1 connection, which is still connecting".to_owned(),
        (1, _, 1) => "the pool has 1 connection, which is idle".to_owned(),
        (1, ..) => "the pool has 1 connection, which is in use".to_owned(),
        (count, 0, 0) => format!("the pool has {count} connections, all of them in use"),
        (count, _, 0) => format!("the pool has {count} connections, {connecting} of them still connecting"),
        (count, 0, _) => format!("the pool has {count} connections, {idle} of them idle"),
        (count, ..) => {
            format!("the pool has {count} connections, {connecting} of them still connecting and {idle} idle")
        }
    }
}

/// Returns the limit of a pool, and the origins whose requests use its connections.
fn describe_use(limits: Limits, holders: &[Holder]) -> String {
    const SHOWN: usize = 3;

    let limit = match limits.max_connections {
        usize::MAX => "None".to_owned(),
        limit => limit.to_string(),
    };
    let limit = match limits.max_connections_per_origin {
        None => limit,
        Some(per_origin) => format!("{limit}, max_connections_per_origin={per_origin}"),
    };
    let shown: Vec<_> = holders.iter().take(SHOWN).map(Holder::to_string).collect();
    let shown = if shown.is_empty() { "no request".to_owned() } else { shown.join(", ") };
    match holders.len().saturating_sub(SHOWN) {
        0 => format!("max_connections={limit}, in use by {shown}"),
        more => format!("max_connections={limit}, in use by {shown} and {more} more"),
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, requests, oldest } = self;
        let s = if *requests == 1 { "" } else { "s" };
        write!(f, "{origin} ({requests} request{s}, the oldest for {:.1} s)", oldest.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
