//! Running an operation on the calling thread.
//!
//! The interpreter is released while the thread polls its operation and sleeps in `poll(2)`. When the operation needs Python,
//! or a signal has arrived, the thread stops and says why; the drive loop, in Python, sees to that and lets it go on.
//!
//! Where sockets are monkey-patched (gevent, eventlet) the thread does not sleep: waiting is an effect as well, and other
//! greenlets run meanwhile.

use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use pyo3::prelude::*;

use super::operations::PollOperation;
use super::signals::{self, SignalWatch};
use crate::error::{Error, Kind, Result};
use crate::io::block_on::{Progress, advance};
use crate::io::notifier::Notifier;
use crate::io::parker::{BLIND, Parker};
use crate::io::sleep::{WakeCause, sleep};
use crate::io::source::Direction;
use crate::io::strand;
use crate::io::wait_set::{self, WaitSet};
use crate::operation::{Effect, EffectChannel};
use crate::tls::python_ssl;

/// Whether sockets are monkey-patched in this process.
static IS_GREEN: AtomicBool = AtomicBool::new(false);

/// From now on waiting is left to the patched `select`.
pub fn set_green() {
    IS_GREEN.store(true, Ordering::Relaxed);
}

pub fn is_green() -> bool {
    IS_GREEN.load(Ordering::Relaxed)
}

/// Why the thread has stopped.
pub enum Stop {
    Ready(Result<()>),
    Effect(Effect),
    /// TLS sessions of Python's `ssl` need steps.
    Steps,
    /// There may be signal handlers to run.
    Look,
    /// A traced operation was interrupted where nothing reports it.
    Interrupted(Error),
    /// Python has to wait: by the patched `select`.
    Wait,
}

/// How a thread runs one operation.
pub struct ThreadDriver {
    parker: Arc<Parker>,
    signals: Option<SignalWatch>,
    /// What a greenlet waits with.
    green: Option<Green>,
}

/// What a greenlet has in place of the thread's own sleep.
struct Green {
    strand: u64,
    /// Wakes this greenlet only.
    bell: Option<Arc<Notifier>>,
    waiting: Option<WaitSet>,
}

/// What a greenlet waits for.
pub struct Wait {
    pub readers: Vec<i32>,
    pub writers: Vec<i32>,
    pub timeout: Option<f64>,
}

impl ThreadDriver {
    pub fn new() -> Self {
        let is_green = is_green();
        Self {
            parker: Arc::default(),
            signals: (!is_green && signals::is_main_thread()).then(SignalWatch::default),
            green: is_green.then(Green::new),
        }
    }

    /// Polls and sleeps until the operation is done or needs Python.
    pub fn run(&mut self, py: Python<'_>, operation: &mut dyn PollOperation, effects: &EffectChannel) -> Stop {
        if let Some(signals) = &mut self.signals {
            signals.resume(py);
        }
        let stop = py.detach(|| {
            let stop = self.run_detached(operation, effects);
            if !matches!(stop, Stop::Effect(_)) {
                // What the last poll waited for does not concern the next operation.
                wait_set::clear();
            }
            strand::set_strand(0);
            stop
        });
        match &mut self.signals {
            Some(signals) if matches!(stop, Stop::Look) => signals.watch(py),
            Some(signals) => signals.end(py),
            None => {}
        }
        stop
    }

    fn run_detached(&mut self, operation: &mut dyn PollOperation, effects: &EffectChannel) -> Stop {
        let waker = Waker::from(Arc::clone(&self.parker));
        let mut cx = Context::from_waker(&waker);
        if let Some(green) = &mut self.green {
            green.begin();
        }
        loop {
            let poll = || poll_caught(operation, &mut cx);
            let wait_set = match advance(&self.parker, effects, poll, python_ssl::has_steps) {
                Progress::Ready(result) => return Stop::Ready(result),
                Progress::Interrupted(error) => return Stop::Interrupted(error),
                Progress::Due => return Stop::Steps,
                Progress::Effect(effect) => return Stop::Effect(effect),
                Progress::Stuck(error) => return Stop::Ready(Err(error)),
                Progress::Waits(wait_set) => wait_set,
            };
            if let Some(green) = &mut self.green {
                if green.prepare(wait_set, &self.parker) {
                    return Stop::Wait;
                }
                continue;
            }
            match self.sleep(wait_set) {
                Ok(WakeCause::BySignal) => return Stop::Look,
                Ok(WakeCause::Otherwise) => {}
                Err(error) => return Stop::Ready(Err(error)),
            }
        }
    }

    /// Sleeps until a socket is ready, the parker is woken, a deadline has passed, or a signal arrives.
    fn sleep(&mut self, mut wait_set: WaitSet) -> Result<WakeCause> {
        let Some(signals) = &mut self.signals else { return self.parker.sleep(wait_set, false) };
        signals.limit(&mut wait_set);
        let woken = self.parker.sleep(wait_set, true)?;
        Ok(if signals.is_due() { WakeCause::BySignal } else { woken })
    }

    /// The operation ends because of an exception.
    pub fn end(&mut self, py: Python<'_>) {
        if let Some(signals) = &mut self.signals {
            signals.end(py);
        }
    }

    /// What to wait for in Python.
    pub fn waiting(&self) -> Wait {
        let mut wait = Wait { readers: Vec::new(), writers: Vec::new(), timeout: None };
        let Some(Green { bell, waiting: Some(park), .. }) = &self.green else { return wait };
        for (socket, direction) in &park.interests {
            match direction {
                Direction::Read => wait.readers.push(socket.as_raw_fd()),
                Direction::Write => wait.writers.push(socket.as_raw_fd()),
            }
        }
        wait.readers.extend(bell.as_ref().map(|bell| bell.as_fd().as_raw_fd()));
        wait.timeout = park.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64());
        wait
    }
}

impl Green {
    fn new() -> Self {
        // Numbers of threads are small.
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        Self { strand: NEXT.fetch_add(1, Ordering::Relaxed), bell: None, waiting: None }
    }

    /// Before polls: takes note of what has happened during the wait.
    fn begin(&mut self) {
        strand::set_strand(self.strand);
        if let Some(mut park) = self.waiting.take() {
            park.deadline = Some(Instant::now());
            // An error leaves everything as it was: the next wait ends at once.
            let _ = sleep(&park, self.bell.as_deref());
        }
    }

    /// Before a wait; `false` if there is nothing to wait for any more.
    fn prepare(&mut self, mut park: WaitSet, parker: &Parker) -> bool {
        if (park.waits_for_waker || park.interests.is_empty()) && self.bell.is_none() {
            self.bell = Notifier::new().ok().map(Arc::new);
            if self.bell.is_none() {
                park.wake_at(Instant::now() + BLIND);
            }
        }
        if let Some(bell) = &self.bell {
            parker.wake_through(Arc::clone(bell));
        }
        self.waiting = Some(park);
        !parker.is_woken()
    }
}

/// Polls; a panic becomes an error like any other, so that dropping the operation frees what it held.
pub fn poll_caught(operation: &mut dyn PollOperation, cx: &mut Context<'_>) -> Poll<Result<()>> {
    catch_unwind(AssertUnwindSafe(|| operation.poll(cx))).unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
}

pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let why = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Error::new(Kind::Internal, format!("httpcore_rs has a bug, please report it: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl PollOperation for Panics {
        fn poll(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            panic!("at the disco");
        }
    }

    #[test]
    fn a_panic_becomes_an_error() {
        match poll_caught(&mut Panics, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), Kind::Internal);
                assert!(error.message().contains("at the disco"));
            }
            other => panic!("{other:?}"),
        }
    }
}
