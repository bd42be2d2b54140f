//! Running an exchange in a task of an event loop.
//!
//! The exchange is polled by the task itself. When it cannot go on it says what it needs as an awaitable, and a few lines of
//! Python (`httpcore_rs._async.drive`) await that and come back with what it gave. So the caller's code runs in the caller's
//! task, and cancelling it ends the exchange there and then.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use pyo3::exceptions::{PyException, PyRuntimeError, PyStopAsyncIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::backend::{self, Call, Called};
use super::body::{AsyncResponseStream, Reading};
use super::errors::{raised, to_pyerr};
use super::host::{Host, Task};
use super::listener::Listener;
use super::namespace::Namespace;
use super::network_stream;
use super::request::{self, Sources};
use super::response;
use super::sync_driver::{addresses, panicked, poll_caught};
use crate::ask::{Answer, Ask, Asker};
use crate::connection::http2::Courier;
use crate::error::{Error, Kind, Result};
use crate::exchange::{Chunk, Fetched, Response, ResponseBody};
use crate::io::park;
use crate::lock::lock;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What is being waited for.
pub enum Operation {
    /// The head of a response.
    Start(Pending<Response>),
    /// A whole response.
    Fetch(Pending<Fetched>),
    /// The next chunk of its body, and the list for what comes behind it.
    Chunk(Arc<Mutex<ResponseBody>>, Option<Py<PyList>>),
    /// Bytes of a stream that has left HTTP.
    Read(Pending<Bytes>),
    /// All bytes sent to such a stream.
    Write(Pending<()>),
    /// The rest of an upload, which another exchange has left to a task of its own.
    Carry(Arc<Courier>, Pending<()>),
}

enum Output {
    Response(Response),
    Fetched(Fetched),
    Chunk(Option<Chunk>),
    Read(Bytes),
    Written,
}

/// An operation of the engine that a task drives.
///
/// `poll(answer)` returns what to await next, whose result is the next answer, or `None` when `result()` is there. If awaiting raises,
/// the exception goes to `throw(exc)`: it returns what to await next if the engine can use it, and raises it again if not; then
/// the operation has been cancelled: a request's connection is closed and its place in the pool given back.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Exchange {
    host: Py<Host>,
    namespace: &'static Namespace,
    task: Arc<Task>,
    asker: Asker,
    listener: Option<Listener>,
    state: Mutex<State>,
}

/// What the last awaitable was for.
enum Awaited {
    Chunk,
    Addresses(String),
    Others,
    /// With the error that is being reported.
    Listener(Option<Error>),
    /// What a backend or one of its streams does.
    Backend(Call),
    /// Streams being closed, before the operation ends. If it has failed, its exception is raised by that.
    Closing,
}

struct State {
    operation: Option<Operation>,
    output: Option<Output>,
    awaited: Option<Awaited>,
    sources: Option<Arc<Mutex<Sources>>>,
    yield_first: bool,
    /// Whether it ends because of an exception, of which the listener is being told.
    interrupted: bool,
}

