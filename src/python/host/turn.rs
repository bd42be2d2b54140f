//! The methods that the event loop calls: `turn()` when the reactor's descriptor is readable, `expire()` when a deadline has
//! passed.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::tasks::HostState;
use super::{Host, LoopCalls, Resumption};
use crate::io::reactor::Reactor;
use crate::lock::lock;
use crate::operation::{OwnerLoop, StreamOwner};
use crate::python::closing::closing;
use crate::python::namespace::Namespace;
use crate::python::performer::Performer;
use crate::python::ssl::{self, NextStep};

#[pymethods]
impl Host {
    #[new]
    #[pyo3(signature = (token, *, wait, arm, checkpoint, resolve, spawn, current = None, resume = None))]
    #[expect(clippy::too_many_arguments, reason = "the functions of a loop's library, passed by name")]
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
        let resumption = match (current, resume) {
            (Some(current), Some(resume)) => Resumption::Task { current, resume },
            _ => Resumption::Future,
        };
        let reactor = Arc::new(Reactor::new()?);
        let event_loop: Arc<dyn OwnerLoop> = Arc::<Reactor>::clone(&reactor);
        let owner = StreamOwner::event_loop(reactor.id(), Arc::downgrade(&event_loop));
        Ok(Self {
            shared: Arc::new(HostState::new(reactor, owner)),
            calls: LoopCalls { token, wait, resumption, arm, checkpoint, resolve, spawn },
            armed: Mutex::default(),
            step: Mutex::default(),
        })
    }

    /// The object that identifies the event loop: the loop of asyncio, or the token of trio's run.
    #[getter]
    fn token(&self, py: Python<'_>) -> Py<PyAny> {
        self.calls.token.clone_ref(py)
    }

    /// Returns the descriptor that the loop watches: `turn()` is called when it is readable. Windows has none, but `waiter()`.
    #[cfg(unix)]
    fn fileno(&self) -> crate::io::sys::RawDescriptor {
        self.shared.reactor.poller().descriptor()
    }

    /// Returns a function for a thread: it sleeps until `turn()` is to be called on the loop, and returns `True`; `False` once this
    /// object is gone. Exists on Windows only.
    #[cfg(windows)]
    fn waiter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyCFunction>> {
        let waiter = self.shared.reactor.poller().waiter();
        pyo3::types::PyCFunction::new_closure(py, None, None, move |arguments, _| {
            arguments.py().detach(|| waiter.wait())
        })
    }

    /// Resumes the tasks whose sockets are ready and those that other threads have woken, and closes external streams that
    /// were dropped outside of operations.
    ///
    /// Returns an effect to call, whose outcome goes to `poll()` or `throw()`, or `None`.
    fn turn<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let running = this.shared.enter();
        let turned = this.shared.reactor.turn();
        this.shared.woken_here.lock().append(&mut lock(&this.shared.woken_elsewhere));
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

    /// Takes the value that the last effect returned. Returns the next effect, or `None`.
    fn poll<'py>(&self, py: Python<'py>, reply: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.end_step(py, Ok(reply.clone()))?;
        self.next_step(py)
    }

    /// Takes the exception that the last effect raised. Returns the next effect, or `None`. Raises an exception that is not an
    /// `Exception`.
    fn throw<'py>(&self, py: Python<'py>, exception: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.end_step(py, Err(PyErr::from_value(exception.clone())))?;
        self.next_step(py)
    }

    /// Resumes the tasks whose deadline has passed. The loop calls it at the time that `arm` was given.
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
        if let Resumption::Task { current, resume } = &calls.resumption {
            visit.call(current)?;
            visit.call(resume)?;
        }
        // A lock is held during a call only, and that call keeps this object alive.
        match self.shared.parked.try_lock() {
            Ok(parked) => parked.iter().try_for_each(|(_, waiter)| visit.call(waiter)),
            Err(_) => Ok(()),
        }
    }
}

impl Host {
    /// Takes the steps of TLS that connections of the loop need, until one is an effect.
    fn next_step<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            let running = self.shared.enter();
            match ssl::next_step(py)? {
                NextStep::Nothing => return Ok(None),
                NextStep::Effect(effect, step) => {
                    let before = lock(&self.step).replace(step);
                    drop(before);
                    return Ok(Some(effect));
                }
                NextStep::Taken => {}
            }
            self.shared.reactor.run_jobs(true);
            self.resume_woken(py, running)?;
        }
    }

    fn end_step(&self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let running = self.shared.enter();
        let step = lock(&self.step).take();
        let ended = step.map_or(Ok(()), |step| step.finish(py, result));
        self.shared.reactor.run_jobs(true);
        self.resume_woken(py, running)?;
        ended
    }
}
