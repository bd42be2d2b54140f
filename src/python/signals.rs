//! The wake-up of the main thread by signals while it sleeps.
//!
//! Python's C handler only sets a flag; the handler in Python runs when the main thread executes bytecode again. A signal that
//! arrives during a sleep of the main thread ends that sleep. One that another thread receives, or that arrives just before the
//! sleep, does not. The first sleep is therefore short. If it ends without a result, Python is told to write to the wake-up pipe
//! of the thread at each signal (`signal.set_wakeup_fd`) and executes bytecode once; from then on sleeps have no limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::calls::thread_ident;
use crate::io::notifier::Notifier;
use crate::io::sys::write_signals;
use crate::io::wait_set::WaitSet;

/// The interpreter's number of the thread that runs signal handlers; 0 while it is unknown.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// The value of `signal.set_wakeup_fd()` for no descriptor.
const NONE: i64 = -1;
/// The wake-up descriptor that the engine has set; [`NONE`] if it has set none.
static WATCHED: AtomicI64 = AtomicI64::new(NONE);

/// Sets the thread that runs signal handlers.
pub fn set_main_thread(ident: u64) {
    MAIN_THREAD.store(ident, Ordering::Relaxed);
}

/// Called in a forked child, whose signals are not those of the parent. The thread that forked is the only one in the child.
pub fn forked(py: Python<'_>) {
    set_main_thread(thread_ident());
    let descriptor = WATCHED.swap(NONE, Ordering::Relaxed);
    if descriptor != NONE {
        release(py, descriptor);
    }
}

/// Returns whether the calling thread runs signal handlers.
pub fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == thread_ident()
}

/// The limit of the first sleep.
const FIRST_POLL: Duration = Duration::from_millis(50);
/// The longest pause between two polls for signals, where the program uses the wake-up descriptor itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The signal poll of the main thread during one operation.
#[derive(Default)]
pub struct SignalWatch {
    state: SignalState,
}

#[derive(Default)]
enum SignalState {
    #[default]
    Unwatched,
    /// Bytecode is executed at this time, then after pauses that double.
    Polling { at: Instant, pause: Duration },
    /// Signals write to the wake-up pipe.
    Watching(Arc<Notifier>),
}

impl SignalState {
    fn polling(pause: Duration) -> Self {
        Self::Polling { at: Instant::now() + pause, pause }
    }
}

impl SignalWatch {
    /// Called before a sleep: limits the sleep to the time of the next signal poll.
    pub fn limit(&mut self, wait_set: &mut WaitSet) {
        if let SignalState::Unwatched = self.state {
            self.state = SignalState::polling(FIRST_POLL);
        }
        if let SignalState::Polling { at, .. } = self.state {
            wait_set.wake_at(at);
        }
    }

    /// Called after a sleep: returns whether it is time for a signal poll.
    pub fn is_due(&self) -> bool {
        matches!(self.state, SignalState::Polling { at, .. } if Instant::now() >= at)
    }

    /// Called before a signal poll: has signals write to the pipe from now on, unless the program uses the wake-up descriptor
    /// itself.
    pub fn watch(&mut self, py: Python<'_>) {
        let SignalState::Polling { pause, .. } = self.state else { return };
        self.state = match Notifier::of_this_thread() {
            Ok(notifier) if claim(py, &notifier) => SignalState::Watching(notifier),
            _ => SignalState::polling((pause * 2).min(LONGEST_PAUSE)),
        };
    }

    /// Called after a signal poll, in which a handler may have set the wake-up descriptor, or forked.
    pub fn resume(&mut self, py: Python<'_>) {
        let SignalState::Watching(notifier) = &self.state else { return };
        let is_here = Notifier::of_this_thread().is_ok_and(|here| Arc::ptr_eq(&here, notifier));
        if !(is_here && claim(py, notifier)) {
            self.state = SignalState::polling(FIRST_POLL);
        }
    }

