//! An operation that a drive loop runs.
//!
//! `poll(reply)` goes on with the reply to the last effect and returns the next one, or `None` at the end; `throw(exception)`
//! goes on after an exception of the effect, or raises it; `result()` is what the operation has come to. The state is taken
//! out of its lock meanwhile: no lock is held while Python runs.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::callbacks::RequestCallbacks;
use super::calls::call;
use super::effects::{Awaited, Performed, Performer, Then, helper, nothing, partial, perform};
use super::errors::{raised, to_pyerr};
use super::host::{Host, Task};
use super::namespace::Namespace;
use super::operations::{self, Completion, RunUpload, WriteUpgraded};
use super::ssl;
use super::thread_driver::{Stop, ThreadDriver, poll_caught};
use super::{backend, drive};
use crate::error::Kind;
use crate::io::wait_set;
use crate::lock::lock;
use crate::operation::{Background, Dropped, Effect, EffectChannel, Reply, StreamOwner};
use crate::tls::python_ssl;

type Next<'py> = PyResult<Option<Bound<'py, PyAny>>>;

/// An operation of the engine that a drive loop runs, in a thread or in a task.
///
/// `poll(reply)` returns the next effect, or `None` when `result()` is there. A `functools.partial` is to be called, anything
/// else to be awaited; the outcome is the next reply. If that raises, the exception goes to `throw(exception)`, which returns
/// the next effect if the engine can use it, and raises it again if not; then the operation has ended: a request's connection
/// is closed and its slot given back.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Operation {
    /// `None` while it runs.
    execution: Mutex<Option<Box<Execution>>>,
}

struct Execution {
    operation: Option<Box<dyn operations::PollOperation>>,
    driver: Driver,
    effects: EffectChannel,
    namespace: &'static Namespace,
    caller: RequestCallbacks,
    /// The pool's owner of external streams.
    owner: Arc<StreamOwner>,
    awaited: Option<Awaited>,
    /// The effect of a first run that has been made already.
    first: Option<Py<PyAny>>,
    /// How the operation has ended: external streams are being closed before that is told.
    ended: Option<PyResult<()>>,
    yield_first: bool,
    /// Its value is there: it is not polled any more.
    is_complete: bool,
    /// It ends because of an exception, of which the trace callback is being told.
    is_interrupted: bool,
}

enum Driver {
    Thread(ThreadDriver),
    Task { host: Py<Host>, task: Arc<Task> },
}

/// Runs an operation on the calling thread. Returns its value, or an [`Operation`] to be driven.
pub fn run<'py>(
    py: Python<'py>,
    operation: Box<dyn operations::PollOperation>,
    effects: EffectChannel,
    namespace: &'static Namespace,
    caller: RequestCallbacks,
    owner: &Arc<StreamOwner>,
) -> PyResult<Bound<'py, PyAny>> {
    let driver = Driver::Thread(ThreadDriver::new());
    let mut execution = Execution::new(driver, operation, effects, namespace, caller, owner);
    match execution.advance(py)? {
        None => execution.value(py),
        Some(effect) => {
            execution.first = Some(effect.unbind());
            Ok(Bound::new(py, Operation::of(execution))?.into_any())
        }
    }
}

