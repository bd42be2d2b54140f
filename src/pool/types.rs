//! Limits and destinations, and what the pool's logic requires of connections and of waiters.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::origin::Origin;

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_connections: usize,
    /// The most of them to one origin; `None` for no limit of its own.
    pub max_connections_per_origin: Option<usize>,
    /// Counts idle connections only.
    pub max_keepalive_connections: usize,
    /// The most of those to one origin; `None` for no limit of its own.
    pub max_keepalive_connections_per_origin: Option<usize>,
    /// The time for which an idle connection is kept; `None` keeps it for ever.
    pub keepalive_expiry: Option<Duration>,
}

/// The number of an event loop, which moves the bytes of its shared connections; [`THREADS`] for requests of threads.
pub type LoopId = u64;

/// The threads that share connections without an event loop.
pub const THREADS: LoopId = 0;

/// The loop of a connection whose bytes are moved by the requests on it, whatever their loop.
pub const ANY_LOOP: LoopId = u64::MAX;

/// The number of a waiter. Numbers grow with each arrival.
pub type WaiterId = u64;

/// The origin that a request goes to, and the connections that it may use.
#[derive(Clone, Debug)]
pub struct Destination {
    pub origin: Arc<Origin>,
    /// Requests of one loop do not join shared connections of another one.
    pub loop_id: LoopId,
    /// A connection to the origin may turn out to carry several requests at a time. The same for all requests to it.
    pub multiplexing: bool,
    /// The number of the one connection that the request may use.
    pub only: Option<u64>,
}

/// A connection, as the pool's logic sees it.
pub trait Poolable: Sized {
    /// Returns another handle on the connection, for one more request at the same time; `None` if it carries one at a time.
    fn share(&self) -> Option<Self>;

    /// Frees what an idle connection can make anew when it is used again.
    fn rest(&mut self);
}

/// The stream of a connection that is in use elsewhere.
pub trait Link: Any + Send + Sync {
    /// Ends the stream under the exchanges that use it.
    fn shutdown(&self);

    /// Returns whether a read would return at once; `false` if only Python can tell.
    fn is_readable(&self) -> bool;

    /// Returns the numbers of bytes sent and received so far.
    fn moved(&self) -> (u64, u64);
}

/// A waiter, as the pool's logic sees it.
pub trait Waiter {
    /// Tells the waiter that there is another shared connection on its route.
    type Notice;

    /// Returns `None` if the waiter has no use for the notice.
    fn notice(&self) -> Option<Self::Notice>;
}
