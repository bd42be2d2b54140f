//! The effects of an operation, prepared for Python; those that concern its driver are carried out here.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{Driver, Execution, NewOperation, NextEffect};
use crate::operation::{Background, Effect, EffectChannel, Reply};
use crate::python::awaited::AwaitedEffect;
use crate::python::callbacks::RequestCallbacks;
use crate::python::closing::closing;
use crate::python::effects::{Performed, perform};
use crate::python::host::Host;
use crate::python::operation::Operation;
use crate::python::operations::upload::RunUpload;
use crate::python::ssl::{self, NextStep};
use crate::tls::python_ssl;

/// The outcome of looking for a step of TLS.
pub(super) enum StepProgress<'py> {
    Nothing,
    /// A step was taken: the operation can be polled again.
    Taken,
    /// The drive loop takes the step.
    Effect(Bound<'py, PyAny>),
}

impl Execution {
    /// Prepares an effect for Python. Returns `None` if its reply is there already.
    pub(super) fn perform<'py>(&mut self, py: Python<'py>, effect: Effect) -> Option<NextEffect<'py>> {
        match self.prepare(py, effect) {
            Ok(Performed::ByPython(effect, awaited)) => Some(self.wait_for(effect, awaited)),
            Ok(Performed::Done) => None,
            Err(exception) => Some(Err(exception)),
        }
    }

    /// Performs an effect that follows another one, and goes on.
    pub(super) fn perform_next<'py>(&mut self, py: Python<'py>, effect: Effect) -> NextEffect<'py> {
        match self.perform(py, effect) {
            Some(next) => next.or_else(|exception| self.interrupt(py, exception)),
            None => self.advance(py),
        }
    }

    fn prepare<'py>(&mut self, py: Python<'py>, effect: Effect) -> PyResult<Performed<'py>> {
        match (effect, &self.driver) {
            (Effect::Spawn { task, reply }, Driver::Task { host, .. }) => {
                let host = host.clone_ref(py);
                self.spawn(py, &host, &task, &reply)?;
                Ok(Performed::Done)
            }
            (Effect::CloseDropped(reply), driver) => {
                if let Some(closing) = closing(py, driver.performer(), self.namespace, &self.owner)? {
                    return Ok(Performed::ByPython(closing, AwaitedEffect::Closed(reply)));
                }
                reply.set(Ok(()));
                Ok(Performed::Done)
            }
            (effect, driver) => perform(py, effect, &mut self.callbacks, driver.performer()),
        }
    }

    /// Spawns a task for the rest of an upload. That task reads the request body from now on.
    fn spawn(
        &mut self,
        py: Python<'_>,
        host: &Py<Host>,
        upload: &Arc<dyn Background>,
        reply: &Reply<()>,
    ) -> PyResult<()> {
        let effects = EffectChannel::default();
        let new = NewOperation {
            operation: Box::new(RunUpload::new(Arc::clone(upload), effects.clone())),
            effects,
            namespace: self.namespace,
            callbacks: RequestCallbacks::uploading(self.callbacks.upload.take()),
            owner: &self.owner,
        };
        let coroutine = Operation::in_task(host.clone_ref(py), new).into_coroutine(py)?;
        upload.cancel_with(host.get().spawn(py, coroutine)?);
        reply.set(Ok(()));
        Ok(())
    }

    /// Takes the next step of TLS that the polls of this thread have made necessary, or returns it as an effect. The error is an
    /// exception that ends the operation.
    pub(super) fn next_step<'py>(&mut self, py: Python<'py>) -> PyResult<StepProgress<'py>> {
        if !python_ssl::has_steps() {
            return Ok(StepProgress::Nothing);
        }
        Ok(match ssl::next_step(py)? {
            NextStep::Nothing => StepProgress::Nothing,
            NextStep::Taken => StepProgress::Taken,
            NextStep::Effect(effect, step) => {
                self.awaited = Some(AwaitedEffect::Step(step));
                StepProgress::Effect(effect)
            }
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "every function that calls it returns its result")]
    pub(super) fn wait_for<'py>(&mut self, effect: Bound<'py, PyAny>, awaited: AwaitedEffect) -> NextEffect<'py> {
        self.awaited = Some(awaited);
        Ok(Some(effect))
    }
}
