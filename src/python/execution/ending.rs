//! The end of an operation: by its value, by an error of the engine, or by an exception.

use std::sync::Arc;

use pyo3::exceptions::PyGeneratorExit;
use pyo3::prelude::*;

use super::effects::StepProgress;
use super::{Driver, Execution, NextEffect};
use crate::error::{Error, Kind};
use crate::io::wait_set;
use crate::python::closing::closing;
use crate::python::errors::{raised, to_pyerr};

impl Execution {
    /// Ends the operation with its value.
    pub(super) fn end_complete<'py>(&mut self, py: Python<'py>) -> NextEffect<'py> {
        self.is_complete = true;
        self.end(py, Ok(()))
    }

    /// Ends the operation with an error of the engine.
    pub(super) fn end_failed<'py>(&mut self, py: Python<'py>, error: Error) -> NextEffect<'py> {
        // A connection that has failed is dropped before the error is reported.
        self.operation = None;
        let exception = to_pyerr(py, self.namespace, error);
        self.end(py, Err(exception))
    }

    /// Ends the operation with an exception. If it is traced, its trace callback is called first.
    pub(super) fn interrupt<'py>(&mut self, py: Python<'py>, exception: PyErr) -> NextEffect<'py> {
        if self.callbacks.tracer.is_none() || self.is_complete || std::mem::replace(&mut self.is_interrupted, true) {
            return self.abandon(py, exception);
        }
        self.effects.interrupt(raised(Kind::Raised, exception));
        self.advance(py)
    }

    /// Ends the operation with an exception: closes its connection and gives its slot back before anything else happens.
    pub(super) fn abandon<'py>(&mut self, py: Python<'py>, exception: PyErr) -> NextEffect<'py> {
        let Driver::Task { host, task } = &self.driver else { return self.give_up(py, exception) };
        let (host, task) = (host.clone_ref(py), Arc::clone(task));
        let running = host.get().shared.enter();
        task.finish();
        let next = self.give_up(py, exception);
        host.get().leave(py, running)?;
        next
    }

    fn give_up<'py>(&mut self, py: Python<'py>, exception: PyErr) -> NextEffect<'py> {
        let is_raised = self.operation.as_mut().is_none_or(|operation| operation.give_up(py, &exception));
        if is_raised {
            self.operation = None;
        }
        self.end(py, if is_raised { Err(exception) } else { Ok(()) })
    }

    fn end<'py>(&mut self, py: Python<'py>, outcome: PyResult<()>) -> NextEffect<'py> {
        self.ended = Some(outcome);
        self.finish(py)
    }

    /// Reports the outcome. Before that a thread takes the steps of TLS that are left, and dropped external streams are closed.
    pub(super) fn finish<'py>(&mut self, py: Python<'py>) -> NextEffect<'py> {
        while let Driver::Thread(_) = self.driver {
            match self.next_step(py) {
                Ok(StepProgress::Nothing) => break,
                Ok(StepProgress::Taken) => wait_set::clear(),
                Ok(StepProgress::Effect(step)) => return Ok(Some(step)),
                Err(exception) => return self.fail_at_end(exception),
            }
        }
        if let Some(Err(exception)) = &self.ended
            && exception.is_instance_of::<PyGeneratorExit>(py)
        {
            // A coroutine that is being closed cannot await. The loop closes the streams.
            return self.report();
        }
        match closing(py, self.driver.performer(), self.namespace, &self.owner)? {
            None => self.report(),
            closing => Ok(closing),
        }
    }

    /// Ends an operation that has ended already with an exception, unless it has ended with one.
    pub(super) fn fail_at_end<'py>(&mut self, exception: PyErr) -> NextEffect<'py> {
        let ended = self.ended.take().and_then(Result::err);
        self.operation = None;
        Err(ended.unwrap_or(exception))
    }

    fn report<'py>(&mut self) -> NextEffect<'py> {
        self.ended.take().unwrap_or(Ok(())).map(|()| None)
    }
}
