//! Running an operation on the calling thread.
//!
//! The interpreter is released while the thread polls its operation and sleeps in `poll(2)`. When the operation needs Python,
//! or a signal has arrived, the thread stops and says why; the drive loop, in Python, sees to that and lets it go on.
//!
//! Where sockets are monkey-patched (gevent, eventlet) the thread does not sleep: waiting is an effect as well, and other
//! greenlets run meanwhile.

use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::operations::PollOperation;
use super::signals::{self, SignalWatch};
use crate::error::{Error, Kind, Result};
use crate::io::notifier::Notifier;
use crate::io::sleep::{WakeCause, sleep};
use crate::io::source::Direction;
use crate::io::strand;
use crate::io::wait_set::{self, WaitSet};
use crate::lock::lock;
use crate::operation::{Effect, EffectChannel};
use crate::tls::python_ssl;

/// Said where waiting would never end.
const WAITS_FOR_ITSELF: &str = "the connection cannot be used now: this thread is in the middle of using it, and was interrupted by \
    a signal handler or a finalizer";
/// How often a thread looks again when there is no descriptor left to wake it by.
const BLIND: Duration = Duration::from_millis(5);

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
    alarm: Arc<Alarm>,
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
            alarm: Arc::default(),
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
        let waker = Waker::from(Arc::clone(&self.alarm));
        let mut cx = Context::from_waker(&waker);
        if let Some(green) = &mut self.green {
            green.begin();
        }
        loop {
            wait_set::clear();
            self.alarm.reset();
            if let Poll::Ready(result) = poll_caught(operation, &mut cx) {
                return Stop::Ready(result);
            }
            if let Some(interruption) = effects.take_interruption() {
                return Stop::Interrupted(interruption);
            }
            // First: what a body's iterator waits for may depend on what was sent before.
            if python_ssl::has_steps() {
                return Stop::Steps;
            }
            if let Some(effect) = effects.take() {
                return Stop::Effect(effect);
            }
            // Taken before any handler runs: a handler may send requests of its own.
            let park = wait_set::take();
            if park.waits_for_itself {
                return Stop::Ready(Err(Error::local(WAITS_FOR_ITSELF)));
            }
            if let Some(green) = &mut self.green {
                if green.prepare(park, &self.alarm) {
                    return Stop::Wait;
                }
                continue;
            }
            match self.wait(park) {
                Ok(WakeCause::BySignal) => return Stop::Look,
                Ok(WakeCause::Otherwise) => {}
                Err(error) => return Stop::Ready(Err(error)),
            }
        }
    }

    /// Sleeps until a socket is ready, the alarm rings, a deadline has passed, or a signal arrives.
    fn wait(&mut self, mut park: WaitSet) -> Result<WakeCause> {
        if self.signals.is_none() && park.interests.is_empty() {
            self.alarm.park(park.deadline);
            return Ok(WakeCause::Otherwise);
        }
        // Sockets wake their own thread. Another thread wakes this one where it waits for the pool, or for a connection that is
        // shared or that the pool may close.
        let needs_bell = park.waits_for_waker || park.interests.is_empty() || self.signals.is_some();
        let bell = if needs_bell { Notifier::of_this_thread().ok() } else { None };
        if needs_bell && bell.is_none() {
            park.wake_at(Instant::now() + BLIND);
        }
        if let Some(signals) = &mut self.signals {
            signals.limit(&mut park);
        }
        if let Some(bell) = &bell {
            self.alarm.set(Sleeper::AtBell(Arc::clone(bell)));
        }
        if self.alarm.has_rung() {
            return Ok(WakeCause::Otherwise);
        }
        let woken = sleep(&park, bell.as_deref())
            .map_err(|error| Error::new(Kind::Internal, format!("poll(2) failed: {error}")).with_source(error))?;
        let is_due = self.signals.as_ref().is_some_and(SignalWatch::is_due);
        Ok(if is_due { WakeCause::BySignal } else { woken })
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
    fn prepare(&mut self, mut park: WaitSet, alarm: &Alarm) -> bool {
        if (park.waits_for_waker || park.interests.is_empty()) && self.bell.is_none() {
            self.bell = Notifier::new().ok().map(Arc::new);
            if self.bell.is_none() {
                park.wake_at(Instant::now() + BLIND);
            }
        }
        if let Some(bell) = &self.bell {
            alarm.set(Sleeper::AtBell(Arc::clone(bell)));
        }
        self.waiting = Some(park);
        !alarm.has_rung()
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

/// Wakes a thread that sleeps for something else than its sockets, too.
#[derive(Default)]
struct Alarm {
    has_rung: AtomicBool,
    sleeper: Mutex<Option<Sleeper>>,
}

/// How the thread sleeps.
enum Sleeper {
    Parked(Thread),
    AtBell(Arc<Notifier>),
}

impl Alarm {
    /// To be called before each poll: what earlier wake-ups announced is seen by that poll.
    fn reset(&self) {
        self.has_rung.swap(false, Ordering::AcqRel);
    }

    fn has_rung(&self) -> bool {
        self.has_rung.load(Ordering::Acquire)
    }

    fn set(&self, sleeper: Sleeper) {
        *lock(&self.sleeper) = Some(sleeper);
    }

    /// Sleeps without a descriptor until the alarm rings or the deadline has passed. May return early: ringing takes the
    /// sleeper first, so the next sleep has to set it again.
    fn park(&self, deadline: Option<Instant>) {
        self.set(Sleeper::Parked(thread::current()));
        if self.has_rung() {
            return;
        }
        match deadline {
            Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        match lock(&self.sleeper).take() {
            Some(Sleeper::Parked(thread)) => thread.unpark(),
            Some(Sleeper::AtBell(bell)) => bell.notify(),
            None => {}
        }
    }
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
