//! Reading and writing on a stream that has left HTTP.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Completion, Operation};
use crate::error::Result;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

pub struct Read {
    reading: Pending<Bytes>,
    bytes: Bytes,
}

impl Read {
    pub fn new(reading: impl Future<Output = Result<Bytes>> + Send + 'static) -> Self {
        Self { reading: Box::pin(reading), bytes: Bytes::new() }
    }
}

impl Operation for Read {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.reading.as_mut().poll(cx).map_ok(|bytes| self.bytes = bytes)
    }

    fn value<'py>(&mut self, py: Python<'py>, _: Completion<'_>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, &std::mem::take(&mut self.bytes)).into_any())
    }
}

pub struct Write(Pending<()>);

impl Write {
    pub fn new(writing: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self(Box::pin(writing))
    }
}

impl Operation for Write {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.as_mut().poll(cx)
    }
}
