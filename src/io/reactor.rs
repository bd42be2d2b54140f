//! The sockets and deadlines of one event loop.
//!
//! The host loop watches one descriptor, the poller's own. When that turns readable, [`Reactor::turn`] collects the events
//! without blocking and wakes those who wait. Another thread makes it readable with [`Reactor::notify`].
//!
//! Connections that several exchanges share are nobody's to poll: they are jobs of the loop, done when something has woken them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

use super::source::Source;
use super::strand;
use super::timers::{TimerKey, Timers};
use crate::fork;
use crate::lock::{Rank, RankedMutex, lock};
use crate::operation::OwnerLoop;

/// Collected in one turn; what is left keeps the descriptor readable for the next one.
const EVENTS_PER_TURN: usize = 1024;
/// The poller's own wake-up; sockets count from zero and never get there.
const NOTIFY: Token = Token(usize::MAX);

/// What a loop does on nobody's behalf.
pub trait Job: Send + Sync {
    /// Does what can be done now, on the loop's thread.
    fn run(self: Arc<Self>);

    /// Whether there is nothing to gain from doing it later, together with what comes meanwhile.
    fn is_urgent(&self) -> bool;
}

pub struct Reactor {
    /// Tells it from all others that there have been.
    id: u64,
    poll: RankedMutex<(Poll, Events)>,
    descriptor: RawFd,
    registry: Registry,
    notify: mio::Waker,
    sockets: Mutex<Slab<Arc<Source>>>,
    timers: Mutex<Timers>,
    /// A job has added a timer that the host loop may not know of.
    is_timer_new: AtomicBool,
    jobs: Mutex<Vec<Arc<dyn Job>>>,
    /// Somebody has seen to it that there will be a turn.
    is_notified: AtomicBool,
    /// The loop's thread.
    home: u64,
    /// The thread on which the engine runs for this loop at the moment; 0 for none.
    running_on: AtomicU64,
    generation: fork::Generation,
}

impl Reactor {
    pub fn new() -> io::Result<Self> {
        // 0 stands for threads without a loop.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);

        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let notify = mio::Waker::new(&registry, NOTIFY)?;
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            descriptor: poll.as_raw_fd(),
            poll: RankedMutex::new(Rank::Poller, (poll, Events::with_capacity(EVENTS_PER_TURN))),
            registry,
            notify,
            sockets: Mutex::default(),
            timers: Mutex::default(),
            is_timer_new: AtomicBool::new(false),
            jobs: Mutex::default(),
            is_notified: AtomicBool::new(false),
            home: strand::thread(),
            running_on: AtomicU64::new(0),
            generation: fork::Generation::current(),
        })
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// Begins a stretch of the engine's work for the loop. On another thread than the loop's it changes nothing: what is woken
    /// there has to be resumed by the loop.
    pub fn enter(&self) -> Running<'_> {
        let here = strand::thread();
        let before = (here == self.home).then(|| self.running_on.swap(here, Ordering::AcqRel));
        Running { reactor: self, before }
    }

    /// Whether it is this thread that runs the engine for the loop, now.
    pub fn is_running_here(&self) -> bool {
        self.running_on.load(Ordering::Acquire) == strand::thread()
    }

    /// The descriptor that the host loop watches for readability.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Collects what has happened to the sockets and wakes those who wait for it. Does not block.
    pub fn turn(&self) -> io::Result<()> {
        self.is_notified.store(false, Ordering::Release);
        let mut guard = self.poll.lock();
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
        drop(guard);
        self.run_jobs(true);
        Ok(())
    }

    /// Has a job done before the loop goes on, or in its next turn.
    pub fn schedule(&self, job: Arc<dyn Job>) {
        lock(&self.jobs).push(job);
        if !self.is_running_here() {
            self.notify_once();
        }
    }

    /// Does the jobs that are due, all of them or those that are urgent; what is left, or new, has its turn.
    pub fn run_jobs(&self, all: bool) {
        let due = {
            let mut jobs = lock(&self.jobs);
            if jobs.is_empty() {
                return;
            }
            if all { std::mem::take(&mut *jobs) } else { jobs.extract_if(.., |job| job.is_urgent()).collect() }
        };
        for job in due {
            job.run();
        }
        self.postpone_jobs();
    }

    /// Sees to it that the jobs that are due have their turn.
    pub fn postpone_jobs(&self) {
        if !lock(&self.jobs).is_empty() {
            self.notify_once();
        }
    }

    fn notify_once(&self) {
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            self.notify();
        }
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

    /// A timer of a job: nobody waits for it who would tell the host loop.
    pub fn add_job_timer(&self, deadline: Instant, waker: Waker) -> TimerKey {
        self.is_timer_new.store(true, Ordering::Release);
        self.add_timer(deadline, waker)
    }

    /// The earliest deadline, if a job has added one since this was asked last.
    pub fn take_new_deadline(&self) -> Option<Instant> {
        if self.is_timer_new.swap(false, Ordering::AcqRel) { lock(&self.timers).earliest() } else { None }
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
    pub(super) fn register(self: &Arc<Self>, socket: &Arc<Source>) -> io::Result<Registration> {
        let descriptor = socket.as_raw_fd();
        let key = lock(&self.sockets).insert(Arc::clone(socket));
        let registration = Registration { reactor: Arc::downgrade(self), key, descriptor };
        self.registry.register(&mut SourceFd(&descriptor), Token(key), Interest::READABLE | Interest::WRITABLE)?;
        Ok(registration)
    }
}

impl OwnerLoop for Reactor {
    fn is_running_here(&self) -> bool {
        Self::is_running_here(self)
    }

    fn notify(&self) {
        Self::notify(self);
    }
}

/// The engine runs on this thread for a loop.
pub struct Running<'a> {
    reactor: &'a Reactor,
    /// `None` on another thread than the loop's.
    before: Option<u64>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            self.reactor.running_on.store(before, Ordering::Release);
        }
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
