//! Effects as Python carries them out, and their replies on the way back.
//!
//! An effect becomes a `functools.partial` that the drive loop calls, or, where it has to be awaited, a coroutine. So the code
//! of users runs in the frames of the drive loop, with no Rust frame below it and no lock held.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::{PyBaseException, PyException, PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::addresses::{failed_lookup, socket_addresses};
use super::backend;
use super::callbacks::RequestCallbacks;
use super::calls::{ToTuple, call};
use super::errors::from_exception;
use super::host::Host;
use super::namespace::Namespace;
use super::{request, ssl};
use crate::error::{Error, Kind};
use crate::io::wait_set;
use crate::operation::{Effect, Event, ExternalHandle, Fields, Reply, StreamOwner};
use crate::timeout::Seconds;

/// How a driver has effects carried out.
#[derive(Clone, Copy)]
pub enum Performer<'a> {
    Thread,
    /// In a task of this host's loop.
    Task(&'a Py<Host>),
}

/// An effect that Python carries out now, and what its reply is for.
pub enum Awaited {
    /// The iterator of a request body, to be asked for its first chunk.
    Iterator(Reply<Option<Bytes>>),
    Chunk(Reply<Option<Bytes>>),
    Trailers(Reply<Fields>),
    /// Of the host of this name.
    Addresses(String, Reply<Vec<SocketAddr>>),
    Traced(Option<Error>, Reply<Option<Error>>),
    Backend(Call),
    Done(Reply<()>),
    /// External streams have been closed.
    Closed(Reply<()>),
    /// A step of a TLS session.
    Step(ssl::TlsStep),
    /// There is no reply: a look for signals, or a wait.
    Nothing,
}

/// A call of a backend's or an external stream's method: what it is to return, and what for.
pub enum Call {
    /// `connect_tcp`, `connect_unix_socket` and `start_tls`.
    Stream(Event, Reply<ExternalHandle>),
    /// `read`, with its timeout.
    Read(Option<Duration>, Reply<Bytes>),
    /// `write`, with its timeout.
    Write(Option<Duration>, Reply<()>),
    Readable(Reply<bool>),
    Sleep(Reply<()>),
}

/// What becomes of an effect.
pub enum Performed<'py> {
    /// The drive loop calls or awaits it.
    ByPython(Bound<'py, PyAny>, Awaited),
    /// The reply is there already.
    Done,
}

