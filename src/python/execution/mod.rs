//! The execution of an operation: its state between two effects, and the two drivers, for a thread and for a task.
//!
//! [`thread`] and [`task`] poll the operation until it needs Python or has ended, [`effects`] has its effects prepared,
//! [`ending`] ends it. Each returns the next effect for the drive loop, or `None` at the end.

mod effects;
mod ending;
mod task;
mod thread;

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::awaited::{AfterEffect, AwaitedEffect};
use super::callbacks::RequestCallbacks;
use super::host::{Host, Task};
use super::namespace::Namespace;
use super::operations::{Completion, PollOperation};
use super::performer::Performer;
use super::ssl::TlsStep;
use super::thread_driver::ThreadDriver;
use crate::io::wait_set;
use crate::operation::{EffectChannel, StreamOwner};

/// The next effect for the drive loop; `None` if the operation has ended.
pub type NextEffect<'py> = PyResult<Option<Bound<'py, PyAny>>>;

/// An operation that has not begun, with all that it needs.
pub struct NewOperation<'a> {
    pub operation: Box<dyn PollOperation>,
    pub effects: EffectChannel,
    pub namespace: &'static Namespace,
    pub callbacks: RequestCallbacks,
    /// The pool's owner of external streams.
    pub owner: &'a Arc<StreamOwner>,
}

/// An operation that has begun, and its driver.
pub struct Execution {
    /// `None` once its value was taken, or once it has failed.
    operation: Option<Box<dyn PollOperation>>,
    driver: Driver,
    effects: EffectChannel,
    namespace: &'static Namespace,
    callbacks: RequestCallbacks,
    owner: Arc<StreamOwner>,
    /// The effect that Python carries out at the moment.
    awaited: Option<AwaitedEffect>,
    /// The first effect, if the operation was polled before the drive loop began.
    first: Option<Py<PyAny>>,
    /// The outcome, while external streams are being closed before it is reported.
    ended: Option<PyResult<()>>,
    /// Other tasks run before the first poll.
    yields_first: bool,
    /// The value is there: the operation is not polled any more.
    is_complete: bool,
    /// The operation ends because of an exception, and its trace callback is being called with that.
    is_interrupted: bool,
}

enum Driver {
    Thread(ThreadDriver),
    Task { host: Py<Host>, task: Arc<Task> },
}

impl Execution {
    pub fn in_thread(new: NewOperation<'_>) -> Self {
        Self::new(Driver::Thread(ThreadDriver::new()), new)
    }

    /// Returns an execution for a task of the host's loop.
    pub fn in_task(host: Py<Host>, new: NewOperation<'_>) -> Self {
        let task = Task::new(&host.get().shared);
        Self::new(Driver::Task { host, task }, new)
    }

    fn new(driver: Driver, new: NewOperation<'_>) -> Self {
        let NewOperation { operation, effects, namespace, callbacks, owner } = new;
        Self {
            operation: Some(operation),
            driver,
            effects,
            namespace,
            callbacks,
            owner: Arc::clone(owner),
            awaited: None,
            first: None,
            ended: None,
            yields_first: false,
            is_complete: false,
            is_interrupted: false,
        }
    }

    /// Has other tasks run before the first poll.
    pub fn yield_first(&mut self) {
        self.yields_first = true;
    }

    /// Keeps the first effect for the drive loop's first call.
    pub fn set_first(&mut self, effect: Bound<'_, PyAny>) {
        self.first = Some(effect.unbind());
    }

    /// Returns whether the operation has ended and its outcome was taken.
    pub fn is_over(&self) -> bool {
        self.operation.is_none() && self.ended.is_none()
    }

