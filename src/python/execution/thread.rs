//! The driver of an operation that a thread runs: the thread sleeps while the operation waits.

use pyo3::prelude::*;

use super::effects::StepProgress;
use super::{Driver, Execution, NextEffect, over};
use crate::python::awaited::AwaitedEffect;
use crate::python::helpers::{helper, nothing, partial};
use crate::python::thread_driver::Stop;

impl Execution {
    pub(super) fn advance_in_thread<'py>(&mut self, py: Python<'py>) -> NextEffect<'py> {
        loop {
            let (Driver::Thread(driver), Some(operation)) = (&mut self.driver, &mut self.operation) else {
                return Err(over());
            };
            match driver.run(py, &mut **operation, &self.effects) {
                Stop::Ready(Ok(())) => return self.end_complete(py),
                Stop::Ready(Err(error)) | Stop::Interrupted(error) => return self.end_failed(py, error),
                Stop::Steps => match self.next_step(py) {
                    // What a moved connection has waited for does not concern the next sleep: `run` begins with an empty wait set.
                    Ok(StepProgress::Nothing | StepProgress::Taken) => {}
                    Ok(StepProgress::Effect(step)) => return Ok(Some(step)),
                    Err(exception) => return self.interrupt(py, exception),
                },
                Stop::SignalPoll => return self.wait_for(nothing(py)?, AwaitedEffect::Nothing),
                Stop::Wait => {
                    let select = driver.select_arguments();
                    let call = (helper(py, "wait")?, select.readers, select.writers, select.timeout);
                    return self.wait_for(partial(py, call, None)?, AwaitedEffect::Nothing);
                }
                Stop::Effect(effect) => {
                    if let Some(next) = self.perform(py, effect) {
                        return next.or_else(|exception| self.interrupt(py, exception));
                    }
                }
            }
        }
    }
}
