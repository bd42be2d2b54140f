//! Running an operation on the calling thread.
//!
//! The thread polls its operation and sleeps in `poll(2)` without the interpreter lock. It stops and returns the reason when the
//! operation needs Python or a signal may have arrived. The drive loop, in Python, acts on the reason and runs the operation
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pyo3::prelude::*;

use super::calls::detached;
use super::greenlets::{Greenlet, SelectArguments, is_green};
use super::operations::PollOperation;
use super::signals::{self, SignalWatch};
use crate::error::{Error, Kind, Result};
use crate::io::block_on::{Progress, advance};
use crate::io::parker::Parker;
use crate::io::sleep::WakeCause;
use crate::io::strand;
use crate::io::wait_set::{self, WaitSet};
use crate::operation::{Effect, EffectChannel};
use crate::tls::python_ssl;

/// The reason why a thread has stopped running its operation.
pub enum Stop {
    Ready(Result<()>),
    Effect(Effect),
    /// TLS sessions of Python's `ssl` need steps.
    Steps,
    /// There may be signal handlers to run.
    SignalPoll,
    /// A traced operation was interrupted before it could report that to its trace callback.
    Interrupted(Error),
    /// A greenlet waits, by the patched `select`.
    Wait,
}

/// The driver of one operation in a thread.
pub struct ThreadDriver {
    parker: Arc<Parker>,
    /// `Some` in the main thread.
    signals: Option<SignalWatch>,
    /// `Some` where sockets are monkey-patched.
    greenlet: Option<Greenlet>,
}

impl ThreadDriver {
    pub fn new() -> Self {
        let is_green = is_green();
        Self {
            parker: Arc::default(),
            signals: (!is_green && signals::is_main_thread()).then(SignalWatch::default),
            greenlet: is_green.then(Greenlet::new),
        }
    }

    /// Polls and sleeps until the operation is done or needs Python.
    pub fn run(&mut self, py: Python<'_>, operation: &mut dyn PollOperation, effects: &EffectChannel) -> Stop {
        if let Some(signals) = &mut self.signals {
            signals.resume(py);
        }
        let stop = detached(py, || {
            let stop = self.run_detached(operation, effects);
            if !matches!(stop, Stop::Effect(_)) {
                // The wait set of the last poll does not concern the next operation.
                wait_set::clear();
            }
            strand::set_strand(0);
            stop
        });
        match &mut self.signals {
            Some(signals) if matches!(stop, Stop::SignalPoll) => signals.watch(py),
            Some(signals) => signals.end(py),
            None => {}
        }
        stop
    }

    fn run_detached(&mut self, operation: &mut dyn PollOperation, effects: &EffectChannel) -> Stop {
        let waker = Waker::from(Arc::clone(&self.parker));
        let mut cx = Context::from_waker(&waker);
        if let Some(greenlet) = &mut self.greenlet {
            greenlet.begin();
        }
        loop {
            let poll = || poll_caught(operation, &mut cx);
            let wait_set = match advance(&self.parker, effects, poll, python_ssl::has_steps) {
                Progress::Ready(result) => return Stop::Ready(result),
                Progress::Interrupted(error) => return Stop::Interrupted(error),
                Progress::Due => return Stop::Steps,
                Progress::Effect(effect) => return Stop::Effect(effect),
                Progress::Stuck(error) => return Stop::Ready(Err(error)),
                Progress::Waits(wait_set) => wait_set,
            };
            if let Some(greenlet) = &mut self.greenlet {
                if greenlet.prepare(wait_set, &self.parker) {
                    return Stop::Wait;
                }
                continue;
            }
            match self.sleep(wait_set) {
                Ok(WakeCause::BySignal) => return Stop::SignalPoll,
                Ok(WakeCause::Otherwise) => {}
                Err(error) => return Stop::Ready(Err(error)),
            }
        }
    }

    /// Sleeps until a socket is ready, the parker is woken, a deadline has passed, or a signal arrives.
    fn sleep(&mut self, mut wait_set: WaitSet) -> Result<WakeCause> {
        let Some(signals) = &mut self.signals else { return self.parker.sleep(wait_set, false) };
        signals.limit(&mut wait_set);
        let woken = self.parker.sleep(wait_set, true)?;
        Ok(if signals.is_due() { WakeCause::BySignal } else { woken })
    }

    /// Called when the operation ends because of an exception.
    pub fn end(&mut self, py: Python<'_>) {
        if let Some(signals) = &mut self.signals {
            signals.end(py);
        }
    }

    /// Returns the arguments of the `select` that a greenlet waits by.
    pub fn select_arguments(&self) -> SelectArguments {
        self.greenlet.as_ref().map(Greenlet::select_arguments).unwrap_or_default()
    }
}

/// Polls an operation. A panic becomes an error, so that the operation is dropped and frees its resources.
pub fn poll_caught(operation: &mut dyn PollOperation, cx: &mut Context<'_>) -> Poll<Result<()>> {
    catch_unwind(AssertUnwindSafe(|| operation.poll(cx))).unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
}

/// Returns the error for a panic.
pub fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let why = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Error::new(Kind::Internal, format!("httpcore_rs has a bug, please report it: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Panics;

    impl PollOperation for Panics {
        fn poll(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
            panic!("at the disco");
        }
    }

    #[test]
    fn a_panic_becomes_an_error() {
        match poll_caught(&mut Panics, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => {
                assert_eq!(error.kind(), Kind::Internal);
                assert!(error.message().contains("at the disco"));
            }
            other => panic!("{other:?}"),
        }
    }
}
