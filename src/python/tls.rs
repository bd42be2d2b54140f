//! `TLSConfig`: the configuration of rustls, in arguments as for httpx.

use std::path::PathBuf;

use pyo3::exceptions::{PyNotImplementedError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyMemoryView, PyString, PyTuple};

use super::errors::os_error;
use super::namespace::Package;
use crate::tls::{ConfigError, Identity, Rules, TlsConfig, TlsOptions, Trust, TrustSource};

/// A configuration of TLS, for the `ssl_context` of a pool or the `verify` of a transport: how servers are verified, and which
/// certificate the client shows.
///
/// Files are read at once. If `SSLKEYLOGFILE` is set, the secrets of each connection are written to that file.
///
/// Raises `OSError` for a file that cannot be read, `ssl.SSLError` for one without a certificate or key, `TypeError` for an
/// argument of a wrong type, `ValueError` for `cadata` with `verify=False`, and `NotImplementedError` for `system_store` on macOS
/// and Windows.
///
/// Parameters:
///     verify: bool | str | os.PathLike[str] | None = None
///         `True` and `None` trust certifi's authorities. With `trust_env` they trust the file `SSL_CERT_FILE` instead or, without
///         one, the directories of the list `SSL_CERT_DIR`. A path trusts the authorities in that PEM file or directory. In a
///         directory only files with hashes as names count (`openssl rehash`). A certificate that is no authority's is trusted
///         for itself only. `False` verifies nothing.
///     cert: str | os.PathLike[str] | tuple | None = None
///         The client certificate: the path of a PEM file with a certificate chain and its key, or a tuple of paths
///         `(chain, key)`, or `(chain, key, password)` for an encrypted key. With a password, Python's `ssl` does TLS, because
///         rustls cannot read such a key.
///     trust_env: bool = True
///         Whether `verify=True` reads the environment variables.
///     system_store: bool = False
///         Whether `verify=True` trusts the authorities of the operating system instead of certifi's. They are read from the
///         paths of Python's OpenSSL. Linux only.
///     cadata: str | bytes | bytearray | memoryview | None = None
///         Authorities: PEM, or one certificate in DER. They are trusted beside those of a path given as `verify`, and with
///         `verify=True` instead of all others.
///     minimum_version: ssl.TLSVersion | None = None
///         The lowest version of TLS. TLS 1.2 by default; lower versions are never used.
#[expect(clippy::doc_markdown, reason = "`help()` shows this as text")]
#[pyclass(frozen, module = "httpcore_rs", name = "TLSConfig")]
pub struct TLSConfig {
    /// `None` if Python's `ssl` does TLS.
    config: Option<TlsConfig>,
    verify: Option<Py<PyAny>>,
    cert: Option<Py<PyAny>>,
    trust_env: bool,
    system_store: bool,
    cadata: Option<Py<PyAny>>,
    minimum_version: Option<Py<PyAny>>,
}

#[pymethods]
impl TLSConfig {
    #[new]
    #[pyo3(signature = (
        verify = None,
        cert = None,
        trust_env = true,
        *,
        system_store = false,
        cadata = None,
        minimum_version = None,
    ))]
    fn new(
        py: Python<'_>,
        verify: Option<&Bound<'_, PyAny>>,
        cert: Option<&Bound<'_, PyAny>>,
        trust_env: bool,
        system_store: bool,
        cadata: Option<&Bound<'_, PyAny>>,
        minimum_version: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        if system_store && !HAS_SYSTEM_STORE {
            return Err(PyNotImplementedError::new_err(
                "system_store: the authorities of this operating system cannot be read; an ssl.SSLContext of truststore's can",
            ));
        }
        let trust = trust(py, verify, trust_env, system_store, cadata)?;
        let options = TlsOptions {
            rules: rules(py, &trust),
            trust,
            needs_tls13: minimum_version.map_or(Ok(false), needs_tls13)?,
        };
        let identity = cert.map(identity).transpose()?;
        let config = match identity {
            Some(Key::Encrypted) => {
                // Python's `ssl` reads the files at once as well, and raises their errors.
                let arguments = (verify, cert, trust_env, system_store, cadata, minimum_version);
                py.import(intern!(py, "httpcore_rs._ssl_context"))?.call_method1(intern!(py, "make"), arguments)?;
                None
            }
            None if options.is_lazy() => Some(TlsConfig::lazy(options)),
            None => Some(TlsConfig::load(options, None).map_err(|error| to_pyerr(py, error))?),
            Some(Key::Plain(identity)) => {
                Some(TlsConfig::load(options, Some(identity)).map_err(|error| to_pyerr(py, error))?)
            }
        };
        let given = |argument: Option<&Bound<'_, PyAny>>| argument.map(|value| value.clone().unbind());
        Ok(Self {
            config,
            verify: given(verify),
            cert: given(cert),
            trust_env,
            system_store,
            cadata: given(cadata),
            minimum_version: given(minimum_version),
        })
    }

    /// The argument `verify`.
    #[getter]
    fn verify(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.verify.as_ref().map(|verify| verify.clone_ref(py))
    }

    /// The argument `cert`.
    #[getter]
    fn cert(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.cert.as_ref().map(|cert| cert.clone_ref(py))
    }

    /// The argument `trust_env`.
    #[getter]
    fn trust_env(&self) -> bool {
        self.trust_env
    }

    /// The argument `system_store`.
    #[getter]
    fn system_store(&self) -> bool {
        self.system_store
    }

    /// The argument `cadata`.
    #[getter]
    fn cadata(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.cadata.as_ref().map(|cadata| cadata.clone_ref(py))
    }

    /// The argument `minimum_version`.
    #[getter]
    fn minimum_version(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.minimum_version.as_ref().map(|version| version.clone_ref(py))
    }
}