/// Prepares an effect for Python.
pub fn perform<'py>(
    py: Python<'py>,
    effect: Effect,
    caller: &mut RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let (object, awaited) = match effect {
        Effect::NextChunk(reply) => return next_chunk(py, reply, caller, performer),
        Effect::Trailers(reply) => {
            let Some(trailers) = caller.sources.as_ref().and_then(|sources| sources.trailers(py)) else {
                reply.set(Ok(Fields::new()));
                return Ok(Performed::Done);
            };
            (partial(py, helper(py, "list")?, (trailers,), None)?, Awaited::Trailers(reply))
        }
        Effect::Resolve { host, port, reply } => {
            let timeout = wait_set::deadline().map(remaining);
            let resolve = match performer {
                Performer::Thread => helper(py, "resolve")?.clone(),
                Performer::Task(owner) => owner.get().resolver(py),
            };
            (performer.later(py, &resolve, (&host, port, timeout), None)?, Awaited::Addresses(host, reply))
        }
        Effect::Yield(reply) => match performer {
            // Threads are switched without being asked. Signal handlers run before the next call of the drive loop.
            Performer::Thread => (nothing(py)?, Awaited::Done(reply)),
            Performer::Task(host) => (host.get().checkpoint(py)?, Awaited::Done(reply)),
        },
        Effect::Trace { trace_event, reply } => {
            let Some(tracer) = &caller.tracer else {
                reply.set(Ok(None));
                return Ok(Performed::Done);
            };
            let (arguments, error) = tracer.report(py, *trace_event)?;
            (performer.later(py, tracer.callable(py), arguments, None)?, Awaited::Traced(error, reply))
        }
        Effect::Connect { backend, stream, event, reply } => {
            let (object, name, keywords) = backend::connecting(py, &backend, stream.as_ref(), &event)?;
            let connect = helper(py, if performer.is_task() { "aconnect" } else { "connect" })?;
            let effect = performer.later(py, connect, (object, name, keywords), None)?;
            (effect, Awaited::Backend(Call::Stream(event, reply)))
        }
        Effect::Read { stream, max_bytes, timeout, reply } => {
            reply.begin();
            let effect =
                performer.method(py, &stream, intern!(py, "read"), max_bytes.into_pyobject(py)?.into_any(), timeout)?;
            (effect, Awaited::Backend(Call::Read(timeout, reply)))
        }
        Effect::Write { stream, bytes, timeout, reply } => {
            let effect =
                performer.method(py, &stream, intern!(py, "write"), PyBytes::new(py, &bytes).into_any(), timeout)?;
            (effect, Awaited::Backend(Call::Write(timeout, reply)))
        }
        Effect::IsReadable { stream, reply } => {
            let stream = backend::object_of(py, &stream)?;
            let effect = partial(py, helper(py, "is_readable")?, (stream,), None)?;
            (effect, Awaited::Backend(Call::Readable(reply)))
        }
        Effect::Sleep { backend, delay, reply } => {
            let object = backend::backend_object(py, &backend)?;
            let arguments = (object, intern!(py, "sleep"), delay.as_secs_f64());
            (performer.later(py, helper(py, "method")?, arguments, None)?, Awaited::Backend(Call::Sleep(reply)))
        }
        Effect::Spawn { reply, .. } | Effect::CloseDropped(reply) => {
            reply.set(Err(Error::new(Kind::Internal, "the effect is its driver's to carry out")));
            return Ok(Performed::Done);
        }
    };
    Ok(Performed::ByPython(object, awaited))
}

/// The next chunk of the request body; the iterator itself before the first one.
fn next_chunk<'py>(
    py: Python<'py>,
    reply: Reply<Option<Bytes>>,
    caller: &mut RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let Some(sources) = &mut caller.sources else {
        reply.set(Ok(None));
        return Ok(Performed::Done);
    };
    if let Some(body) = sources.take_stream(py) {
        let begin = helper(py, if performer.is_task() { "async_iterator" } else { "iter" })?;
        return Ok(Performed::ByPython(partial(py, begin, (body,), None)?, Awaited::Iterator(reply)));
    }
    let Some(iterator) = sources.iterator(py) else {
        reply.set(Ok(None));
        return Ok(Performed::Done);
    };
    let effect = match performer {
        Performer::Thread => partial(py, helper(py, "next")?, (iterator,), None)?,
        Performer::Task(_) => performer.later(py, &iterator.getattr(intern!(py, "__anext__"))?, (), None)?,
    };
    Ok(Performed::ByPython(effect, Awaited::Chunk(reply)))
}

impl Performer<'_> {
    pub fn is_task(self) -> bool {
        matches!(self, Self::Task(_))
    }

    /// A call that a thread makes and a task awaits.
    pub fn later<'py>(
        self,
        py: Python<'py>,
        function: &Bound<'py, PyAny>,
        arguments: impl ToTuple<'py>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let effect = partial(py, function, arguments, keywords)?;
        if self.is_task() { call(helper(py, "awaited")?, (effect,)) } else { Ok(effect) }
    }

    /// `stream.name(argument, timeout=timeout)`.
    fn method<'py>(
        self,
        py: Python<'py>,
        stream: &ExternalHandle,
        name: &Bound<'py, pyo3::types::PyString>,
        argument: Bound<'py, PyAny>,
        timeout: Option<Duration>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keywords = PyDict::new(py);
        keywords.set_item(intern!(py, "timeout"), timeout.map(|timeout| timeout.as_secs_f64()))?;
        let object = backend::object_of(py, stream)?;
        self.later(py, helper(py, "method")?, (object, name, argument), Some(&keywords))
    }
}

