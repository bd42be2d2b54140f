//! The sockets, deadlines and jobs of one event loop.
//!
//! The host loop (asyncio, uvloop, trio) watches one descriptor: that of the reactor's poller. When it turns readable, the host
//! calls [`Reactor::turn`], which collects the events without blocking and wakes what waits for them. [`Reactor::notify`] makes
//! the descriptor readable from another thread. On Windows a thread waits in the place of the descriptor (see [`sys`]).
//!
//! A connection that several exchanges share is polled by none of their tasks. It is a [`Job`]: the reactor runs it when its
//! waker has scheduled it, either before control returns to the host loop or in the next turn.
//!
//! Rules:
//! * Tasks are resumed on the loop's thread only. Work of the engine there is enclosed by [`Reactor::enter`] and the drop of
//!   [`Running`]; a waker that is called in between is served at once, any other one notifies the loop.
//! * A forked child does not touch the poller, which it shares with its parent.
//!
//! Dropping the reactor closes the poller. Sockets that are still registered find that out when they are dropped or attached to
//! another reactor.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use super::source::Source;
use super::strand;
use super::sys::{Interests, MUST_ARM, Poller, Readiness, Watch};
use super::timers::{TimerKey, Timers};
use crate::fork;
use crate::lock::lock;
use crate::operation::OwnerLoop;

/// Work of a loop that belongs to none of its tasks.
pub trait Job: Send + Sync {
    /// Does what can be done now, on the loop's thread.
    fn run(self: Arc<Self>);

    /// Returns whether the job is run before control returns to the host loop. Otherwise it is run in the next turn, together with
    /// what is scheduled until then.
    fn is_urgent(&self) -> bool;
}

pub struct Reactor {
    /// Differs from that of every other reactor of the process.
    id: u64,
    poller: Poller,
    sockets: Mutex<Slab<Arc<Source>>>,
    timers: Mutex<Timers>,
    /// A job has added a timer that the host loop may not know of.
    is_timer_new: AtomicBool,
    jobs: Mutex<Vec<Arc<dyn Job>>>,
    /// The descriptor was made readable for the sake of jobs, and there was no turn since.
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

        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            poller: Poller::new()?,
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

    /// Begins work of the engine for the loop. On another thread than the loop's it changes nothing: what is woken there is resumed
    /// by the loop.
    pub fn enter(&self) -> Running<'_> {
        let here = strand::thread();
        let before = (here == self.home).then(|| self.running_on.swap(here, Ordering::AcqRel));
        Running { reactor: self, before }
    }

    /// Returns whether this thread runs the engine for the loop, now.
    pub fn is_running_here(&self) -> bool {
        self.running_on.load(Ordering::Acquire) == strand::thread()
    }

    /// Returns the poller, for which the host loop waits.
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Collects what has happened to the sockets, wakes what waits for it, and runs all jobs. Does not block.
    pub fn turn(&self) -> io::Result<()> {
        self.is_notified.store(false, Ordering::Release);
        self.poller.collect(|key, readiness| {
            let socket = lock(&self.sockets).get(key).cloned();
            if let Some(socket) = socket {
                socket.set_ready(readiness);
            }
        })?;
        self.run_jobs(true);
        Ok(())
    }

    /// Has a job run before control returns to the host loop, or in the next turn.
    pub fn schedule(&self, job: Arc<dyn Job>) {
        lock(&self.jobs).push(job);
        if !self.is_running_here() {
            self.notify_once();
        }
    }

    /// Runs the jobs that were scheduled until now, all of them or those that are urgent. What is left or new then is run in the next
    /// turn.
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

    /// Notifies the loop if jobs are scheduled, so that there is a turn for them.
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

    /// Wakes what waits for a deadline that has passed, and returns the earliest deadline that is left.
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

    /// Adds a timer of a job. No task tells the host loop of its deadline: [`Self::take_new_deadline`] does.
    pub fn add_job_timer(&self, deadline: Instant, waker: Waker) -> TimerKey {
        self.is_timer_new.store(true, Ordering::Release);
        self.add_timer(deadline, waker)
    }

    /// Returns the earliest deadline if a job has added a timer since the last call.
    pub fn take_new_deadline(&self) -> Option<Instant> {
        if self.is_timer_new.swap(false, Ordering::AcqRel) { lock(&self.timers).earliest() } else { None }
    }

    pub fn remove_timer(&self, key: TimerKey) {
        let removed = lock(&self.timers).remove(key);
        // A waker may hold the last reference to a task: it is dropped without the lock.
        drop(removed);
    }

    /// Has the host loop call `turn`, from any thread.
    pub fn notify(&self) {
        self.poller.notify();
    }

    /// Watches a socket.
    pub(super) fn register(self: &Arc<Self>, socket: &Arc<Source>) -> io::Result<Registration> {
        let key = lock(&self.sockets).insert(Arc::clone(socket));
        match Watch::new(&self.poller, socket.socket(), key) {
            Ok(watch) => Ok(Registration { reactor: Arc::downgrade(self), key, watch }),
            Err(error) => {
                let source = lock(&self.sockets).try_remove(key);
                drop(source);
                Err(error)
            }
        }
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

/// Work of the engine for a loop, on the loop's thread, until this is dropped.
pub struct Running<'a> {
    reactor: &'a Reactor,
    /// The thread of the work that encloses this one; `None` on another thread than the loop's.
    before: Option<u64>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            self.reactor.running_on.store(before, Ordering::Release);
        }
    }
}

/// A socket's entry in a reactor. Dropping it ends the watch.
pub struct Registration {
    reactor: Weak<Reactor>,
    key: usize,
    watch: Watch,
}

impl Registration {
    /// Has the poller report the next readiness in these directions, if it has to be told.
    pub(super) fn arm(&self, source: &Source, interests: Interests) {
        if MUST_ARM
            && let Some(reactor) = self.reactor.upgrade()
            && self.watch.arm(&reactor.poller, self.key, interests).is_err()
        {
            // The poller does not report the socket any more: its next read or write says why.
            source.set_ready(Readiness { readable: true, writable: true, read_closed: false });
        }
    }

    /// Returns the reactor, unless its loop is gone.
    pub fn reactor(&self) -> Option<Arc<Reactor>> {
        self.reactor.upgrade()
    }

    pub fn belongs_to(&self, reactor: &Arc<Reactor>) -> bool {
        std::ptr::eq(self.reactor.as_ptr(), Arc::as_ptr(reactor))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(reactor) = self.reactor.upgrade() else { return };
        // A forked child shares the kernel's poller with its parent: taking the socket out here would take it out there.
        if reactor.generation.is_current() {
            self.watch.end(&reactor.poller);
            let source = lock(&reactor.sockets).try_remove(self.key);
            drop(source);
        }
    }
}

#[cfg(test)]
mod tests;
