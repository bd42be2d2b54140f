//! The connection pool: which request may use which connection, and which one waits.
//!
//! Terms:
//! * A **connection** is what a request is sent on. It carries one request at a time (HTTP/1.1), or is *shared* by several (HTTP/2).
//! * A **slot** is the right to have one connection. A pool has as many as its limit says.
//! * A **route** is an origin together with the event loop that a request comes from (or the threads). Shared connections belong to a route.
//! * The **wait queue** of a route has its requests in the order of arrival; the **slot queue** has those that only a slot can serve.
//! * A [`Reservation`] is what a request gets: a slot, and the connection in it if there is one already.
//! * A [`SlotGuard`] is held by a request as long as it uses the slot. Dropping it gives the slot, or its share of the connection, back.
//!
//! A slot is **unique** while one request makes or uses its connection, **idle** between requests, and **shared** while it has a
//! connection that carries several. It begins as unique. From there it becomes idle ([`SlotGuard::keep`]), shared
//! ([`SlotGuard::share`]), or is freed (the guard is dropped). An idle one becomes unique or shared for the next request, or is freed: the
//! connection has expired, makes room for another origin, is one too many, or the pool is closed. A shared one becomes idle with the end
//! of its last request; if it is draining, since its peer takes no more requests, it is freed.
//!
//! The decisions are made by [`state`], under one lock and without I/O. This module carries them out, without the lock: it closes
//! connections and wakes waiters. However a request ends, its guard is dropped, and waiters are served there and then.
//!
//! Dropping a pool drops its idle connections. Those in use are closed when their requests have ended; requests that wait fail.

mod checkout;
mod idle;
mod in_flight;
mod metrics;
#[cfg(test)]
mod model;
mod report;
mod routes;
mod serve;
mod slots;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod types;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;

use self::checkout::WaiterSender;
pub use self::checkout::{Checkout, QueuedRequest};
pub use self::in_flight::RequestGuard;
pub use self::metrics::{
    BOUNDS, CLOSE_REASONS, CloseReason, Counters, Histogram, LIFETIME_BOUNDS, MEASURED, RequestInFlight, RequestOutcome,
};
pub use self::report::{Gauges, Holder, Report, WaitReport};
pub use self::state::Snapshot;
use self::state::{Decision, Grant};
pub use self::status::{MAX_REQUESTS, Status};
pub use self::types::{ANY_LOOP, Destination, Limits, Link, LoopId, Poolable, THREADS};
use crate::error::{Error, Result};
use crate::fork::Generation;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::origin::Origin;
use crate::timings::Timings;

type ProcessState<C> = state::PoolState<C, WaiterSender<C>>;
type ProcessChanges<C> = state::Changes<C, WaiterSender<C>>;

/// Is told of changes of a shared connection that the pool has to act on. No lock of the connection is held.
pub trait StatusObserver: Send + Sync {
    /// The connection takes more or fewer requests than before, as its status says.
    fn limit_changed(self: Arc<Self>, status: &Status);

    /// The connection takes no more requests.
    fn retired(self: Arc<Self>, status: &Status);
}

/// A pool of connections of type `C`.
pub struct Pool<C: Poolable> {
    limits: Limits,
    process: ArcSwap<Process<C>>,
}

/// The pool in one process: connections belong to the process that made them.
struct Process<C: Poolable> {
    generation: Generation,
    state: RankedMutex<ProcessState<C>>,
    /// The number of idle connections that were closed since the log was last told.
    discarded: AtomicUsize,
}

/// A slot for a request, with a connection that was idle or is shared, or without one.
///
/// Dropping it, because the request was cancelled meanwhile, gives it to the next waiter.
pub struct Reservation<C: Poolable> {
    // Dropped in this order: the descriptor is closed before the slot is given to another request.
    connection: Option<C>,
    slot: Option<SlotGuard<C>>,
}

impl<C: Poolable> Reservation<C> {
    pub fn status(&self) -> Option<&Arc<Status>> {
        self.slot.as_ref().map(SlotGuard::status)
    }

