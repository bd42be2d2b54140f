//! The status of a connection, which can be seen while the connection is in use elsewhere: its state, httpcore's `info()`, and the means
//! to close it.
//!
//! A [`Status`] is shared by the pool, the request that makes or uses the connection, and the objects of Python that show it. The state
//! changes like this; nothing else does:
//!
//! ```text
//! Connecting --mark_connected--> New --begin_request--> Active <--mark_active / mark_idle--> Idle
//! Connecting --mark_closed, close--> Closed { has_failed: true }
//! any other  --mark_closed, close--> Closed { has_failed: false }
//! any        --mark_connecting--> Connecting        (one more attempt in the same slot)
//! ```
//!
//! Reading the state takes no lock. Dropping a status has no effect on the connection.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::types::Link;
use crate::lock::{Guard, lock};
use crate::origin::Origin;

/// The most requests that share a connection, also if its peer would take more: as in httpcore.
pub const MAX_REQUESTS: usize = 100;

const UNKNOWN: usize = usize::MAX;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is being made, or is about to be.
    Connecting,
    /// It is established, and no request has begun on it.
    New,
    /// It carries requests. With room it can take one more: only a connection that can be shared has room.
    Active { has_room: bool },
    /// It carries no request and is kept for the next one.
    Idle,
    /// It is closed, or failed before it was established.
    Closed { has_failed: bool },
}

impl ConnectionState {
    /// Returns httpcore's name for the state of an established connection.
    fn name(self) -> &'static str {
        match self {
            Self::Connecting | Self::New => "NEW",
            Self::Active { .. } => "ACTIVE",
            Self::Idle => "IDLE",
            Self::Closed { .. } => "CLOSED",
        }
    }
}

/// The shared state of one connection.
pub struct Status {
    pub id: u64,
    pub origin: Arc<Origin>,
    facts: AtomicFacts,
    /// The number of requests that have begun.
    requests: AtomicU64,
    /// The number of requests that the peer takes at a time; [`UNKNOWN`] until it has said so.
    max_requests: AtomicUsize,
    details: Mutex<Details>,
}

#[derive(Default)]
struct Details {
    link: Option<Arc<dyn Link>>,
    /// The time until which an idle connection is kept.
    expires: Option<Instant>,
    /// Wakes the task that makes the connection at the moment.
    connecting: Option<Waker>,
    /// The other end of the connection, once there is one: a proxy that forwards, or the origin.
    end: Option<Arc<Origin>>,
    /// The time at which there was a stream.
    opened: Option<Instant>,
    /// The numbers of bytes that the metrics know of.
    counted: (u64, u64),
}

impl Status {
    pub fn new(id: u64, origin: Arc<Origin>) -> Self {
        Self {
            id,
            origin,
            facts: AtomicFacts::new(),
            requests: AtomicU64::new(0),
            max_requests: AtomicUsize::new(UNKNOWN),
            details: Mutex::default(),
        }
    }

    pub fn state(&self) -> ConnectionState {
        self.facts.load().state()
    }

    // For the request that makes the connection.

    /// A connection is being made in this slot.
    pub fn mark_connecting(&self) {
        self.facts.update(|facts| Facts::CONNECTING.with(Facts::CLOSED_BY_POOL, facts.has(Facts::CLOSED_BY_POOL)));
        self.requests.store(0, Ordering::Release);
    }

    /// There is a stream, by which the connection can be closed from now on. It ends at `end`.
    pub fn set_link(&self, link: Arc<dyn Link>, end: &Arc<Origin>) {
        let before = {
            let mut details = self.details();
            details.end = Some(Arc::clone(end));
            details.counted = (0, 0);
            details.opened = Some(Instant::now());
            details.link.replace(link)
        };
        // It may hold the last reference to a stream of Python's.
        drop(before);
    }

    /// The connection is established: the pool knows whether it can be shared, or is told next that it cannot.
    pub fn mark_connected(&self) {
        self.facts.update(|facts| match facts.state() {
            ConnectionState::Connecting => facts.with_state(Facts::NEW),
            ConnectionState::Closed { .. } => facts.with_state(Facts::CLOSED),
            ConnectionState::New | ConnectionState::Active { .. } | ConnectionState::Idle => facts,
        });
    }

