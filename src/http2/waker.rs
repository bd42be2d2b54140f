//! The waker that h2 gets for a connection.
//!
//! What it wakes is the connection, not one of its exchanges: a flag says that there is something to do, and if the connection is
//! a job of a reactor, the reactor is told to run it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Wake;

use super::connection::Http2;
use crate::io::reactor::Reactor;
use crate::lock::lock;

pub struct ConnectionWaker {
    connection: Weak<Http2>,
    /// Something has happened since the last poll began.
    is_dirty: AtomicBool,
    is_scheduled: AtomicBool,
    has_reactor: AtomicBool,
    reactor: Mutex<Weak<Reactor>>,
}

impl ConnectionWaker {
    /// Returns the waker of a connection that no reactor polls yet.
    pub fn new(connection: Weak<Http2>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            is_dirty: AtomicBool::new(false),
            is_scheduled: AtomicBool::new(false),
            has_reactor: AtomicBool::new(false),
            reactor: Mutex::default(),
        })
    }

    /// Sets the reactor that polls the connection from now on; `None` if its exchanges do.
    pub fn set_reactor(&self, reactor: Option<&Arc<Reactor>>) {
        *lock(&self.reactor) = reactor.map(Arc::downgrade).unwrap_or_default();
        self.has_reactor.store(reactor.is_some(), Ordering::Release);
        // The reactor where it was scheduled may never run it.
        self.is_scheduled.store(false, Ordering::Release);
    }

    pub fn has_reactor(&self) -> bool {
        self.has_reactor.load(Ordering::Acquire)
    }

    pub fn reactor(&self) -> Option<Arc<Reactor>> {
        if self.has_reactor() { lock(&self.reactor).upgrade() } else { None }
    }

    /// Returns whether a poll would find something to do.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::Acquire)
    }

    /// Marks the beginning of a poll.
    pub fn mark_polled(&self) {
        self.is_dirty.store(false, Ordering::Release);
    }

    /// Marks the beginning of the job: from now on a wake-up schedules it again.
    pub fn mark_running(&self) {
        self.is_scheduled.store(false, Ordering::Release);
    }

    /// Marks the connection as having something to do, and schedules it with its reactor.
    pub fn wake(&self) {
        self.is_dirty.store(true, Ordering::Release);
        if !self.has_reactor() || self.is_scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        if let (Some(reactor), Some(connection)) = (self.reactor(), self.connection.upgrade()) {
            reactor.schedule(connection);
        }
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}
