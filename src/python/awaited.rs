//! Effects that Python carries out at the moment, and the way of their outcomes to the replies.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::{PyException, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::addresses::{failed_lookup, socket_addresses};
use super::callbacks::RequestCallbacks;
use super::external_calls::ExternalCall;
use super::performer::Performer;
use super::ssl::TlsStep;
use super::{connect_policy, proxy, request, tls, values};
use crate::error::Error;
use crate::operation::{Effect, Fields, Opaque, PolicyRefusal, ReadyChunks, Reply, SocketPatches, StreamOwner};

/// An effect that Python carries out at the moment, and the reply that its outcome is for.
pub enum AwaitedEffect {
    /// `iter(body)`: the iterator of a request body. The effect that asks for its chunks follows.
    Iterator(Effect),
    /// The next chunk of a request body.
    Chunk(Reply<Option<Bytes>>),
    /// The chunks of a request body that are at hand.
    ReadyChunks(Reply<ReadyChunks>),
    Trailers(Reply<Fields>),
    /// The addresses of the host with this name.
    Addresses(String, Reply<Vec<SocketAddr>>),
    SocketPatches(Reply<SocketPatches>),
    /// The fields that answer a proxy's 407.
    Authenticated(Reply<Option<Fields>>),
    /// The answers of a connect policy.
    Checked(Reply<Vec<Option<PolicyRefusal>>>),
    /// The client certificate for a host.
    Identity(Reply<Option<Opaque>>),
    /// A call of the trace callback; for the failure of a step with its error.
    Traced(Option<Error>, Reply<Option<Error>>),
    /// A method of a network backend or of an external stream.
    External(ExternalCall),
    Done(Reply<()>),
    /// The external streams that were dropped are being closed.
    Closed(Reply<()>),
    /// A step of a TLS session.
    Step(TlsStep),
    /// A wait, or a call that lets signal handlers run. It has no reply.
    Nothing,
}

/// The next thing to do after an effect was carried out.
pub enum AfterEffect {
    /// The operation is polled.
    Advance,
    /// Another effect is carried out first.
    Perform(Effect),
}

impl AwaitedEffect {
    /// Takes the value that Python returned.
    pub fn returned(
        self,
        value: &Bound<'_, PyAny>,
        callbacks: &mut RequestCallbacks,
        performer: Performer<'_>,
        owner: &Arc<StreamOwner>,
    ) -> PyResult<AfterEffect> {
        let py = value.py();
        match self {
            Self::Iterator(next) => {
                if let Some(upload) = &mut callbacks.upload {
                    upload.set_iterator(value);
                }
                return Ok(AfterEffect::Perform(next));
            }
            Self::Chunk(reply) => reply.set(Ok(Some(values::chunk(value)?))),
            Self::ReadyChunks(reply) => {
                let (chunks, is_awaited): (Bound<'_, PyList>, bool) = value.extract()?;
                reply.set(Ok(ReadyChunks::Some { chunks: values::chunks(&chunks)?, is_awaited }));
            }
            Self::Trailers(reply) => reply.set(request::trailers(value)?),
            // `None` means that the deadline came first. The operation notices that by itself.
            Self::Addresses(..) if value.is_none() => {}
            Self::Addresses(_, reply) => reply.set(Ok(socket_addresses(value)?)),
            Self::SocketPatches(reply) => reply.set(Ok(socket_patches(value)?)),
            Self::Authenticated(reply) if value.is_none() => reply.set(Ok(None)),
            Self::Authenticated(reply) => reply.set(Ok(Some(proxy::answer(value)?))),
            Self::Checked(reply) => reply.set(Ok(connect_policy::refusals(value)?)),
            Self::Identity(reply) => reply.set(Ok(tls::take_choice(value)?)),
            Self::Traced(error, reply) => reply.set(Ok(error)),
            Self::External(call) => call.returned(value, performer.is_task(), owner),
            Self::Done(reply) | Self::Closed(reply) => reply.set(Ok(())),
            Self::Step(step) => step.finish(py, Ok(value.clone()))?,
            Self::Nothing => {}
        }
        Ok(AfterEffect::Advance)
    }

    /// Takes the exception that Python raised. Returns it as an error if the operation cannot handle it.
    pub fn raised(self, py: Python<'_>, exception: PyErr) -> PyResult<()> {
        match self {
            Self::Chunk(reply)
                if exception.is_instance_of::<PyStopIteration>(py)
                    || exception.is_instance_of::<PyStopAsyncIteration>(py) =>
            {
                reply.set(Ok(None));
            }
            Self::ReadyChunks(reply) if exception.is_instance_of::<PyStopAsyncIteration>(py) => {
                reply.set(Ok(ReadyChunks::End));
            }
            Self::Addresses(host, reply) => reply.set(Err(failed_lookup(py, &host, exception)?)),
            Self::External(call) if exception.is_instance_of::<PyException>(py) => call.raised(py, exception),
            // An exception from closing the streams of other requests does not concern this one.
            Self::Closed(reply) if exception.is_instance_of::<PyException>(py) => reply.set(Ok(())),
            _ => return Err(exception),
        }
        Ok(())
    }

    /// Returns whether a trace callback is being called.
    pub fn is_trace(&self) -> bool {
        matches!(self, Self::Traced(..))
    }
}

/// Reads what `_effects.socket_patches()` returned.
fn socket_patches(value: &Bound<'_, PyAny>) -> PyResult<SocketPatches> {
    let replaced: Option<&str> = value.extract()?;
    Ok(match replaced {
        Some("sockets") => SocketPatches::Sockets,
        Some(_) => SocketPatches::Lookups,
        None => SocketPatches::Nothing,
    })
}
