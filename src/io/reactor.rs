//! The sockets and deadlines of one event loop.
//!
//! The host loop watches one descriptor, the poller's own. When that turns readable, [`Reactor::turn`] collects the events
//! without blocking and wakes those who wait. Another thread makes it readable with [`Reactor::notify`].

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

use super::socket::Shared;
use super::timers::{TimerKey, Timers};
use crate::fork;
use crate::lock::lock;

/// Collected in one turn; what is left keeps the descriptor readable for the next one.
const EVENTS_PER_TURN: usize = 1024;
/// The poller's own wake-up; sockets count from zero and never get there.
const NOTIFY: Token = Token(usize::MAX);

pub struct Reactor {
    poll: Mutex<(Poll, Events)>,
    descriptor: RawFd,
    registry: Registry,
    notify: mio::Waker,
    sockets: Mutex<Slab<Arc<Shared>>>,
    timers: Mutex<Timers>,
    generation: fork::Generation,
}

impl Reactor {
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let notify = mio::Waker::new(&registry, NOTIFY)?;
        Ok(Self {
            descriptor: poll.as_raw_fd(),
            poll: Mutex::new((poll, Events::with_capacity(EVENTS_PER_TURN))),
            registry,
            notify,
            sockets: Mutex::default(),
            timers: Mutex::default(),
            generation: fork::Generation::current(),
        })
    }

    /// The descriptor that the host loop watches for readability.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Collects what has happened to the sockets and wakes those who wait for it. Does not block.
    pub fn turn(&self) -> io::Result<()> {
        let mut guard = lock(&self.poll);
        let (poll, events) = &mut *guard;
        match poll.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in events.iter().filter(|event| event.token() != NOTIFY) {
            let socket = lock(&self.sockets).get(event.token().0).cloned();
            if let Some(socket) = socket {
                let closed = event.is_read_closed() || event.is_error();
                socket.set_ready(event.is_readable(), event.is_writable() || closed, closed);
            }
        }
        Ok(())
    }

    /// Wakes everybody whose deadline has passed; the earliest that is left is returned.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        let (expired, earliest) = {
            let mut timers = lock(&self.timers);
            (timers.expire(now), timers.earliest())
        };
        for waker in expired {
            waker.wake();
        }
        earliest
    }

    pub fn add_timer(&self, deadline: Instant, waker: Waker) -> TimerKey {
        lock(&self.timers).insert(deadline, waker)
    }

    pub fn remove_timer(&self, key: TimerKey) {
        lock(&self.timers).remove(key);
    }

    /// Makes the descriptor readable, from any thread.
    pub fn notify(&self) {
        // It can only fail when the poller is gone, and then nobody waits on it.
        let _ = self.notify.wake();
    }

    /// Watches a socket in both directions, edge-triggered.
    pub(super) fn register(self: &Arc<Self>, socket: &Arc<Shared>) -> io::Result<Registration> {
        let descriptor = socket.as_raw_fd();
        let key = lock(&self.sockets).insert(Arc::clone(socket));
        let registration = Registration { reactor: Arc::downgrade(self), key, descriptor };
        self.registry.register(&mut SourceFd(&descriptor), Token(key), Interest::READABLE | Interest::WRITABLE)?;
        Ok(registration)
    }
}

/// A socket's place in a reactor, given up when dropped.
pub struct Registration {
    reactor: Weak<Reactor>,
    key: usize,
    descriptor: RawFd,
}

impl Registration {
    pub fn belongs_to(&self, reactor: &Arc<Reactor>) -> bool {
        std::ptr::eq(self.reactor.as_ptr(), Arc::as_ptr(reactor))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(reactor) = self.reactor.upgrade() else { return };
        // A forked child shares the kernel's poller with its parent: taking the socket out here would take it out there.
        if reactor.generation.is_current() {
            // Failing means that the descriptor was not watched (any more).
            let _ = reactor.registry.deregister(&mut SourceFd(&self.descriptor));
            lock(&reactor.sockets).try_remove(self.key);
        }
    }
}
