//! The operations that a driver runs, one file for each, and the trait that they implement.

pub mod read_body;
pub mod send;
pub mod transfer;
pub mod upload;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::prelude::*;

use super::callbacks::RequestCallbacks;
use super::namespace::Namespace;
use super::performer::Performer;
use crate::error::{Error, Kind, Result};
use crate::operation::StreamOwner;

/// An operation of the engine.
///
/// Dropping it ends it: the connection of its request is closed, or its HTTP/2 stream reset, and its slot is given back.
pub trait PollOperation: Send {
    /// Goes on as far as possible. Is ready when the value is available.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// Takes the value of the operation, once.
    fn value<'py>(&mut self, py: Python<'py>, _: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        Ok(py.None().into_bound(py))
    }

    /// Ends the operation because of an exception. Returns whether the exception is raised where the operation is awaited.
    fn give_up(&mut self, _: Python<'_>, _: &PyErr) -> bool {
        true
    }
}

/// A future of the engine.
pub type BoxedFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The parts of an execution that the value of its operation is made with.
pub struct Completion<'a> {
    pub namespace: &'static Namespace,
    pub callbacks: RequestCallbacks,
    pub performer: Performer<'a>,
    /// The pool's owner of external streams.
    pub owner: &'a Arc<StreamOwner>,
}

fn no_value() -> Error {
    Error::new(Kind::Internal, "httpcore_rs has a bug, please report it: an operation has no value")
}
