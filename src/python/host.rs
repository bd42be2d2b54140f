//! The host event loop: where an exchange waits, and how it is woken.
//!
//! A waiting task is resumed from the loop's own thread only. What wakes it there (its socket, a deadline, another task that
//! gives a connection back) is collected and resumed at once, before the engine hands control back to the loop; what wakes it
//! from another thread makes the poller's descriptor readable.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Instant;

use pyo3::exceptions::PyGeneratorExit;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use slab::Slab;

use super::calls::{call, call_method};
use super::effects::Performer;
use super::namespace::Namespace;
use super::operation::closing;
use super::ssl::{self, TlsStep};
use crate::io::reactor::{Reactor, Running};
use crate::io::timers::TimerKey;
use crate::lock::lock;
use crate::operation::{OwnerLoop, StreamOwner};
use crate::tls::python_ssl;

/// The engine's side of one running event loop. Made by `httpcore_rs._hosts`, one per loop; the loop owns it.
#[pyclass(frozen, weakref, module = "httpcore_rs._engine")]
pub struct Host {
    pub(super) shared: Arc<HostState>,
    calls: Calls,
    armed: Mutex<Option<Instant>>,
    /// The step that is under way for the loop's own connections.
    step: Mutex<Option<TlsStep>>,
}

/// What the loop's library does for the engine.
struct Calls {
    /// What tells this loop from others.
    token: Py<PyAny>,
    /// `() -> awaitable`: what a task awaits until it is resumed.
    wait: Py<PyAny>,
    how: How,
    /// `(seconds) -> None`: call `expire` then, and not at any time asked for before.
    arm: Py<PyAny>,
    /// `() -> awaitable`: let others run.
    checkpoint: Py<PyAny>,
    /// `(host, port, timeout) -> awaitable`
    resolve: Py<PyAny>,
    /// `(coroutine) -> cancel`: begins a task for it, which `cancel()` cancels.
    spawn: Py<PyAny>,
}

/// How a waiting task is resumed.
enum How {
    /// The awaitable is a future: by setting its result.
    Future,
    /// `current() -> task` names the task that is going to wait, `resume(task)` resumes it.
    Task { current: Py<PyAny>, resume: Py<PyAny> },
}

pub struct HostState {
    pub reactor: Arc<Reactor>,
    /// Closes the external streams that were made on the loop.
    pub owner: Arc<StreamOwner>,
    /// Woken on the loop's thread while the engine runs there.
    here: Mutex<Vec<WokenTask>>,
    /// Woken from anywhere else.
    elsewhere: Mutex<Vec<WokenTask>>,
    /// What the waiting tasks are resumed by. The host owns it, and the loop the host, so that a task without any other reference
    /// lives as long as its loop.
    parked: Mutex<Slab<Py<PyAny>>>,
}

/// What there is to do for the loop.
enum WokenTask {
    Resume(Arc<Task>),
    Cancel(Arc<Canceller>),
}

impl HostState {
    /// Sees to it that the loop does it: at once if the engine runs on its thread now.
    fn add(&self, woken: WokenTask) {
        if self.reactor.is_running_here() {
            lock(&self.here).push(woken);
        } else {
            lock(&self.elsewhere).push(woken);
            self.reactor.notify();
        }
    }

    fn take_parked(&self, key: Option<usize>) -> Option<Py<PyAny>> {
        let key = key?;
        lock(&self.parked).try_remove(key)
    }
}

/// Cancels a task that the engine has begun. Waking it does.
struct Canceller {
    host: Arc<HostState>,
    cancel: Py<PyAny>,
}

impl Wake for Canceller {
    fn wake(self: Arc<Self>) {
        let host = Arc::clone(&self.host);
        host.add(WokenTask::Cancel(self));
    }
}

#[pymethods]
impl Host {
    #[new]
    #[pyo3(signature = (token, *, wait, arm, checkpoint, resolve, spawn, current = None, resume = None))]
    #[expect(clippy::too_many_arguments, reason = "they are named")]
    fn new(
        token: Py<PyAny>,
        wait: Py<PyAny>,
        arm: Py<PyAny>,
        checkpoint: Py<PyAny>,
        resolve: Py<PyAny>,
        spawn: Py<PyAny>,
        current: Option<Py<PyAny>>,
        resume: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let how = match (current, resume) {
            (Some(current), Some(resume)) => How::Task { current, resume },
            _ => How::Future,
        };
        let reactor = Arc::new(Reactor::new()?);
        let event_loop: Arc<dyn OwnerLoop> = Arc::<Reactor>::clone(&reactor);
        let owner = StreamOwner::event_loop(reactor.id(), Arc::downgrade(&event_loop));
        let shared =
            HostState { reactor, owner, here: Mutex::default(), elsewhere: Mutex::default(), parked: Mutex::default() };
        Ok(Self {
            shared: Arc::new(shared),
            calls: Calls { token, wait, how, arm, checkpoint, resolve, spawn },
            armed: Mutex::default(),
            step: Mutex::default(),
        })
    }

