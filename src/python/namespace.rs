//! Selects the types and exceptions of httpcore or of its fork httpcore2, by the class of the request.
//!
//! The choice is made in this file only. Each package is imported when it is first needed.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType, PyTypeMethods};

use super::calls::{call_method, new_object};
use super::patches::WatchedClasses;
use crate::error::Kind;

/// The package that a request, a response or an exception belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    Httpcore,
    Httpcore2,
}

/// The names of one package that the engine needs.
pub struct Namespace {
    pub package: Package,
    /// The loggers of the package, each with its cache: the answers of `isEnabledFor()` by level.
    loggers: Vec<(Py<PyAny>, Option<Py<PyDict>>)>,
    pub url: Py<PyAny>,
    request: Py<PyAny>,
    response: Py<PyType>,
    module: Py<PyModule>,
    /// The classes for threads, and those for event loops, that may be patched.
    watched: [WatchedClasses; 2],
}

/// The loggers of a package; the last two log the events of proxies.
const LOGGERS: [&str; 5] = ["connection", "http11", "http2", "proxy", "socks"];
/// The number of loggers for proxies.
const OF_PROXIES: usize = 2;

impl Package {
    const BOTH: [Self; 2] = [Self::Httpcore, Self::Httpcore2];

    /// Returns the package with this name. Raises `ValueError` for other names.
    pub fn named(name: &str) -> PyResult<Self> {
        let named = Self::BOTH.into_iter().find(|package| package.name() == name);
        named.ok_or_else(|| PyValueError::new_err(format!("there is no package {name:?} of httpcore's kind")))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Httpcore => "httpcore",
            Self::Httpcore2 => "httpcore2",
        }
    }

    /// Returns the package that defines the class of an object, or one of its base classes.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        for base in object.get_type().mro() {
            let module: String = base.getattr(intern!(object.py(), "__module__"))?.extract().unwrap_or_default();
            let top = module.split('.').next().unwrap_or_default();
            if let Some(package) = Self::BOTH.into_iter().find(|package| package.name() == top) {
                return Ok(Some(package));
            }
        }
        Ok(None)
    }

    /// Returns the names of the package, which is imported on the first call.
    pub fn namespace(self, py: Python<'_>) -> PyResult<&'static Namespace> {
        self.cell().get_or_try_init(py, || Namespace::load(py, self))
    }

    /// Returns the names of the package if it has been imported.
    fn loaded(self, py: Python<'_>) -> Option<&'static Namespace> {
        self.cell().get(py)
    }

    fn cell(self) -> &'static PyOnceLock<Namespace> {
        static HTTPCORE: PyOnceLock<Namespace> = PyOnceLock::new();
        static HTTPCORE2: PyOnceLock<Namespace> = PyOnceLock::new();

        match self {
            Self::Httpcore => &HTTPCORE,
            Self::Httpcore2 => &HTTPCORE2,
        }
    }
}

