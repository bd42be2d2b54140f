//! The caller's `network_backend` and its streams, as the drivers use them.

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::async_driver::{Exchange, Operation};
use super::errors::from_exception;
use super::host::Host;
use super::listener::Arguments;
use super::namespace::Namespace;
use super::sync_driver::{Caller, block_on};
use crate::ask::{Answer, Ask, Asker, Backend};
use crate::connection::http2::take_unsent_resets;
use crate::error::Kind;
use crate::io::carrier::{Carrier, Handle, take_forsaken};
use crate::timeout::Seconds;
use crate::trace::Event;

/// A backend, and what its methods are given of the pool's arguments.
struct NetworkBackend {
    object: Py<PyAny>,
    arguments: Py<Arguments>,
}

/// A stream that a backend made, or that the caller made himself.
struct Stream {
    object: Py<PyAny>,
    is_async: bool,
    has_chosen_http2: bool,
}

impl Carrier for Stream {
    fn is_readable(&self) -> bool {
        // One that cannot tell is not.
        Python::attach(|py| is_readable(self.object.bind(py)).unwrap_or(false))
    }

    fn is_async(&self) -> bool {
        self.is_async
    }

    fn has_chosen_http2(&self) -> bool {
        self.has_chosen_http2
    }
}

/// What the connector keeps of a backend.
pub fn backend(object: &Bound<'_, PyAny>, arguments: &Py<Arguments>) -> Backend {
    let py = object.py();
    Arc::new(NetworkBackend { object: object.clone().unbind(), arguments: arguments.clone_ref(py) })
}

/// The backend as the caller gave it.
pub fn backend_object<'py>(py: Python<'py>, backend: &Backend) -> PyResult<Bound<'py, PyAny>> {
    Ok(network_backend(backend)?.object.bind(py).clone())
}

/// The engine's share in a stream of the caller's.
pub fn handle(object: &Bound<'_, PyAny>, is_async: bool, has_chosen_http2: bool) -> Handle {
    Handle::new(Arc::new(Stream { object: object.clone().unbind(), is_async, has_chosen_http2 }))
}

/// The stream as the caller knows it.
pub fn object_of<'py>(py: Python<'py>, stream: &Handle) -> PyResult<Bound<'py, PyAny>> {
    let carrier: &dyn Any = stream.carrier();
    match carrier.downcast_ref::<Stream>() {
        Some(stream) => Ok(stream.object.bind(py).clone()),
        None => Err(unknown()),
    }
}

/// A call of a backend's or a stream's method: what it is to return, and what for.
pub enum Call {
    /// `connect_tcp`, `connect_unix_socket` and `start_tls`: a stream.
    Stream(Event),
    /// `read`: bytes.
    Read(Option<Duration>),
    /// `write`.
    Write(Option<Duration>),
    Sleep,
}

impl Call {
    /// The engine's answer, from what the method returned.
    pub fn answer(self, value: &Bound<'_, PyAny>, is_async: bool) -> Answer {
        let answer = match self {
            Self::Stream(_) => stream(value, is_async).map(Answer::Stream),
            Self::Read(_) => data(value).map(Answer::Data),
            Self::Write(_) | Self::Sleep => Ok(Answer::Done),
        };
        answer.unwrap_or_else(|exception| self.failed(value.py(), exception))
    }

    /// The engine's answer, from what the method raised. An exception of httpcore's that says nothing is given words.
    pub fn failed(&self, py: Python<'_>, exception: PyErr) -> Answer {
        let value = exception.value(py);
        if value.str().is_ok_and(|text| text.len().is_ok_and(|length| length == 0))
            && let Some(mut message) = self.complaint(Namespace::kind_of(py, &exception))
        {
            if let Some(reason) = reason(value) {
                message = format!("{message}: {reason}");
            }
            if let Err(error) = value.setattr(intern!(py, "args"), (message,)) {
                return Answer::Failed(from_exception(py, error));
            }
        }
        Answer::Failed(from_exception(py, exception))
    }

