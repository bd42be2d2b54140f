//! How the main thread learns of signals while it sleeps.
//!
//! Python's C handler only takes a note; the handler in Python runs when the main thread executes bytecode again. A signal that
//! arrives during a sleep of this thread ends that sleep. One that another thread received, or that came just before the
//! sleep, does not. So a first sleep is short. If it was not enough, Python is asked to write to this thread's wake-up pipe
//! whenever there is a signal (`signal.set_wakeup_fd`), bytecode is executed once, and from then on the thread sleeps for as
//! long as it has to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::calls::thread_ident;
use crate::io::bell::Bell;
use crate::io::park::Park;

/// The interpreter's number for the thread that runs signal handlers; 0 while it is not known.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Says which thread runs signal handlers.
pub fn set_main_thread(ident: u64) {
    MAIN_THREAD.store(ident, Ordering::Relaxed);
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
    state: State,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Unwatched,
    /// Bytecode is executed at this time, and at ever longer pauses from then on.
    Looking { at: Instant, pause: Duration },
    /// The wake-up pipe tells of signals.
    Watching,
}

impl SignalWatch {
    /// Before a sleep: ends it when it is time to look.
    pub fn limit(&mut self, park: &mut Park) {
        if let State::Unwatched = self.state {
            self.state = State::Looking { at: Instant::now() + FIRST_LOOK, pause: FIRST_LOOK };
        }
        if let State::Looking { at, .. } = self.state {
            park.wake_at(at);
        }
    }

    /// After a sleep: whether it is time to look.
    pub fn is_due(&self) -> bool {
        matches!(self.state, State::Looking { at, .. } if Instant::now() >= at)
    }

    /// Before a look: from now on the pipe is told of signals, unless the program has a descriptor of its own for that.
    pub fn watch(&mut self, py: Python<'_>) {
        let State::Looking { pause, .. } = self.state else { return };
        let is_watching = Bell::of_this_thread().is_ok_and(|bell| match set_wakeup_descriptor(py, bell.writer()) {
            Ok(-1) => true,
            Ok(before) => {
                // It can only fail as the call before it did not.
                let _ = set_wakeup_descriptor(py, before);
                false
            }
            Err(_) => false,
        });
        let pause = (pause * 2).min(LAST_LOOK);
        self.state = if is_watching { State::Watching } else { State::Looking { at: Instant::now() + pause, pause } };
    }

    /// The thread goes back to Python for something else than a look.
    pub fn end(&mut self, py: Python<'_>) {
        if let State::Watching = std::mem::take(&mut self.state) {
            // It worked with the pipe's descriptor.
            let _ = set_wakeup_descriptor(py, -1);
        }
    }
}

/// `signal.set_wakeup_fd()`, which runs no bytecode. Returns the descriptor before, -1 for none.
fn set_wakeup_descriptor(py: Python<'_>, descriptor: i32) -> PyResult<i32> {
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "warn_on_full_buffer"), false)?;
    let module = py.import(intern!(py, "_signal"))?;
    module.call_method(intern!(py, "set_wakeup_fd"), (descriptor,), Some(&keywords))?.extract()
}