    /// Called when the thread returns to Python for another reason than a signal poll.
    pub fn end(&mut self, py: Python<'_>) {
        if let SignalState::Watching(notifier) = std::mem::take(&mut self.state) {
            WATCHED.store(NONE, Ordering::Relaxed);
            release(py, notifier.writer());
        }
    }
}

/// Dropped during a signal poll when a handler has raised an exception.
impl Drop for SignalWatch {
    fn drop(&mut self) {
        if matches!(self.state, SignalState::Watching(_)) && is_main_thread() {
            // Does nothing while the interpreter is being finalized.
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

/// Sets the wake-up descriptor to that of the pipe. Returns `false` if the program has set one, which is then kept.
fn claim(py: Python<'_>, notifier: &Notifier) -> bool {
    let Ok(before) = set_wakeup_descriptor(py, notifier.writer()) else { return false };
    if before == NONE || before == notifier.writer() {
        WATCHED.store(notifier.writer(), Ordering::Relaxed);
        return true;
    }
    // This fails only if the program has closed its descriptor.
    let _ = set_wakeup_descriptor(py, before);
    let missed = notifier.take_signals();
    if !missed.is_empty() {
        // The program waits for the signals that arrived between the two calls.
        write_signals(before, &missed);
    }
    false
}

/// Resets the wake-up descriptor, unless the program has set one meanwhile.
fn release(py: Python<'_>, descriptor: i64) {
    if let Ok(before) = set_wakeup_descriptor(py, NONE)
        && before != NONE
        && before != descriptor
    {
        let _ = set_wakeup_descriptor(py, before);
    }
}

/// Calls `signal.set_wakeup_fd()`, which runs no bytecode. Returns the previous descriptor, -1 for none.
fn set_wakeup_descriptor(py: Python<'_>, descriptor: i64) -> PyResult<i64> {
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "warn_on_full_buffer"), false)?;
    let module = py.import(intern!(py, "_signal"))?;
    module.call_method(intern!(py, "set_wakeup_fd"), (descriptor,), Some(&keywords))?.extract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sleep_is_short() {
        let mut signals = SignalWatch::default();
        assert!(!signals.is_due());
        let before = Instant::now();
        let mut wait_set = WaitSet::default();
        signals.limit(&mut wait_set);
        let deadline = wait_set.deadline.expect("the sleep is limited");
        assert!(deadline >= before + FIRST_POLL);
        assert!(deadline <= Instant::now() + FIRST_POLL);
    }

    #[test]
    fn an_earlier_deadline_stays() {
        let now = Instant::now();
        let mut wait_set = WaitSet { deadline: Some(now), ..WaitSet::default() };
        SignalWatch::default().limit(&mut wait_set);
        assert_eq!(wait_set.deadline, Some(now));
    }

    #[test]
    fn later_sleeps_end_at_the_same_time() {
        let mut signals = SignalWatch::default();
        let (mut first, mut second) = (WaitSet::default(), WaitSet::default());
        signals.limit(&mut first);
        signals.limit(&mut second);
        assert_eq!(first.deadline, second.deadline);
    }

    #[test]
    fn a_poll_is_due_when_its_time_has_come() {
        let at = |at| SignalWatch { state: SignalState::Polling { at, pause: FIRST_POLL } };
        assert!(at(Instant::now()).is_due());
        assert!(!at(Instant::now() + Duration::from_secs(3600)).is_due());
    }

    #[test]
    fn the_wake_up_pipe_needs_no_limit() {
        let notifier = Notifier::of_this_thread().expect("a pipe");
        let mut signals = SignalWatch { state: SignalState::Watching(notifier) };
        let mut wait_set = WaitSet::default();
        signals.limit(&mut wait_set);
        assert_eq!(wait_set.deadline, None);
        assert!(!signals.is_due());
        // Dropping this state would need an interpreter.
        signals.state = SignalState::Unwatched;
    }
}
