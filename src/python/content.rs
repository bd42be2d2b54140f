//! A response body that is collected while it arrives.

use bytes::Bytes;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::response;
use crate::client::Collect;
use crate::error::{Error, Kind, Result};

/// Pieces are kept as they are up to this size, in bytes, and joined at the end.
const LARGE: usize = 1024 * 1024;
/// The buffer of a large body doubles up to this size, in bytes.
const DOUBLING: usize = 8 * 1024 * 1024;
/// Then it grows by so many bytes at a time. What is not written to yet takes no memory, and a block of this size is mapped: it can
/// move without a copy, and leaves nothing behind on the heap.
const GROWTH: usize = 64 * 1024 * 1024;

mod raw {
    use pyo3::ffi::{Py_ssize_t, PyObject};
    use std::ffi::c_int;

    unsafe extern "C" {
        pub fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
    }
}

/// What has arrived of a body. A large one is written straight into the `bytes` object that the caller gets: it is in memory
/// once, and copied without the interpreter.
#[derive(Default)]
pub struct ResponseContent {
    pieces: Vec<Bytes>,
    length: usize,
    buffer: Option<Buffer>,
}

/// A `bytes` object that nothing else refers to yet.
struct Buffer {
    object: *mut ffi::PyObject,
    capacity: usize,
}

// SAFETY: the object is referred to from here only; it is touched by the thread that has the buffer, and allocated, resized and
// freed with the interpreter.
unsafe impl Send for Buffer {}

impl Collect for ResponseContent {
    fn push(&mut self, piece: Bytes) -> Result<()> {
        let length = self.length + piece.len();
        if length < LARGE {
            self.pieces.push(piece);
        } else {
            let needed = length;
            let mut position = self.length;
            let buffer = if let Some(buffer) = &mut self.buffer {
                buffer
            } else {
                position = 0;
                self.buffer.insert(Buffer::with_capacity(needed.saturating_mul(2))?)
            };
            if needed > buffer.capacity {
                buffer.grow(needed.saturating_add(if needed < DOUBLING { needed } else { GROWTH }))?;
            }
            for piece in self.pieces.drain(..).chain(std::iter::once(piece)) {
                buffer.write(position, &piece);
                position += piece.len();
            }
        }
        self.length = length;
        Ok(())
    }
}

impl ResponseContent {
    /// The whole body.
    pub fn into_bytes(self, py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
        match self.buffer {
            None => response::join(py, self.pieces.iter()),
            Some(mut buffer) => {
                buffer.resize(py, self.length)?;
                let object = std::mem::replace(&mut buffer.object, std::ptr::null_mut());
                // SAFETY: it is a `bytes` object, and its only reference is handed over.
                Ok(unsafe { Bound::from_owned_ptr(py, object).cast_into_unchecked() })
            }
        }
    }
}

impl Buffer {
    fn with_capacity(capacity: usize) -> Result<Self> {
        Python::attach(|py| {
            let size = ffi::Py_ssize_t::try_from(capacity).unwrap_or(ffi::Py_ssize_t::MAX);
            // SAFETY: a null pointer asks for an object without content.
            let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size) };
            if object.is_null() { Err(failed(PyErr::fetch(py))) } else { Ok(Self { object, capacity }) }
        })
    }

    fn grow(&mut self, capacity: usize) -> Result<()> {
        Python::attach(|py| self.resize(py, capacity)).map_err(failed)
    }

    fn resize(&mut self, py: Python<'_>, capacity: usize) -> PyResult<()> {
        let size = ffi::Py_ssize_t::try_from(capacity).map_err(|_| PyMemoryError::new_err(()))?;
        // SAFETY: the object is a `bytes` object with one reference, which is what this is for. On failure it is freed and the
        // pointer set to null.
        if unsafe { raw::_PyBytes_Resize(&raw mut self.object, size) } < 0 {
            self.capacity = 0;
            return Err(PyErr::fetch(py));
        }
        self.capacity = capacity;
        Ok(())
    }

    fn write(&mut self, position: usize, piece: &[u8]) {
        debug_assert!(position + piece.len() <= self.capacity);
        // SAFETY: `capacity` bytes can be written behind this pointer, the piece lies within them, and it is no part of them.
        unsafe {
            let start = ffi::PyBytes_AS_STRING(self.object).cast::<u8>().cast_mut();
            std::ptr::copy_nonoverlapping(piece.as_ptr(), start.add(position), piece.len());
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.object.is_null() {
            // SAFETY: it is the only reference, which is given up. An interpreter that is being finalized keeps the memory.
            Python::try_attach(|_| unsafe { ffi::Py_DECREF(self.object) });
        }
    }
}

fn failed(exception: PyErr) -> Error {
    super::errors::raised(Kind::Raised, exception)
}
