//! TLS by Python's `ssl`: the sessions of an `ssl.SSLContext`, and their steps, which `httpcore_rs._ssl_session` takes.
//!
//! [`next_step`] takes the step of a session that the last polls of this thread have queued in [`python_ssl::needs_step`]. If that
//! may run code of users, or blocks greenlets, the step is an effect, and [`TlsStep::finish`] takes its outcome. All others are
//! taken at once, by [`super::ssl_calls`].

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::calls;
use super::greenlets::is_green;
use super::helpers::partial;
use super::namespace::Package;
use super::ssl_calls::SslCalls;
use super::tls;
use super::values::copy_or_borrow;
use crate::error::Result;
use crate::io::wait_set;
use crate::operation::{DeferredWork, EffectChannel, StreamOwner};
use crate::tls::Tls;
use crate::tls::python_ssl::{self, SessionFault, SslEngine, SslSession, StepBuffers, StepInput, StepOutput};

// The flags of a session's state, with the values of `_ssl_session`.
const HANDSHAKEN: u8 = 1;
const CLOSED: u8 = 2;
const HOLDING: u8 = 4;

/// Returns the TLS of a pool or a proxy with this `ssl_context`: rustls, or Python's `ssl`. The default is that of `package`.
pub fn tls(py: Python<'_>, ssl_context: Option<&Bound<'_, PyAny>>, package: Package) -> PyResult<Tls> {
    if let Some(tls) = tls::from_argument(py, ssl_context, package)? {
        return Ok(tls);
    }
    let given = ssl_context.map(|context| context.clone().unbind());
    let context = SslContext { given, package, context: OnceLock::new() };
    Ok(Tls::Python(Arc::new(ContextEngine { context: Arc::new(context) })))
}

/// The `ssl.SSLContext` of a pool.
struct SslContext {
    given: Option<Py<PyAny>>,
    package: Package,
    /// The `ssl.SSLContext` that was given, or an equivalent one. Made when it is needed.
    context: OnceLock<Py<PyAny>>,
}

impl SslContext {
    fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        if let Some(context) = self.context.get() {
            return Ok(context.bind(py));
        }
        let given = self.given.as_ref().map(|given| given.bind(py));
        let made = equivalent(py, given, false, self.package)?.unbind();
        // Threads that make one at the same time get the same one.
        Ok(self.context.get_or_init(|| made).bind(py))
    }
}

/// Visits the `ssl.SSLContext` of a pool or a proxy for the garbage collector: it may refer to the pool that uses it. A `TLSConfig` is
/// visited as an argument of the pool.
pub fn traverse(tls: &Tls, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
    let Tls::Python(engine) = tls else { return Ok(()) };
    let engine: &dyn Any = &**engine;
    let Some(ContextEngine { context }) = engine.downcast_ref() else { return Ok(()) };
    context.given.iter().chain(context.context.get()).try_for_each(|object| visit.call(object))
}

/// Returns the `ssl.SSLContext` that was given as `ssl_context`, or one that is equivalent to the TLS of the engine itself.
pub fn equivalent<'py>(
    py: Python<'py>,
    given: Option<&Bound<'py, PyAny>>,
    http2: bool,
    package: Package,
) -> PyResult<Bound<'py, PyAny>> {
    let module = py.import(intern!(py, "httpcore_rs._ssl_context"))?;
    calls::call(&module.getattr(intern!(py, "for_backend"))?, (given, http2, package.name()))
}

/// The TLS of a pool that Python's `ssl` does.
struct ContextEngine {
    context: Arc<SslContext>,
}

impl SslEngine for ContextEngine {
    fn session(&self, name: &str, protocols: &'static [&'static [u8]]) -> Arc<dyn Any + Send + Sync> {
        let name = name.trim_matches(['[', ']']).to_owned();
        Arc::new(Session { context: Arc::clone(&self.context), name, protocols, begun: OnceLock::new() })
    }
}

/// The part of a session that belongs to Python's `ssl`.
struct Session {
    context: Arc<SslContext>,
    name: String,
    protocols: &'static [&'static [u8]],
    /// Set by the first step.
    begun: OnceLock<Begun>,
}

/// A session that has begun: its `_ssl_session.Session`, and the method `step` of that as an effect, which is used often.
struct Begun {
    object: Py<PyAny>,
    step: Py<PyAny>,
    /// The methods that take a step without a Python function, if that makes no difference.
    calls: Option<SslCalls>,
}