    /// A request begins on the connection.
    pub fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.mark_active();
    }

    // For the pool.

    /// The connection carries a request, unless it was closed.
    pub fn mark_active(&self) {
        self.facts.update(|facts| match facts.state() {
            ConnectionState::Closed { .. } => facts,
            _ => facts.with_state(Facts::ACTIVE),
        });
    }

    /// The connection carries no request any more and is kept until `expires`.
    pub fn mark_idle(&self, expires: Option<Instant>) {
        self.details().expires = expires;
        self.facts.update(|facts| facts.with_state(Facts::IDLE));
    }

    /// The connection is closed, or was given up before it was established.
    pub fn mark_closed(&self) {
        self.facts.update(Facts::closed);
    }

    /// The connection carries several requests at a time: HTTP/2.
    pub fn mark_multiplexed(&self) {
        self.facts.update(|facts| facts.with(Facts::MULTIPLEXED, true));
    }

    /// Sets whether a shared connection can take one more request.
    pub fn set_room(&self, has_room: bool) {
        self.facts.update(|facts| facts.with(Facts::HAS_ROOM, has_room));
    }

    /// Sets how many requests the peer takes at a time.
    pub fn set_max_requests(&self, limit: usize) {
        self.max_requests.store(limit, Ordering::Release);
    }

    /// Shuts the connection down under the requests that use it, or ends the attempt to make it.
    pub fn close(&self) {
        self.facts.update(|facts| facts.closed().with(Facts::CLOSED_BY_POOL, true));
        let (link, connecting) = {
            let mut details = self.details();
            (details.link.clone(), details.connecting.take())
        };
        if let Some(link) = link {
            link.shutdown();
        }
        if let Some(connecting) = connecting {
            connecting.wake();
        }
    }

    // Queries.

    /// Returns whether the connection has been established, also if it is closed by now.
    pub fn is_connected(&self) -> bool {
        !matches!(self.state(), ConnectionState::Connecting | ConnectionState::Closed { has_failed: true })
    }

    /// Returns whether the connection is being made.
    pub fn is_connecting(&self) -> bool {
        self.state() == ConnectionState::Connecting
    }

    pub fn is_idle(&self) -> bool {
        self.state() == ConnectionState::Idle
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state(), ConnectionState::Closed { .. })
    }

    /// Returns whether the connection was closed without ever having been established.
    pub fn has_failed(&self) -> bool {
        self.state() == ConnectionState::Closed { has_failed: true }
    }

    /// Returns whether the connection can take a request now.
    pub fn is_available(&self) -> bool {
        matches!(self.state(), ConnectionState::Idle | ConnectionState::Active { has_room: true })
    }

    pub fn is_multiplexed(&self) -> bool {
        self.facts.load().has(Facts::MULTIPLEXED)
    }

    /// Returns whether the pool has closed the connection, and not its peer.
    pub fn is_closed_by_pool(&self) -> bool {
        self.facts.load().has(Facts::CLOSED_BY_POOL)
    }

    /// Returns whether the pool has closed the connection. If not, the task that makes the connection is woken when it does.
    pub fn poll_closed_by_pool(&self, cx: &Context<'_>) -> bool {
        let before = self.details().connecting.replace(cx.waker().clone());
        drop(before);
        self.is_closed_by_pool()
    }

    /// Returns how many requests have begun on the connection.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    /// Returns how many requests a shared connection carries at a time, if that is known: as many as its peer takes, and at most 100.
    pub fn max_requests(&self) -> Option<usize> {
        self.peer_limit().map(|limit| limit.min(MAX_REQUESTS))
    }

    /// Returns how many requests the peer of a shared connection takes at a time, if that is known.
    pub fn peer_limit(&self) -> Option<usize> {
        let limit = self.max_requests.load(Ordering::Acquire);
        (limit != UNKNOWN).then_some(limit)
    }

    /// Returns for how long there has been a stream.
    pub fn lifetime(&self) -> Duration {
        self.details().opened.map_or(Duration::ZERO, |opened| opened.elapsed())
    }

    /// Returns how many bytes the connection has sent and received since the last call.
    pub fn take_moved(&self) -> (u64, u64) {
        let mut details = self.details();
        let (sent, received) = details.link.as_ref().map_or((0, 0), |link| link.moved());
        let before = std::mem::replace(&mut details.counted, (sent, received));
        (sent.saturating_sub(before.0), received.saturating_sub(before.1))
    }

    /// Returns the stream under an idle connection that carries one request at a time.
    pub fn idle_link(&self) -> Option<Arc<dyn Link>> {
        let is_idle = self.is_idle() && !self.is_multiplexed();
        self.details().link.clone().filter(|_| is_idle)
    }

    /// Returns whether the connection is of no more use: it has been idle for too long, was closed by its peer while it was idle, or
    /// has failed.
    pub fn has_expired(&self) -> bool {
        match self.state() {
            ConnectionState::Idle => {
                let (expires, link) = {
                    let details = self.details();
                    (details.expires, details.link.clone())
                };
                // On a shared connection there is more to read than responses.
                expires.is_some_and(|expires| Instant::now() > expires)
                    || (!self.is_multiplexed() && link.is_some_and(|link| link.is_readable()))
            }
            ConnectionState::Closed { has_failed } => has_failed,
            ConnectionState::Connecting | ConnectionState::New | ConnectionState::Active { .. } => false,
        }
    }

    /// Returns what httpcore shows of a connection whose protocol is known.
    pub fn without_protocol(&self) -> String {
        format!("'{}', {}, Request Count: {}", self.end(), self.state().name(), self.requests())
    }

    fn end(&self) -> Arc<Origin> {
        Arc::clone(self.details().end.as_ref().unwrap_or(&self.origin))
    }

    fn details(&self) -> Guard<'_, Details> {
        lock(&self.details)
    }
}

