//! `TLSConfig`: the configuration of the engine's own TLS, in arguments as for httpx.

mod arguments;
mod identity;
mod trust;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::errors::os_error;
use super::namespace::Package;
use crate::tls::{ConfigError, OwnOptions, Tls, TlsConfig, TlsOptions};

pub use self::identity::{begin_choice, take_choice};

/// A configuration of TLS, for the `ssl_context` of a pool or the `verify` of a transport: how servers are verified, which
/// certificate the client shows, and what is offered to servers.
///
/// Files are read at once, and again for new connections after they have changed. It can be pickled, unless a private key or a
/// password is in it.
///
/// Raises `OSError` for a file that cannot be read, `ssl.SSLError` for one without a certificate or key, `TypeError` for an
/// argument of a wrong type, and `ValueError` for arguments that contradict each other.
///
/// Parameters:
///     verify: bool | str | os.PathLike[str] | None = None
///         `True` and `None` trust certifi's authorities. With `trust_env` they trust the file `SSL_CERT_FILE` instead or, without
///         one, the directories of the list `SSL_CERT_DIR`, and in addition the files and directories of the list
///         `HTTPCORE_RS_EXTRA_CA`. A path trusts the authorities in that PEM file or directory. In a directory only files with
///         hashes as names count (`openssl rehash`). A certificate that is no authority's is trusted for itself only. `False`
///         verifies nothing, which is logged once as a warning.
///     cert: str | os.PathLike[str] | bytes | tuple | Callable[[str], object] | None = None
///         The client certificate: a PEM file with a certificate chain and its key, or a tuple `(chain, key)`, or
///         `(chain, key, password)` for an encrypted key. Each is a path, or the PEM itself as `bytes`. The password is `str`,
///         `bytes`, or a function that returns one and is called at once. A function in place of all this is called with the host
///         before each handshake, and returns one of these or `None`.
///     trust_env: bool = True
///         Whether `verify=True` reads the environment variables.
///     system_store: bool = False
///         Whether `verify=True` trusts the authorities of the operating system instead of certifi's.
///     cadata: str | bytes | bytearray | memoryview | None = None
///         Authorities: PEM, or one certificate in DER. They are trusted beside those of a path given as `verify`, and with
///         `verify=True` instead of all others.
///     minimum_version: ssl.TLSVersion | None = None
///         The lowest version of TLS. TLS 1.2 by default; lower versions are never used.
///     extra_ca: str | os.PathLike[str] | bytes | Sequence | None = None
///         Authorities that are trusted in addition to all others, one or a list of: a path of a file or a directory, PEM or one
///         certificate in DER as `bytes`, `"certifi"`, or `"system"`.
///     maximum_version: ssl.TLSVersion | None = None
///         The highest version of TLS. TLS 1.3 by default.
///     ciphers: str | Sequence[str] | None = None
///         The names of the cipher suites that are offered, of all versions, in a list or with colons between them. Without a suite
///         of a version, that version is not offered.
///     groups: str | Sequence[str] | None = None
///         The names of the groups for key exchanges, the preferred one first. By default `X25519MLKEM768` (post-quantum), `X25519`,
///         `secp256r1` and `secp384r1`.
///     alpn: Sequence[str] | None = None
///         The protocols that are offered, the preferred one first, in place of those of the pool's `http1` and `http2`. They have
///         to fit these: `"h2"`, `"http/1.1"`, `"http/1.0"`, or none at all.
///     verify_hostname: bool = True
///         Whether a certificate has to be valid for the name of the server. `False` accepts all servers with a certificate of a
///         trusted authority, which is logged once as a warning.
///     pins: str | Sequence[str] | None = None
///         Hashes of public keys: `sha256/` and the base64 or hexadecimal SHA-256 of a `SubjectPublicKeyInfo`, or a list of these with
///         the keys that may come next. The key of the server, or of an authority in its verified chain, has to be one of them.
///     crls: str | os.PathLike[str] | bytes | Sequence | None = None
///         Revocation lists, one or a list of: a path, or PEM or DER as `bytes`. The certificate of a server needs a list of its
///         issuer that is in date and does not name it.
///     keylog: bool | str | os.PathLike[str] | None = None
///         The file that the secrets of each connection are appended to, for programs that decrypt recordings. `None` takes the one
///         that the environment variable `SSLKEYLOGFILE` names, if it is set; `False` writes none.
///     session_cache_size: int = 256
///         The number of servers whose sessions are kept to be resumed. 0 resumes none.
///     reload: float | None = 1.0
///         The least number of seconds between two looks at the files, which new connections take. `None` reads the files once.
///     require_close_notify: bool = False
///         Whether a response whose body ends with the connection fails if the connection ends without `close_notify` of TLS: then
///         something may be missing.
///     early_data: bool = False
///         Whether requests with a safe method (GET, HEAD, OPTIONS, TRACE) and without a body are sent before the handshake of a resumed
///         session is complete (0-RTT of TLS 1.3), which saves a round trip. Such a request can be recorded and sent again by an
///         attacker. It needs `http2=False`, `replay="idempotent"` and no `cert`.
///     engine: str = "rustls"
///         The implementation of TLS. `"native-tls"`, the library of the operating system, is there in builds with the feature
///         `native-tls`; it has no `ciphers`, `groups`, `pins`, `crls`, `keylog`, `reload`,
///         `require_close_notify` and `early_data`, and no function as `cert`.
#[expect(clippy::doc_markdown, reason = "`help()` shows this as text")]
#[expect(clippy::struct_excessive_bools, reason = "these are arguments of the constructor")]
#[pyclass(frozen, module = "httpcore_rs", name = "TLSConfig")]
pub struct TLSConfig {
    config: TlsEngine,
    /// The argument `verify`.
    #[pyo3(get)]
    verify: Option<Py<PyAny>>,
    /// The argument `cert`.
    #[pyo3(get)]
    cert: Option<Py<PyAny>>,
    /// The argument `trust_env`.
    #[pyo3(get)]
    trust_env: bool,
    /// The argument `system_store`.
    #[pyo3(get)]
    system_store: bool,
    /// The argument `cadata`.
    #[pyo3(get)]
    cadata: Option<Py<PyAny>>,
    /// The argument `minimum_version`.
    #[pyo3(get)]
    minimum_version: Option<Py<PyAny>>,
    /// The argument `extra_ca`.
    #[pyo3(get)]
    extra_ca: Option<Py<PyAny>>,
    /// The argument `maximum_version`.
    #[pyo3(get)]
    maximum_version: Option<Py<PyAny>>,
    /// The argument `ciphers`.
    #[pyo3(get)]
    ciphers: Option<Py<PyAny>>,
    /// The argument `groups`.
    #[pyo3(get)]
    groups: Option<Py<PyAny>>,
    /// The argument `alpn`.
    #[pyo3(get)]
    alpn: Option<Py<PyAny>>,
    /// The argument `verify_hostname`.
    #[pyo3(get)]
    verify_hostname: bool,
    /// The argument `pins`.
    #[pyo3(get)]
    pins: Option<Py<PyAny>>,
    /// The argument `crls`.
    #[pyo3(get)]
    crls: Option<Py<PyAny>>,
    /// The argument `keylog`.
    #[pyo3(get)]
    keylog: Option<Py<PyAny>>,
    /// The argument `session_cache_size`.
    #[pyo3(get)]
    session_cache_size: usize,
    /// The argument `reload`.
    #[pyo3(get)]
    reload: Option<f64>,
    /// The argument `require_close_notify`.
    #[pyo3(get)]
    require_close_notify: bool,
    /// The argument `early_data`.
    #[pyo3(get)]
    early_data: bool,
    /// The argument `engine`.
    #[pyo3(get)]
    engine: &'static str,
}

