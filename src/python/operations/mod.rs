//! The operations that a driver runs, one file each.

mod read_body;
mod send;
mod transfer;
mod upload;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::prelude::*;

pub use self::read_body::{OpenBody, ReadBody};
pub use self::send::{FetchRequest, SendRequest};
pub use self::transfer::{ReadUpgraded, WriteUpgraded};
pub use self::upload::RunUpload;
use super::callbacks::RequestCallbacks;
use super::effects::Performer;
use super::namespace::Namespace;
use crate::error::{Error, Kind, Result};
use crate::operation::StreamOwner;

/// An operation of the engine.
///
/// Dropping it ends it where it stands: a request's connection is closed, or its stream reset, and its slot is given back.
pub trait PollOperation: Send {
    /// Goes on as far as possible. Its value is there when this is ready.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;

    /// What the operation has come to, once.
    fn value<'py>(&mut self, py: Python<'py>, _: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        Ok(py.None().into_bound(py))
    }

    /// The operation ends because of an exception. Returns whether that is raised where the operation was awaited.
    fn give_up(&mut self, _: Python<'_>, _: &PyErr) -> bool {
        true
    }
}

pub type BoxedFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// What the value of an operation is made with.
pub struct Completion<'a> {
    pub namespace: &'static Namespace,
    pub caller: RequestCallbacks,
    pub performer: Performer<'a>,
    /// The pool's owner of external streams.
    pub owner: &'a Arc<StreamOwner>,
}

fn no_value() -> Error {
    Error::new(Kind::Internal, "httpcore_rs has a bug, please report it: an operation has no value")
}