#[pymethods]
impl Exchange {
    /// Goes on with the answer to what was asked for.
    fn poll<'py>(&self, py: Python<'py>, answer: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut state = self.state();
        match state.awaited.take() {
            None => {}
            Some(Awaited::Chunk) => match request::chunk(answer) {
                Ok(chunk) => self.asker.answer(Answer::Chunk(Some(chunk))),
                Err(error) => return self.interrupt(py, state, error),
            },
            // The deadline came first, and the exchange will see that.
            Some(Awaited::Addresses(_)) if answer.is_none() => {}
            Some(Awaited::Addresses(host)) => match addresses(py, &host, Ok(answer.clone())) {
                Ok(answer) => self.asker.answer(answer),
                Err(error) => return self.interrupt(py, state, error),
            },
            Some(Awaited::Others) => self.asker.answer(Answer::Done),
            Some(Awaited::Listener(error)) => self.asker.answer(Answer::Traced(error)),
            Some(Awaited::Backend(call)) => self.asker.answer(call.answer(answer, true)),
            Some(Awaited::Closing) => return Ok(None),
        }
        self.advance(py, state)
    }

    /// Goes on after an exception of what was awaited, or ends with it.
    fn throw<'py>(&self, py: Python<'py>, exception: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let error = PyErr::from_value(exception.clone());
        let mut state = self.state();
        match state.awaited.take() {
            Some(Awaited::Chunk) if error.is_instance_of::<PyStopAsyncIteration>(py) => {
                self.asker.answer(Answer::Chunk(None));
            }
            Some(Awaited::Addresses(host)) => match addresses(py, &host, Err(error)) {
                Ok(answer) => self.asker.answer(answer),
                Err(error) => return self.interrupt(py, state, error),
            },
            Some(Awaited::Backend(call)) if error.is_instance_of::<PyException>(py) => {
                self.asker.answer(call.failed(py, error));
            }
            Some(Awaited::Closing) => {
                state.output = None;
                return Err(error);
            }
            Some(Awaited::Listener(_)) => return self.abandon(py, state, error),
            _ => return self.interrupt(py, state, error),
        }
        self.advance(py, state)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.host)?;
        self.task.traverse(&visit)?;
        if let Some(listener) = &self.listener {
            listener.traverse(&visit)?;
        }
        // Locked only by a call that is under way, and then this object is alive.
        if let Ok(state) = self.state.try_lock()
            && let Some(sources) = &state.sources
            && let Ok(sources) = sources.try_lock()
        {
            sources.traverse(&visit)?;
        }
        Ok(())
    }

    /// Collected as garbage: a task of a loop that was closed under it. What it held is given back.
    fn __clear__(&self) {
        self.task.finish();
        let mut state = self.state();
        let (operation, sources) = (state.operation.take(), state.sources.take());
        drop(state);
        drop((operation, sources));
    }

    /// The response, or the chunk: `bytes`, or `None` at the end of the body.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let output = self.state().output.take();
        match output {
            Some(Output::Response(response)) => self.respond(py, response, None),
            Some(Output::Fetched(Fetched { response, content })) => {
                let content = response::join(py, content.iter())?;
                self.respond(py, response, Some(content))
            }
            Some(Output::Read(bytes)) => Ok(PyBytes::new(py, &bytes).into_any()),
            Some(Output::Written) => Ok(py.None().into_bound(py)),
            Some(Output::Chunk(Some(chunk))) => Ok(response::join(py, chunk.pieces())?.into_any()),
            Some(Output::Chunk(None)) => Err(PyStopAsyncIteration::new_err(())),
            None => Err(PyRuntimeError::new_err("the exchange has no result")),
        }
    }
}

impl Exchange {
    /// An exchange that is about to begin; `sources` are what it may ask for, `listener` is whoever follows it.
    pub fn start(
        host: Py<Host>,
        namespace: &'static Namespace,
        asker: Asker,
        operation: Operation,
        sources: Option<Sources>,
        listener: Option<Listener>,
    ) -> Self {
        let task = Task::new(&host.get().shared);
        let sources = sources.map(|sources| Arc::new(Mutex::new(sources)));
        Self::new(host, namespace, task, asker, operation, sources, listener)
    }

    /// The next chunk of a body, after others had a chance to run if `yield_first`.
    pub fn chunk(
        host: Py<Host>,
        namespace: &'static Namespace,
        task: Arc<Task>,
        reading: Reading,
        yield_first: bool,
    ) -> Self {
        let Reading { body, sources, trailers } = reading;
        let asker = lock(&body).asker().clone();
        let this = Self::new(host, namespace, task, asker, Operation::Chunk(body, trailers), sources, None);
        this.state().yield_first = yield_first;
        this
    }

    fn new(
        host: Py<Host>,
        namespace: &'static Namespace,
        task: Arc<Task>,
        asker: Asker,
        operation: Operation,
        sources: Option<Arc<Mutex<Sources>>>,
        listener: Option<Listener>,
    ) -> Self {
        let operation = Some(operation);
        let state = State { operation, output: None, awaited: None, sources, yield_first: false, interrupted: false };
        Self { host, namespace, task, asker, listener, state: Mutex::new(state) }
    }

