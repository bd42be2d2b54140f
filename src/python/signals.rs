//! How the main thread learns of signals while it sleeps.
//!
//! Python's C handler only takes a note; the handler in Python runs when the main thread executes bytecode again. A signal that
//! arrives during a sleep of this thread ends that sleep. One that another thread received, or that came just before the
//! sleep, does not. So a first sleep is short. If it was not enough, Python is asked to write to this thread's wake-up pipe
//! whenever there is a signal (`signal.set_wakeup_fd`), bytecode is executed once, and from then on the thread sleeps for as
//! long as it has to.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::calls::thread_ident;
use crate::io::notifier::Notifier;
use crate::io::wait_set::WaitSet;

/// The interpreter's number for the thread that runs signal handlers; 0 while it is not known.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// No descriptor, in the words of `signal.set_wakeup_fd`.
const NONE: RawFd = -1;
/// The descriptor that the wake-up descriptor was set to here.
static WATCHED: AtomicI32 = AtomicI32::new(NONE);

/// Says which thread runs signal handlers.
pub fn set_main_thread(ident: u64) {
    MAIN_THREAD.store(ident, Ordering::Relaxed);
}

/// Called in a forked child: its signals are not the parent's. The thread that forked is the only one here.
pub fn forked(py: Python<'_>) {
    set_main_thread(thread_ident());
    let descriptor = WATCHED.swap(NONE, Ordering::Relaxed);
    if descriptor != NONE {
        release(py, descriptor);
    }
}

pub fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == thread_ident()
}

/// How long the first sleep lasts.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// Where the wake-up descriptor is in use by the program, sleeps end from time to time, ever less often up to this.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The main thread's watch for signals during one operation.
#[derive(Default)]
pub struct SignalWatch {
    state: SignalState,
}

#[derive(Default)]
enum SignalState {
    #[default]
    Unwatched,
    /// Bytecode is executed at this time, and at ever longer pauses from then on.
    Looking { at: Instant, pause: Duration },
    /// The wake-up pipe tells of signals.
    Watching(Arc<Notifier>),
}

impl SignalState {
    fn looking(pause: Duration) -> Self {
        Self::Looking { at: Instant::now() + pause, pause }
    }
}

impl SignalWatch {
    /// Before a sleep: ends it when it is time to look.
    pub fn limit(&mut self, park: &mut WaitSet) {
        if let SignalState::Unwatched = self.state {
            self.state = SignalState::looking(FIRST_LOOK);
        }
        if let SignalState::Looking { at, .. } = self.state {
            park.wake_at(at);
        }
    }

    /// After a sleep: whether it is time to look.
    pub fn is_due(&self) -> bool {
        matches!(self.state, SignalState::Looking { at, .. } if Instant::now() >= at)
    }

    /// Before a look: from now on the pipe is told of signals, unless the program has a descriptor of its own for that.
    pub fn watch(&mut self, py: Python<'_>) {
        let SignalState::Looking { pause, .. } = self.state else { return };
        self.state = match Notifier::of_this_thread() {
            Ok(bell) if claim(py, &bell) => SignalState::Watching(bell),
            _ => SignalState::looking((pause * 2).min(LAST_LOOK)),
        };
    }

    /// After a look: a signal handler may have set the wake-up descriptor for its own purposes, or forked.
    pub fn resume(&mut self, py: Python<'_>) {
        let SignalState::Watching(bell) = &self.state else { return };
        let is_here = Notifier::of_this_thread().is_ok_and(|here| Arc::ptr_eq(&here, bell));
        if !(is_here && claim(py, bell)) {
            self.state = SignalState::looking(FIRST_LOOK);
        }
    }

    /// The thread goes back to Python for something else than a look.
    pub fn end(&mut self, py: Python<'_>) {
        if let SignalState::Watching(bell) = std::mem::take(&mut self.state) {
            WATCHED.store(NONE, Ordering::Relaxed);
            release(py, bell.writer());
        }
    }
}

/// An operation that is given up while it looks: a handler has raised an exception.
impl Drop for SignalWatch {
    fn drop(&mut self) {
        if matches!(self.state, SignalState::Watching(_)) && is_main_thread() {
            // Unless the interpreter is being finalized.
            Python::try_attach(|py| {
                let raised_before = PyErr::take(py);
                self.end(py);
                if let Some(exception) = raised_before {
                    exception.restore(py);
                }
            });
        }
    }
}

/// Sets the wake-up descriptor to the pipe's, unless the program has set one.
fn claim(py: Python<'_>, bell: &Notifier) -> bool {
    let Ok(before) = set_wakeup_descriptor(py, bell.writer()) else { return false };
    if before == NONE || before == bell.writer() {
        WATCHED.store(bell.writer(), Ordering::Relaxed);
        return true;
    }
    // It can only fail if the program has closed its descriptor.
    let _ = set_wakeup_descriptor(py, before);
    let missed = bell.take_signals();
    if !missed.is_empty() {
        // Signals that came between the two calls: the program waits for them.
        let _ = write(py, before, &missed);
    }
    false
}

/// Sets the wake-up descriptor back, unless the program has set one meanwhile.
fn release(py: Python<'_>, descriptor: RawFd) {
    if let Ok(before) = set_wakeup_descriptor(py, NONE)
        && before != NONE
        && before != descriptor
    {
        let _ = set_wakeup_descriptor(py, before);
    }
}

/// `os.write()`, which runs no bytecode.
fn write(py: Python<'_>, descriptor: RawFd, bytes: &[u8]) -> PyResult<()> {
    let module = py.import(intern!(py, "posix"))?;
    module.call_method1(intern!(py, "write"), (descriptor, PyBytes::new(py, bytes)))?;
    Ok(())
}

/// `signal.set_wakeup_fd()`, which runs no bytecode. Returns the descriptor before, -1 for none.
fn set_wakeup_descriptor(py: Python<'_>, descriptor: RawFd) -> PyResult<RawFd> {
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "warn_on_full_buffer"), false)?;
    let module = py.import(intern!(py, "_signal"))?;
    module.call_method(intern!(py, "set_wakeup_fd"), (descriptor,), Some(&keywords))?.extract()
}