/// `functools.partial(function, *arguments, **keywords)`.
pub fn partial<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    arguments: impl ToTuple<'py>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    static PARTIAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let partial = PARTIAL.import(py, "functools", "partial")?;
    let mut all = vec![function.clone()];
    all.extend(arguments.to_tuple(py)?.iter());
    partial.call(PyTuple::new(py, all)?, keywords)
}

/// An effect that does nothing: it lets Python run its signal handlers.
pub fn nothing(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static NOTHING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let nothing =
        NOTHING.get_or_try_init(py, || PyResult::Ok(partial(py, helper(py, "nothing")?, (), None)?.unbind()))?;
    Ok(nothing.bind(py).clone())
}

/// A function of `httpcore_rs._effects`.
pub fn helper<'py>(py: Python<'py>, name: &'static str) -> PyResult<&'py Bound<'py, PyAny>> {
    static FUNCTIONS: PyOnceLock<Vec<(&str, Py<PyAny>)>> = PyOnceLock::new();
    const NAMES: [&str; 14] = [
        "aclose_streams",
        "aconnect",
        "async_iterator",
        "awaited",
        "close_streams",
        "connect",
        "is_readable",
        "iter",
        "list",
        "method",
        "next",
        "nothing",
        "resolve",
        "wait",
    ];

    let functions = FUNCTIONS.get_or_try_init(py, || {
        let module = py.import("httpcore_rs._effects")?;
        NAMES.iter().map(|&name| PyResult::Ok((name, module.getattr(name)?.unbind()))).collect()
    })?;
    functions
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, function)| function.bind(py))
        .ok_or_else(|| PyRuntimeError::new_err(format!("httpcore_rs has a bug, please report it: no effect {name}")))
}

fn remaining(deadline: Instant) -> f64 {
    deadline.saturating_duration_since(Instant::now()).as_secs_f64()
}

/// What follows when an effect has been carried out.
pub enum Then<'py> {
    /// The operation goes on.
    Advance,
    /// Another effect comes first.
    Effect(Bound<'py, PyAny>, Awaited),
}

impl Awaited {
    /// Passes on what Python returned.
    pub fn returned<'py>(
        self,
        value: &Bound<'py, PyAny>,
        caller: &mut RequestCallbacks,
        performer: Performer<'_>,
        owner: &std::sync::Arc<StreamOwner>,
    ) -> PyResult<Then<'py>> {
        let py = value.py();
        match self {
            Self::Iterator(reply) => {
                if let Some(sources) = &mut caller.sources {
                    sources.set_iterator(value);
                }
                return Ok(match next_chunk(py, reply, caller, performer)? {
                    Performed::ByPython(effect, awaited) => Then::Effect(effect, awaited),
                    Performed::Done => Then::Advance,
                });
            }
            Self::Chunk(reply) => reply.set(Ok(Some(request::chunk(value)?))),
            Self::Trailers(reply) => reply.set(request::trailers(value)?),
            // `None`: the deadline came first, and the operation will see that.
            Self::Addresses(..) if value.is_none() => {}
            Self::Addresses(_, reply) => reply.set(Ok(socket_addresses(value)?)),
            Self::Traced(error, reply) => reply.set(Ok(error)),
            Self::Backend(call) => call.returned(value, performer.is_task(), owner),
            Self::Done(reply) | Self::Closed(reply) => reply.set(Ok(())),
            Self::Step(step) => step.finish(py, Ok(value.clone()))?,
            Self::Nothing => {}
        }
        Ok(Then::Advance)
    }

    /// Passes on what Python raised; an exception that is not the operation's to handle is given back.
    pub fn raised(self, py: Python<'_>, exception: PyErr) -> PyResult<()> {
        match self {
            Self::Chunk(reply)
                if exception.is_instance_of::<PyStopIteration>(py)
                    || exception.is_instance_of::<PyStopAsyncIteration>(py) =>
            {
                reply.set(Ok(None));
            }
            Self::Addresses(host, reply) => reply.set(Err(failed_lookup(py, &host, exception)?)),
            Self::Backend(call) if exception.is_instance_of::<PyException>(py) => call.raised(py, exception),
            // What was raised while streams of other requests were closed does not concern this one.
            Self::Closed(reply) if exception.is_instance_of::<PyException>(py) => reply.set(Ok(())),
            _ => return Err(exception),
        }
        Ok(())
    }

    /// Whether a trace callback was called.
    pub fn is_trace(&self) -> bool {
        matches!(self, Self::Traced(..))
    }
}

