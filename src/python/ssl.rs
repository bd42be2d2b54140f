//! TLS by Python's `ssl`: the sessions of an `ssl.SSLContext`, and their steps, which `httpcore_rs._ssl_session` takes.
//!
//! A step is an effect. [`next_step`] prepares it for a session that the last polls of this thread have queued in
//! [`python_ssl::needs_step`], and [`TlsStep::finish`] takes its outcome.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use super::calls;
use super::helpers::partial;
use super::namespace::Package;
use super::tls;
use crate::error::Result;
use crate::io::wait_set;
use crate::operation::{DeferredWork, EffectChannel, StreamOwner};
use crate::tls::Tls;
use crate::tls::python_ssl::{self, SessionFault, SslEngine, SslSession, StepInput, StepOutput};

// The flags of a session's state, with the values of `_ssl_session`.
const HANDSHAKEN: u8 = 1;
const CLOSED: u8 = 2;
const HOLDING: u8 = 4;

/// Returns the TLS of a pool or a proxy with this `ssl_context`: rustls, or Python's `ssl`. The default is that of `package`.
pub fn tls(py: Python<'_>, ssl_context: Option<&Bound<'_, PyAny>>, package: Package) -> PyResult<Tls> {
    if let Some(config) = tls::from_argument(py, ssl_context, package)? {
        return Ok(Tls::Rustls(config));
    }
    let given = ssl_context.map(|context| context.clone().unbind());
    let context = SslContext { given, package, context: PyOnceLock::new() };
    Ok(Tls::Python(Arc::new(ContextEngine { context: Arc::new(context) })))
}

/// The `ssl.SSLContext` of a pool.
struct SslContext {
    given: Option<Py<PyAny>>,
    package: Package,
    /// The `ssl.SSLContext` that was given, or an equivalent one. Made when it is needed.
    context: PyOnceLock<Py<PyAny>>,
}

impl SslContext {
    fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let given = self.given.as_ref().map(|given| given.bind(py));
        let context = self
            .context
            .get_or_try_init(py, || Ok::<_, PyErr>(equivalent(py, given, false, self.package)?.unbind()))?;
        Ok(context.bind(py))
    }
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

/// Returns the step that a session needs, as an effect, with the [`TlsStep`] that takes its outcome; `None` if the session needs
/// none, or has failed because the step could not be prepared.
fn effect<'py>(py: Python<'py>, session: &Arc<SslSession>) -> PyResult<Option<(Bound<'py, PyAny>, TlsStep)>> {
    let Some(input) = session.begin_step() else { return Ok(None) };
    let step = TlsStep { session: Arc::clone(session), is_over: false };
    match known(session).and_then(|known| known.effect(py, input)) {
        Ok(effect) => Ok(Some((effect, step))),
        Err(exception) => step.finish(py, Err(exception)).map(|()| None),
    }
}

impl Session {
    fn effect<'py>(&self, py: Python<'py>, input: StepInput) -> PyResult<Bound<'py, PyAny>> {
        match (self.begun.get(), input) {
            (Some(begun), StepInput::Data { ciphertext, plaintext }) => {
                // Passed as attributes: a `partial` for each step costs more. One driver at a time takes a step, so that nothing
                // else sets them before the call.
                let object = begun.object.bind(py);
                object.setattr(intern!(py, "ciphertext"), PyBytes::new(py, &ciphertext))?;
                object.setattr(intern!(py, "plaintext"), PyBytes::new(py, &plaintext))?;
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
    pub fn finish(mut self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let session = Arc::clone(&self.session);
        let finished = self.finish_step(py, result);
        drop(self);
        session.resume();
        finished
    }

    fn finish_step(&mut self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        match result.and_then(|returned| self.take(&returned)) {
            Ok(()) => Ok(()),
            Err(exception) if exception.is_instance_of::<PyException>(py) => {
                self.is_over = true;
                let fault = Some(fault(py, exception));
                self.session.finish_step(StepOutput { fault, ..StepOutput::default() });
                Ok(())
            }
            Err(exception) => Err(exception),
        }
    }

    fn take(&mut self, returned: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = returned.py();
        let returned = returned.cast::<PyTuple>()?;
        // `begin` returns the session as the first item, a handshake the protocol as the last one.
        let first = returned.len().saturating_sub(4);
        let known = known(&self.session)?;
        if returned.len() == 5 {
            let object = returned.get_item(0)?;
            let step = partial(py, (object.getattr(intern!(py, "step"))?,), None)?.unbind();
            // A session begins once.
            let _ = known.begun.set(Begun { object: object.unbind(), step });
        }
        let state = returned.get_item(first)?;
        let (flags, fault) = match state.extract::<u8>() {
            Ok(flags) => (flags, None),
            Err(_) => (0, Some(fault(py, PyErr::from_value(state)))),
        };
        let (plaintext, ciphertext) = (returned.get_item(first + 1)?, returned.get_item(first + 2)?);
        let protocol = if returned.len() > 3 { returned.get_item(first + 3)?.extract()? } else { None::<String> };
        self.is_over = true;
        self.session.finish_step(StepOutput {
            plaintext: plaintext.cast::<PyBytes>()?.as_bytes(),
            ciphertext: ciphertext.cast::<PyBytes>()?.as_bytes(),
            is_handshaken: flags & HANDSHAKEN != 0,
            protocol: protocol.as_deref().map(str::as_bytes),
            is_closed: flags & CLOSED != 0,
            is_holding: flags & HOLDING != 0,
            fault,
        });
        Ok(())
    }
}

/// Returns the next step that the polls of this thread have made necessary, as an effect, with the [`TlsStep`] that takes its
/// outcome.
pub fn next_step(py: Python<'_>) -> PyResult<Option<(Bound<'_, PyAny>, TlsStep)>> {
    let mut sessions = python_ssl::take_steps().into_iter();
    let next = sessions.find_map(|session| effect(py, &session).transpose()).transpose();
    // The other sessions have their steps later.
    sessions.for_each(|session| python_ssl::needs_step(&session));
    next
}

/// Leaves the steps that became necessary outside of an operation, when a thread closed a response, to the next operation of the
/// pool: a reset has to be encrypted.
pub fn leave_steps(owner: &StreamOwner) {
    if python_ssl::has_steps() {
        for session in python_ssl::take_steps() {
            owner.add(|dropped| dropped.resets.push(Arc::new(LeftStep(session))));
        }
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
                Ok(None) => break,
                Ok(Some((effect, step))) => step.finish(py, calls::call(&effect, ())),
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

fn fault(py: Python<'_>, exception: PyErr) -> SessionFault {
    let text = exception.value(py).to_string();
    SessionFault::new(text, Some(Box::new(exception)))
}
