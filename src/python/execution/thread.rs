//! The driver of an operation that a thread runs: the thread sleeps while the operation waits.

use pyo3::prelude::*;

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
                Stop::Steps => {
                    if let Some(effect) = self.next_step(py)? {
                        return Ok(Some(effect));
                    }
                }
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
