//! The connection pool: who may use which connection, and who waits.
//!
//! [`state`] decides, under one lock and without I/O; this module acts on the decisions outside the lock. A connection in use is
//! owned by its exchange together with a [`Lease`] on its place in the pool; one that carries several requests at a time is
//! owned by all of them, each with a lease on a share of it. However the exchange ends, the lease is given back when it is
//! dropped, and the next waiter is served there and then.

mod state;
mod status;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use self::state::{Decision, Grant, State};
pub use self::status::{Phase, Status};
use crate::error::{Error, Kind, Result};
use crate::fork::Generation;
use crate::io::park::timeout_at;
use crate::lock::lock;
use crate::origin::Origin;
use crate::timeout::Seconds;

/// How many connections a pool may have, and for how long it keeps idle ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_connections: usize,
    /// Counts idle connections only.
    pub max_keepalive_connections: usize,
    /// How long an idle connection is kept; `None` keeps it for ever.
    pub keepalive_expiry: Option<Duration>,
}

/// Where a request wants to go.
#[derive(Clone, Debug)]
pub struct Destination {
    pub origin: Arc<Origin>,
    /// Who moves the bytes of a shared connection: an event loop, by its number, or 0 for the threads that use it. Requests of
    /// another one do not join.
    pub owner: u64,
    /// Whether a connection to the origin may turn out to carry several requests at a time.
    pub multiplexing: bool,
    /// Over this connection and no other: its number.
    pub only: Option<u64>,
}

/// The owner of a connection whose bytes are moved by whoever uses it.
pub const ANYBODY: u64 = u64::MAX;

/// What the pool has to know of connections.
pub trait Share: Sized {
    /// The same connection once more, for one more request at the same time; `None` if it carries only one.
    fn share(&self) -> Option<Self>;
}

/// Whoever is to be told how a shared connection fares.
pub trait Watch: Send + Sync {
    /// It takes more or fewer requests than before, as its status says.
    fn limit_changed(self: Arc<Self>, status: &Status);

    /// It takes no more requests.
    fn retired(self: Arc<Self>, status: &Status);
}

/// A pool of connections of type `C`.
pub struct Pool<C: Share> {
    limits: Limits,
    process: ArcSwap<Process<C>>,
}

/// A pool's connections belong to the process that made them.
struct Process<C: Share> {
    generation: Generation,
    state: Mutex<State<C>>,
    /// Idle connections that were closed and not told to a log yet.
    discarded: AtomicUsize,
}

impl<C: Share> Process<C> {
    fn new(limits: Limits) -> Self {
        Self {
            generation: Generation::current(),
            state: Mutex::new(State::new(limits)),
            discarded: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        lock(&self.state)
    }
}

/// What a request was given: a connection that was idle, or only the place for a new one.
///
/// One that nobody takes (its request was cancelled at that very moment) goes to the next in line.
pub struct Acquired<C: Share> {
    // Dropped in this order: the descriptor is closed before the place is given to somebody else.
    connection: Option<C>,
    lease: Option<Lease<C>>,
}

impl<C: Share> Acquired<C> {
    pub fn status(&self) -> Option<&Arc<Status>> {
        self.lease.as_ref().map(Lease::status)
    }

    pub fn lease_mut(&mut self) -> Option<&mut Lease<C>> {
        self.lease.as_mut()
    }

    /// Puts a connection in the place.
    pub fn fill(&mut self, connection: C) {
        self.connection = Some(connection);
    }

    pub fn has_connection(&self) -> bool {
        self.connection.is_some()
    }

