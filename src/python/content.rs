//! The whole body of a response, collected while it arrives.

use bytes::Bytes;
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::response;
use crate::client::Collect;
use crate::error::{Error, Kind, Result};
use crate::lock::assert_none_held;

/// Pieces of a body of less than this size, in bytes, are kept and joined at the end.
const LARGE: usize = 1024 * 1024;
/// The buffer of a large body doubles up to this size, in bytes.
const DOUBLING: usize = 8 * 1024 * 1024;
/// A larger buffer grows by this number of bytes at a time. Pages that are not written to take no memory, and a block of this
/// size is mapped by the allocator: it can move without a copy, and leaves nothing behind on the heap.
const GROWTH: usize = 64 * 1024 * 1024;

mod raw {
    use pyo3::ffi::{Py_ssize_t, PyObject};
    use std::ffi::c_int;

    unsafe extern "C" {
        pub fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
    }
}

/// The part of a body that has arrived. A large body is written directly into the `bytes` object of the response: it is in memory
/// once, and is copied without the interpreter lock.
#[derive(Default)]
pub struct ResponseContent {
    pieces: Vec<Bytes>,
    length: usize,
    buffer: Option<Buffer>,
}

/// A `bytes` object that has no other reference yet.
struct Buffer {
    object: *mut ffi::PyObject,
    capacity: usize,
}

// SAFETY: this is the only reference to the object, which the garbage collector does not know. Only the thread that owns the buffer
// writes to it, and allocates, resizes and frees it while that thread is attached to the interpreter.
unsafe impl Send for Buffer {}

impl Collect for ResponseContent {
    fn push(&mut self, piece: Bytes) -> Result<()> {
        let length = self.length + piece.len();
        if length < LARGE {
            self.pieces.push(piece);
        } else {
            let mut position = self.length;
            let buffer = if let Some(buffer) = &mut self.buffer {
                buffer
            } else {
                position = 0;
                self.buffer.insert(Buffer::with_capacity(length.saturating_mul(2))?)
            };
            if length > buffer.capacity {
                buffer.grow(grown(length))?;
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

/// Returns the new capacity of a buffer that is too small for `length` bytes.
fn grown(length: usize) -> usize {
    length.saturating_add(if length < DOUBLING { length } else { GROWTH })
}

impl ResponseContent {
    /// Returns the whole body.
    pub fn into_bytes(self, py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
        match self.buffer {
            None => response::join(py, self.pieces.iter()),
            Some(mut buffer) => {
                buffer.resize(py, self.length)?;
                let object = std::mem::replace(&mut buffer.object, std::ptr::null_mut());
                // SAFETY: the object is a `bytes` object, and its only reference is handed over.
                Ok(unsafe { Bound::from_owned_ptr(py, object).cast_into_unchecked() })
            }
        }
    }
}

impl Buffer {
    fn with_capacity(capacity: usize) -> Result<Self> {
        assert_none_held();
        Python::attach(|py| {
            let size = ffi::Py_ssize_t::try_from(capacity).unwrap_or(ffi::Py_ssize_t::MAX);
            // SAFETY: a null pointer asks for an object without content.
            let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), size) };
            if object.is_null() { Err(failed(PyErr::fetch(py))) } else { Ok(Self { object, capacity }) }
        })
    }

    fn grow(&mut self, capacity: usize) -> Result<()> {
        assert_none_held();
        Python::attach(|py| self.resize(py, capacity)).map_err(failed)
    }

    fn resize(&mut self, py: Python<'_>, capacity: usize) -> PyResult<()> {
        let size = ffi::Py_ssize_t::try_from(capacity).map_err(|_| PyMemoryError::new_err(()))?;
        // SAFETY: the object is a `bytes` object with one reference, as the function requires. On failure it frees the object and
        // sets the pointer to null. In a free-threaded build it fails in another thread than the one that made the object; an
        // operation stays in one thread.
        if unsafe { raw::_PyBytes_Resize(&raw mut self.object, size) } < 0 {
            self.capacity = 0;
            return Err(PyErr::fetch(py));
        }
        self.capacity = capacity;
        Ok(())
    }

    fn write(&mut self, position: usize, piece: &[u8]) {
        debug_assert!(position + piece.len() <= self.capacity);
        // SAFETY: `capacity` bytes can be written from this pointer on, the piece fits into them, and it does not overlap them.
        unsafe {
            let start = ffi::PyBytes_AS_STRING(self.object).cast::<u8>().cast_mut();
            std::ptr::copy_nonoverlapping(piece.as_ptr(), start.add(position), piece.len());
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.object.is_null() {
            // SAFETY: this is the only reference, and it is given up. An interpreter that is being finalized keeps the memory.
            Python::try_attach(|_| unsafe { ffi::Py_DECREF(self.object) });
        }
    }
}

fn failed(exception: PyErr) -> Error {
    super::errors::raised(Kind::Raised, exception)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_is_kept_in_its_pieces() {
        let mut content = ResponseContent::default();
        for piece in [b"one".as_slice(), b"", b"two"] {
            content.push(Bytes::from_static(piece)).expect("no buffer is needed");
        }
        assert_eq!(content.pieces.concat(), b"onetwo");
        assert_eq!(content.length, 6);
        assert!(content.buffer.is_none());
    }

    #[test]
    fn a_buffer_doubles_and_then_grows_by_a_fixed_size() {
        assert_eq!(grown(LARGE), 2 * LARGE);
        assert_eq!(grown(DOUBLING - 1), 2 * (DOUBLING - 1));
        assert_eq!(grown(DOUBLING), DOUBLING + GROWTH);
        assert_eq!(grown(10 * GROWTH), 11 * GROWTH);
        assert_eq!(grown(usize::MAX), usize::MAX);
    }
}
