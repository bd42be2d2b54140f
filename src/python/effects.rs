//! Effects in the form in which Python carries them out.
//!
//! An effect becomes a `functools.partial`, which the drive loop calls, or a coroutine, which it awaits. Code of users thus runs
//! in the frames of the drive loop: no Rust frame is below it, and no lock is held.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;

use super::awaited::AwaitedEffect;
use super::callbacks::RequestCallbacks;
use super::calls::{call, call_method};
use super::connect_policy;
use super::external_calls;
use super::helpers::{helper, nothing, partial};
use super::performer::Performer;
use super::{pool_wait, proxy, response, tls};
use crate::error::{Error, Kind};
use crate::io::wait_set;
use crate::message::ResponseHead;
use crate::operation::{Callback, Effect, Fields, Opaque, ReadyChunks, Reply, SocketPatches, TraceEvent};

/// The next thing to do about an effect.
pub enum Performed<'py> {
    /// The drive loop calls or awaits the object. The reply is set with its outcome.
    ByPython(Bound<'py, PyAny>, AwaitedEffect),
    /// The reply is set already.
    Done,
}

/// Prepares an effect for Python, or sets its reply if that takes no Python.
pub fn perform<'py>(
    py: Python<'py>,
    effect: Effect,
    callbacks: &mut RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let (object, call) = match effect {
        Effect::NextChunk(reply) => return next_chunk(py, reply, callbacks, performer),
        Effect::ReadyChunks { limit, reply } => return ready_chunks(py, limit, reply, callbacks, performer),
        Effect::Trailers(reply) => return trailers(py, reply, callbacks),
        Effect::Informational { head, reply } => return informational(py, &head, reply, callbacks, performer),
        Effect::Trace { trace_event, reply } => return trace(py, *trace_event, reply, callbacks, performer),
        Effect::Resolve { host, port, resolver, reply } => {
            return resolve(py, host, port, resolver.as_ref(), reply, performer);
        }
        Effect::ProxyAuthenticate { callback, challenge, reply } => {
            let effect = proxy::authenticate(py, &callback, &challenge, performer)?;
            return Ok(Performed::ByPython(effect, AwaitedEffect::Authenticated(reply)));
        }
        Effect::CheckAddresses { policy, query, reply } => {
            let effect = connect_policy::check(py, &policy, &query)?;
            return Ok(Performed::ByPython(effect, AwaitedEffect::Checked(reply)));
        }
        Effect::SocketPatches(reply) => return socket_patches(py, reply, performer),
        Effect::ChooseIdentity { chooser, host, reply } => return choose_identity(py, &chooser, &host, reply),
        Effect::Yield(reply) => return yield_now(py, reply, performer),
        Effect::PoolWait { wait, callback, reply } => return pool_wait::report(py, &wait, callback.as_ref(), reply),
        Effect::Connect { backend, stream, event, reply } => {
            external_calls::connect(py, performer, &backend, stream.as_ref(), event, reply)?
        }
        Effect::Read { stream, max_bytes, timeout, reply } => {
            external_calls::read(py, performer, &stream, max_bytes, timeout, reply)?
        }
        Effect::Write { stream, bytes, timeout, reply } => {
            external_calls::write(py, performer, &stream, &bytes, timeout, reply)?
        }
        Effect::IsReadable { stream, reply } => external_calls::is_readable(py, &stream, reply)?,
        Effect::Sleep { backend, delay, reply } => external_calls::sleep(py, performer, &backend, delay, reply)?,
        Effect::Spawn { reply, .. } | Effect::CloseDropped(reply) => {
            reply.set(Err(Error::new(Kind::Internal, "this effect is carried out by the driver itself")));
            return Ok(Performed::Done);
        }
    };
    Ok(Performed::ByPython(object, AwaitedEffect::External(call)))
}

/// Asks for the next chunk of the request body; before the first one, for the body's iterator.
fn next_chunk<'py>(
    py: Python<'py>,
    reply: Reply<Option<Bytes>>,
    callbacks: &mut RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let Some(upload) = &mut callbacks.upload else {
        reply.set(Ok(None));
        return Ok(Performed::Done);
    };
    if let Some(body) = upload.take_stream(py) {
        return begin(py, body, Effect::NextChunk(reply), performer);
    }
    let effect = match performer {
        Performer::Thread => upload.next(|iterator| partial(py, (helper(py, "next")?, iterator), None), py)?,
        Performer::Task(_) => match (upload.known_ready(py), upload.iterator(py)) {
            (Some(ready), _) => Some(call_method(&ready, intern!(py, "rest"), ())?),
            (None, Some(iterator)) => {
                Some(performer.later(py, (iterator.getattr(intern!(py, "__anext__"))?,), None)?)
            }
            (None, None) => None,
        },
    };
    let Some(effect) = effect else {
        reply.set(Ok(None));
        return Ok(Performed::Done);
    };
    Ok(Performed::ByPython(effect, AwaitedEffect::Chunk(reply)))
}

/// Asks for the iterator of the request body, for the sake of `next`.
fn begin<'py>(
    py: Python<'py>,
    body: Bound<'py, PyAny>,
    next: Effect,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let begin = helper(py, if performer.is_task() { "async_iterator" } else { "iter" })?;
    Ok(Performed::ByPython(partial(py, (begin, body), None)?, AwaitedEffect::Iterator(next)))
}