impl Call {
    /// Takes what the method returned.
    fn returned(self, value: &Bound<'_, PyAny>, is_async: bool, owner: &std::sync::Arc<StreamOwner>) {
        let py = value.py();
        let taken = match &self {
            Self::Stream(_, reply) => backend::stream(value, is_async, owner).map(|stream| reply.set(Ok(stream))),
            Self::Read(_, reply) => backend::data(value).map(|data| reply.set(Ok(data))),
            Self::Write(_, reply) | Self::Sleep(reply) => {
                reply.set(Ok(()));
                Ok(())
            }
            Self::Readable(reply) => value.is_truthy().map(|readable| reply.set(Ok(readable))),
        };
        if let Err(exception) = taken {
            self.raised(py, exception);
        }
    }

    /// Takes what the method raised. An exception of httpcore's with an empty message is given one.
    fn raised(self, py: Python<'_>, exception: PyErr) {
        let value = exception.value(py);
        if value.str().is_ok_and(|text| text.len().is_ok_and(|length| length == 0))
            && let Some(mut message) = self.complaint(Namespace::kind_of(py, &exception))
        {
            if let Some(reason) = reason(value) {
                message = format!("{message}: {reason}");
            }
            if let Err(error) = value.setattr(intern!(py, "args"), (message,)) {
                return self.fail(from_exception(py, error));
            }
        }
        self.fail(from_exception(py, exception));
    }

    fn fail(self, error: Error) {
        match self {
            Self::Stream(_, reply) => reply.set(Err(error)),
            Self::Read(_, reply) => reply.set(Err(error)),
            Self::Write(_, reply) | Self::Sleep(reply) => reply.set(Err(error)),
            Self::Readable(reply) => reply.set(Err(error)),
        }
    }

    fn complaint(&self, kind: Kind) -> Option<String> {
        let (what, limit) = match self {
            Self::Stream(Event::ConnectTcp { host, port, timeout, .. }, _) => {
                (format!("connecting to {host}:{port}"), *timeout)
            }
            Self::Stream(Event::ConnectUnixSocket { path, timeout }, _) => (format!("connecting to {path}"), *timeout),
            Self::Stream(Event::StartTls { server_hostname, timeout, .. }, _) => {
                (format!("the TLS handshake with {server_hostname}"), *timeout)
            }
            Self::Read(timeout, _) => ("reading from the network stream".to_owned(), *timeout),
            Self::Write(timeout, _) => ("writing to the network stream".to_owned(), *timeout),
            Self::Stream(..) | Self::Readable(_) | Self::Sleep(_) => return None,
        };
        let name = match kind {
            Kind::ConnectTimeout => "connect",
            Kind::ReadTimeout => "read",
            Kind::WriteTimeout => "write",
            Kind::ConnectError | Kind::ReadError | Kind::WriteError => return Some(format!("{what} failed")),
            _ => return None,
        };
        let limit = limit.map(|limit| format!("than {} ", Seconds(limit))).unwrap_or_default();
        Some(format!("{what} took longer {limit}({name} timeout)"))
    }
}

/// The first non-empty message in the chain of `__cause__` and `__context__`.
fn reason(exception: &Bound<'_, PyBaseException>) -> Option<String> {
    // Chains may be circular.
    const MOST: usize = 10;

    let py = exception.py();
    let mut current = exception.clone().into_any();
    for _ in 0..MOST {
        let cause = current.getattr(intern!(py, "__cause__")).ok()?;
        current = if cause.is_none() { current.getattr(intern!(py, "__context__")).ok()? } else { cause };
        if current.is_none() {
            return None;
        }
        let text = current.str().ok()?.to_string();
        if !text.is_empty() {
            return Some(text);
        }
    }
    None
}
