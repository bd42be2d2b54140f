//! Calls of Python functions that run bytecode or release the interpreter.
//!
//! At interpreter exit `CPython` before 3.14 ends a daemon thread by unwinding its stack, as soon as the thread asks for the
//! interpreter lock. Bytecode does so at almost any point, and unwinding through a Rust frame would abort the process. Code of
//! users never runs above Rust frames: the drive loops, in Python, call it. These functions call code of the event loop and of
//! this package. A thread that is being unwound in the middle of such a call is stopped for good instead, as by `CPython` 3.14.

use pyo3::marker::Ungil;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::lock::assert_none_held;

mod raw {
    use std::ffi::c_ulong;

    use pyo3::ffi::PyObject;

    unsafe extern "C-unwind" {
        pub fn PyObject_Call(
            callable: *mut PyObject,
            arguments: *mut PyObject,
            keywords: *mut PyObject,
        ) -> *mut PyObject;
        // CPython 3.9 has `PyObject_Vectorcall` as an inline function only.
        pub fn PyObject_VectorcallDict(
            callable: *mut PyObject,
            arguments: *const *mut PyObject,
            count: usize,
            keywords: *mut PyObject,
        ) -> *mut PyObject;
        pub fn PyObject_VectorcallMethod(
            name: *mut PyObject,
            arguments: *const *mut PyObject,
            count: usize,
            keyword_names: *mut PyObject,
        ) -> *mut PyObject;
        pub fn PyObject_GetAttr(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject;
        pub fn PyThread_get_thread_ident() -> c_ulong;
    }
}

/// Stops the thread when it is dropped, that is, while the stack of the thread is being unwound.
struct StopThread;

impl StopThread {
    /// Returns the guard of a call. No lock may be held during it.
    fn guard() -> Self {
        assert_none_held();
        Self
    }
}

impl Drop for StopThread {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// The positional arguments of a call: a Rust tuple.
pub trait ToTuple<'py> {
    fn to_tuple(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>>;
}

impl<'py, T> ToTuple<'py> for T
where
    T: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
    PyErr: From<T::Error>,
{
    fn to_tuple(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        Ok(self.into_pyobject(py)?)
    }
}

/// Calls `callable(*arguments)`.
pub fn call<'py>(callable: &Bound<'py, PyAny>, arguments: impl ToTuple<'py>) -> PyResult<Bound<'py, PyAny>> {
    call_with(callable, arguments, None)
}

/// Calls `callable(*arguments, **keywords)`.
pub fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl ToTuple<'py>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callable.py();
    let arguments = arguments.to_tuple(py)?;
    let keywords = keywords.map_or(std::ptr::null_mut(), Bound::as_ptr);
    let guard = StopThread::guard();
    // SAFETY: all pointers are of live objects of the right types (`keywords` may be null), the interpreter is attached, and
    // the result is a new reference, or null with an exception set. An unwinding thread does not leave this frame.
    let result = unsafe { raw::PyObject_Call(callable.as_ptr(), arguments.as_ptr(), keywords) };
    std::mem::forget(guard);
    // SAFETY: see above.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// Calls `callable(*arguments)` without a tuple, which suits functions that are written in C.
pub fn vectorcall<'py, const N: usize>(
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = arguments.map(Bound::as_ptr);
    let guard = StopThread::guard();
    // SAFETY: all pointers are of live objects, their number is `N`, the interpreter is attached, and the result is a new reference,
    // or null with an exception set. An unwinding thread does not leave this frame.
    let result =
        unsafe { raw::PyObject_VectorcallDict(callable.as_ptr(), arguments.as_ptr(), N, std::ptr::null_mut()) };
    std::mem::forget(guard);
    // SAFETY: see above.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}

/// Returns an object without attributes, as `class.__new__(class)` does. The class is one of Python code.
pub fn new_object<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let (py, arguments) = (class.py(), PyTuple::empty(class.py()));
    let guard = StopThread::guard();
    // SAFETY: all pointers are of live objects, the interpreter is attached, and a class of Python code has a function in this
    // slot. Its result is a new reference, or null with an exception set. An unwinding thread does not leave this frame.
    let object = unsafe {
        let new = (*class.as_type_ptr()).tp_new;
        new.map_or(std::ptr::null_mut(), |new| new(class.as_type_ptr(), arguments.as_ptr(), std::ptr::null_mut()))
    };
    std::mem::forget(guard);
    // SAFETY: see above.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}

/// Returns `object.name`, where that may be a property in Python code.
pub fn getattr<'py>(object: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let guard = StopThread::guard();
    // SAFETY: both pointers are of live objects, the interpreter is attached, and the result is a new reference, or null with an
    // exception set. An unwinding thread does not leave this frame.
    let value = unsafe { raw::PyObject_GetAttr(object.as_ptr(), name.as_ptr()) };
    std::mem::forget(guard);
    // SAFETY: see above.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), value) }
}

/// Calls `object.name(*arguments)`.
pub fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl ToTuple<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(&object.getattr(name)?, arguments)
}

/// Calls `object.name(argument)`, without a bound method and a tuple in between.
pub fn call_method_with<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = [object.as_ptr(), argument.as_ptr()];
    let guard = StopThread::guard();
    // SAFETY: all pointers are of live objects, the array has as many as the call is told, the interpreter is attached, and the
    // result is a new reference, or null with an exception set. An unwinding thread does not leave this frame.
    let result = unsafe {
        raw::PyObject_VectorcallMethod(name.as_ptr(), arguments.as_ptr(), arguments.len(), std::ptr::null_mut())
    };
    std::mem::forget(guard);
    // SAFETY: see above.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), result) }
}

/// Does work while this thread is detached from the interpreter. It attaches itself again at the end, and holds no lock then.
pub fn detached<T: Ungil>(py: Python<'_>, work: impl FnOnce() -> T + Ungil + Send) -> T {
    assert_none_held();
    py.detach(|| {
        let result = work();
        assert_none_held();
        result
    })
}

/// Returns the interpreter's number of the calling thread, also if `threading.get_ident()` is monkey-patched.
pub fn thread_ident() -> u64 {
    // SAFETY: the function has no preconditions; it may be called without the interpreter lock.
    #[expect(clippy::useless_conversion, reason = "`c_ulong` has 32 bits on some platforms")]
    u64::from(unsafe { raw::PyThread_get_thread_ident() })
}
