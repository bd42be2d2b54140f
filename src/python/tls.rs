//! The TLS configuration that Python sees.

use std::path::PathBuf;

use pyo3::exceptions::{PyNotImplementedError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyTuple};

use super::errors::os_error;
use super::namespace::Package;
use crate::tls::{ConfigError, Identity, Source, TlsConfig, Trust};

/// How servers are verified, and which certificate the client shows. For a pool's `ssl_context=`.
///
/// - `verify`: `True` trusts certifi's authorities, or with `trust_env` those in the file `SSL_CERT_FILE` or the directory
///   `SSL_CERT_DIR` if one is set. A path (`str` or `os.PathLike`) trusts the authorities in that PEM file or directory.
///   `False` verifies nothing.
/// - `cert`: the path of a PEM file with a certificate chain and its unencrypted key, or a tuple `(chain, key)` of two.
/// - `trust_env`: whether `verify=True` heeds the environment.
/// - `system_store`: whether `verify=True` trusts the operating system's authorities instead of certifi's, found where Python's
///   OpenSSL looks for them. Linux only: elsewhere that is `NotImplementedError`.
///
/// Files are read at once. Raises `OSError` if one cannot be read, `ssl.SSLError` if one does not hold what it should. If
/// `SSLKEYLOGFILE` is set, the secrets of each connection are written to that file.
#[pyclass(frozen, module = "httpcore_rs", name = "TLSConfig")]
pub struct TLSConfig {
    pub(super) config: TlsConfig,
    verify: Option<Py<PyAny>>,
    cert: Option<Py<PyAny>>,
    trust_env: bool,
    system_store: bool,
}

#[pymethods]
impl TLSConfig {
    #[new]
    #[pyo3(signature = (verify = None, cert = None, trust_env = true, *, system_store = false))]
    fn new(
        py: Python<'_>,
        verify: Option<&Bound<'_, PyAny>>,
        cert: Option<&Bound<'_, PyAny>>,
        trust_env: bool,
        system_store: bool,
    ) -> PyResult<Self> {
        if system_store && !HAS_SYSTEM_STORE {
            return Err(PyNotImplementedError::new_err(
                "system_store: the authorities of this operating system cannot be read; an ssl.SSLContext of truststore's can",
            ));
        }
        let trust = match verify {
            None => usual_trust(py, trust_env, system_store)?,
            Some(verify) => match verify.cast::<PyBool>() {
                Ok(verify) if verify.is_true() => usual_trust(py, trust_env, system_store)?,
                Ok(_) => Trust::Anything,
                Err(_) => match verify.extract::<PathBuf>() {
                    Ok(path) => Trust::Roots(vec![Source::Named(path)]),
                    Err(_) if is_context(verify)? => {
                        return Err(PyTypeError::new_err(
                            "verify: an ssl.SSLContext is a configuration of its own: pass it as ssl_context, \
                             or as the transport's verify",
                        ));
                    }
                    Err(_) => {
                        let class = verify.get_type().name()?.to_string();
                        return Err(PyTypeError::new_err(format!("verify cannot be of type {class}")));
                    }
                },
            },
        };
        let identity = cert.map(identity).transpose()?;
        let lazy = trust.is_shareable() && identity.is_none();
        let config = if lazy {
            TlsConfig::lazy(trust)
        } else {
            TlsConfig::load(trust, identity).map_err(|error| to_pyerr(py, error))?
        };
        let given = |argument: Option<&Bound<'_, PyAny>>| argument.map(|value| value.clone().unbind());
        Ok(Self { config, verify: given(verify), cert: given(cert), trust_env, system_store })
    }

    /// `verify` as it was given.
    #[getter]
    fn verify(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.verify.as_ref().map(|verify| verify.clone_ref(py))
    }

    /// `cert` as it was given.
    #[getter]
    fn cert(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.cert.as_ref().map(|cert| cert.clone_ref(py))
    }

    /// `trust_env` as it was given.
    #[getter]
    fn trust_env(&self) -> bool {
        self.trust_env
    }

    /// `system_store` as it was given.
    #[getter]
    fn system_store(&self) -> bool {
        self.system_store
    }
}

/// Where OpenSSL finds certificates in files; elsewhere the operating system keeps them for itself.
const HAS_SYSTEM_STORE: bool = cfg!(not(any(target_os = "macos", windows)));