    /// The place, and the connection in it if there is one already.
    pub fn take(mut self) -> Option<(Lease<C>, Option<C>)> {
        Some((self.lease.take()?, self.connection.take()))
    }
}

impl<C: Share> Drop for Acquired<C> {
    fn drop(&mut self) {
        if let (Some(lease), Some(connection)) = (self.lease.take(), self.connection.take()) {
            lease.keep(connection);
        }
    }
}

impl<C: Share> Pool<C> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, process: ArcSwap::from_pointee(Process::new(limits)) }
    }

    /// Waits for a connection, first come, first served.
    ///
    /// If there is only one that may be used, and it will never be free again, this ends with `ConnectionNotAvailable`.
    /// Dropping the future leaves the queue; a connection that was handed over at that very moment goes to the next in line.
    pub async fn acquire(&self, destination: &Destination, timeout: Option<Duration>) -> Result<Acquired<C>> {
        let process = self.process();
        let now = Instant::now();
        let (decision, closing) = process.state().acquire(destination, now);
        process.discard(closing);
        let (ticket, granted) = match decision {
            Decision::Granted(grant) => return Ok(Lease::accept(process, grant)),
            Decision::Wait(ticket, granted) => (ticket, granted),
            Decision::Never => return Err(Error::not_available(&destination.origin)),
        };
        let _in_line = InLine { process: &process, ticket };
        match timeout_at(timeout.and_then(|timeout| now.checked_add(timeout)), granted).await {
            Ok(Ok(acquired)) => Ok(acquired),
            Ok(Err(_)) if destination.only.is_some() => Err(Error::not_available(&destination.origin)),
            Ok(Err(_)) => {
                Err(Error::new(Kind::PoolTimeout, "the connection pool went away while a request waited for it"))
            }
            Err(_) => Err(self.timed_out(destination, timeout.unwrap_or_default())),
        }
    }

    fn timed_out(&self, destination: &Destination, limit: Duration) -> Error {
        let (origin, limit) = (&destination.origin, Seconds(limit));
        let message = match destination.only {
            None => {
                let count = self.limits.max_connections;
                format!(
                    "no connection to {origin} became free within {limit} (pool timeout): all {count} connections are in use"
                )
            }
            Some(_) => format!("the connection to {origin} took no more requests within {limit} (pool timeout)"),
        };
        Error::new(Kind::PoolTimeout, message)
    }

    /// The shared connections that requests of a destination could join, had they room.
    pub fn shared(&self, destination: &Destination) -> Vec<C> {
        self.process().state().shared(destination)
    }

    /// A place for a connection of the caller's own choosing, within no limits.
    pub fn place(&self, origin: &Arc<Origin>) -> Acquired<C> {
        let process = self.process();
        let grant = process.state().place(origin);
        Lease::accept(process, grant)
    }

    /// This very connection, if it can take a request of `owner`.
    pub fn take(&self, status: &Status, owner: u64) -> Option<Acquired<C>> {
        let process = self.process();
        let grant = process.state().take(status, owner)?;
        Some(Lease::accept(process, grant))
    }

    /// Closes this very connection, under whoever uses it.
    pub fn close_one(&self, status: &Status) {
        let process = self.process();
        let idle = process.state().remove(status);
        status.close();
        drop(idle);
        process.serve();
    }

    /// Closes every connection. Whoever waits for one of them wakes up and finds it closed; the pool can be used again.
    ///
    /// Returns how many there were that had been established.
    pub fn close(&self) -> usize {
        let (statuses, idle) = self.process().state().clear();
        let established = statuses.iter().filter(|status| status.is_connected()).count();
        for status in &statuses {
            status.close();
        }
        drop(idle);
        // There is room now for those who wait in line.
        self.process().serve();
        established
    }

    /// How many idle connections were closed, to make room or for their age, since this was asked last.
    pub fn take_discarded(&self) -> usize {
        self.process().discarded.swap(0, Ordering::Relaxed)
    }

    /// The connections in the order in which they were made.
    pub fn statuses(&self) -> Vec<Arc<Status>> {
        self.process().state().statuses()
    }

    /// Requests that have a connection.
    pub fn active(&self) -> usize {
        self.process().state().active()
    }

    /// Requests that wait for a connection.
    pub fn queued(&self) -> usize {
        self.process().state().queued()
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
        let abandoned = process.state.try_lock().ok().map(|mut state| state.clear());
        if abandoned.is_none() {
            std::mem::forget(process);
        }
        fresh
    }
}