    /// The loop that this host belongs to.
    #[getter]
    fn token(&self, py: Python<'_>) -> Py<PyAny> {
        self.calls.token.clone_ref(py)
    }

    /// The descriptor to watch for readability, calling `turn`.
    fn fileno(&self) -> RawFd {
        self.shared.reactor.descriptor()
    }

    /// Resumes the tasks whose sockets are ready, or which were woken from another thread. Closes external streams that were
    /// dropped outside of operations. Returns an effect that is to be called, or `None`: then `poll()` goes on.
    fn turn<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let running = this.shared.enter();
        let turned = this.shared.reactor.turn();
        lock(&this.shared.here).append(&mut lock(&this.shared.elsewhere));
        this.shared.reactor.run_jobs(false);
        this.resume_woken(py, running)?;
        if !this.shared.owner.is_empty() {
            let host = slf.clone().unbind();
            let namespace = Namespace::at_hand(py)?;
            if let Some(closing) = closing(py, Performer::Task(&host), namespace, &this.shared.owner)? {
                this.spawn(py, closing)?;
            }
        }
        turned?;
        this.next_step(py)
    }

    /// Goes on with the reply to the last effect of a turn; returns the next one, or `None`.
    fn poll<'py>(&self, py: Python<'py>, reply: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.end_step(py, Ok(reply.clone()))?;
        self.next_step(py)
    }

    /// The same after an exception of the last effect.
    fn throw<'py>(&self, py: Python<'py>, exception: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.end_step(py, Err(PyErr::from_value(exception.clone())))?;
        self.next_step(py)
    }

    /// Resumes the tasks whose deadline has passed. Called when the time that `arm` was given is over.
    fn expire(&self, py: Python<'_>) -> PyResult<()> {
        let running = self.shared.enter();
        *lock(&self.armed) = None;
        let earliest = self.shared.reactor.expire(Instant::now());
        let armed = earliest.map_or(Ok(()), |earliest| self.arm(py, earliest));
        self.leave(py, running)?;
        armed
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let calls = &self.calls;
        for object in [&calls.token, &calls.wait, &calls.arm, &calls.checkpoint, &calls.resolve, &calls.spawn] {
            visit.call(object)?;
        }
        if let How::Task { current, resume } = &calls.how {
            visit.call(current)?;
            visit.call(resume)?;
        }
        // Locked only for the time of a call, and then this object is alive.
        match self.shared.parked.try_lock() {
            Ok(parked) => parked.iter().try_for_each(|(_, waiter)| visit.call(waiter)),
            Err(_) => Ok(()),
        }
    }
}

impl Host {
    /// Ends a stretch of the engine's work for the loop: the tasks that it woke are resumed.
    pub(super) fn leave(&self, py: Python<'_>, running: Running<'_>) -> PyResult<()> {
        if self.shared.reactor.is_running_here() {
            self.shared.reactor.run_jobs(false);
        } else {
            self.shared.reactor.postpone_jobs();
        }
        self.shared.leave_rest_to_turn();
        self.resume_woken(py, running)
    }

    /// Ends a stretch in which a task was parked that does not wait yet: what could wake it has its turn later.
    pub(super) fn leave_parked(&self, py: Python<'_>, running: Running<'_>) -> PyResult<()> {
        self.shared.reactor.postpone_jobs();
        self.shared.leave_rest_to_turn();
        self.resume_woken(py, running)
    }