/// Asks for the chunks of the request body that are at hand. The iterator of a thread may block, and is not asked.
fn ready_chunks<'py>(
    py: Python<'py>,
    limit: usize,
    reply: Reply<ReadyChunks>,
    callbacks: &mut RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    if let (Performer::Task(host), Some(upload)) = (performer, &mut callbacks.upload)
        && host.get().allows_first_steps()
    {
        if let Some(body) = upload.take_stream(py) {
            return begin(py, body, Effect::ReadyChunks { limit, reply }, performer);
        }
        let make = |iterator| call(helper(py, "ready_chunks")?, (iterator,));
        if let Some(ready) = upload.ready(make, py)? {
            let effect = partial(py, (ready.getattr(intern!(py, "take"))?, limit), None)?;
            return Ok(Performed::ByPython(effect, AwaitedEffect::ReadyChunks(reply)));
        }
    }
    reply.set(Ok(ReadyChunks::Unknown));
    Ok(Performed::Done)
}

/// Asks for the fields that follow the request body.
fn trailers<'py>(py: Python<'py>, reply: Reply<Fields>, callbacks: &RequestCallbacks) -> PyResult<Performed<'py>> {
    let Some(trailers) = callbacks.upload.as_ref().and_then(|upload| upload.trailers(py)) else {
        reply.set(Ok(Fields::new()));
        return Ok(Performed::Done);
    };
    let effect = partial(py, (helper(py, "list")?, trailers), None)?;
    Ok(Performed::ByPython(effect, AwaitedEffect::Trailers(reply)))
}

/// Calls the callback for informational responses.
fn informational<'py>(
    py: Python<'py>,
    head: &ResponseHead,
    reply: Reply<()>,
    callbacks: &RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let Some(callback) = &callbacks.informational else {
        reply.set(Ok(()));
        return Ok(Performed::Done);
    };
    let call = helper(py, if performer.is_task() { "acall" } else { "call" })?;
    let headers = response::headers(py, head)?;
    let effect = performer.later(py, (call, callback.bind(py), head.status(), headers), None)?;
    Ok(Performed::ByPython(effect, AwaitedEffect::Done(reply)))
}

/// Calls the trace callback with an event.
fn trace<'py>(
    py: Python<'py>,
    trace_event: TraceEvent,
    reply: Reply<Option<Error>>,
    callbacks: &RequestCallbacks,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let Some(tracer) = &callbacks.tracer else {
        reply.set(Ok(None));
        return Ok(Performed::Done);
    };
    let ((logger, name, info), error) = tracer.report(py, trace_event)?;
    let effect = performer.later(py, (tracer.callable(py), logger, name, info), None)?;
    Ok(Performed::ByPython(effect, AwaitedEffect::Traced(error, reply)))
}

/// Looks a host name up. The lookup ends at the deadline of the operation's last poll.
fn resolve<'py>(
    py: Python<'py>,
    host: String,
    port: u16,
    resolver: Option<&Callback>,
    reply: Reply<Vec<SocketAddr>>,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let timeout = wait_set::deadline().map(remaining);
    let resolve = match performer {
        Performer::Thread => helper(py, "resolve")?.clone(),
        Performer::Task(event_loop) => event_loop.get().resolver(py),
    };
    let effect = match resolver {
        None => performer.later(py, (&resolve, &host, port, timeout), None)?,
        Some(resolver) => {
            let lookup = connect_policy::object(py, resolver)?;
            performer.later(py, (&resolve, &host, port, timeout, lookup), None)?
        }
    };
    Ok(Performed::ByPython(effect, AwaitedEffect::Addresses(host, reply)))
}

/// Asks what has been replaced of Python's `socket` module. This needs no waiting, also in a task.
fn socket_patches<'py>(
    py: Python<'py>,
    reply: Reply<SocketPatches>,
    performer: Performer<'_>,
) -> PyResult<Performed<'py>> {
    let effect = partial(py, (helper(py, "socket_patches")?, performer.is_task()), None)?;
    Ok(Performed::ByPython(effect, AwaitedEffect::SocketPatches(reply)))
}

/// Calls the user's function that chooses a client certificate. It is no coroutine, also in a task.
fn choose_identity<'py>(
    py: Python<'py>,
    chooser: &Opaque,
    host: &str,
    reply: Reply<Option<Opaque>>,
) -> PyResult<Performed<'py>> {
    let effect = partial(py, (tls::begin_choice(py, chooser)?, host), None)?;
    Ok(Performed::ByPython(effect, AwaitedEffect::Identity(reply)))
}

/// Lets other tasks of the loop run. Threads are preempted anyway; their signal handlers run before the drive loop's next call.
fn yield_now<'py>(py: Python<'py>, reply: Reply<()>, performer: Performer<'_>) -> PyResult<Performed<'py>> {
    let effect = match performer {
        Performer::Thread => nothing(py)?,
        Performer::Task(host) => host.get().checkpoint(py)?,
    };
    Ok(Performed::ByPython(effect, AwaitedEffect::Done(reply)))
}

fn remaining(deadline: Instant) -> f64 {
    deadline.saturating_duration_since(Instant::now()).as_secs_f64()
}
