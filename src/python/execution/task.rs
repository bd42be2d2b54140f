//! The driver of an operation that a task of an event loop runs: the task is parked while the operation waits.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;

use super::effects::StepProgress;
use super::{Driver, Execution, NextEffect, over};
use crate::io::wait_set;
use crate::python::awaited::AwaitedEffect;
use crate::python::host::{Host, Task};
use crate::python::thread_driver::poll_caught;

/// The reason why a run of the engine for a task has ended.
enum TaskStop<'py> {
    /// The operation has ended or needs Python: the next effect.
    Next(NextEffect<'py>),
    /// The preparation of an effect or a step of TLS has raised an exception.
    Raised(PyErr),
    /// The task is parked: the awaitable that ends when it is woken.
    Parked(NextEffect<'py>),
}

impl Execution {
    pub(super) fn advance_in_task<'py>(&mut self, py: Python<'py>) -> NextEffect<'py> {
        let Driver::Task { host, task } = &self.driver else { return Err(over()) };
        let (host, task) = (host.clone_ref(py), Arc::clone(task));
        let host = host.get();
        if std::mem::take(&mut self.yields_first) {
            return self.wait_for(host.checkpoint(py)?, AwaitedEffect::Nothing);
        }
        let running = host.shared.enter();
        match self.run_in_task(py, host, &task) {
            TaskStop::Next(next) => {
                host.leave(py, running)?;
                next
            }
            TaskStop::Parked(parked) => {
                host.leave_parked(py, running)?;
                self.awaited = Some(AwaitedEffect::Nothing);
                parked
            }
            TaskStop::Raised(exception) => {
                drop(running);
                self.interrupt(py, exception)
            }
        }
    }

    fn run_in_task<'py>(&mut self, py: Python<'py>, host: &Host, task: &Arc<Task>) -> TaskStop<'py> {
        let waker = Waker::from(Arc::clone(task));
        loop {
            if let Some(end) = self.poll_in_task(py, task, &waker) {
                return TaskStop::Next(end);
            }
            // Before the effect: the next chunk of a request body may depend on bytes that a step sends.
            match self.next_step(py) {
                Ok(StepProgress::Nothing) => {}
                Ok(StepProgress::Taken) => continue,
                Ok(StepProgress::Effect(step)) => return TaskStop::Next(Ok(Some(step))),
                Err(exception) => return TaskStop::Raised(exception),
            }
            if let Some(effect) = self.effects.take() {
                match self.perform(py, effect) {
                    Some(Ok(next)) => return TaskStop::Next(Ok(next)),
                    Some(Err(exception)) => return TaskStop::Raised(exception),
                    None => continue,
                }
            }
            // The operation may wait for work that it has left to a shared connection.
            host.shared.reactor.run_jobs(false);
            match self.next_step(py) {
                Ok(StepProgress::Nothing) => {}
                Ok(StepProgress::Taken) => continue,
                Ok(StepProgress::Effect(step)) => return TaskStop::Next(Ok(Some(step))),
                Err(exception) => return TaskStop::Raised(exception),
            }
            if task.was_woken() {
                continue;
            }
            match host.park(py, task, wait_set::deadline()) {
                Ok(None) => {}
                parked => return TaskStop::Parked(parked),
            }
        }
    }

    /// Polls the operation once, and ends it if it is ready.
    fn poll_in_task<'py>(&mut self, py: Python<'py>, task: &Task, waker: &Waker) -> Option<NextEffect<'py>> {
        wait_set::clear();
        task.begin_poll();
        let Some(operation) = &mut self.operation else { return Some(Err(over())) };
        let failed = match poll_caught(&mut **operation, &mut Context::from_waker(waker)) {
            Poll::Ready(Ok(())) => {
                task.finish();
                return Some(self.end_complete(py));
            }
            Poll::Ready(Err(error)) => Some(error),
            // An interruption that the operation has not reported to its trace callback.
            Poll::Pending => self.effects.take_interruption(),
        };
        failed.map(|error| {
            task.finish();
            self.end_failed(py, error)
        })
    }
}