    /// The next step of TLS that the loop's own connections need.
    fn next_step<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((effect, step)) = ssl::next_step(py)? else { return Ok(None) };
        *lock(&self.step) = Some(step);
        Ok(Some(effect))
    }

    fn end_step(&self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let running = self.shared.enter();
        let step = lock(&self.step).take();
        let ended = step.map_or(Ok(()), |step| step.finish(py, result));
        self.shared.reactor.run_jobs(true);
        self.resume_woken(py, running)?;
        ended
    }

    /// Whether no external stream of the loop waits to be closed.
    pub(super) fn is_owner_empty(&self) -> bool {
        self.shared.owner.is_empty()
    }

    /// `(host, port, timeout) -> awaitable`: the addresses of a name, `None` when the timeout comes first.
    pub(super) fn resolver<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.calls.resolve.bind(py).clone()
    }

    fn resume_woken(&self, py: Python<'_>, running: Running<'_>) -> PyResult<()> {
        let mut failed = match self.shared.reactor.take_new_deadline() {
            Some(deadline) => self.arm(py, deadline),
            None => Ok(()),
        };
        loop {
            let woken = std::mem::take(&mut *lock(&self.shared.here));
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
                // One that cannot be resumed must not keep the others from it.
                failed = failed.and(done);
            }
        }
        drop(running);
        failed
    }

    /// An awaitable for a task that has nothing to do until it is woken; `None` if it has been woken already.
    pub(super) fn park<'py>(
        &self,
        py: Python<'py>,
        task: &Arc<Task>,
        deadline: Option<Instant>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let awaitable = call(self.calls.wait.bind(py), ())?;
        let waiter = match &self.calls.how {
            How::Future => awaitable.clone(),
            How::Task { current, .. } => call(current.bind(py), ())?,
        };
        let key = lock(&self.shared.parked).insert(waiter.unbind());
        *lock(&task.waiter) = Some(key);
        if task.state.compare_exchange(POLLING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            task.take_waiter();
            // A coroutine that nobody awaits is closed, not warned about.
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

    pub(super) fn checkpoint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        call(self.calls.checkpoint.bind(py), ())
    }

    /// Begins a task for a coroutine. Waking what is returned cancels it.
    pub(super) fn spawn(&self, py: Python<'_>, coroutine: Bound<'_, PyAny>) -> PyResult<Waker> {
        let cancel = call(self.calls.spawn.bind(py), (coroutine,))?.unbind();
        Ok(Waker::from(Arc::new(Canceller { host: Arc::clone(&self.shared), cancel })))
    }

    /// Sees to it that the loop calls `expire` at `deadline` at the latest.
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

impl Calls {
    fn resume(&self, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = waiter.py();
        match &self.how {
            How::Task { resume, .. } => {
                call(resume.bind(py), (waiter,))?;
            }
            How::Future => {
                // A cancelled future is done; its task has been told.
                if !call_method(waiter, intern!(py, "done"), ())?.is_truthy()? {
                    call_method(waiter, intern!(py, "set_result"), (py.None(),))?;
                }
            }
        }
        Ok(())
    }
}

impl HostState {
    /// Begins a stretch of the engine's work on the loop's thread.
    pub fn enter(&self) -> Running<'_> {
        self.reactor.enter()
    }

    /// External streams that no operation closes at its end, and steps of TLS that none takes, have their turn.
    fn leave_rest_to_turn(&self) {
        if !self.owner.is_empty() || python_ssl::has_steps() {
            self.reactor.notify();
        }
    }
}

const POLLING: u8 = 0;
const PARKED: u8 = 1;
const WOKEN: u8 = 2;

/// One exchange that a task of the loop waits for.
pub struct Task {
    host: Arc<HostState>,
    state: AtomicU8,
    /// Where the host has what the task is resumed by.
    waiter: Mutex<Option<usize>>,
    timer: Mutex<Option<TimerKey>>,
    /// Itself, for the timer.
    me: std::sync::Weak<Self>,
}

impl Task {
    pub fn new(host: &Arc<HostState>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            host: Arc::clone(host),
            state: AtomicU8::new(POLLING),
            waiter: Mutex::default(),
            timer: Mutex::default(),
            me: me.clone(),
        })
    }

    /// Before a poll: whatever woke the task until now is seen by it.
    pub fn begin_poll(&self) {
        self.state.swap(POLLING, Ordering::AcqRel);
        // It may have been resumed by the loop itself: cancelled, that is.
        self.take_waiter();
    }

    fn take_waiter(&self) -> Option<Py<PyAny>> {
        let key = lock(&self.waiter).take();
        self.host.take_parked(key)
    }

    pub fn was_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) == WOKEN
    }

    /// The end of the exchange: nothing resumes the task any more.
    pub fn finish(&self) {
        self.state.store(POLLING, Ordering::Release);
        self.take_waiter();
        self.set_timer(None);
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        let mut timer = lock(&self.timer);
        if timer.map(|key| key.0) == deadline {
            return;
        }
        if let Some(key) = timer.take() {
            self.host.reactor.remove_timer(key);
        }
        if let (Some(deadline), Some(me)) = (deadline, self.me.upgrade()) {
            *timer = Some(self.host.reactor.add_timer(deadline, Waker::from(me)));
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) != PARKED {
            return;
        }
        let host = Arc::clone(&self.host);
        host.add(WokenTask::Resume(self));
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
    }
}

/// Whether an exception is how asyncio or trio cancel a task, or how a coroutine is closed.
pub fn is_cancellation(py: Python<'_>, exception: &PyErr) -> bool {
    if exception.is_instance_of::<CancelledError>(py) || exception.is_instance_of::<PyGeneratorExit>(py) {
        return true;
    }
    let class = exception.get_type(py);
    let is = |text: PyResult<Bound<'_, pyo3::types::PyString>>, prefix: &str| {
        text.is_ok_and(|text| text.to_str().is_ok_and(|text| text.starts_with(prefix)))
    };
    is(class.name(), "Cancelled") && is(class.module(), "trio")
}