    fn complaint(&self, kind: Kind) -> Option<String> {
        let (what, limit) = match self {
            Self::Stream(Event::ConnectTcp { host, port, timeout, .. }) => {
                (format!("connecting to {host}:{port}"), *timeout)
            }
            Self::Stream(Event::ConnectUnixSocket { path, timeout }) => (format!("connecting to {path}"), *timeout),
            Self::Stream(Event::StartTls { server_hostname, timeout, .. }) => {
                (format!("the TLS handshake with {server_hostname}"), *timeout)
            }
            Self::Read(timeout) => ("reading from the network stream".to_owned(), *timeout),
            Self::Write(timeout) => ("writing to the network stream".to_owned(), *timeout),
            Self::Stream(_) | Self::Sleep => return None,
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

/// What the first exception behind another that says anything says.
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

/// What came of doing what a backend or a stream was asked for.
pub enum Called<'py> {
    /// The answer is there already.
    Answer(Answer),
    /// What a method returned: of an async one, something to await.
    Returned(Bound<'py, PyAny>, Call),
}

/// Does what is asked of a backend or one of its streams. Gives back what is not asked of them.
pub fn call(py: Python<'_>, ask: Ask) -> Result<Called<'_>, Ask> {
    let (returned, call) = match ask {
        Ask::IsReadable(stream) => {
            let readable = object_of(py, &stream).and_then(|stream| is_readable(&stream)).map(Answer::Readable);
            let answer = readable.unwrap_or_else(|exception| Answer::Failed(from_exception(py, exception)));
            return Ok(Called::Answer(answer));
        }
        Ask::Connect { backend, stream, event } => {
            (connect(py, &backend, stream.as_ref(), &event), Call::Stream(event))
        }
        Ask::Read { stream, max_bytes, timeout } => {
            (method(py, &stream, "read", max_bytes, timeout), Call::Read(timeout))
        }
        Ask::Write { stream, bytes, timeout } => {
            (method(py, &stream, "write", PyBytes::new(py, &bytes), timeout), Call::Write(timeout))
        }
        Ask::Sleep { backend, delay } => (sleep(py, &backend, delay), Call::Sleep),
        other => return Err(other),
    };
    Ok(match returned {
        Ok(returned) => Called::Returned(returned, call),
        Err(exception) => Called::Answer(call.failed(py, exception)),
    })
}

fn connect<'py>(
    py: Python<'py>,
    backend: &Backend,
    stream: Option<&Handle>,
    event: &Event,
) -> PyResult<Bound<'py, PyAny>> {
    let backend = network_backend(backend)?;
    let object = match stream {
        Some(stream) => object_of(py, stream)?,
        None => backend.object.bind(py).clone(),
    };
    object.call_method(event.name(), (), Some(&backend.arguments.get().kwargs(py, event)?))
}

fn method<'py>(
    py: Python<'py>,
    stream: &Handle,
    name: &str,
    argument: impl IntoPyObject<'py>,
    timeout: Option<Duration>,
) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = PyDict::new(py);
    kwargs.set_item(intern!(py, "timeout"), timeout.map(|timeout| timeout.as_secs_f64()))?;
    object_of(py, stream)?.call_method(name, (argument,), Some(&kwargs))
}

fn sleep<'py>(py: Python<'py>, backend: &Backend, delay: Duration) -> PyResult<Bound<'py, PyAny>> {
    let seconds = delay.as_secs_f64();
    network_backend(backend)?.object.bind(py).call_method1(intern!(py, "sleep"), (seconds,))
}

/// Whether an idle stream has something to read: its end, usually.
fn is_readable(stream: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = stream.py();
    stream.call_method1(intern!(py, "get_extra_info"), (intern!(py, "is_readable"),))?.is_truthy()
}

fn stream(value: &Bound<'_, PyAny>, is_async: bool) -> PyResult<Handle> {
    Ok(handle(value, is_async, has_chosen_http2(value)?))
}

fn has_chosen_http2(stream: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = stream.py();
    let ssl_object = stream.call_method1(intern!(py, "get_extra_info"), (intern!(py, "ssl_object"),))?;
    if ssl_object.is_none() {
        return Ok(false);
    }
    ssl_object.call_method0(intern!(py, "selected_alpn_protocol"))?.eq("h2")
}

fn data(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    match PyBuffer::<u8>::get(value) {
        Ok(buffer) => Ok(buffer.to_vec(value.py())?.into()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "read() of a network stream must return bytes, not {}",
            value.get_type().name()?
        ))),
    }
}

/// Sends the resets and closes the streams that were left to this thread. All of them, whatever one of them raises.
pub fn close_forsaken(py: Python<'_>) -> PyResult<()> {
    let mut result = Ok(());
    for reset in take_unsent_resets(false) {
        let asker = Asker::default();
        if let Err(fault) = block_on(py, pin!(reset.send(asker.clone())), &asker, &mut Caller::default()) {
            result = result.and(Err(fault.into_pyerr(py, Namespace::at_hand(py)?)));
        }
    }
    for stream in take_forsaken(false) {
        let closed = object_of(py, &stream).and_then(|stream| stream.call_method0(intern!(py, "close")));
        result = result.and(closed.map(drop));
    }
    result
}

/// Who sends something in a task.
pub type Sender<'a> = (&'a Py<Host>, &'static Namespace);

/// A coroutine that sends the resets and closes the async streams that were left to this thread, if there are any, and then raises
/// `failure`, if there is one. `sender` is whoever can send something.
pub fn closing_forsaken<'py>(
    py: Python<'py>,
    sender: Option<Sender<'_>>,
    failure: Option<&PyErr>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (unsent, forsaken) = (take_unsent_resets(true), take_forsaken(true));
    if unsent.is_empty() && forsaken.is_empty() {
        return Ok(None);
    }
    let (resets, streams) = (PyList::empty(py), PyList::empty(py));
    if let Some((host, namespace)) = sender {
        for reset in unsent {
            let asker = Asker::default();
            let sending = Operation::Write(Box::pin(reset.send(asker.clone())));
            resets.append(Exchange::start(host.clone_ref(py), namespace, asker, sending, None, None))?;
        }
    }
    for stream in &forsaken {
        streams.append(object_of(py, stream)?)?;
    }
    py.import(intern!(py, "httpcore_rs._drive"))?
        .call_method1(intern!(py, "close_streams"), (resets, streams, failure.map(|failure| failure.value(py))))
        .map(Some)
}

fn network_backend(backend: &Backend) -> PyResult<&NetworkBackend> {
    backend.downcast_ref::<NetworkBackend>().ok_or_else(unknown)
}

fn unknown() -> PyErr {
    PyRuntimeError::new_err("httpcore_rs has a bug, please report it: a network backend of an unknown kind")
}

/// For the garbage collector: a backend may refer to the pool that uses it.
pub fn traverse(backend: &Backend, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    match backend.downcast_ref::<NetworkBackend>() {
        Some(backend) => visit.call(&backend.object),
        None => Ok(()),
    }
}