/// Set if the operating system keeps its certificates in files, where OpenSSL finds them.
const HAS_SYSTEM_STORE: bool = cfg!(not(any(target_os = "macos", windows)));

/// Returns the configuration for the `ssl_context` argument of a pool, with the default of `package`; `None` if Python's `ssl`
/// does TLS.
pub fn from_argument(
    py: Python<'_>,
    ssl_context: Option<&Bound<'_, PyAny>>,
    package: Package,
) -> PyResult<Option<TlsConfig>> {
    let Some(given) = ssl_context else { return default(py, package) };
    if let Ok(config) = given.cast::<TLSConfig>() {
        return Ok(config.get().config.clone());
    }
    if is_context(given)? {
        return Ok(None);
    }
    Err(PyTypeError::new_err(format!("ssl_context cannot be of type {}", given.get_type().name()?)))
}

/// Returns the configuration that trusts the same authorities as the package's `default_ssl_context()`. httpcore: those of
/// certifi and those in OpenSSL's default paths, as the environment sets them. httpcore2: those that the environment names, or
/// else those of the operating system.
fn default(py: Python<'_>, package: Package) -> PyResult<Option<TlsConfig>> {
    let trust = match package {
        Package::Httpcore => {
            let mut sources = vec![TrustSource::Bundle(bundle(py)?)];
            let (file, folders) = from_environment();
            if file.is_some() || !folders.is_empty() {
                sources.push(TrustSource::Optional { file, folders });
            }
            Trust::Roots(sources)
        }
        Package::Httpcore2 if HAS_SYSTEM_STORE => Trust::Roots(vec![usual(py, true, true)?]),
        Package::Httpcore2 => return Ok(None),
    };
    Ok(Some(TlsConfig::lazy(TlsOptions { rules: rules(py, &trust), trust, needs_tls13: false })))
}

/// Returns the rules that Python's `ssl` would verify chains by. Since 3.13 `ssl.create_default_context()` sets
/// `VERIFY_X509_PARTIAL_CHAIN` and `VERIFY_X509_STRICT`; httpx2's context for the authorities of the operating system sets
/// neither.
fn rules(py: Python<'_>, trust: &Trust) -> Rules {
    let is_systems = match trust {
        Trust::Anything => true,
        Trust::Roots(sources) => sources.iter().any(|source| matches!(source, TrustSource::System { .. })),
    };
    let are_set = !is_systems && py.version_info() >= (3, 13);
    Rules { partial_chain: are_set, strict: are_set }
}

fn is_context(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = given.py();
    given.is_instance(&py.import(intern!(py, "ssl"))?.getattr(intern!(py, "SSLContext"))?)
}

/// Returns the authorities that the arguments name.
fn trust(
    py: Python<'_>,
    verify: Option<&Bound<'_, PyAny>>,
    trust_env: bool,
    system_store: bool,
    cadata: Option<&Bound<'_, PyAny>>,
) -> PyResult<Trust> {
    let given = cadata.map(authorities).transpose()?;
    let verify = match verify {
        None => None,
        Some(verify) => match verify.cast::<PyBool>() {
            Ok(verify) if verify.is_true() => None,
            Ok(_) if given.is_some() => {
                return Err(PyValueError::new_err("cadata: with verify=False nothing is verified"));
            }
            Ok(_) => return Ok(Trust::Anything),
            Err(_) => Some(verify),
        },
    };
    let Some(verify) = verify else {
        return Ok(Trust::Roots(vec![given.map_or_else(|| usual(py, trust_env, system_store), Ok)?]));
    };
    match verify.extract::<PathBuf>() {
        Ok(path) => Ok(Trust::Roots(std::iter::once(TrustSource::Named(path)).chain(given).collect())),
        Err(_) if is_context(verify)? => Err(PyTypeError::new_err(
            "verify: an ssl.SSLContext is a configuration of its own: pass it as ssl_context, or as the transport's verify",
        )),
        Err(_) => Err(PyTypeError::new_err(format!("verify cannot be of type {}", verify.get_type().name()?))),
    }
}