/// httpcore's `info()`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            ConnectionState::Connecting => f.write_str("CONNECTING"),
            ConnectionState::Closed { has_failed: true } => f.write_str("CONNECTION FAILED"),
            state => {
                let protocol = if self.is_multiplexed() { "HTTP/2" } else { "HTTP/1.1" };
                write!(f, "'{}', {protocol}, {}, Request Count: {}", self.end(), state.name(), self.requests())
            }
        }
    }
}

/// The state of a connection and the facts beside it, in one byte: they change together and are read without a lock.
#[derive(Clone, Copy)]
struct Facts(u8);

impl Facts {
    // The state: the three lowest bits.
    const CONNECTING: Self = Self(0);
    const NEW: Self = Self(1);
    const ACTIVE: Self = Self(2);
    const IDLE: Self = Self(3);
    const CLOSED: Self = Self(4);
    const FAILED: Self = Self(5);
    const STATE: u8 = 7;

    // The facts beside it: a bit for each.
    const MULTIPLEXED: u8 = 8;
    const HAS_ROOM: u8 = 16;
    const CLOSED_BY_POOL: u8 = 32;

    fn state(self) -> ConnectionState {
        match Self(self.0 & Self::STATE) {
            Self(0) => ConnectionState::Connecting,
            Self(1) => ConnectionState::New,
            Self(2) => ConnectionState::Active { has_room: self.has(Self::HAS_ROOM) },
            Self(3) => ConnectionState::Idle,
            Self(4) => ConnectionState::Closed { has_failed: false },
            Self(_) => ConnectionState::Closed { has_failed: true },
        }
    }

    fn has(self, fact: u8) -> bool {
        self.0 & fact != 0
    }

    fn with_state(self, state: Self) -> Self {
        Self(self.0 & !Self::STATE | state.0)
    }

    fn with(self, fact: u8, is_true: bool) -> Self {
        Self(if is_true { self.0 | fact } else { self.0 & !fact })
    }

    fn closed(self) -> Self {
        self.with_state(match self.state() {
            ConnectionState::Connecting | ConnectionState::Closed { has_failed: true } => Self::FAILED,
            _ => Self::CLOSED,
        })
    }
}

struct AtomicFacts(AtomicU8);

impl AtomicFacts {
    fn new() -> Self {
        Self(AtomicU8::new(Facts::CONNECTING.0))
    }

    fn load(&self) -> Facts {
        Facts(self.0.load(Ordering::Acquire))
    }

    fn update(&self, change: impl Fn(Facts) -> Facts) {
        let change = |facts| Some(change(Facts(facts)).0);
        // The only error is a change that is refused: none is.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
    }
}

#[cfg(test)]
mod tests;
