//! Steps of TLS without a Python function: calls of the methods of `_ssl`, which are written in C.
//!
//! This is the usual case: the objects of a session are exactly those of the standard library, and nothing is called back
//! (`_ssl_session.Session` finds that out). The calls run no Python code but signal handlers, as any call does in the main thread.
//! They release the interpreter while OpenSSL works, so they are made as [`super::calls`] says, with no lock held.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use pyo3::exceptions::{PyBufferError, PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple, PyType};
use pyo3::{ffi, intern};

use super::ssl::fault;
use super::{calls, values};
use crate::tls::python_ssl::{Record, StepBuffers, StepOutput, first_record};

/// The bytes that go through OpenSSL's buffers at a time, which stay that large.
const PORTION: usize = 64 * 1024;
/// The longest plaintext of a record (RFC 8446, 5.1). A read returns at most one record.
const RECORD: usize = 16 * 1024;

/// The methods of a session's objects.
pub struct SslCalls {
    /// `MemoryBIO.write` and the object that it belongs to, for ciphertext that has arrived.
    incoming: Py<PyAny>,
    write_ciphertext: Py<PyAny>,
    /// `MemoryBIO.read`, for ciphertext to be sent.
    read_ciphertext: Py<PyAny>,
    /// `_SSLSocket.read` and `_SSLSocket.write`, for plaintext.
    read: Py<PyAny>,
    write: Py<PyAny>,
    window: Py<Window>,
}

impl SslCalls {
    /// Takes the methods as `_ssl_session.Session.calls` has them.
    pub fn new(calls: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let (incoming, write_ciphertext, read_ciphertext, read, write) = calls.extract()?;
        let window = Py::new(calls.py(), Window::default())?;
        Ok(Self { incoming, write_ciphertext, read_ciphertext, read, write, window })
    }

    /// Takes a step. The error is an exception that is not the session's.
    pub fn step(&self, py: Python<'_>, buffers: StepBuffers) -> PyResult<StepOutput> {
        let mut output = StepOutput { buffers, ..StepOutput::default() };
        let Err(exception) = self.receive(py, &mut output).and_then(|()| self.send(py, &mut output)) else {
            return Ok(output);
        };
        if !exception.is_instance_of::<PyException>(py) {
            return Err(exception);
        }
        // With the alert for the peer.
        self.take_ciphertext(py, &mut output.buffers.ciphertext_out)?;
        output.fault = Some(fault(py, exception));
        Ok(output)
    }

    /// Decrypts what has arrived.
    fn receive(&self, py: Python<'_>, output: &mut StepOutput) -> PyResult<()> {
        let StepBuffers { ciphertext_in, plaintext_in, plaintext_out, ciphertext_out } = &mut output.buffers;
        if ciphertext_in.is_empty() {
            return Ok(());
        }
        let mut rest = &ciphertext_in[..];
        while !rest.is_empty() && !output.is_closed {
            let (portion, others) = rest.split_at(portion(rest));
            self.window.get().show(py, &self.window, portion, |window| {
                calls::vectorcall(self.write_ciphertext.bind(py), [window])
            })?;
            output.is_closed = self.decrypt(py, portion, plaintext_in)?;
            rest = others;
        }
        // An answer to a `KeyUpdate`, for example.
        if plaintext_out.is_empty() { self.take_ciphertext(py, ciphertext_out) } else { Ok(()) }
    }