/// What closes the external streams that were dropped, and sends their resets: to be called by a thread, awaited by a task.
pub fn closing<'py>(
    py: Python<'py>,
    performer: Performer<'_>,
    namespace: &'static Namespace,
    owner: &Arc<StreamOwner>,
) -> Next<'py> {
    let mut dropped = owner.take(performer.is_task());
    if let Performer::Task(host) = performer {
        dropped.append(host.get().shared.owner.take(true));
    }
    if dropped.is_empty() {
        return Ok(None);
    }
    let Dropped { resets, streams } = dropped;
    let (unsent, objects) = (PyList::empty(py), PyList::empty(py));
    for reset in resets {
        let effects = EffectChannel::default();
        let sending = Box::new(WriteUpgraded::new(reset.send(effects.clone())));
        unsent.append(match performer {
            Performer::Thread => {
                let driver = Driver::Thread(ThreadDriver::new());
                Operation::of(Execution::new(driver, sending, effects, namespace, RequestCallbacks::default(), owner))
            }
            Performer::Task(host) => {
                Operation::in_task(host.clone_ref(py), sending, effects, namespace, RequestCallbacks::default(), owner)
            }
        })?;
    }
    for stream in &streams {
        objects.append(backend::object(py, &**stream)?)?;
    }
    let close = helper(py, if performer.is_task() { "aclose_streams" } else { "close_streams" })?;
    let effect = partial(py, close, (unsent, objects), None)?;
    Ok(Some(if performer.is_task() { call(&effect, ())? } else { effect }))
}

impl Operation {
    fn of(execution: Execution) -> Self {
        Self { execution: Mutex::new(Some(Box::new(execution))) }
    }

    /// An operation for a task of the host's loop.
    pub fn in_task(
        host: Py<Host>,
        operation: Box<dyn operations::PollOperation>,
        effects: EffectChannel,
        namespace: &'static Namespace,
        caller: RequestCallbacks,
        owner: &Arc<StreamOwner>,
    ) -> Self {
        let task = Task::new(&host.get().shared);
        Self::of(Execution::new(Driver::Task { host, task }, operation, effects, namespace, caller, owner))
    }

    /// The same, after other tasks had a chance to run.
    pub fn yielding_first(self) -> Self {
        if let Some(execution) = &mut *lock(&self.execution) {
            execution.yield_first = true;
        }
        self
    }

    fn with<T>(&self, run: impl FnOnce(&mut Execution) -> PyResult<T>) -> PyResult<T> {
        let Some(mut execution) = lock(&self.execution).take() else {
            return Err(PyRuntimeError::new_err("the operation is being run already, by another thread or by itself"));
        };
        let result = run(&mut execution);
        *lock(&self.execution) = Some(execution);
        result
    }
}

#[pymethods]
impl Operation {
    /// Goes on with the reply to the last effect.
    fn poll<'py>(&self, py: Python<'py>, reply: &Bound<'py, PyAny>) -> Next<'py> {
        self.with(|execution| execution.resume(py, reply))
    }

    /// Goes on after an exception of the last effect, or ends with it.
    fn throw<'py>(&self, py: Python<'py>, exception: &Bound<'py, PyAny>) -> Next<'py> {
        self.with(|execution| execution.fail(py, PyErr::from_value(exception.clone())))
    }

    /// Whether the operation has ended, and its result, if it has one, was taken.
    fn is_over(&self) -> bool {
        lock(&self.execution)
            .as_ref()
            .is_none_or(|execution| execution.operation.is_none() && execution.ended.is_none())
    }

    /// What the operation has come to.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.with(|execution| execution.value(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Empty or locked only during a call, and then this object is alive.
        match self.execution.try_lock() {
            Ok(execution) => execution.as_ref().map_or(Ok(()), |execution| execution.traverse(&visit)),
            Err(_) => Ok(()),
        }
    }

    /// Collected as garbage: a task of a loop that was closed under it. What it held is given back.
    fn __clear__(&self) {
        let execution = lock(&self.execution).take();
        drop(execution);
    }
}

impl Execution {
    fn new(
        driver: Driver,
        operation: Box<dyn operations::PollOperation>,
        effects: EffectChannel,
        namespace: &'static Namespace,
        caller: RequestCallbacks,
        owner: &Arc<StreamOwner>,
    ) -> Self {
        Self {
            operation: Some(operation),
            driver,
            effects,
            namespace,
            caller,
            owner: Arc::clone(owner),
            awaited: None,
            first: None,
            ended: None,
            yield_first: false,
            is_complete: false,
            is_interrupted: false,
        }
    }