    fn respond<'py>(
        &self,
        py: Python<'py>,
        response: Response,
        content: Option<Bound<'py, PyBytes>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Response { head, body, tap, stream_id } = response;
        let trailers = response::trailers(py, &head);
        let network_stream = network_stream::build(py, tap, self.namespace, true)?;
        let extensions = response::extensions(py, &head, stream_id, network_stream, trailers.as_ref())?;
        let sources = self.state().sources.take();
        let stream = AsyncResponseStream::new(body, self.namespace, self.host.clone_ref(py), sources, trailers)?;
        let mut stream = Bound::new(py, stream)?.into_any();
        if let Some(listener) = &self.listener {
            stream = listener.wrap(py, stream, stream_id, true)?;
        }
        response::build(py, self.namespace, &head, stream, extensions, content)
    }

    fn advance<'py>(&self, py: Python<'py>, mut state: MutexGuard<'_, State>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let host = self.host.get();
        if std::mem::take(&mut state.yield_first) {
            return host.checkpoint(py).map(Some);
        }
        let running = host.shared.enter();
        let waker = Waker::from(Arc::clone(&self.task));
        let next = loop {
            park::clear();
            self.task.begin_poll();
            let Some(operation) = &mut state.operation else {
                break Err(PyRuntimeError::new_err("the exchange is over"));
            };
            match operation.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => {
                    self.task.finish();
                    if let (Ok(Output::Chunk(None)), Operation::Chunk(body, Some(trailers))) = (&result, &*operation) {
                        response::fill(trailers.bind(py), &lock(body).take_trailers())?;
                    }
                    // Whatever is left of it (a failed connection) goes now.
                    state.operation = None;
                    break self.end(py, &mut state, result.map_err(|error| to_pyerr(py, self.namespace, error)));
                }
                Poll::Pending => {}
            }
            if let Some(interruption) = self.asker.take_interruption() {
                // Nobody listened at that point.
                self.task.finish();
                state.operation = None;
                break self.end(py, &mut state, Err(to_pyerr(py, self.namespace, interruption)));
            }
            if let Some(ask) = self.asker.take() {
                if let Ask::SendOff(courier) = ask {
                    match self.send_off(py, &mut state, &courier) {
                        Ok(()) => self.asker.answer(Answer::Done),
                        Err(error) => {
                            drop(running);
                            return self.interrupt(py, state, error);
                        }
                    }
                    continue;
                }
                if matches!(ask, Ask::Trailers) {
                    let sources = state.sources.clone();
                    match sources.map_or(Ok(Answer::Trailers(Vec::new())), |sources| lock(&sources).trailers(py)) {
                        Ok(answer) => self.asker.answer(answer),
                        Err(error) => {
                            drop(running);
                            return self.interrupt(py, state, error);
                        }
                    }
                    continue;
                }
                let ask = match backend::call(py, ask) {
                    Ok(Called::Answer(answer)) => {
                        self.asker.answer(answer);
                        continue;
                    }
                    Ok(Called::Returned(awaitable, call)) => {
                        state.awaited = Some(Awaited::Backend(call));
                        break Ok(Some(awaitable));
                    }
                    Err(ask) => ask,
                };
                match state.awaitable(py, ask, host, self.listener.as_ref()) {
                    Ok((awaitable, awaited)) => {
                        state.awaited = Some(awaited);
                        break Ok(Some(awaitable));
                    }
                    // An iterator may say so without being awaited; ours does.
                    Err(error) if error.is_instance_of::<PyStopAsyncIteration>(py) => {
                        self.asker.answer(Answer::Chunk(None));
                        continue;
                    }
                    Err(error) => {
                        drop(running);
                        return self.interrupt(py, state, error);
                    }
                }
            }
            // What the exchange has given a shared connection to do may be all that it waits for.
            host.shared.reactor.run_jobs(false);
            if self.task.was_woken() {
                continue;
            }
            match host.park(py, &self.task, park::deadline()) {
                Ok(None) => {}
                parked => {
                    drop(state);
                    host.leave_parked(py, running)?;
                    return parked;
                }
            }
        };
        drop(state);
        host.leave(py, running)?;
        next
    }

    /// Begins the task that carries out an upload, and asks the caller's iterator from now on.
    fn send_off(&self, py: Python<'_>, state: &mut State, courier: &Arc<Courier>) -> PyResult<()> {
        let host = self.host.get();
        let asker = Asker::default();
        let carrying = Operation::Carry(Arc::clone(courier), Box::pin(Arc::clone(courier).carry(asker.clone())));
        let (task, sources) = (Task::new(&host.shared), state.sources.take());
        let exchange = Self::new(self.host.clone_ref(py), self.namespace, task, asker, carrying, sources, None);
        courier.cancel_with(host.spawn(py, super::engine::drive(py, exchange)?)?);
        Ok(())
    }

    /// Ends the operation with an exception. If somebody listens to it, the engine tells him first.
    fn interrupt<'py>(
        &self,
        py: Python<'py>,
        mut state: MutexGuard<'_, State>,
        error: PyErr,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.listener.is_none() || std::mem::replace(&mut state.interrupted, true) {
            return self.abandon(py, state, error);
        }
        self.asker.interrupt(raised(Kind::Raised, error));
        self.advance(py, state)
    }

    /// Ends the operation: its connection is closed and its place given back before anything else happens.
    fn abandon<'py>(
        &self,
        py: Python<'py>,
        mut state: MutexGuard<'_, State>,
        error: PyErr,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let host = self.host.get();
        let running = host.shared.enter();
        self.task.finish();
        let mut outcome = Err(());
        match state.operation.take() {
            Some(Operation::Chunk(body, _)) => lock(&body).close(),
            Some(Operation::Carry(courier, carrying)) => {
                drop(carrying);
                let is_cancelled = !error.is_instance_of::<PyException>(py);
                courier.fail(raised(Kind::Raised, error.clone_ref(py)));
                if !is_cancelled {
                    // It is raised by the exchange whose upload this is.
                    outcome = Ok(Output::Written);
                }
            }
            operation => drop(operation),
        }
        let closing = self.end(py, &mut state, outcome.map_err(|()| error));
        drop(state);
        host.leave(py, running)?;
        closing
    }

    /// The end of an operation. Streams of the caller's that were left behind are closed before anybody hears of it.
    fn end<'py>(
        &self,
        py: Python<'py>,
        state: &mut State,
        result: PyResult<Output>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let failure = match result {
            Ok(output) => {
                state.output = Some(output);
                None
            }
            Err(failure) => Some(failure),
        };
        match backend::closing_forsaken(py, Some((&self.host, self.namespace)), failure.as_ref())? {
            None => failure.map_or(Ok(None), Err),
            Some(closing) => {
                state.awaited = Some(Awaited::Closing);
                Ok(Some(closing))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.task.finish();
    }
}