    /// Reads the plaintext of some ciphertext. Returns whether that has ended the stream.
    fn decrypt(&self, py: Python<'_>, portion: &[u8], plaintext: &mut BytesMut) -> PyResult<bool> {
        let first = first_record(portion);
        let is_one = first == Record::Whole(portion.len());
        // Plaintext is never longer than its ciphertext. What is not known to be records is read as if there were more.
        plaintext.reserve(portion.len());
        let needed = if matches!(first, Record::Whole(_)) { 1 } else { RECORD };
        loop {
            plaintext.reserve(needed);
            match self.read_plaintext(py, plaintext) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(exception) if is_instance(py, &exception, "SSLWantReadError")? => return Ok(false),
                Err(exception) if is_instance(py, &exception, "SSLZeroReturnError")? => return Ok(true),
                Err(exception) => return Err(exception),
            }
            if is_one || self.incoming.bind(py).getattr(intern!(py, "pending"))?.extract::<usize>()? == 0 {
                return Ok(false);
            }
        }
    }

    /// Appends the plaintext of one record. Returns its length.
    fn read_plaintext(&self, py: Python<'_>, plaintext: &mut BytesMut) -> PyResult<usize> {
        let spare = plaintext.spare_capacity_mut();
        let room = spare.len();
        // A length of 0 stands for that of the buffer.
        let zero = 0_u8.into_pyobject(py)?.into_any();
        // SAFETY: `_SSLSocket.read` writes to the spare capacity, during the call, and does not read from it.
        let read = unsafe {
            self.window.get().open(&self.window, spare.as_mut_ptr().cast(), room, true, |window| {
                calls::vectorcall(self.read.bind(py), [&zero, &window.bind(py).clone().into_any()])
            })
        }?
        .extract::<usize>()?;
        if read > room {
            return Err(PyValueError::new_err("the TLS session has read more than there was room for"));
        }
        // SAFETY: OpenSSL has written that many bytes to the beginning of the spare capacity.
        unsafe { plaintext.set_len(plaintext.len() + read) };
        Ok(read)
    }

    /// Encrypts what is to be sent.
    fn send(&self, py: Python<'_>, output: &mut StepOutput) -> PyResult<()> {
        let StepBuffers { plaintext_out, ciphertext_out, .. } = &mut output.buffers;
        let mut sent = 0;
        while sent < plaintext_out.len() {
            let rest = &plaintext_out[sent..];
            // A chunk with its framing is a little longer than a power of two.
            let portion = if rest.len() <= PORTION + RECORD { rest } else { &rest[..PORTION] };
            let written = self
                .window
                .get()
                .show(py, &self.window, portion, |window| calls::vectorcall(self.write.bind(py), [window]));
            match written {
                Ok(written) => sent += written.extract::<usize>()?.min(portion.len()),
                Err(exception) if is_instance(py, &exception, "SSLWantReadError")? => {
                    output.is_holding = true;
                    self.take_ciphertext(py, ciphertext_out)?;
                    break;
                }
                Err(exception) => return Err(exception),
            }
            self.take_ciphertext(py, ciphertext_out)?;
        }
        if sent == plaintext_out.len() {
            plaintext_out.clear();
        } else {
            plaintext_out.advance(sent);
        }
        Ok(())
    }

    fn take_ciphertext(&self, py: Python<'_>, ciphertext: &mut VecDeque<Bytes>) -> PyResult<()> {
        let read = calls::vectorcall(self.read_ciphertext.bind(py), [])?;
        let read = read.cast::<PyBytes>()?;
        if !read.as_bytes().is_empty() {
            ciphertext.push_back(values::copy_or_borrow(read));
        }
        Ok(())
    }
}

/// Returns the length of the whole records that are processed next, or of everything if it does not begin with one.
fn portion(ciphertext: &[u8]) -> usize {
    let mut length = 0;
    while length < PORTION
        && let Record::Whole(record) = first_record(&ciphertext[length..])
    {
        length += record;
    }
    if length == 0 { ciphertext.len() } else { length }
}

/// Returns whether an exception is of a class of `ssl`.
fn is_instance(py: Python<'_>, exception: &PyErr, name: &'static str) -> PyResult<bool> {
    static CLASSES: [PyOnceLock<Py<PyType>>; 2] = [PyOnceLock::new(), PyOnceLock::new()];
    let class = &CLASSES[usize::from(name == "SSLZeroReturnError")];
    Ok(exception.is_instance(py, class.import(py, "ssl", name)?.as_any()))
}

/// A view of the engine's memory for one call of a method of `_ssl`, by the buffer protocol. It is used again, so that a call
/// needs no new object.
#[pyclass(frozen, module = "httpcore_rs._engine")]
#[derive(Default)]
struct Window {
    /// The memory, until the call has taken it; null otherwise.
    memory: AtomicPtr<u8>,
    length: AtomicUsize,
    is_writable: AtomicBool,
}

impl Window {
    /// Makes a call that reads `bytes` through the window.
    fn show<'py>(
        &self,
        py: Python<'py>,
        this: &Py<Self>,
        bytes: &[u8],
        call: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the window is read-only, so that the call does not write to the memory.
        unsafe {
            self.open(this, bytes.as_ptr().cast_mut(), bytes.len(), false, |window| call(window.bind(py).as_any()))
        }
    }

    /// Makes a call for which the window shows the memory.
    ///
    /// # Safety
    ///
    /// The memory is valid for reads, or if the window is writable for writes, until the call ends. The call takes the buffer at
    /// most once and has released it when it ends: so do the methods of `_ssl`.
    unsafe fn open<T>(
        &self,
        this: &Py<Self>,
        memory: *mut u8,
        length: usize,
        is_writable: bool,
        call: impl FnOnce(&Py<Self>) -> PyResult<T>,
    ) -> PyResult<T> {
        self.length.store(length, Ordering::Relaxed);
        self.is_writable.store(is_writable, Ordering::Relaxed);
        self.memory.store(memory, Ordering::Release);
        let result = call(this);
        self.memory.store(ptr::null_mut(), Ordering::Release);
        result
    }
}

#[pymethods]
impl Window {
    /// Shows the memory, once for each call.
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let memory = this.memory.swap(ptr::null_mut(), Ordering::AcqRel);
        if memory.is_null() || view.is_null() {
            return Err(PyBufferError::new_err("the window is closed"));
        }
        let length = this.length.load(Ordering::Relaxed).cast_signed();
        let is_read_only = c_int::from(!this.is_writable.load(Ordering::Relaxed));
        // SAFETY: Python passes a view to be filled, and the memory is valid as `open` demands.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), memory.cast(), length, is_read_only, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