fn authorities(cadata: &Bound<'_, PyAny>) -> PyResult<TrustSource> {
    if let Ok(text) = cadata.cast::<PyString>() {
        return Ok(TrustSource::Given(text.to_str()?.as_bytes().into()));
    }
    if let Ok(bytes) = cadata.cast::<PyBytes>() {
        return Ok(TrustSource::Given(bytes.as_bytes().into()));
    }
    // A `memoryview` of a buffer has a real length. That of a sequence may be wrong: no memory is allocated by it.
    let py = cadata.py();
    match py.get_type::<PyMemoryView>().call1((cadata,)) {
        Ok(view) => {
            let bytes = view.call_method0(intern!(py, "tobytes"))?;
            Ok(TrustSource::Given(bytes.cast::<PyBytes>()?.as_bytes().into()))
        }
        Err(_) => Err(PyTypeError::new_err(format!("cadata cannot be of type {}", cadata.get_type().name()?))),
    }
}

/// Returns whether an `ssl.TLSVersion` excludes TLS 1.2. Raises `ValueError` for other objects.
fn needs_tls13(minimum: &Bound<'_, PyAny>) -> PyResult<bool> {
    // TLSVersion.MAXIMUM_SUPPORTED is -1, MINIMUM_SUPPORTED -2; the others are the numbers of the protocol.
    const TLS_1_2: i64 = 0x0303;
    const TLS_1_3: i64 = 0x0304;

    match minimum.extract::<i64>() {
        Ok(-1 | TLS_1_3) => Ok(true),
        Ok(-2 | 0x0300..=TLS_1_2) => Ok(false),
        _ => Err(PyValueError::new_err(format!("minimum_version must be an ssl.TLSVersion, not {}", minimum.repr()?))),
    }
}

/// Returns the authorities that `verify=True` trusts. As in httpx, the file of the environment replaces the folders.
fn usual(py: Python<'_>, trust_env: bool, system_store: bool) -> PyResult<TrustSource> {
    match if trust_env { from_environment() } else { (None, Vec::new()) } {
        (Some(file), _) => Ok(TrustSource::Named(file)),
        (None, folders) if !folders.is_empty() => Ok(TrustSource::Folders(folders)),
        _ if system_store => this_system(py),
        _ => Ok(TrustSource::Bundle(bundle(py)?)),
    }
}

/// Returns the paths of the operating system's authorities.
fn this_system(py: Python<'_>) -> PyResult<TrustSource> {
    static PATHS: PyOnceLock<(Option<PathBuf>, Option<PathBuf>)> = PyOnceLock::new();
    let (file, folder) = PATHS.get_or_try_init(py, || {
        py.import(intern!(py, "httpcore_rs._ssl_context"))?.call_method0(intern!(py, "system_paths"))?.extract()
    })?;
    Ok(TrustSource::System { file: file.clone(), folder: folder.clone() })
}

/// Returns the file `SSL_CERT_FILE` and the folders of the list `SSL_CERT_DIR`.
fn from_environment() -> (Option<PathBuf>, Vec<PathBuf>) {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let folders = set("SSL_CERT_DIR").map(|list| std::env::split_paths(&list).collect());
    (set("SSL_CERT_FILE").map(PathBuf::from), folders.unwrap_or_default())
}

/// Returns the path of certifi's bundle.
fn bundle(py: Python<'_>) -> PyResult<PathBuf> {
    static BUNDLE: PyOnceLock<PathBuf> = PyOnceLock::new();
    let bundle = BUNDLE.get_or_try_init(py, || {
        py.import(intern!(py, "certifi"))?.call_method0(intern!(py, "where"))?.extract::<PathBuf>()
    });
    bundle.cloned()
}

/// The client certificate and its key.
enum Key {
    Plain(Identity),
    /// The key has a password: only Python's `ssl` can read it.
    Encrypted,
}

fn identity(cert: &Bound<'_, PyAny>) -> PyResult<Key> {
    if let Ok(path) = cert.extract::<PathBuf>() {
        return Ok(Key::Plain(Identity { chain: path.clone(), key: path }));
    }
    let malformed =
        || PyTypeError::new_err("cert must be the path of a PEM file, (chain, key) or (chain, key, password)");
    let parts = cert.cast::<PyTuple>().map_err(|_| malformed())?;
    match parts.len() {
        2 => {
            let (chain, key) = parts.extract()?;
            Ok(Key::Plain(Identity { chain, key }))
        }
        3 if parts.get_item(2)?.is_none() => {
            let (chain, key): (PathBuf, Option<PathBuf>) = parts.get_slice(0, 2).extract()?;
            Ok(Key::Plain(Identity { key: key.unwrap_or_else(|| chain.clone()), chain }))
        }
        3 => Ok(Key::Encrypted),
        _ => Err(malformed()),
    }
}

fn to_pyerr(py: Python<'_>, error: ConfigError) -> PyErr {
    // The number of OpenSSL's own errors. Without a number the text would be that of a tuple.
    const SSL_ERROR_SSL: u8 = 1;

    if let Some(source) = &error.source {
        let exception = os_error(py, source);
        // The attribute that `open()` sets as well.
        let named = exception.value(py).setattr(intern!(py, "filename"), error.path.as_os_str());
        return named.err().unwrap_or(exception);
    }
    let arguments = (SSL_ERROR_SSL, error.message);
    match py.import(intern!(py, "ssl")).and_then(|ssl| ssl.getattr(intern!(py, "SSLError"))?.call1(arguments)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}
