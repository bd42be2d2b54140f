//! The words of the pool: limits, destinations, and what the pool's logic asks of connections and of waiters.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::origin::Origin;

/// How many connections a pool may have, and for how long it keeps idle ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_connections: usize,
    /// How many of them may lead to one origin; `None` for no limit of its own.
    pub max_connections_per_origin: Option<usize>,
    /// Counts idle connections only.
    pub max_keepalive_connections: usize,
    /// How long an idle connection is kept; `None` keeps it for ever.
    pub keepalive_expiry: Option<Duration>,
}

/// The number of an event loop, which moves the bytes of the shared connections of its requests; [`THREADS`] for requests of threads.
pub type LoopId = u64;

/// The threads that share connections without an event loop.
pub const THREADS: LoopId = 0;

/// The loop of a connection whose bytes are moved by the requests on it, whatever their loop.
pub const ANY_LOOP: LoopId = u64::MAX;

/// The number of a waiter. Numbers grow, so they are the order of arrival.
pub type WaiterId = u64;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Destination {
    pub origin: Arc<Origin>,
    /// Requests of one loop do not join shared connections of another one.
    pub loop_id: LoopId,
    /// Whether a connection to the origin may turn out to carry several requests at a time. The same for all requests to it.
    pub multiplexing: bool,
    /// The number of the one connection that the request may use.
    pub only: Option<u64>,
}

/// What the pool's logic asks of a connection.
pub trait Poolable: Sized {
    /// Returns the same connection once more, for one more request at the same time; `None` if it carries only one.
    fn share(&self) -> Option<Self>;
}

/// The stream of a connection that is in use elsewhere.
pub trait Link: Any + Send + Sync {
    /// Ends the stream under the exchanges that use it.
    fn shutdown(&self);

    /// Returns whether a read would return at once, as far as that can be seen without Python.
    fn is_readable(&self) -> bool;
}

/// What the pool's logic asks of a waiter.
pub trait Waiter {
    /// What tells the waiter that there is another shared connection on its route.
    type Notice;

    /// Returns `None` if the waiter has no use for the notice.
    fn notice(&self) -> Option<Self::Notice>;
}
