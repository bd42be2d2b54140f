//! Whose types and exceptions a caller gets: httpcore's, or those of its fork httpcore2, as his request is one's or the other's.
//! The choice is made here and nowhere else, and neither package is imported before a request of its own arrives.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType, PyTypeMethods};

use crate::error::Kind;

/// The names of one package that the engine needs.
pub struct Namespace {
    /// The package's.
    pub name: &'static str,
    /// Its loggers, and where each keeps what it found out about its level.
    loggers: Vec<(Py<PyAny>, Option<Py<PyDict>>)>,
    pub url: Py<PyAny>,
    request: Py<PyAny>,
    response: Py<PyType>,
    /// `Response.__new__`.
    new: Py<PyAny>,
    module: Py<PyModule>,
}

/// The last of them only hear of proxies.
const LOGGERS: [&str; 5] = ["connection", "http11", "http2", "proxy", "socks"];
const OF_PROXIES: usize = 2;

static HTTPCORE: PyOnceLock<Namespace> = PyOnceLock::new();
static HTTPCORE2: PyOnceLock<Namespace> = PyOnceLock::new();

impl Namespace {
    /// The namespace that `request` belongs to.
    pub fn of(request: &Bound<'_, PyAny>) -> PyResult<&'static Self> {
        let py = request.py();
        let class = request.get_type();
        for known in [&HTTPCORE, &HTTPCORE2] {
            if let Some(namespace) = known.get(py)
                && class.is(namespace.request.bind(py))
            {
                return Ok(namespace);
            }
        }
        // The first request, or one of a subclass.
        for base in class.mro() {
            let module: String = base.getattr(intern!(py, "__module__"))?.extract().unwrap_or_default();
            match module.split('.').next() {
                Some("httpcore") => return Self::load(py, &HTTPCORE, "httpcore"),
                Some("httpcore2") => return Self::load(py, &HTTPCORE2, "httpcore2"),
                _ => {}
            }
        }
        Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "request must be an httpcore.Request, not {}",
            class.name()?
        )))
    }

    /// The namespace for callers that bring no request of their own: httpcore's.
    pub fn default(py: Python<'_>) -> PyResult<&'static Self> {
        match HTTPCORE.get(py) {
            Some(namespace) => Ok(namespace),
            None => Self::load(py, &HTTPCORE, "httpcore"),
        }
    }

    /// Whether one of the package's loggers takes debug records, those of proxies included if there is one. Costs next to nothing
    /// while none does.
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
                None => logger.bind(py).call_method1(intern!(py, "isEnabledFor"), (DEBUG,))?,
            };
            if enabled.is_truthy()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A `Response` without its attributes. Its constructor would check and copy headers that cannot be wrong.
    pub fn empty_response<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.new.bind(py).call1((self.response.bind(py),))
    }

    /// The exception class for a kind of error.
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
            // An exception that is raised again is not made here.
            Kind::Raised | Kind::Internal => return Ok(py.get_type::<PyRuntimeError>()),
        };
        Ok(self.module.bind(py).getattr(name)?.cast_into()?)
    }

    /// The class of streams that have left HTTP: it hands out first what came behind the response head.
    pub fn upgrade_stream<'py>(&self, py: Python<'py>, is_async: bool) -> PyResult<Bound<'py, PyAny>> {
        let (module, class) = if is_async {
            ("_async.http11", "AsyncHTTP11UpgradeStream")
        } else {
            ("_sync.http11", "HTTP11UpgradeStream")
        };
        py.import(format!("{}.{module}", self.name))?.getattr(class)
    }

    /// The exception for a connection that cannot take a request now.
    pub fn not_available(&self, py: Python<'_>) -> PyErr {
        match self.module.bind(py).getattr(intern!(py, "ConnectionNotAvailable")).and_then(|class| class.call0()) {
            Ok(exception) => PyErr::from_value(exception),
            Err(missing) => missing,
        }
    }

    /// The kind of error that an exception of either package stands for; [`Kind::Raised`] for all others.
    pub fn kind_of(py: Python<'_>, exception: &PyErr) -> Kind {
        for namespace in [&HTTPCORE, &HTTPCORE2].into_iter().filter_map(|namespace| namespace.get(py)) {
            for kind in Kind::OF_HTTPCORE {
                if namespace.exception(py, kind).is_ok_and(|class| exception.is_instance(py, &class)) {
                    return kind;
                }
            }
        }
        Kind::Raised
    }

    fn load(py: Python<'_>, cell: &'static PyOnceLock<Self>, name: &'static str) -> PyResult<&'static Self> {
        cell.get_or_try_init(py, || {
            let module = py.import(name)?;
            let mut loggers = Vec::new();
            for part in LOGGERS {
                let logger = py.import("logging")?.call_method1("getLogger", (format!("{name}.{part}"),))?;
                let cache = logger.getattr_opt("_cache")?.and_then(|cache| cache.cast_into::<PyDict>().ok());
                loggers.push((logger.unbind(), cache.map(Bound::unbind)));
            }
            let response = module.getattr("Response")?.cast_into::<PyType>()?;
            Ok(Self {
                name,
                loggers,
                url: module.getattr("URL")?.unbind(),
                new: response.getattr("__new__")?.unbind(),
                request: module.getattr("Request")?.unbind(),
                response: response.unbind(),
                module: module.unbind(),
            })
        })
    }
}