impl Namespace {
    /// Returns the namespace that `request` belongs to. Raises `TypeError` for other objects than requests.
    pub fn of(request: &Bound<'_, PyAny>) -> PyResult<&'static Self> {
        let py = request.py();
        let class = request.get_type();
        for namespace in Self::all_loaded(py) {
            if class.is(namespace.request.bind(py)) {
                return Ok(namespace);
            }
        }
        // The first request of the package, or one of a subclass.
        match Package::of(request)? {
            Some(package) => package.namespace(py),
            None => Err(PyTypeError::new_err(format!("request must be an httpcore.Request, not {}", class.name()?))),
        }
    }

    /// Returns the namespace to use where there is no request: one that has been imported.
    pub fn at_hand(py: Python<'_>) -> PyResult<&'static Self> {
        match Self::all_loaded(py).next() {
            Some(namespace) => Ok(namespace),
            None => Package::Httpcore.namespace(py),
        }
    }

    fn all_loaded(py: Python<'_>) -> impl Iterator<Item = &'static Self> {
        Package::BOTH.into_iter().filter_map(move |package| package.loaded(py))
    }

    /// Returns whether debug logging is enabled for one of the package's loggers; those for proxies count if there is a proxy.
    /// The caches of the loggers make this cheap.
    pub fn is_debugging(&self, py: Python<'_>, has_proxy: bool) -> PyResult<bool> {
        const DEBUG: i32 = 10;

        let count = if has_proxy { LOGGERS.len() } else { LOGGERS.len() - OF_PROXIES };
        for (logger, cache) in &self.loggers[..count] {
            let cached = match cache {
                Some(cache) => cache.bind(py).get_item(DEBUG)?,
                None => None,
            };
            let enabled = match cached {
                Some(enabled) => enabled,
                None => call_method(logger.bind(py), intern!(py, "isEnabledFor"), (DEBUG,))?,
            };
            if enabled.is_truthy()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether `handle_request()` of the package's own classes, or `handle_async_request()`, is patched: then requests go through
    /// `httpcore_rs._patches`.
    pub fn is_patched(&self, py: Python<'_>, is_async: bool) -> PyResult<bool> {
        self.watched[usize::from(is_async)].are_patched(py)
    }

    /// Returns a `Response` without attributes. Its constructor would check and copy headers that are correct already.
    pub fn empty_response<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        new_object(self.response.bind(py))
    }

    /// Returns the exception class for a kind of error.
    pub fn exception<'py>(&self, py: Python<'py>, kind: Kind) -> PyResult<Bound<'py, PyType>> {
        let name = match kind {
            Kind::ConnectError => intern!(py, "ConnectError"),
            Kind::ConnectTimeout => intern!(py, "ConnectTimeout"),
            Kind::ReadError => intern!(py, "ReadError"),
            Kind::ReadTimeout => intern!(py, "ReadTimeout"),
            Kind::WriteError => intern!(py, "WriteError"),
            Kind::WriteTimeout => intern!(py, "WriteTimeout"),
            Kind::PoolTimeout => intern!(py, "PoolTimeout"),
            Kind::RemoteProtocolError => intern!(py, "RemoteProtocolError"),
            Kind::LocalProtocolError => intern!(py, "LocalProtocolError"),
            Kind::UnsupportedProtocol => intern!(py, "UnsupportedProtocol"),
            Kind::ProxyError => intern!(py, "ProxyError"),
            Kind::ConnectionNotAvailable => intern!(py, "ConnectionNotAvailable"),
            // An exception of user code is raised again as it is and needs no class.
            Kind::Raised | Kind::Internal => return Ok(py.get_type::<PyRuntimeError>()),
        };
        Ok(self.module.bind(py).getattr(name)?.cast_into()?)
    }

    /// Returns the class for upgraded streams. Its `read()` returns the bytes that followed the response head first.
    pub fn upgrade_stream<'py>(&self, py: Python<'py>, is_async: bool) -> PyResult<Bound<'py, PyAny>> {
        let (module, class) = if is_async {
            ("_async.http11", "AsyncHTTP11UpgradeStream")
        } else {
            ("_sync.http11", "HTTP11UpgradeStream")
        };
        py.import(format!("{}.{module}", self.package.name()))?.getattr(class)
    }

    /// Returns the kind of error for an exception of either package; [`Kind::Raised`] for others.
    pub fn kind_of(py: Python<'_>, exception: &PyErr) -> Kind {
        for namespace in Self::all_loaded(py) {
            for &kind in Kind::OF_HTTPCORE {
                if namespace.exception(py, kind).is_ok_and(|class| exception.is_instance(py, &class)) {
                    return kind;
                }
            }
        }
        Kind::Raised
    }

    fn load(py: Python<'_>, package: Package) -> PyResult<Self> {
        let name = package.name();
        let module = py.import(name)?;
        let mut loggers = Vec::new();
        for part in LOGGERS {
            let logger = py.import("logging")?.call_method1("getLogger", (format!("{name}.{part}"),))?;
            let cache = logger.getattr_opt("_cache")?.and_then(|cache| cache.cast_into::<PyDict>().ok());
            loggers.push((logger.unbind(), cache.map(Bound::unbind)));
        }
        let response = module.getattr("Response")?.cast_into::<PyType>()?;
        Ok(Self {
            package,
            loggers,
            url: module.getattr("URL")?.unbind(),
            request: module.getattr("Request")?.unbind(),
            response: response.unbind(),
            module: module.unbind(),
            watched: [WatchedClasses::load(py, name, false)?, WatchedClasses::load(py, name, true)?],
        })
    }
}
