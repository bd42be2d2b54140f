//! Calls of a network backend's methods and of those of its streams, for connections that run over external streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::PyBaseException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::errors::from_exception;
use super::helpers::{helper, partial};
use super::namespace::Namespace;
use super::performer::Performer;
use super::{backend, external};
use crate::error::{Error, Kind};
use crate::operation::{Backend, Event, ExternalHandle, Reply, StreamOwner};
use crate::timeout::Seconds;

/// A call of a method of a network backend or of an external stream, and the reply for its outcome.
pub enum ExternalCall {
    /// `connect_tcp`, `connect_unix_socket` or `start_tls`.
    Stream(Event, Reply<ExternalHandle>),
    /// `read`, with its timeout.
    Read(Option<Duration>, Reply<Bytes>),
    /// `write`, with its timeout.
    Write(Option<Duration>, Reply<()>),
    /// `get_extra_info("is_readable")`.
    Readable(Reply<bool>),
    /// `sleep`.
    Sleep(Reply<()>),
}

/// Prepares a call that connects, or that begins TLS on `stream`.
pub fn connect<'py>(
    py: Python<'py>,
    performer: Performer<'_>,
    backend: &Backend,
    stream: Option<&ExternalHandle>,
    event: Event,
    reply: Reply<ExternalHandle>,
) -> PyResult<(Bound<'py, PyAny>, ExternalCall)> {
    let (object, name, keywords) = backend::connecting(py, backend, stream, &event)?;
    let connect = helper(py, if performer.is_task() { "aconnect" } else { "connect" })?;
    let effect = performer.later(py, (connect, object, name, keywords), None)?;
    Ok((effect, ExternalCall::Stream(event, reply)))
}

/// Prepares `stream.read(max_bytes, timeout=timeout)`.
pub fn read<'py>(
    py: Python<'py>,
    performer: Performer<'_>,
    stream: &ExternalHandle,
    max_bytes: usize,
    timeout: Option<Duration>,
    reply: Reply<Bytes>,
) -> PyResult<(Bound<'py, PyAny>, ExternalCall)> {
    reply.begin();
    let argument = max_bytes.into_pyobject(py)?.into_any();
    let effect = performer.method(py, stream, intern!(py, "read"), argument, timeout)?;
    Ok((effect, ExternalCall::Read(timeout, reply)))
}

/// Prepares `stream.write(bytes, timeout=timeout)`.
pub fn write<'py>(
    py: Python<'py>,
    performer: Performer<'_>,
    stream: &ExternalHandle,
    bytes: &Bytes,
    timeout: Option<Duration>,
    reply: Reply<()>,
) -> PyResult<(Bound<'py, PyAny>, ExternalCall)> {
    let argument = PyBytes::new(py, bytes).into_any();
    let effect = performer.method(py, stream, intern!(py, "write"), argument, timeout)?;
    Ok((effect, ExternalCall::Write(timeout, reply)))
}

/// Prepares `stream.get_extra_info("is_readable")`, which both kinds of streams answer at once.
pub fn is_readable<'py>(
    py: Python<'py>,
    stream: &ExternalHandle,
    reply: Reply<bool>,
) -> PyResult<(Bound<'py, PyAny>, ExternalCall)> {
    let effect = partial(py, (helper(py, "is_readable")?, external::object_of(py, stream)?), None)?;
    Ok((effect, ExternalCall::Readable(reply)))
}

/// Prepares `backend.sleep(seconds)`.
pub fn sleep<'py>(
    py: Python<'py>,
    performer: Performer<'_>,
    backend: &Backend,
    delay: Duration,
    reply: Reply<()>,
) -> PyResult<(Bound<'py, PyAny>, ExternalCall)> {
    let object = backend::object(py, backend)?;
    let call = (helper(py, "method")?, object, intern!(py, "sleep"), delay.as_secs_f64());
    Ok((performer.later(py, call, None)?, ExternalCall::Sleep(reply)))
}

impl ExternalCall {
    /// Takes the value that the method returned.
    pub fn returned(self, value: &Bound<'_, PyAny>, is_async: bool, owner: &Arc<StreamOwner>) {
        let py = value.py();
        let taken = match &self {
            Self::Stream(_, reply) => external::connected(value, is_async, owner).map(|stream| reply.set(Ok(stream))),
            Self::Read(_, reply) => external::data(value).map(|data| reply.set(Ok(data))),
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

    /// Takes the exception that the method raised. An exception of httpcore's without a message is given one.
    pub fn raised(self, py: Python<'_>, exception: PyErr) {
        let value = exception.value(py);
        if value.str().is_ok_and(|text| text.len().is_ok_and(|length| length == 0))
            && let Some(mut message) = self.message(Namespace::kind_of(py, &exception))
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

    /// Returns the message for a failure of this kind: the phase, the peer and the limit in seconds.
    fn message(&self, kind: Kind) -> Option<String> {
        let (phase, limit) = match self {
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
            Kind::ConnectError | Kind::ReadError | Kind::WriteError => return Some(format!("{phase} failed")),
            _ => return None,
        };
        let limit = limit.map(|limit| format!("than {} ", Seconds(limit))).unwrap_or_default();
        Some(format!("{phase} took longer {limit}({name} timeout)"))
    }
}

/// Returns the first message that is not empty in the chain of `__cause__` and `__context__`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(call: &ExternalCall, kind: Kind) -> String {
        call.message(kind).expect("a message")
    }

    #[test]
    fn a_timeout_names_the_phase_the_limit_and_the_option() {
        let limit = Some(Duration::from_millis(2500));
        let read = ExternalCall::Read(limit, Reply::default());
        assert_eq!(
            message(&read, Kind::ReadTimeout),
            "reading from the network stream took longer than 2.5 s (read timeout)"
        );
        let write = ExternalCall::Write(None, Reply::default());
        assert_eq!(message(&write, Kind::WriteTimeout), "writing to the network stream took longer (write timeout)");
    }

    #[test]
    fn a_failure_to_connect_names_the_peer() {
        let event = Event::ConnectUnixSocket { path: "/run/app".to_owned(), timeout: None };
        let call = ExternalCall::Stream(event, Reply::default());
        assert_eq!(message(&call, Kind::ConnectError), "connecting to /run/app failed");
        let event = Event::StartTls {
            server_hostname: "example.org".to_owned(),
            timeout: Some(Duration::from_secs(1)),
            by_backend: true,
            hop: crate::operation::Hop::Direct,
        };
        let call = ExternalCall::Stream(event, Reply::default());
        assert_eq!(
            message(&call, Kind::ConnectTimeout),
            "the TLS handshake with example.org took longer than 1.0 s (connect timeout)"
        );
    }

    #[test]
    fn exceptions_of_other_kinds_and_calls_keep_their_empty_message() {
        assert_eq!(ExternalCall::Read(None, Reply::default()).message(Kind::Raised), None);
        assert_eq!(ExternalCall::Readable(Reply::default()).message(Kind::ReadError), None);
        assert_eq!(ExternalCall::Sleep(Reply::default()).message(Kind::ReadError), None);
    }
}
