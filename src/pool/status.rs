//! What can be seen of a connection from outside while it is in use elsewhere: httpcore's `info()` and states.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Instant;

use super::types::Link;
use crate::lock::{Guard, lock};
use crate::origin::Origin;

/// The life of a connection, in httpcore's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    Connecting,
    Active,
    Idle,
    Closed,
}

/// How many requests share a connection at most, whatever more its peer would take: as in httpcore.
pub const MAX_REQUESTS: usize = 100;

const UNKNOWN: usize = usize::MAX;

/// The shared state of one connection.
pub struct Status {
    pub id: u64,
    pub origin: Arc<Origin>,
    phase: AtomicU8,
    /// Whether it has ever been connected: one that was not is "CONNECTION FAILED" once it is closed.
    connected: AtomicBool,
    requests: AtomicU64,
    closed_by_pool: AtomicBool,
    /// Whether it carries several requests at a time: HTTP/2.
    multiplexed: AtomicBool,
    open: AtomicBool,
    /// How many requests at a time, [`UNKNOWN`] until the peer has said so.
    max_requests: AtomicUsize,
    details: Mutex<Details>,
}

#[derive(Default)]
struct Details {
    link: Option<Arc<dyn Link>>,
    expires: Option<Instant>,
    /// Whoever makes the connection at the moment.
    connecting: Option<Waker>,
    /// Where the connection ends, once there is one: at a proxy that forwards, or at its origin.
    end: Option<Arc<Origin>>,
}

impl Status {
    pub fn new(id: u64, origin: Arc<Origin>) -> Self {
        Self {
            id,
            origin,
            phase: AtomicU8::new(Phase::Connecting as u8),
            connected: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            closed_by_pool: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            open: AtomicBool::new(false),
            max_requests: AtomicUsize::new(UNKNOWN),
            details: Mutex::default(),
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Connecting,
            1 => Phase::Active,
            2 => Phase::Idle,
            _ => Phase::Closed,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// A connection is being made in this place.
    pub fn mark_connecting(&self) {
        self.connected.store(false, Ordering::Release);
        self.set_phase(Phase::Connecting);
        self.multiplexed.store(false, Ordering::Release);
        self.requests.store(0, Ordering::Release);
    }

    /// There is a stream, by which the connection can be closed from now on. It ends at `end`.
    pub fn set_link(&self, link: Arc<dyn Link>, end: &Arc<Origin>) {
        let mut details = self.details();
        details.link = Some(link);
        details.end = Some(Arc::clone(end));
    }

    /// The connection is established: the pool knows whether it can be shared, or is about to be told that it cannot.
    pub fn mark_connected(&self) {
        self.connected.store(true, Ordering::Release);
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Returns whether the connection is being made.
    pub fn is_connecting(&self) -> bool {
        self.phase() == Phase::Connecting && !self.is_connected()
    }

    /// A request has begun on this connection.
    pub fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.set_phase(Phase::Active);
    }

    /// How many requests have begun on it.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    pub fn set_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Release);
    }

    /// Whether a shared connection can take one more request.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Whether the connection can take a request now.
    pub fn is_available(&self) -> bool {
        self.phase() == Phase::Idle || (self.phase() == Phase::Active && self.open.load(Ordering::Acquire))
    }

    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Acquire)
    }

    /// How many requests a shared connection carries at a time, if that is known: as many as its peer takes, and at most 100.
    pub fn max_requests(&self) -> Option<usize> {
        self.peer_limit().map(|limit| limit.min(MAX_REQUESTS))
    }

    /// How many requests the peer of a shared connection takes at a time, if that is known.
    pub fn peer_limit(&self) -> Option<usize> {
        let limit = self.max_requests.load(Ordering::Acquire);
        (limit != UNKNOWN).then_some(limit)
    }

    pub fn set_max_requests(&self, limit: usize) {
        self.max_requests.store(limit, Ordering::Release);
    }

    pub fn set_expiry(&self, expires: Option<Instant>) {
        self.details().expires = expires;
    }

    /// Shuts the connection down under whoever uses it.
    pub fn close(&self) {
        self.closed_by_pool.store(true, Ordering::Release);
        self.set_phase(Phase::Closed);
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

    /// Returns whether the pool has closed the connection. If not, the task that makes the connection is woken when it does.
    pub fn poll_closed_by_pool(&self, cx: &Context<'_>) -> bool {
        self.details().connecting = Some(cx.waker().clone());
        self.is_closed_by_pool()
    }

    /// Returns the stream under an idle connection for one request at a time.
    pub fn idle_link(&self) -> Option<Arc<dyn Link>> {
        let is_idle = self.phase() == Phase::Idle && !self.is_multiplexed();
        self.details().link.clone().filter(|_| is_idle)
    }

    /// What httpcore shows of a connection whose protocol is known.
    pub fn without_protocol(&self) -> String {
        let requests = self.requests.load(Ordering::Acquire);
        format!("'{}', {}, Request Count: {requests}", self.end(), self.phase().name())
    }

    /// Closed without ever having been connected.
    pub fn has_failed(&self) -> bool {
        self.phase() == Phase::Closed && !self.is_connected()
    }

    /// Whether it was the pool that closed the connection, not the peer.
    pub fn is_closed_by_pool(&self) -> bool {
        self.closed_by_pool.load(Ordering::Acquire)
    }

    /// Idle for too long, or closed by the peer while idle.
    pub fn has_expired(&self) -> bool {
        match self.phase() {
            Phase::Idle => {
                let (expires, link) = {
                    let details = self.details();
                    (details.expires, details.link.clone())
                };
                // On a shared connection there is more to read than responses.
                expires.is_some_and(|expires| Instant::now() > expires)
                    || (!self.is_multiplexed() && link.is_some_and(|link| link.is_readable()))
            }
            Phase::Closed => self.has_failed(),
            Phase::Connecting | Phase::Active => false,
        }
    }

    fn end(&self) -> Arc<Origin> {
        Arc::clone(self.details().end.as_ref().unwrap_or(&self.origin))
    }

    fn details(&self) -> Guard<'_, Details> {
        lock(&self.details)
    }
}

impl Phase {
    /// httpcore's name for the state of an established connection.
    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "NEW",
            Self::Active => "ACTIVE",
            Self::Idle => "IDLE",
            Self::Closed => "CLOSED",
        }
    }
}

/// httpcore's `info()`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.phase();
        if !self.is_connected() {
            return f.write_str(if phase == Phase::Closed { "CONNECTION FAILED" } else { "CONNECTING" });
        }
        let requests = self.requests.load(Ordering::Acquire);
        let protocol = if self.is_multiplexed() { "HTTP/2" } else { "HTTP/1.1" };
        write!(f, "'{}', {protocol}, {}, Request Count: {requests}", self.end(), phase.name())
    }
}