/// The next thing to do about the sessions of this thread.
pub enum NextStep<'py> {
    /// No session needs a step.
    Nothing,
    /// A session's step was taken. There may be more to do.
    Taken,
    /// The drive loop calls the object.
    Effect(Bound<'py, PyAny>, TlsStep),
}

/// A step that is being taken. Dropping it before its end fails the session.
pub struct TlsStep {
    session: Arc<SslSession>,
    is_over: bool,
}

impl Drop for TlsStep {
    fn drop(&mut self) {
        if !self.is_over {
            self.session.fail_step();
        }
    }
}

/// Takes the step that a session needs, or returns it as an effect. A step that cannot be prepared fails the session.
fn begin<'py>(py: Python<'py>, session: &Arc<SslSession>) -> PyResult<NextStep<'py>> {
    let Some(input) = session.begin_step() else { return Ok(NextStep::Nothing) };
    let step = TlsStep { session: Arc::clone(session), is_over: false };
    let known = known(session)?;
    let prepared = match (input, known.calls()) {
        (StepInput::Data(buffers), Some(calls)) => {
            return step.finish_with(py, calls.step(py, buffers)).map(|()| NextStep::Taken);
        }
        (input, _) => known.effect(py, input),
    };
    match prepared {
        Ok(effect) => Ok(NextStep::Effect(effect, step)),
        Err(exception) => step.finish_with(py, Err(exception)).map(|()| NextStep::Taken),
    }
}

impl Session {
    /// Returns the methods that take a step at once. Greenlets are not kept from running by OpenSSL's work, and code that runs in the
    /// middle of it may switch them: there, steps are effects.
    fn calls(&self) -> Option<&SslCalls> {
        self.begun.get().and_then(|begun| begun.calls.as_ref()).filter(|_| !is_green())
    }

    fn effect<'py>(&self, py: Python<'py>, input: StepInput) -> PyResult<Bound<'py, PyAny>> {
        match (self.begun.get(), input) {
            (Some(begun), StepInput::Data(buffers)) => {
                // Passed as attributes: a `partial` for each step costs more. One driver at a time takes a step, so that nothing
                // else sets them before the call.
                let object = begun.object.bind(py);
                object.setattr(intern!(py, "ciphertext"), PyBytes::new(py, &buffers.ciphertext_in))?;
                object.setattr(intern!(py, "plaintext"), PyBytes::new(py, &buffers.plaintext_out))?;
                Ok(begun.step.bind(py).clone())
            }
            (Some(begun), StepInput::Handshake { ciphertext, is_eof }) => {
                let handshake = begun.object.bind(py).getattr(intern!(py, "handshake"))?;
                partial(py, (handshake, PyBytes::new(py, &ciphertext), is_eof), None)
            }
            (None, _) => {
                let begin = py.import(intern!(py, "httpcore_rs._ssl_session"))?.getattr(intern!(py, "begin"))?;
                let protocols: Vec<_> = self.protocols.iter().map(|name| String::from_utf8_lossy(name)).collect();
                partial(py, (begin, self.context.get(py)?, &self.name, protocols), None)
            }
        }
    }
}

impl TlsStep {
    /// Takes the outcome of the call. An `Exception` fails the session; any other exception is returned.
    pub fn finish(self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let output = result.and_then(|returned| self.output(&returned));
        self.finish_with(py, output)
    }

    fn finish_with(mut self, py: Python<'_>, output: PyResult<StepOutput>) -> PyResult<()> {
        let session = Arc::clone(&self.session);
        let finished = match output {
            Ok(output) => Ok(output),
            Err(exception) if exception.is_instance_of::<PyException>(py) => {
                Ok(StepOutput { fault: Some(fault(py, exception)), ..StepOutput::default() })
            }
            Err(exception) => Err(exception),
        }
        .map(|output| {
            self.is_over = true;
            session.finish_step(output);
        });
        drop(self);
        session.resume();
        finished
    }

