//! Reading and writing on an upgraded stream: after `101 Switching Protocols`, or after a successful CONNECT.

use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{BoxedFuture, Completion, PollOperation};
use crate::error::Result;

/// Reads bytes from an upgraded stream.
pub struct ReadUpgraded {
    reading: BoxedFuture<Bytes>,
    bytes: Bytes,
}

impl ReadUpgraded {
    pub fn new(reading: impl Future<Output = Result<Bytes>> + Send + 'static) -> Self {
        Self { reading: Box::pin(reading), bytes: Bytes::new() }
    }
}

impl PollOperation for ReadUpgraded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.reading.as_mut().poll(cx).map_ok(|bytes| self.bytes = bytes)
    }

    fn value<'py>(&mut self, py: Python<'py>, _: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, &std::mem::take(&mut self.bytes)).into_any())
    }
}

/// Sends bytes: on an upgraded stream, or as the deferred reset of an HTTP/2 stream.
pub struct WriteUpgraded(BoxedFuture<()>);

impl WriteUpgraded {
    pub fn new(writing: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self(Box::pin(writing))
    }
}

impl PollOperation for WriteUpgraded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.as_mut().poll(cx)
    }
}