    /// Takes the value that the last effect returned, and goes on.
    pub fn resume<'py>(&mut self, py: Python<'py>, reply: &Bound<'py, PyAny>) -> NextEffect<'py> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first.into_bound(py)));
        }
        let awaited = self.awaited.take();
        if let Some(AwaitedEffect::Step(step)) = awaited {
            return self.end_step(py, step, Ok(reply.clone()));
        }
        if self.ended.is_some() {
            return self.finish(py);
        }
        let Some(awaited) = awaited else { return self.advance(py) };
        // Streams that are made on a loop are closed by the loop.
        let owner = match &self.driver {
            Driver::Thread(_) => &self.owner,
            Driver::Task { host, .. } => &host.get().shared.owner,
        };
        match awaited.returned(reply, &mut self.callbacks, self.driver.performer(), owner) {
            Ok(AfterEffect::Advance) => self.advance(py),
            Ok(AfterEffect::Perform(effect)) => self.perform_next(py, effect),
            Err(exception) => self.interrupt(py, exception),
        }
    }

    /// Takes the exception that the last effect raised, and goes on if the operation can handle it.
    pub fn fail<'py>(&mut self, py: Python<'py>, exception: PyErr) -> NextEffect<'py> {
        // An effect that was not carried out yet is dropped.
        self.first = None;
        if let Driver::Thread(driver) = &mut self.driver {
            driver.end(py);
        }
        let awaited = self.awaited.take();
        if let Some(AwaitedEffect::Step(step)) = awaited {
            return self.end_step(py, step, Err(exception));
        }
        if self.ended.is_some() {
            // The first exception is the one that counts.
            return self.fail_at_end(exception);
        }
        match awaited {
            Some(awaited) if awaited.is_trace() => self.abandon(py, exception),
            Some(awaited) => match awaited.raised(py, exception) {
                Ok(()) => self.advance(py),
                Err(exception) => self.interrupt(py, exception),
            },
            None => self.interrupt(py, exception),
        }
    }

    /// Takes the outcome of a step of TLS, and goes on. An exception that is not the session's ends the operation.
    fn end_step<'py>(
        &mut self,
        py: Python<'py>,
        step: TlsStep,
        result: PyResult<Bound<'py, PyAny>>,
    ) -> NextEffect<'py> {
        let finished = match &self.driver {
            Driver::Thread(_) => {
                let finished = step.finish(py, result);
                // The connection was moved after the step. What that waited for does not concern the next sleep.
                wait_set::clear();
                finished
            }
            Driver::Task { host, .. } => {
                let running = host.get().shared.enter();
                let finished = step.finish(py, result);
                host.get().leave_parked(py, running)?;
                finished
            }
        };
        match finished {
            Err(exception) if self.ended.is_some() => self.fail_at_end(exception),
            Err(exception) => self.interrupt(py, exception),
            Ok(()) if self.ended.is_some() => self.finish(py),
            Ok(()) => self.advance(py),
        }
    }

    /// Runs the operation until it needs Python or has ended.
    pub fn advance<'py>(&mut self, py: Python<'py>) -> NextEffect<'py> {
        if self.operation.is_none() {
            return Err(over());
        }
        match &self.driver {
            Driver::Thread(_) => self.advance_in_thread(py),
            Driver::Task { .. } => self.advance_in_task(py),
        }
    }

    /// Takes the value of the operation.
    pub fn value<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(mut operation) = self.operation.take() else {
            return Err(PyRuntimeError::new_err("the operation has no result"));
        };
        let completion = Completion {
            namespace: self.namespace,
            callbacks: std::mem::take(&mut self.callbacks),
            performer: self.driver.performer(),
            owner: &self.owner,
        };
        operation.value(py, completion)
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Driver::Task { host, .. } = &self.driver {
            visit.call(host)?;
        }
        self.callbacks.traverse(visit)
    }
}

impl Driver {
    fn performer(&self) -> Performer<'_> {
        match self {
            Self::Thread(_) => Performer::Thread,
            Self::Task { host, .. } => Performer::Task(host),
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Driver::Task { task, .. } = &self.driver {
            task.finish();
        }
    }
}

fn over() -> PyErr {
    PyRuntimeError::new_err("the operation is over")
}