impl State {
    /// What to await for the answer to `ask`, and what to make of what it gives.
    fn awaitable<'py>(
        &mut self,
        py: Python<'py>,
        ask: Ask,
        host: &Host,
        listener: Option<&Listener>,
    ) -> PyResult<(Bound<'py, PyAny>, Awaited)> {
        Ok(match (ask, listener) {
            (Ask::Chunk, _) => (self.next_chunk(py)?, Awaited::Chunk),
            (Ask::Resolve { host: name, port }, _) => {
                (host.resolve(py, &name, port, park::deadline())?, Awaited::Addresses(name))
            }
            (Ask::Trace(moment), Some(listener)) => {
                let (awaitable, error) = listener.report(py, *moment)?;
                (awaitable, Awaited::Listener(error))
            }
            (Ask::Trace(_), None) => (host.checkpoint(py)?, Awaited::Listener(None)),
            (Ask::Yield, _) => (host.checkpoint(py)?, Awaited::Others),
            _ => return Err(PyRuntimeError::new_err("the exchange asked for what nobody can do")),
        })
    }

    fn next_chunk<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.sources {
            Some(sources) => lock(sources).anext(py),
            None => Err(PyRuntimeError::new_err("the request has no body")),
        }
    }
}

impl Operation {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Output>> {
        match self {
            Self::Start(starting) => poll_caught(starting.as_mut(), cx).map_ok(Output::Response),
            Self::Fetch(fetching) => poll_caught(fetching.as_mut(), cx).map_ok(Output::Fetched),
            Self::Chunk(body, _) => poll_chunk(body, cx).map_ok(Output::Chunk),
            Self::Read(reading) => poll_caught(reading.as_mut(), cx).map_ok(Output::Read),
            Self::Write(writing) => poll_caught(writing.as_mut(), cx).map_ok(|()| Output::Written),
            Self::Carry(_, carrying) => poll_caught(carrying.as_mut(), cx).map_ok(|()| Output::Written),
        }
    }
}

/// Polls a body, a panic being an error like any other.
pub fn poll_chunk(body: &Mutex<ResponseBody>, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
    let mut body = lock(body);
    catch_unwind(AssertUnwindSafe(|| body.poll_large_chunk(cx))).unwrap_or_else(|panic| {
        body.close();
        Poll::Ready(Err(panicked(&*panic)))
    })
}
