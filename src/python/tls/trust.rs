//! The arguments that say which certificates are trusted, and the defaults of httpcore and httpcore2.

use std::path::PathBuf;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyString};

use super::arguments::{bytes, each};
use crate::python::namespace::Package;
use crate::tls::{Rules, TlsConfig, TlsOptions, Trust, TrustSource};

/// Set if the operating system keeps its certificates in files, where OpenSSL finds them.
const HAS_SYSTEM_FILES: bool = cfg!(not(any(target_os = "macos", windows)));

/// The environment variable with a list of files and folders whose authorities are trusted in addition.
const EXTRA: &str = "HTTPCORE_RS_EXTRA_CA";

/// The arguments that say which authorities are trusted.
pub struct Sources<'a, 'py> {
    pub verify: Option<&'a Bound<'py, PyAny>>,
    pub trust_env: bool,
    pub system_store: bool,
    pub cadata: Option<&'a Bound<'py, PyAny>>,
}

/// The trusted sources, and the rules for chains.
pub struct TrustedSources {
    pub trust: Trust,
    pub rules: Rules,
}

/// Returns what the arguments name.
pub fn read(py: Python<'_>, sources: &Sources<'_, '_>, extra: Option<&Bound<'_, PyAny>>) -> PyResult<TrustedSources> {
    let mut trust = primary(py, sources)?;
    // Additional sources leave the rules as they are.
    let rules = rules(py, &trust);
    if let Some(extra) = extra {
        let Trust::Roots(sources) = &mut trust else {
            return Err(PyValueError::new_err("extra_ca: with verify=False nothing is verified"));
        };
        for extra in each(extra)? {
            sources.push(source(py, &extra)?);
        }
    }
    Ok(TrustedSources { trust, rules })
}

/// Reads one of the additional sources.
fn source(py: Python<'_>, extra: &Bound<'_, PyAny>) -> PyResult<TrustSource> {
    if let Ok(name) = extra.cast::<PyString>() {
        match name.to_str()? {
            "certifi" => return Ok(TrustSource::Bundle(bundle(py)?)),
            "system" => return this_system(py),
            _ => {}
        }
    }
    if let Ok(path) = extra.extract::<PathBuf>() {
        return Ok(TrustSource::Named(path));
    }
    if let Some(bytes) = bytes(extra)? {
        return Ok(TrustSource::Given(bytes.into()));
    }
    let found = extra.get_type().name()?;
    Err(PyTypeError::new_err(format!("extra_ca must be paths, bytes, 'certifi' or 'system', not {found}")))
}

/// Returns the configuration that trusts the same authorities as the package's `default_ssl_context()`. httpcore: those of
/// certifi and those in OpenSSL's default paths, as the environment sets them. httpcore2: those that the environment names, or
/// else those of the operating system. `None` if Python's `ssl` does TLS.
pub fn default(py: Python<'_>, package: Package) -> PyResult<Option<TlsConfig>> {
    let trust = match package {
        Package::Httpcore => {
            let mut sources = vec![TrustSource::Bundle(bundle(py)?)];
            let (file, folders) = from_environment();
            if file.is_some() || !folders.is_empty() {
                sources.push(TrustSource::Optional { file, folders });
            }
            sources.extend(extra_of_environment());
            Trust::Roots(sources)
        }
        Package::Httpcore2 if HAS_SYSTEM_FILES => Trust::Roots(usual(py, true, true)?),
        // truststore asks the operating system to verify, as in httpcore2.
        Package::Httpcore2 => return Ok(None),
    };
    Ok(Some(TlsConfig::lazy(TlsOptions::new(trust.clone(), rules(py, &trust)))))
}

/// Returns the rules that Python's `ssl` would verify chains by. Since 3.13 `ssl.create_default_context()` sets
/// `VERIFY_X509_PARTIAL_CHAIN` and `VERIFY_X509_STRICT`; httpx2's context for the authorities of the operating system sets
/// neither.
fn rules(py: Python<'_>, trust: &Trust) -> Rules {
    let is_systems = match trust {
        Trust::Anything => true,
        Trust::Roots(sources) => sources.iter().any(TrustSource::is_systems),
    };
    let are_set = !is_systems && py.version_info() >= (3, 13);
    Rules { partial_chain: are_set, strict: are_set }
}

pub fn is_context(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = given.py();
    given.is_instance(&py.import(intern!(py, "ssl"))?.getattr(intern!(py, "SSLContext"))?)
}

/// Returns the authorities that the arguments name, without additional ones.
fn primary(py: Python<'_>, sources: &Sources<'_, '_>) -> PyResult<Trust> {
    let given = sources.cadata.map(authorities).transpose()?;
    let verify = match sources.verify {
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
        return Ok(Trust::Roots(match given {
            Some(given) => vec![given],
            None => usual(py, sources.trust_env, sources.system_store)?,
        }));
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
    match bytes(cadata)? {
        Some(bytes) => Ok(TrustSource::Given(bytes.into())),
        None => Err(PyTypeError::new_err(format!("cadata cannot be of type {}", cadata.get_type().name()?))),
    }
}

/// Returns the authorities that `verify=True` trusts. As in httpx, the file of the environment replaces the folders.
fn usual(py: Python<'_>, trust_env: bool, system_store: bool) -> PyResult<Vec<TrustSource>> {
    let mut sources = vec![match if trust_env { from_environment() } else { (None, Vec::new()) } {
        (Some(file), _) => TrustSource::Named(file),
        (None, folders) if !folders.is_empty() => TrustSource::Folders(folders),
        _ if system_store => this_system(py)?,
        _ => TrustSource::Bundle(bundle(py)?),
    }];
    if trust_env {
        sources.extend(extra_of_environment());
    }
    Ok(sources)
}

/// Returns the operating system's authorities.
fn this_system(py: Python<'_>) -> PyResult<TrustSource> {
    static PATHS: PyOnceLock<(Option<PathBuf>, Option<PathBuf>)> = PyOnceLock::new();

    if !HAS_SYSTEM_FILES {
        return Ok(TrustSource::Platform);
    }
    let (file, folder) = PATHS.get_or_try_init(py, || {
        py.import(intern!(py, "httpcore_rs._ssl_context"))?.call_method0(intern!(py, "system_paths"))?.extract()
    })?;
    Ok(TrustSource::System { file: file.clone(), folder: folder.clone() })
}

/// Returns the file `SSL_CERT_FILE` and the folders of the list `SSL_CERT_DIR`.
fn from_environment() -> (Option<PathBuf>, Vec<PathBuf>) {
    (set("SSL_CERT_FILE").map(PathBuf::from), listed("SSL_CERT_DIR"))
}

/// Returns the files and folders whose authorities the environment adds.
fn extra_of_environment() -> impl Iterator<Item = TrustSource> {
    listed(EXTRA).into_iter().filter(|path| !path.as_os_str().is_empty()).map(TrustSource::Named)
}

fn set(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn listed(name: &str) -> Vec<PathBuf> {
    set(name).map(|list| std::env::split_paths(&list).collect()).unwrap_or_default()
}

/// Returns the path of certifi's bundle.
fn bundle(py: Python<'_>) -> PyResult<PathBuf> {
    static BUNDLE: PyOnceLock<PathBuf> = PyOnceLock::new();
    let bundle = BUNDLE.get_or_try_init(py, || {
        py.import(intern!(py, "certifi"))?.call_method0(intern!(py, "where"))?.extract::<PathBuf>()
    });
    bundle.cloned()
}
