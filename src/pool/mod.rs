//! The connection pool: which request may use which connection, and which one waits.
//!
//! [`state`] decides, under one lock and without I/O; this module acts on the decisions outside the lock. A connection in use is
//! owned by its exchange together with a [`SlotGuard`] on its slot; one that carries several requests at a time is owned by all of them,
//! each with a lease on a share of it. However an exchange ends, its lease is given back when it is dropped, and waiters are served
//! there and then.

mod checkout;
mod idle;
#[cfg(test)]
mod model;
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
pub use self::state::Snapshot;
use self::state::{Decision, Grant};
pub use self::status::{MAX_REQUESTS, Phase, Status};
pub use self::types::{ANY_LOOP, Destination, Limits, Link, LoopId, Poolable, THREADS};
use crate::error::{Error, Result};
use crate::fork::Generation;
use crate::lock::{Guard, Rank, RankedMutex};
use crate::origin::Origin;

type ProcessState<C> = state::PoolState<C, WaiterSender<C>>;
type ProcessChanges<C> = state::Changes<C, WaiterSender<C>>;

/// What is told how a shared connection fares.
pub trait StatusObserver: Send + Sync {
    /// It takes more or fewer requests than before, as its status says.
    fn limit_changed(self: Arc<Self>, status: &Status);

    /// It takes no more requests.
    fn retired(self: Arc<Self>, status: &Status);
}

/// A pool of connections of type `C`.
pub struct Pool<C: Poolable> {
    limits: Limits,
    process: ArcSwap<Process<C>>,
}

/// A pool's connections belong to the process that made them.
struct Process<C: Poolable> {
    generation: Generation,
    state: RankedMutex<ProcessState<C>>,
    /// Idle connections that were closed and not told to a log yet.
    discarded: AtomicUsize,
}

/// What a request was given: a connection that was idle, or only the slot for a new one.
///
/// One that is not taken, because its request was cancelled at that very moment, goes to the next waiter.
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

    /// Takes a connection or a slot for a new one, or a place in a wait queue.
    ///
    /// If there is only one connection that may be used, and it will never be free again, this fails with `ConnectionNotAvailable`.
    pub fn checkout<'a>(&self, destination: &'a Destination) -> Result<Checkout<'a, C>> {
        let process = self.process();
        let mut queued = None;
        let now = Instant::now();
        let (decision, changes) = process.state().acquire(destination, now, || {
            let (handover, waiting) = checkout::channel(destination);
            queued = Some(waiting);
            handover
        });
        process.apply(changes);
        match (decision, queued) {
            (Decision::Granted(grant), _) => Ok(Checkout::Ready(SlotGuard::accept(process, grant))),
            (Decision::Wait(waiter), Some(queued)) => {
                Ok(Checkout::QueuedRequest(QueuedRequest::new(process, destination, waiter, queued, now)))
            }
            (Decision::Never | Decision::Wait(_), _) => Err(Error::not_available(&destination.origin)),
        }
    }

    /// Returns the shared connections that requests of a destination could join, had they room.
    pub fn shared(&self, destination: &Destination) -> Vec<C> {
        self.process().state().shared(destination)
    }

    /// Returns a slot for a connection of the caller's own choosing, within no limits.
    pub fn place(&self, origin: &Arc<Origin>) -> Reservation<C> {
        let process = self.process();
        let grant = process.state().place(origin);
        SlotGuard::accept(process, grant)
    }

    /// Returns this very connection, if it can take a request of this loop.
    pub fn take(&self, status: &Status, loop_id: LoopId) -> Option<Reservation<C>> {
        let process = self.process();
        let (grant, changes) = process.state().take(status, loop_id);
        process.apply(changes);
        Some(SlotGuard::accept(process, grant?))
    }

    /// Closes this very connection, under the requests that use it.
    pub fn close_one(&self, status: &Status) {
        let process = self.process();
        let mut changes = process.state().remove(status);
        status.close();
        drop(std::mem::take(&mut changes.closing));
        process.apply(changes);
    }

    /// Closes every connection. Requests that use one wake up and find it closed; those that wait get new ones. The pool can be used
    /// again.
    ///
    /// Returns how many connections there were that had been established.
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

    /// Returns how many idle connections were closed, to make room or for their age, since the last call.
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

    fn process(&self) -> Arc<Process<C>> {
        let process = self.process.load_full();
        if process.generation.is_current() {
            return process;
        }
        // A forked child. The parent's connections are not ours to use or to end. Our copies of their descriptors are closed,
        // which says nothing to the peer; unless another thread held the lock at the fork, then all of it is left as it is.
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

    /// Does what an operation on the state has come to. The lock is free: this closes connections and wakes tasks and threads.
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

/// The right to one of the pool's slots, and to the connection in it.
pub struct SlotGuard<C: Poolable> {
    process: Arc<Process<C>>,
    status: Arc<Status>,
    shared: bool,
    has_failed: bool,
    returned: bool,
}

impl<C: Poolable + Send + 'static> SlotGuard<C> {
    /// Returns what is told how a shared connection in this slot fares.
    pub fn watch(&self) -> Weak<dyn StatusObserver> {
        let process: Arc<dyn StatusObserver> = Arc::<Process<C>>::clone(&self.process);
        Arc::downgrade(&process)
    }
}

impl<C: Poolable> SlotGuard<C> {
    fn accept(process: Arc<Process<C>>, grant: Grant<C>) -> Reservation<C> {
        let Grant { status, connection, shared, closing } = grant;
        process.discard(closing);
        let slot = Self { process, status, shared, has_failed: false, returned: false };
        Reservation { slot: Some(slot), connection }
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Returns whether this process got the lease, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.process.generation.is_current()
    }

    /// The connection that was made in this slot can be shared: others get shares of it, too.
    pub fn share(&mut self, connection: C, loop_id: LoopId) {
        self.shared = true;
        let changes = self.process.state().share(&self.status, connection, loop_id);
        self.process.apply(changes);
    }

    /// The connection that was made in this slot is for one request at a time.
    pub fn mark_exclusive(&self) {
        let changes = self.process.state().mark_exclusive(&self.status);
        self.process.apply(changes);
    }

    /// The connection could not be made: requests that wait for it try for themselves when the lease is dropped.
    pub fn mark_failed(&mut self) {
        self.has_failed = true;
    }

    /// Gives the connection back for the next request.
    pub fn keep(mut self, connection: C) {
        if self.shared {
            // Dropping the lease is all there is to do.
            drop(connection);
            return;
        }
        self.returned = true;
        if !self.process.generation.is_current() {
            return;
        }
        let changes = self.process.state().keep(&self.status, connection, Instant::now());
        self.process.apply(changes);
    }
}

impl<C: Poolable> Drop for SlotGuard<C> {
    fn drop(&mut self) {
        if self.returned || !self.process.generation.is_current() {
            return;
        }
        let changes = if self.shared {
            self.process.state().end_request(&self.status, Instant::now())
        } else {
            self.status.set_phase(Phase::Closed);
            self.process.state().free(&self.status, self.has_failed)
        };
        self.process.apply(changes);
    }
}