impl<C: Share> Process<C> {
    /// Serves those in line for whom there is room now.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = self.state().next_grant();
            let Some((waiter, grant)) = next else { break };
            // If he has just left, what he would have got comes back, which serves the one behind him.
            match grant {
                Some(grant) => drop(waiter.send(Lease::accept(Arc::clone(self), grant))),
                None => drop(waiter),
            }
        }
        let surplus = self.state().surplus(Instant::now());
        self.discard(surplus);
    }

    fn discard(&self, connections: impl IntoIterator<Item = C>) {
        for connection in connections {
            drop(connection);
            self.discarded.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A request's place in the queue.
struct InLine<'a, C: Share> {
    process: &'a Process<C>,
    ticket: u64,
}

impl<C: Share> Drop for InLine<'_, C> {
    fn drop(&mut self) {
        if self.process.generation.is_current() {
            self.process.state().leave(self.ticket);
        }
    }
}

impl<C: Share + Send> Watch for Process<C> {
    fn limit_changed(self: Arc<Self>, status: &Status) {
        if self.generation.is_current() {
            self.state().limit_changed(status);
            self.serve();
        }
    }

    fn retired(self: Arc<Self>, status: &Status) {
        if self.generation.is_current() {
            let idle = self.state().retire(status);
            self.discard(idle);
            self.serve();
        }
    }
}

/// The right to one of the pool's places, and to the connection in it.
pub struct Lease<C: Share> {
    process: Arc<Process<C>>,
    status: Arc<Status>,
    shared: bool,
    returned: bool,
}

impl<C: Share + Send + 'static> Lease<C> {
    /// Whom to tell how a shared connection in this place fares.
    pub fn watch(&self) -> Weak<dyn Watch> {
        let process: Arc<dyn Watch> = Arc::<Process<C>>::clone(&self.process);
        Arc::downgrade(&process)
    }
}

impl<C: Share> Lease<C> {
    fn accept(process: Arc<Process<C>>, grant: Grant<C>) -> Acquired<C> {
        let Grant { status, connection, shared, closing } = grant;
        process.discard(closing);
        Acquired { lease: Some(Self { process, status, shared, returned: false }), connection }
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Whether this process got the lease, and not one that it was forked from.
    pub fn is_current(&self) -> bool {
        self.process.generation.is_current()
    }

    /// The connection that was made in this place can be shared: others get shares of it, too.
    pub fn share(&mut self, connection: C, owner: u64) {
        self.shared = true;
        self.process.state().share(&self.status, connection, owner);
        self.process.serve();
    }

    /// The connection that was made in this place is for one request at a time.
    pub fn keep_to_one(&self) {
        self.process.state().keep_to_one(&self.status);
        self.process.serve();
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
        let (closing, waiting) = {
            let mut state = self.process.state();
            (state.keep(&self.status, connection, Instant::now()), state.queued() > 0)
        };
        self.process.discard(closing);
        if waiting {
            self.process.serve();
        }
    }
}

impl<C: Share> Drop for Lease<C> {
    fn drop(&mut self) {
        if self.returned || !self.process.generation.is_current() {
            return;
        }
        let (closing, waiting) = {
            let mut state = self.process.state();
            let closing = if self.shared {
                state.end_request(&self.status, Instant::now())
            } else {
                self.status.set_phase(Phase::Closed);
                state.free(&self.status);
                Vec::new()
            };
            (closing, state.queued() > 0)
        };
        self.process.discard(closing);
        if waiting {
            self.process.serve();
        }
    }
}

type Handover<C> = oneshot::Sender<Acquired<C>>;