    pub fn slot_mut(&mut self) -> Option<&mut SlotGuard<C>> {
        self.slot.as_mut()
    }

    /// Puts a connection in the slot.
    pub fn fill(&mut self, connection: C) {
        self.connection = Some(connection);
    }

    pub fn has_connection(&self) -> bool {
        self.connection.is_some()
    }

    /// Returns the slot, and the connection in it if there is one already.
    pub fn take(mut self) -> Option<(SlotGuard<C>, Option<C>)> {
        Some((self.slot.take()?, self.connection.take()))
    }
}

impl<C: Poolable> Drop for Reservation<C> {
    fn drop(&mut self) {
        if let (Some(slot), Some(connection)) = (self.slot.take(), self.connection.take()) {
            slot.keep(connection);
        }
    }
}

impl<C: Poolable> Pool<C> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, process: ArcSwap::from_pointee(Process::new(limits)) }
    }

    /// Returns a reservation, or else a request in a wait queue. `request` is set at the first call for a request.
    ///
    /// Fails with `ConnectionNotAvailable` if the destination is one certain connection, which takes no more requests.
    pub fn checkout<'a>(
        &self,
        destination: &'a Destination,
        request: &mut Option<RequestGuard<C>>,
        timings: &'a Arc<Timings>,
    ) -> Result<Checkout<'a, C>> {
        let process = self.process();
        let mut queued = None;
        let now = Instant::now();
        timings.begin(now);
        let (decision, changes) = {
            let mut state = process.state();
            if request.is_none() {
                *request = Some(RequestGuard::new(&process, &mut state, &destination.origin, timings));
            }
            state.acquire(destination, now, || {
                let (handover, waiting) = checkout::channel(destination);
                queued = Some(waiting);
                handover
            })
        };
        process.apply(changes);
        match (decision, queued) {
            (Decision::Granted(grant), _) => {
                timings.acquired_at_once();
                Ok(Checkout::Ready(SlotGuard::accept(process, grant)))
            }
            (Decision::Wait(waiter), Some(queued)) => {
                Ok(Checkout::QueuedRequest(QueuedRequest::new(process, destination, waiter, queued, now, timings)))
            }
            (Decision::Never | Decision::Wait(_), _) => Err(Error::not_available(&destination.origin)),
        }
    }

    /// Begins a request that has its reservation already.
    pub fn begin(&self, origin: &Arc<Origin>, timings: &Arc<Timings>) -> RequestGuard<C> {
        let (process, now) = (self.process(), Instant::now());
        timings.begin(now);
        timings.acquired_at_once();
        let mut state = process.state();
        RequestGuard::new(&process, &mut state, origin, timings)
    }

    /// Counts that a retry policy repeats a request.
    pub fn count_retry(&self, origin: &Arc<Origin>) {
        self.process().state().metrics.retried(origin);
    }

    /// Returns the shared connections that requests of a destination can join as soon as they have room.
    pub fn shared(&self, destination: &Destination) -> Vec<C> {
        self.process().state().shared(destination)
    }

    /// Returns a slot beyond the limits, for a connection that the user has asked for.
    pub fn place(&self, origin: &Arc<Origin>) -> Reservation<C> {
        let process = self.process();
        let grant = process.state().place(origin);
        SlotGuard::accept(process, grant)
    }

    /// Returns a reservation of one certain connection, if it can take a request of this loop.
    pub fn take(&self, status: &Status, loop_id: LoopId) -> Option<Reservation<C>> {
        let process = self.process();
        let (grant, changes) = process.state().take(status, loop_id);
        process.apply(changes);
        Some(SlotGuard::accept(process, grant?))
    }

    /// Closes one certain connection, under the requests that use it.
    pub fn close_one(&self, status: &Status) {
        let process = self.process();
        let mut changes = process.state().remove(status);
        status.close();
        drop(std::mem::take(&mut changes.closing));
        process.apply(changes);
    }

    /// Closes every connection, and returns how many of them had been established. Requests that use one wake up and find it closed;
    /// those that wait get new ones. The pool can be used again.
    pub fn close(&self) -> usize {
        let process = self.process();
        let (statuses, mut changes) = process.state().clear();
        let established = statuses.iter().filter(|status| status.is_connected()).count();
        for status in &statuses {
            status.close();
        }
        drop(std::mem::take(&mut changes.closing));
        process.apply(changes);
        established
    }

    /// Returns how many idle connections were closed since the last call, to make room or for their age.
    pub fn take_discarded(&self) -> usize {
        self.process().discarded.swap(0, Ordering::Relaxed)
    }

    /// Returns the connections in the order in which they were made.
    pub fn statuses(&self) -> Vec<Arc<Status>> {
        self.snapshot().connections.into_iter().map(|connection| connection.status).collect()
    }

    /// Returns the connections and the numbers of requests, all of the same moment.
    pub fn snapshot(&self) -> Snapshot {
        self.process().state().snapshot()
    }

    /// Returns the metrics: all numbers are of the same moment.
    pub fn report(&self) -> Report {
        self.process().state().report(Instant::now())
    }

    fn process(&self) -> Arc<Process<C>> {
        let process = self.process.load_full();
        if process.generation.is_current() {
            return process;
        }
        // A forked child. The connections are the parent's: the child neither uses nor ends them. It closes its copies of their
        // descriptors, of which the peers see nothing. If another thread held the lock at the fork, all is left as it is.
        let fresh = Arc::new(Process::new(self.limits));
        let before = self.process.compare_and_swap(&process, Arc::clone(&fresh));
        if !Arc::ptr_eq(&before, &process) {
            return Arc::clone(&before);
        }
        let abandoned = process.state.try_lock().map(|mut state| state.abandon());
        if abandoned.is_none() {
            std::mem::forget(process);
        }
        fresh
    }
}

