//! The client of one pool, as the engine and its connections share it: sending requests, and closing.

use std::sync::Arc;

use pyo3::prelude::*;

use super::arguments::PoolArguments;
use super::callbacks::RequestCallbacks;
use super::calls::{call, detached};
use super::closing::closing;
use super::execution::{NewOperation, NextEffect};
use super::host::Host;
use super::httpx::HttpxModels;
use super::namespace::{Namespace, Package};
use super::operation::{self, Operation};
use super::operations::send::{FetchRequest, SendRequest};
use super::performer::Performer;
use super::request::Parsed;
use super::request_arguments::{RequestArguments, read_arguments};
use super::request_defaults::RequestDefaults;
use super::tracer::Tracer;
use crate::client::{self, Client, ConnectionChoice};
use crate::io::reactor::Reactor;
use crate::operation::EffectChannel;

/// The pool of connections that a `ConnectionPool` or `AsyncConnectionPool` uses, with the configuration for new connections.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct Engine {
    pub handle: ClientHandle,
}

/// The client of a pool, shared by its engine and its connections.
#[derive(Clone)]
pub struct ClientHandle {
    pub client: Arc<Client>,
    pub arguments: Arc<Py<PoolArguments>>,
    pub defaults: Arc<RequestDefaults>,
    /// The package whose names are used where there is no request to infer them from.
    pub package: Package,
}

impl ClientHandle {
    /// Sends a request from this thread. Returns its response, or an [`Operation`] that has it as its result.
    pub fn send<'py>(
        &self,
        request: &Bound<'py, PyAny>,
        namespace: &'static Namespace,
        parsed: Parsed,
        choice: ConnectionChoice,
    ) -> PyResult<Bound<'py, PyAny>> {
        operation::run(request.py(), self.sending(request, namespace, parsed, choice, None)?)
    }

    /// Returns the operation that sends a request from a task of the host's loop.
    pub fn start(
        &self,
        host: Py<Host>,
        request: &Bound<'_, PyAny>,
        namespace: &'static Namespace,
        parsed: Parsed,
        choice: ConnectionChoice,
    ) -> PyResult<Operation> {
        let reactor = Arc::clone(&host.get().shared.reactor);
        Ok(Operation::in_task(host, self.sending(request, namespace, parsed, choice, Some(reactor))?))
    }

    /// Returns the operation that sends an `httpx.Request` and makes an `httpx.Response`; `None` if it needs an `httpcore.Request`.
    pub fn sending_for(
        &self,
        request: &Bound<'_, PyAny>,
        models: &Bound<'_, HttpxModels>,
        reactor: Option<Arc<Reactor>>,
    ) -> PyResult<Option<NewOperation<'_>>> {
        let (py, namespace) = (request.py(), models.get().namespace());
        if namespace.is_patched(py, reactor.is_some())?
            || namespace.is_debugging(py, self.arguments.get().has_proxy(py))?
        {
            // Patches and the debug log are given an `httpcore.Request`.
            return Ok(None);
        }
        let parsed = models.get().read(request, &self.defaults).map_err(|fault| fault.into_pyerr(py, namespace))?;
        let Some((parsed, callbacks)) = parsed else { return Ok(None) };
        let effects = EffectChannel::default().until(parsed.timeouts.deadline);
        let sending = client::start(Arc::clone(&self.client), parsed, ConnectionChoice::Any, reactor, effects.clone());
        Ok(Some(NewOperation {
            operation: Box::new(SendRequest::for_httpx(sending, models)),
            effects,
            namespace,
            callbacks,
            owner: &self.client.owner,
        }))
    }

    fn sending(
        &self,
        request: &Bound<'_, PyAny>,
        namespace: &'static Namespace,
        (parsed, callbacks): Parsed,
        choice: ConnectionChoice,
        reactor: Option<Arc<Reactor>>,
    ) -> PyResult<NewOperation<'_>> {
        let tracer = Tracer::of(request, namespace, &self.arguments, reactor.is_some())?;
        let mut effects = EffectChannel::new(tracer.is_some()).until(parsed.timeouts.deadline);
        if tracer.as_ref().is_some_and(|tracer| tracer.takes_all) {
            effects = effects.tracing_all();
        }
        let sending = client::start(Arc::clone(&self.client), parsed, choice, reactor, effects.clone());
        Ok(NewOperation {
            operation: Box::new(SendRequest::new(sending)),
            effects,
            namespace,
            callbacks: RequestCallbacks { tracer, ..callbacks },
            owner: &self.client.owner,
        })
    }

    /// Returns the operation that sends a request and reads its response to the end; `None` if httpcore has to check the
    /// arguments and make an `httpcore.Request` of them.
    pub fn fetching(
        &self,
        py: Python<'_>,
        arguments: RequestArguments<'_, '_>,
        reactor: Option<Arc<Reactor>>,
    ) -> PyResult<Option<NewOperation<'_>>> {
        let namespace = self.package.namespace(py)?;
        if namespace.is_patched(py, reactor.is_some())?
            || (self.arguments.get().has_proxy(py) && namespace.is_debugging(py, true)?)
        {
            // Patches and the debug log are given an `httpcore.Request`.
            return Ok(None);
        }
        let parsed =
            read_arguments(namespace, arguments, &self.defaults).map_err(|fault| fault.into_pyerr(py, namespace))?;
        let Some((parsed, callbacks)) = parsed else { return Ok(None) };
        let effects = EffectChannel::default().until(parsed.timeouts.deadline);
        let fetching = client::fetch(Arc::clone(&self.client), parsed, reactor, effects.clone());
        Ok(Some(NewOperation {
            operation: Box::new(FetchRequest::new(fetching)),
            effects,
            namespace,
            callbacks,
            owner: &self.client.owner,
        }))
    }

    /// Closes all connections of the pool.
    pub fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = detached(py, || self.client.pool.close());
        self.log_closed(py, closed)
    }

    /// Returns whether there are or were external streams, which may have to be closed.
    pub fn has_external_streams(&self) -> bool {
        !self.client.owner.is_empty() || self.client.connector.backend.load().is_some()
    }

    /// Returns the effect that closes the external streams that were dropped, for a thread or for a task of the host's loop;
    /// `None` if there are none.
    pub fn closing<'py>(&self, py: Python<'py>, host: Option<&Py<Host>>) -> NextEffect<'py> {
        let performer = host.map_or(Performer::Thread, Performer::Task);
        closing(py, performer, self.package.namespace(py)?, &self.client.owner)
    }

    /// Writes the debug records for a number of connections that were closed.
    pub fn log_closed(&self, py: Python<'_>, connections: usize) -> PyResult<()> {
        if connections > 0 && self.package.namespace(py)?.is_debugging(py, false)? {
            let log_closed = py.import("httpcore_rs._trace")?.getattr("log_closed")?;
            call(&log_closed, (self.package.name(), connections))?;
        }
        Ok(())
    }
}
