//! The host of an event loop: where tasks wait for the engine, and how they are resumed.
//!
//! Tasks are resumed on the loop's own thread only. Those that are woken there (by a socket, by a deadline, by another task that
//! gives a connection back) are collected and resumed before the engine returns to the loop. A wake-up from another thread
//! makes the reactor's descriptor readable, and the loop calls [`turn`].

mod tasks;
mod turn;

use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use self::tasks::{Canceller, WokenTask};
pub use self::tasks::{HostState, Task};
use super::calls::{call, call_method_with};
use super::ssl::TlsStep;
use crate::io::reactor::Running;
use crate::lock::lock;

/// The state that the engine keeps for one running event loop. `httpcore_rs._hosts` makes one for each loop; the loop owns it.
///
/// - `token`: the object that identifies the loop.
/// - `wait() -> awaitable`: a task awaits the result until it is resumed.
/// - `arm(seconds: float) -> None`: has the loop call `expire()` after this time, and not at a time given before.
/// - `checkpoint() -> awaitable`: lets other tasks run.
/// - `resolve(host: str, port: int, timeout: float | None) -> awaitable`: looks a host name up. The result is that of
///   `socket.getaddrinfo()`, or `None` if the timeout comes first.
/// - `spawn(coroutine) -> cancel`: begins a task, which `cancel()` cancels.
/// - `current() -> task` and `resume(task) -> None`: the task that is going to wait, and what resumes it. Without these two the
///   awaitables are futures, which are resumed by setting a result.
#[pyclass(frozen, weakref, module = "httpcore_rs._engine")]
pub struct Host {
    pub shared: Arc<HostState>,
    calls: LoopCalls,
    /// The time that `arm` was called for last.
    armed: Mutex<Option<Instant>>,
    /// The step of TLS that is being taken for a connection of the loop, outside of operations.
    step: Mutex<Option<TlsStep>>,
}

/// The functions of the loop's library, as described at [`Host`].
struct LoopCalls {
    token: Py<PyAny>,
    wait: Py<PyAny>,
    resumption: Resumption,
    arm: Py<PyAny>,
    checkpoint: Py<PyAny>,
    resolve: Py<PyAny>,
    spawn: Py<PyAny>,
}

/// The way in which a waiting task is resumed.
enum Resumption {
    /// By setting the result of the future that it awaits.
    Future,
    /// By a call of `resume` with the task, which `current` named before it waited.
    Task { current: Py<PyAny>, resume: Py<PyAny> },
}

/// Ends the thread that waits for the loop's poller. The poller may stay longer: a connection that went idle on the loop refers to it.
#[cfg(windows)]
impl Drop for Host {
    fn drop(&mut self) {
        self.shared.reactor.poller().end_wait();
    }
}

impl Host {
    /// Ends a run of the engine on the loop's thread: resumes the tasks that it woke.
    pub fn leave(&self, py: Python<'_>, running: Running<'_>) -> PyResult<()> {
        if self.shared.reactor.is_running_here() {
            self.shared.reactor.run_jobs(false);
        } else {
            self.shared.reactor.postpone_jobs();
        }
        self.shared.leave_rest_to_turn();
        self.resume_woken(py, running)
    }

    /// Ends a run in which a task was parked that does not wait yet. Jobs that could wake it are left to the loop's next turn.
    pub fn leave_parked(&self, py: Python<'_>, running: Running<'_>) -> PyResult<()> {
        self.shared.reactor.postpone_jobs();
        self.shared.leave_rest_to_turn();
        self.resume_woken(py, running)
    }

    /// Returns whether no external stream of the loop is to be closed.
    pub fn is_owner_empty(&self) -> bool {
        self.shared.owner.is_empty()
    }

    /// Returns the loop's function `resolve`.
    pub fn resolver<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.calls.resolve.bind(py).clone()
    }

    /// Returns whether a task of the loop may go on with other work after the first step of an awaitable, before it awaits the rest.
    /// trio does not allow that.
    pub fn allows_first_steps(&self) -> bool {
        matches!(self.calls.resumption, Resumption::Future)
    }

    /// Returns an awaitable that lets other tasks run.
    pub fn checkpoint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        call(self.calls.checkpoint.bind(py), ())
    }

    /// Begins a task for a coroutine. The waker that is returned cancels it.
    pub fn spawn(&self, py: Python<'_>, coroutine: Bound<'_, PyAny>) -> PyResult<Waker> {
        let cancel = call(self.calls.spawn.bind(py), (coroutine,))?.unbind();
        Ok(Waker::from(Arc::new(Canceller::new(&self.shared, cancel))))
    }

    /// Returns an awaitable that ends when the task is woken or the deadline has passed; `None` if it has been woken already.
    pub fn park<'py>(
        &self,
        py: Python<'py>,
        task: &Arc<Task>,
        deadline: Option<Instant>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let awaitable = call(self.calls.wait.bind(py), ())?;
        let waiter = match &self.calls.resumption {
            Resumption::Future => awaitable.clone(),
            Resumption::Task { current, .. } => call(current.bind(py), ())?,
        };
        if !task.park(waiter.unbind()) {
            // Python warns about a coroutine that is never awaited, unless it is closed.
            if let Some(close) = awaitable.getattr_opt(intern!(py, "close"))? {
                call(&close, ())?;
            }
            return Ok(None);
        }
        task.set_timer(deadline);
        if let Some(deadline) = deadline {
            self.arm(py, deadline)?;
        }
        Ok(Some(awaitable))
    }

    fn resume_woken(&self, py: Python<'_>, running: Running<'_>) -> PyResult<()> {
        let mut failed = match self.shared.reactor.take_new_deadline() {
            Some(deadline) => self.arm(py, deadline),
            None => Ok(()),
        };
        loop {
            let woken = std::mem::take(&mut *self.shared.woken_here.lock());
            if woken.is_empty() {
                break;
            }
            for woken in woken {
                let done = match woken {
                    WokenTask::Resume(task) => {
                        let waiter = task.take_waiter();
                        waiter.map_or(Ok(()), |waiter| self.calls.resume(waiter.bind(py)))
                    }
                    WokenTask::Cancel(canceller) => call(canceller.cancel.bind(py), ()).map(drop),
                };
                // A failure must not keep the other tasks from being resumed.
                failed = failed.and(done);
            }
        }
        drop(running);
        failed
    }

    /// Has the loop call `expire()` at `deadline` or before.
    fn arm(&self, py: Python<'_>, deadline: Instant) -> PyResult<()> {
        {
            let mut armed = lock(&self.armed);
            if armed.is_some_and(|armed| armed <= deadline) {
                return Ok(());
            }
            *armed = Some(deadline);
        }
        let seconds = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        call(self.calls.arm.bind(py), (seconds,))?;
        Ok(())
    }
}

impl LoopCalls {
    fn resume(&self, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = waiter.py();
        match &self.resumption {
            Resumption::Task { resume, .. } => {
                call(resume.bind(py), (waiter,))?;
            }
            Resumption::Future => {
                let result = py.None().into_bound(py);
                match call_method_with(waiter, intern!(py, "set_result"), &result) {
                    // A cancelled future is done, and its task resumed.
                    Err(exception) if is_done_already(py, &exception)? => {}
                    set => drop(set?),
                }
            }
        }
        Ok(())
    }
}

/// Returns whether the exception says that a future has its result already.
fn is_done_already(py: Python<'_>, exception: &PyErr) -> PyResult<bool> {
    static INVALID_STATE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    Ok(exception.is_instance(py, INVALID_STATE.import(py, "asyncio", "InvalidStateError")?))
}