impl<C: Poolable> Process<C> {
    fn new(limits: Limits) -> Self {
        Self {
            generation: Generation::current(),
            state: RankedMutex::new(Rank::Pool, ProcessState::new(limits)),
            discarded: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> Guard<'_, ProcessState<C>> {
        self.state.lock()
    }

    /// Carries out what was decided: closes connections and wakes tasks and threads. The lock is free.
    fn apply(self: &Arc<Self>, changes: ProcessChanges<C>) {
        let ProcessChanges { served, closing, notices } = changes;
        self.discard(closing);
        for (waiter, grant) in served {
            match grant {
                // If the waiter has just left, the connection comes back and serves the next one.
                Some(grant) => waiter.send(SlotGuard::accept(Arc::clone(self), grant)),
                None => drop(waiter),
            }
        }
        for notice in notices {
            notice.notify();
        }
    }

    fn discard(&self, connections: impl IntoIterator<Item = C>) {
        for connection in connections {
            drop(connection);
            self.discarded.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<C: Poolable + Send> StatusObserver for Process<C> {
    fn limit_changed(self: Arc<Self>, status: &Status) {
        if self.generation.is_current() {
            let changes = self.state().limit_changed(status);
            self.apply(changes);
        }
    }

    fn retired(self: Arc<Self>, status: &Status) {
        if self.generation.is_current() {
            let changes = self.state().mark_draining(status);
            self.apply(changes);
        }
    }
}

/// A request's hold on a slot. Dropping it gives the slot back, and closes nothing: its connection is dropped before.
pub struct SlotGuard<C: Poolable> {
    process: Arc<Process<C>>,
    status: Arc<Status>,
    on_drop: OnDrop,
    /// Why the connection is closed with the guard, if there is no request that says so.
    reason: CloseReason,
    /// The request whose response arrives on the connection. It ends with the guard.
    request: Option<RequestGuard<C>>,
}

/// The effect of dropping a guard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// It frees the slot.
    Free,
    /// It frees the slot; the waiters for its connection make their own.
    FreeFailed,
    /// It ends one of the requests on a shared connection.
    EndRequest,
    /// Nothing: the slot was given back.
    Nothing,
}

impl<C: Poolable + Send + 'static> SlotGuard<C> {
    /// Returns the observer of a shared connection in this slot.
    pub fn watch(&self) -> Weak<dyn StatusObserver> {
        let process: Arc<dyn StatusObserver> = Arc::<Process<C>>::clone(&self.process);
        Arc::downgrade(&process)
    }
}

impl<C: Poolable> SlotGuard<C> {
    fn accept(process: Arc<Process<C>>, grant: Grant<C>) -> Reservation<C> {
        let Grant { status, connection, shared, closing } = grant;
        process.discard(closing);
        let on_drop = if shared { OnDrop::EndRequest } else { OnDrop::Free };
        let slot = Self { process, status, on_drop, reason: CloseReason::Cancelled, request: None };
        Reservation { slot: Some(slot), connection }
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Takes over the request that the slot is used for.
    pub fn carry(&mut self, request: Option<RequestGuard<C>>) {
        self.request = request;
    }

    /// Sets how the request on the connection has ended, for the time when the slot is given back.
    pub fn set_outcome(&mut self, outcome: RequestOutcome) {
        if let Some(request) = &mut self.request {
            request.set_outcome(outcome);
        }
    }

    /// The exchange on the connection has failed.
    pub fn mark_broken(&mut self) {
        self.reason = CloseReason::Failed;
    }

    /// A connection was made in this slot, or could not be made.
    pub fn count_connect(&self, timings: &Timings, is_open: bool) {
        if self.is_current() {
            self.process.state().metrics.connected(&self.status.origin, timings, is_open);
        }
    }

    /// The connection in this slot is closed, and another one is made in its place.
    pub fn count_closed(&self, reason: CloseReason) {
        if self.is_current() {
            self.process.state().count_closed(&self.status, reason);
        }
    }

    /// Returns whether this process took the slot, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.process.generation.is_current()
    }

    /// The connection that was made in this slot can be shared: other requests join it.
    pub fn share(&mut self, connection: C, loop_id: LoopId) {
        self.on_drop = OnDrop::EndRequest;
        let changes = self.process.state().share(&self.status, connection, loop_id);
        self.process.apply(changes);
    }

    /// The connection that was made in this slot carries one request at a time: the waiters for it make their own.
    pub fn mark_exclusive(&self) {
        let changes = self.process.state().mark_exclusive(&self.status);
        self.process.apply(changes);
    }

    /// The connection could not be made: when the guard is dropped, the waiters for it make their own.
    pub fn mark_failed(&mut self) {
        if self.on_drop == OnDrop::Free {
            self.on_drop = OnDrop::FreeFailed;
        }
    }

    /// Gives the connection back for the next request.
    pub fn keep(mut self, connection: C) {
        if self.on_drop == OnDrop::EndRequest {
            drop(connection);
            return;
        }
        self.on_drop = OnDrop::Nothing;
        if !self.process.generation.is_current() {
            return;
        }
        let now = Instant::now();
        let changes = {
            let mut state = self.process.state();
            if let Some(mut request) = self.request.take() {
                request.set_outcome(RequestOutcome::Finished);
                request.end(&mut state, now);
            }
            state.keep(&self.status, connection, now)
        };
        self.process.apply(changes);
    }
}

impl<C: Poolable> Drop for SlotGuard<C> {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Nothing || !self.process.generation.is_current() {
            return;
        }
        let (now, request) = (Instant::now(), self.request.take());
        let changes = {
            let mut state = self.process.state();
            let reason = request.as_ref().map_or(self.reason, |request| CloseReason::after(request.outcome()));
            if let Some(request) = request {
                request.end(&mut state, now);
            }
            if self.on_drop == OnDrop::EndRequest {
                state.end_request(&self.status, now)
            } else {
                self.status.mark_closed();
                state.count_closed(&self.status, reason);
                state.free(&self.status, self.on_drop == OnDrop::FreeFailed)
            }
        };
        self.process.apply(changes);
    }
}