    fn output(&self, returned: &Bound<'_, PyAny>) -> PyResult<StepOutput> {
        let py = returned.py();
        let returned = returned.cast::<PyTuple>()?;
        // `begin` returns the session as the first item, a handshake the protocol as the last one.
        let first = returned.len().saturating_sub(4);
        if returned.len() == 5 {
            // A session begins once.
            let _ = known(&self.session)?.begun.set(Begun::new(returned.get_item(0)?)?);
        }
        let state = returned.get_item(first)?;
        let (flags, fault) = match state.extract::<u8>() {
            Ok(flags) => (flags, None),
            Err(_) => (0, Some(fault(py, PyErr::from_value(state)))),
        };
        let protocol = if returned.len() > 3 { returned.get_item(first + 3)?.extract()? } else { None::<String> };
        let (plaintext, ciphertext) = (returned.get_item(first + 1)?, returned.get_item(first + 2)?);
        let plaintext_in = BytesMut::from(plaintext.cast::<PyBytes>()?.as_bytes());
        let ciphertext_out =
            Some(copy_or_borrow(ciphertext.cast()?)).into_iter().filter(|part| !part.is_empty()).collect();
        Ok(StepOutput {
            buffers: StepBuffers { plaintext_in, ciphertext_out, ..StepBuffers::default() },
            is_handshaken: flags & HANDSHAKEN != 0,
            protocol: protocol.map(Bytes::from),
            is_closed: flags & CLOSED != 0,
            is_holding: flags & HOLDING != 0,
            fault,
        })
    }
}

impl Begun {
    fn new(object: Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let calls = object.getattr(intern!(py, "calls"))?;
        let calls = calls.cast::<PyTuple>().ok().map(SslCalls::new).transpose()?;
        let step = partial(py, (object.getattr(intern!(py, "step"))?,), None)?.unbind();
        Ok(Self { object: object.unbind(), step, calls })
    }
}

/// Takes the next step that the polls of this thread have made necessary, or returns it as an effect, with the [`TlsStep`] that takes
/// its outcome. The error is an exception that is not the session's.
pub fn next_step(py: Python<'_>) -> PyResult<NextStep<'_>> {
    while let Some(session) = python_ssl::take_step() {
        match begin(py, &session)? {
            NextStep::Nothing => {}
            found => return Ok(found),
        }
    }
    Ok(NextStep::Nothing)
}

/// Leaves the steps that became necessary outside of an operation, when a thread closed a response, to the next operation of the
/// pool: a reset has to be encrypted.
pub fn leave_steps(owner: &StreamOwner) {
    while let Some(session) = python_ssl::take_step() {
        owner.add(|dropped| dropped.resets.push(Arc::new(LeftStep(session))));
    }
}

/// Takes the steps that became necessary when a response was dropped, so that the peer gets the reset at once. Exceptions are
/// reported by `sys.unraisablehook`.
pub fn take_dropped_steps() {
    const MOST: usize = 8;

    if !python_ssl::has_steps() {
        return;
    }
    // Does nothing while the interpreter is being finalized.
    Python::try_attach(|py| {
        let raised_before = PyErr::take(py);
        for _ in 0..MOST {
            let ended = match next_step(py) {
                Ok(NextStep::Nothing) => break,
                Ok(NextStep::Taken) => Ok(()),
                Ok(NextStep::Effect(effect, step)) => step.finish(py, calls::call(&effect, ())),
                Err(exception) => Err(exception),
            };
            if let Err(exception) = ended {
                exception.write_unraisable(py, None);
                break;
            }
        }
        wait_set::clear();
        if let Some(exception) = raised_before {
            exception.restore(py);
        }
    });
}

/// A step that is left to the next operation.
struct LeftStep(Arc<SslSession>);

impl DeferredWork for LeftStep {
    fn is_async(&self) -> bool {
        false
    }

    fn send(self: Arc<Self>, _: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            // The step is taken before the operation ends.
            python_ssl::needs_step(&self.0);
            Ok(())
        })
    }
}

/// Returns the `ssl.SSLObject` of a session, or `None` before its first step.
pub fn object<'py>(py: Python<'py>, session: &(dyn Any + Send + Sync)) -> PyResult<Option<Bound<'py, PyAny>>> {
    let session = session.downcast_ref().ok_or_else(unknown)?;
    let begun = known(session)?.begun.get();
    begun.map(|begun| begun.object.bind(py).getattr(intern!(py, "object"))).transpose()
}

fn known(session: &SslSession) -> PyResult<&Session> {
    session.engine().downcast_ref().ok_or_else(unknown)
}

fn unknown() -> PyErr {
    PyRuntimeError::new_err("httpcore_rs has a bug, please report it: a TLS session of an unknown kind")
}

/// Returns the failure of a session by an exception.
pub fn fault(py: Python<'_>, exception: PyErr) -> SessionFault {
    let text = exception.value(py).to_string();
    SessionFault::new(text, Some(Box::new(exception)))
}
