//! Notices patches of httpcore's own pools and connections, by which mocks, instrumentation and guards get hold of requests.
//!
//! The interpreter gives a class a version tag, and takes it away when an attribute of the class or of one of its bases is set or
//! deleted; the next lookup gives it another one. So a class that has the tag that it had when its methods were compared has the same
//! methods. A request looks at the tags, and compares the methods (`httpcore_rs._patches`) only after one has changed.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType, PyTypeMethods};

use super::calls::call;

/// The classes of one package whose methods are compared: those for threads, or those for event loops.
pub struct WatchedClasses {
    package: &'static str,
    is_async: bool,
    classes: Vec<(Py<PyType>, KnownTag)>,
    /// Python 3.9 leaves the tag of a changed class in its place and clears a flag. Newer versions clear the tag.
    is_flagged: bool,
}

/// The version tag that a class had when its methods were found to be its own; [`NO_TAG`] before that.
type KnownTag = AtomicU32;

/// The interpreter's value for a class without a tag.
const NO_TAG: u32 = 0;

impl WatchedClasses {
    pub fn load(py: Python<'_>, package: &'static str, is_async: bool) -> PyResult<Self> {
        let watched_classes = module(py)?.getattr(intern!(py, "watched_classes"))?;
        let classes = call(&watched_classes, (package, is_async))?.cast_into::<PyList>()?;
        let with_tag =
            |class: Bound<'_, PyAny>| PyResult::Ok((class.cast_into::<PyType>()?.unbind(), KnownTag::new(NO_TAG)));
        let classes = classes.iter().map(with_tag).collect::<PyResult<_>>()?;
        Ok(Self { package, is_async, classes, is_flagged: py.version_info() < (3, 10) })
    }

    /// Returns whether a method of one of the classes is not its own.
    pub fn are_patched(&self, py: Python<'_>) -> PyResult<bool> {
        let is_known = |(class, known): &(Py<PyType>, KnownTag)| {
            let tag = self.version_tag(class.bind(py));
            tag != NO_TAG && tag == known.load(Ordering::Relaxed)
        };
        if self.classes.iter().all(is_known) { Ok(false) } else { self.compare(py) }
    }

    /// Compares the methods. If all are the classes' own, keeps the tags.
    #[cold]
    fn compare(&self, py: Python<'_>) -> PyResult<bool> {
        let is_patched = module(py)?.getattr(intern!(py, "is_patched"))?;
        let compare = || call(&is_patched, (self.package, self.is_async))?.is_truthy();
        // The first comparison looks the methods up, by which classes get their tags.
        if compare()? {
            return Ok(true);
        }
        let before = self.tags(py);
        // Another thread may patch a class at the same time: only tags that were there before and after count.
        let patched = compare()?;
        if !patched && self.tags(py) == before {
            for ((_, known), tag) in self.classes.iter().zip(before) {
                known.store(tag, Ordering::Relaxed);
            }
        }
        Ok(patched)
    }

    fn tags(&self, py: Python<'_>) -> Vec<u32> {
        self.classes.iter().map(|(class, _)| self.version_tag(class.bind(py))).collect()
    }

    /// Returns the version tag of a class, or [`NO_TAG`].
    fn version_tag(&self, class: &Bound<'_, PyType>) -> u32 {
        let object = class.as_type_ptr();
        // SAFETY: the class is alive.
        if self.is_flagged && unsafe { ffi::PyType_GetFlags(object) } & ffi::Py_TPFLAGS_VALID_VERSION_TAG == 0 {
            return NO_TAG;
        }
        // SAFETY: the class is alive, and the field is aligned. The interpreter writes it while it holds the GIL, as this thread does now;
        // without a GIL it writes atomically.
        unsafe { AtomicU32::from_ptr(&raw mut (*object).tp_version_tag) }.load(Ordering::Relaxed)
    }
}

fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "httpcore_rs._patches"))
}