    fn resume<'py>(&mut self, py: Python<'py>, reply: &Bound<'py, PyAny>) -> Next<'py> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first.into_bound(py)));
        }
        let awaited = self.awaited.take();
        if let Some(Awaited::Step(step)) = awaited {
            return self.end_step(py, step, Ok(reply.clone()));
        }
        if self.ended.is_some() {
            return self.finish(py);
        }
        let Some(awaited) = awaited else { return self.advance(py) };
        // Streams that are made on a loop are the loop's to close.
        let owner = match &self.driver {
            Driver::Thread(_) => &self.owner,
            Driver::Task { host, .. } => &host.get().shared.owner,
        };
        match awaited.returned(reply, &mut self.caller, self.driver.performer(), owner) {
            Ok(Then::Advance) => self.advance(py),
            Ok(Then::Effect(effect, awaited)) => {
                self.awaited = Some(awaited);
                Ok(Some(effect))
            }
            Err(exception) => self.interrupt(py, exception),
        }
    }

    fn fail<'py>(&mut self, py: Python<'py>, exception: PyErr) -> Next<'py> {
        // An effect that was not carried out yet is not carried out any more.
        self.first = None;
        if let Driver::Thread(driver) = &mut self.driver {
            driver.end(py);
        }
        let awaited = self.awaited.take();
        if let Some(Awaited::Step(step)) = awaited {
            return self.end_step(py, step, Err(exception));
        }
        if let Some(ended) = self.ended.take() {
            // The first exception is the one that counts.
            self.operation = None;
            return Err(ended.err().unwrap_or(exception));
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

    /// Goes on after a step of TLS. An exception that is not the session's ends the operation.
    fn end_step<'py>(&mut self, py: Python<'py>, step: ssl::TlsStep, result: PyResult<Bound<'py, PyAny>>) -> Next<'py> {
        let finished = match &self.driver {
            Driver::Thread(_) => {
                let finished = step.finish(py, result);
                // What moved the connection after the step does not concern the next sleep.
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
            Err(exception) => match self.ended.take() {
                Some(ended) => {
                    self.operation = None;
                    Err(ended.err().unwrap_or(exception))
                }
                None => self.interrupt(py, exception),
            },
            Ok(()) if self.ended.is_some() => self.finish(py),
            Ok(()) => self.advance(py),
        }
    }

    /// The next step of TLS that the polls of this thread have left.
    fn next_step<'py>(&mut self, py: Python<'py>) -> Next<'py> {
        match ssl::next_step(py)? {
            Some((effect, step)) => self.awaiting(effect, Awaited::Step(step)),
            None => Ok(None),
        }
    }

    fn value<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(mut operation) = self.operation.take() else {
            return Err(PyRuntimeError::new_err("the operation has no result"));
        };
        let completion = Completion {
            namespace: self.namespace,
            caller: std::mem::take(&mut self.caller),
            performer: self.driver.performer(),
            owner: &self.owner,
        };
        operation.value(py, completion)
    }

    /// Runs the operation until it needs Python, or has ended.
    fn advance<'py>(&mut self, py: Python<'py>) -> Next<'py> {
        if self.operation.is_none() {
            return Err(PyRuntimeError::new_err("the operation is over"));
        }
        match &self.driver {
            Driver::Thread(_) => self.advance_in_thread(py),
            Driver::Task { .. } => self.advance_in_task(py),
        }
    }

    fn advance_in_thread<'py>(&mut self, py: Python<'py>) -> Next<'py> {
        loop {
            let (Driver::Thread(driver), Some(operation)) = (&mut self.driver, &mut self.operation) else {
                return Err(PyRuntimeError::new_err("the operation is over"));
            };
            match driver.run(py, &mut **operation, &self.effects) {
                Stop::Ready(Ok(())) => {
                    self.is_complete = true;
                    return self.end(py, Ok(()));
                }
                Stop::Ready(Err(error)) | Stop::Interrupted(error) => {
                    // Whatever is left of it (a failed connection) goes now.
                    self.operation = None;
                    let exception = to_pyerr(py, self.namespace, error);
                    return self.end(py, Err(exception));
                }
                Stop::Steps => {
                    if let Some(effect) = self.next_step(py)? {
                        return Ok(Some(effect));
                    }
                }
                Stop::Look => return self.awaiting(nothing(py)?, Awaited::Nothing),
                Stop::Wait => {
                    let waiting = driver.waiting();
                    let arguments = (waiting.readers, waiting.writers, waiting.timeout);
                    return self.awaiting(partial(py, helper(py, "wait")?, arguments, None)?, Awaited::Nothing);
                }
                Stop::Effect(effect) => match self.perform(py, effect) {
                    Ok(Performed::ByPython(effect, awaited)) => return self.awaiting(effect, awaited),
                    Ok(Performed::Done) => {}
                    Err(exception) => return self.interrupt(py, exception),
                },
            }
        }
    }

    fn advance_in_task<'py>(&mut self, py: Python<'py>) -> Next<'py> {
        let Driver::Task { host, task } = &self.driver else {
            return Err(PyRuntimeError::new_err("the operation has no task"));
        };
        let (host, task) = (host.clone_ref(py), Arc::clone(task));
        let shared = &host.get().shared;
        if std::mem::take(&mut self.yield_first) {
            let checkpoint = host.get().checkpoint(py)?;
            return self.awaiting(checkpoint, Awaited::Nothing);
        }
        let running = shared.enter();
        let waker = Waker::from(Arc::clone(&task));
        let next = loop {
            wait_set::clear();
            task.begin_poll();
            let Some(operation) = &mut self.operation else {
                break Err(PyRuntimeError::new_err("the operation is over"));
            };
            match poll_caught(&mut **operation, &mut Context::from_waker(&waker)) {
                Poll::Ready(Ok(())) => {
                    self.is_complete = true;
                    task.finish();
                    break self.end(py, Ok(()));
                }
                Poll::Ready(Err(error)) => {
                    task.finish();
                    self.operation = None;
                    let exception = to_pyerr(py, self.namespace, error);
                    break self.end(py, Err(exception));
                }
                Poll::Pending => {}
            }
            if let Some(interruption) = self.effects.take_interruption() {
                // Nothing reports it at that point.
                task.finish();
                self.operation = None;
                let exception = to_pyerr(py, self.namespace, interruption);
                break self.end(py, Err(exception));
            }
            // First: what a body's iterator waits for may depend on what was sent before.
            if python_ssl::has_steps()
                && let Some(next) = self.next_step(py).transpose()
            {
                break next.map(Some);
            }
            if let Some(effect) = self.effects.take() {
                match self.perform(py, effect) {
                    Ok(Performed::ByPython(effect, awaited)) => break self.awaiting(effect, awaited),
                    Ok(Performed::Done) => continue,
                    Err(exception) => {
                        drop(running);
                        return self.interrupt(py, exception);
                    }
                }
            }
            // What the operation has given a shared connection to do may be all that it waits for.
            shared.reactor.run_jobs(false);
            if python_ssl::has_steps()
                && let Some(next) = self.next_step(py).transpose()
            {
                break next.map(Some);
            }
            if task.was_woken() {
                continue;
            }
            match host.get().park(py, &task, wait_set::deadline()) {
                Ok(None) => {}
                parked => {
                    host.get().leave_parked(py, running)?;
                    self.awaited = Some(Awaited::Nothing);
                    return parked;
                }
            }
        };
        host.get().leave(py, running)?;
        next
    }

    fn perform<'py>(&mut self, py: Python<'py>, effect: Effect) -> PyResult<Performed<'py>> {
        match (effect, &self.driver) {
            (Effect::Spawn { task, reply }, Driver::Task { host, .. }) => {
                let host = host.clone_ref(py);
                self.spawn(py, &host, &task, &reply)?;
                Ok(Performed::Done)
            }
            (Effect::CloseDropped(reply), driver) => {
                if let Some(closing) = closing(py, driver.performer(), self.namespace, &self.owner)? {
                    return Ok(Performed::ByPython(closing, Awaited::Closed(reply)));
                }
                reply.set(Ok(()));
                Ok(Performed::Done)
            }
            (effect, driver) => perform(py, effect, &mut self.caller, driver.performer()),
        }
    }

    /// Begins the task for work that the operation has left to it, and asks the body's iterator from now on.
    fn spawn(
        &mut self,
        py: Python<'_>,
        host: &Py<Host>,
        task: &Arc<dyn Background>,
        reply: &Reply<()>,
    ) -> PyResult<()> {
        let effects = EffectChannel::default();
        let running = Box::new(RunUpload::new(Arc::clone(task), effects.clone()));
        let caller = RequestCallbacks::new(self.caller.sources.take(), None);
        let operation = Operation::in_task(host.clone_ref(py), running, effects, self.namespace, caller, &self.owner);
        task.cancel_with(host.get().spawn(py, drive(py, operation)?)?);
        reply.set(Ok(()));
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is what the operation returns")]
    fn awaiting<'py>(&mut self, effect: Bound<'py, PyAny>, awaited: Awaited) -> Next<'py> {
        self.awaited = Some(awaited);
        Ok(Some(effect))
    }

    /// Ends the operation with an exception. If it is traced, the callback is told first.
    fn interrupt<'py>(&mut self, py: Python<'py>, exception: PyErr) -> Next<'py> {
        if self.caller.tracer.is_none() || self.is_complete || std::mem::replace(&mut self.is_interrupted, true) {
            return self.abandon(py, exception);
        }
        self.effects.interrupt(raised(Kind::Raised, exception));
        self.advance(py)
    }

    /// Ends the operation: its connection is closed and its slot given back before anything else happens.
    fn abandon<'py>(&mut self, py: Python<'py>, exception: PyErr) -> Next<'py> {
        let Driver::Task { host, task } = &self.driver else { return self.give_up(py, exception) };
        let (host, task) = (host.clone_ref(py), Arc::clone(task));
        let running = host.get().shared.enter();
        task.finish();
        let next = self.give_up(py, exception);
        host.get().leave(py, running)?;
        next
    }

    fn give_up<'py>(&mut self, py: Python<'py>, exception: PyErr) -> Next<'py> {
        let is_raised = self.operation.as_mut().is_none_or(|operation| operation.give_up(py, &exception));
        if is_raised {
            self.operation = None;
        }
        self.end(py, if is_raised { Err(exception) } else { Ok(()) })
    }

    /// The end of an operation.
    fn end<'py>(&mut self, py: Python<'py>, outcome: PyResult<()>) -> Next<'py> {
        self.ended = Some(outcome);
        self.finish(py)
    }

    /// Sends what a thread has left to be sent in TLS, and closes external streams that were dropped, before the end is told.
    fn finish<'py>(&mut self, py: Python<'py>) -> Next<'py> {
        if let Driver::Thread(_) = self.driver
            && python_ssl::has_steps()
            && let Some(effect) = self.next_step(py)?
        {
            return Ok(Some(effect));
        }
        if let Some(Err(exception)) = &self.ended
            && exception.is_instance_of::<PyGeneratorExit>(py)
        {
            // A coroutine that is being closed cannot await: the loop closes the streams.
            return self.ended.take().unwrap_or(Ok(())).map(|()| None);
        }
        match closing(py, self.driver.performer(), self.namespace, &self.owner)? {
            None => self.ended.take().unwrap_or(Ok(())).map(|()| None),
            closing => Ok(closing),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Driver::Task { host, .. } = &self.driver {
            visit.call(host)?;
        }
        self.caller.traverse(visit)
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