/// The implementation of TLS.
#[derive(Clone)]
enum TlsEngine {
    Rustls(TlsConfig),
    #[cfg(feature = "native-tls")]
    Native(crate::tls::NativeTls),
}

impl TlsEngine {
    fn tls(&self) -> Tls {
        match self {
            Self::Rustls(config) => Tls::Rustls(config.clone()),
            #[cfg(feature = "native-tls")]
            Self::Native(config) => Tls::Native(config.clone()),
        }
    }
}

#[cfg(feature = "native-tls")]
fn native(options: TlsOptions, own: OwnOptions) -> Result<TlsEngine, ConfigError> {
    crate::tls::NativeTls::load(options, own).map(TlsEngine::Native)
}

/// Is not called: `is_native` has refused the argument.
#[cfg(not(feature = "native-tls"))]
fn native(options: TlsOptions, own: OwnOptions) -> Result<TlsEngine, ConfigError> {
    TlsConfig::new(options, own).map(TlsEngine::Rustls)
}

#[pymethods]
impl TLSConfig {
    #[new]
    #[pyo3(
        signature = (verify = None, cert = None, trust_env = true, **options),
        text_signature = "(verify=None, cert=None, trust_env=True, *, system_store=False, cadata=None, minimum_version=None, \
            extra_ca=None, maximum_version=None, ciphers=None, groups=None, alpn=None, verify_hostname=True, pins=None, \
            crls=None, keylog=None, session_cache_size=256, reload=1.0, require_close_notify=False, early_data=False, \
            engine='rustls')"
    )]
    fn new(
        py: Python<'_>,
        verify: Option<&Bound<'_, PyAny>>,
        cert: Option<&Bound<'_, PyAny>>,
        trust_env: bool,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let options = arguments::Keywords::new(options)?;
        let (system_store, verify_hostname) =
            (options.flag("system_store", false)?, options.flag("verify_hostname", true)?);
        let cadata = options.get("cadata")?;
        let sources = trust::Sources { verify, trust_env, system_store, cadata: cadata.as_ref() };
        let trust = trust::read(py, &sources, options.get("extra_ca")?.as_ref())?;
        let (tls, own) = arguments::read(py, trust, cert, &options)?;
        let (session_cache_size, needs_close_notify) = (tls.session_cache_size, tls.needs_close_notify);
        let early_data = own.early_data;
        let reload = own.reload.map(|reload| reload.as_secs_f64());
        let is_native = arguments::is_native(&options)?;
        let config = if is_native { native(tls, own) } else { TlsConfig::new(tls, own).map(TlsEngine::Rustls) };
        let config = config.map_err(|error| to_pyerr(py, error))?;
        let kept = |argument: Option<&Bound<'_, PyAny>>| argument.map(|value| value.clone().unbind());
        let option = |name| PyResult::Ok(options.get(name)?.map(Bound::unbind));
        Ok(Self {
            config,
            verify: kept(verify),
            cert: kept(cert),
            trust_env,
            system_store,
            cadata: option("cadata")?,
            minimum_version: option("minimum_version")?,
            extra_ca: option("extra_ca")?,
            maximum_version: option("maximum_version")?,
            ciphers: option("ciphers")?,
            groups: option("groups")?,
            alpn: option("alpn")?,
            verify_hostname,
            pins: option("pins")?,
            crls: option("crls")?,
            keylog: option("keylog")?,
            session_cache_size,
            reload,
            require_close_notify: needs_close_notify,
            early_data,
            engine: if is_native { "native-tls" } else { "rustls" },
        })
    }

    /// Visits all arguments: a function among them may refer to the pool that uses it. The function for certificates is here twice.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let arguments = [
            &self.verify,
            &self.cert,
            &self.cadata,
            &self.minimum_version,
            &self.extra_ca,
            &self.maximum_version,
            &self.ciphers,
            &self.groups,
            &self.alpn,
            &self.pins,
            &self.crls,
            &self.keylog,
        ];
        arguments.into_iter().try_for_each(|argument| visit.call(argument))?;
        match &self.config {
            TlsEngine::Rustls(config) => config.chooser().map_or(Ok(()), |chooser| identity::traverse(chooser, &visit)),
            #[cfg(feature = "native-tls")]
            TlsEngine::Native(_) => Ok(()),
        }
    }

    /// Returns the arguments that differ from the defaults. Keys, passwords and certificates in memory are left out.
    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        py.import(intern!(py, "httpcore_rs._tls_config"))?.call_method1(intern!(py, "describe"), (slf,))
    }

    /// Supports pickling, by the arguments. Raises `TypeError` if one holds a private key or a password.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let reduced = py.import(intern!(py, "httpcore_rs._tls_config"))?.call_method1(intern!(py, "reduce"), (slf,))?;
        Ok(reduced.cast_into()?)
    }
}

/// Returns the TLS for the `ssl_context` argument of a pool, with the default of `package`; `None` if Python's `ssl` does TLS.
pub fn from_argument(
    py: Python<'_>,
    ssl_context: Option<&Bound<'_, PyAny>>,
    package: Package,
) -> PyResult<Option<Tls>> {
    let Some(given) = ssl_context else { return Ok(trust::default(py, package)?.map(Tls::Rustls)) };
    if let Ok(config) = given.cast::<TLSConfig>() {
        return Ok(Some(config.get().config.tls()));
    }
    if trust::is_context(given)? {
        return Ok(None);
    }
    Err(PyTypeError::new_err(format!("ssl_context cannot be of type {}", given.get_type().name()?)))
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