/// The configuration for a pool's `ssl_context` argument, with the default of `package`; `None` if that is an `ssl.SSLContext`.
pub fn from_argument(
    py: Python<'_>,
    ssl_context: Option<&Bound<'_, PyAny>>,
    package: Package,
) -> PyResult<Option<TlsConfig>> {
    let Some(given) = ssl_context else { return default(py, package) };
    if let Ok(config) = given.cast::<TLSConfig>() {
        return Ok(Some(config.get().config.clone()));
    }
    if is_context(given)? {
        return Ok(None);
    }
    Err(PyTypeError::new_err(format!("ssl_context cannot be of type {}", given.get_type().name()?)))
}

/// What the packages' `default_ssl_context()` trusts. httpcore: certifi's authorities beside those of OpenSSL's default paths, which
/// the environment sets. httpcore2: those that the environment names, else the operating system's.
fn default(py: Python<'_>, package: Package) -> PyResult<Option<TlsConfig>> {
    let trust = match package {
        Package::Httpcore => {
            let mut sources = vec![Source::Bundle(bundle(py)?)];
            sources.extend(from_environment().into_iter().map(Source::Optional));
            Trust::Roots(sources)
        }
        Package::Httpcore2 if HAS_SYSTEM_STORE => usual_trust(py, true, true)?,
        Package::Httpcore2 => return Ok(None),
    };
    Ok(Some(TlsConfig::lazy(trust)))
}

fn is_context(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = given.py();
    given.is_instance(&py.import(intern!(py, "ssl"))?.getattr(intern!(py, "SSLContext"))?)
}

/// What `verify=True` trusts.
fn usual_trust(py: Python<'_>, trust_env: bool, system_store: bool) -> PyResult<Trust> {
    let source = match from_environment() {
        Some(path) if trust_env => Source::Named(path),
        _ if system_store => this_system(py)?,
        _ => Source::Bundle(bundle(py)?),
    };
    Ok(Trust::Roots(vec![source]))
}

/// Where the operating system's authorities are.
fn this_system(py: Python<'_>) -> PyResult<Source> {
    static PATHS: PyOnceLock<(Option<PathBuf>, Option<PathBuf>)> = PyOnceLock::new();
    let (file, folder) = PATHS.get_or_try_init(py, || {
        py.import(intern!(py, "httpcore_rs._ssl_context"))?.call_method0(intern!(py, "system_paths"))?.extract()
    })?;
    Ok(Source::System { file: file.clone(), folder: folder.clone() })
}

/// `SSL_CERT_FILE`, else `SSL_CERT_DIR`.
fn from_environment() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("SSL_CERT_FILE").or_else(|| set("SSL_CERT_DIR"))
}

/// The path of certifi's bundle.
fn bundle(py: Python<'_>) -> PyResult<PathBuf> {
    static BUNDLE: PyOnceLock<PathBuf> = PyOnceLock::new();
    let bundle = BUNDLE.get_or_try_init(py, || {
        py.import(intern!(py, "certifi"))?.call_method0(intern!(py, "where"))?.extract::<PathBuf>()
    });
    bundle.cloned()
}

fn identity(cert: &Bound<'_, PyAny>) -> PyResult<Identity> {
    if let Ok(path) = cert.extract::<PathBuf>() {
        return Ok(Identity { chain: path.clone(), key: path });
    }
    let parts = cert.cast::<PyTuple>().map_err(|_| {
        PyTypeError::new_err("cert must be the path of a PEM file, or a tuple (chain, key) of two such paths")
    })?;
    match parts.len() {
        2 => {
            let (chain, key) = parts.extract()?;
            Ok(Identity { chain, key })
        }
        3 => Err(PyNotImplementedError::new_err("cert: keys protected by a password are not implemented yet")),
        _ => Err(PyTypeError::new_err("cert must be a path, or a tuple (chain, key) of two paths")),
    }
}

fn to_pyerr(py: Python<'_>, error: ConfigError) -> PyErr {
    if let Some(source) = &error.source {
        let exception = os_error(py, source);
        // As `open()` says which file it was.
        let named = exception.value(py).setattr(intern!(py, "filename"), error.path.as_os_str());
        return named.err().unwrap_or(exception);
    }
    match py.import(intern!(py, "ssl")).and_then(|ssl| ssl.getattr(intern!(py, "SSLError"))?.call1((error.message,))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
