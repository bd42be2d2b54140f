//! The keyword arguments of a `TLSConfig`, read.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};

use super::identity;
use super::trust::TrustedSources;
use crate::tls::{
    KeyLogging, OwnOptions, PemSource, Pin, SESSION_CACHE_SIZE, TlsOptions, Trust, Versions, cipher_named,
    cipher_names, group_named, group_names,
};

/// The names of all keyword arguments.
const NAMES: [&str; 17] = [
    "system_store",
    "cadata",
    "minimum_version",
    "extra_ca",
    "maximum_version",
    "ciphers",
    "groups",
    "alpn",
    "verify_hostname",
    "pins",
    "crls",
    "keylog",
    "session_cache_size",
    "reload",
    "require_close_notify",
    "early_data",
    "engine",
];

/// The keyword arguments that were given.
pub struct Keywords<'a, 'py>(Option<&'a Bound<'py, PyDict>>);

impl<'a, 'py> Keywords<'a, 'py> {
    /// Raises `TypeError` for a name that is not known.
    pub fn new(given: Option<&'a Bound<'py, PyDict>>) -> PyResult<Self> {
        for name in given.iter().flat_map(|given| given.keys()) {
            let name = name.cast::<PyString>()?.to_str()?.to_owned();
            if !NAMES.contains(&name.as_str()) {
                return Err(PyTypeError::new_err(format!("TLSConfig() got an unexpected keyword argument '{name}'")));
            }
        }
        Ok(Self(given))
    }

    /// Returns an argument, unless it was left out.
    fn find(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.0 {
            Some(given) => given.get_item(name),
            None => Ok(None),
        }
    }

    /// Returns an argument that is not `None`.
    pub fn get(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(name)?.filter(|value| !value.is_none()))
    }

    pub fn flag(&self, name: &str, default: bool) -> PyResult<bool> {
        match self.find(name)? {
            None => Ok(default),
            Some(value) => value.extract().map_err(|_| wrong_type(name, "a bool", &value)),
        }
    }
}

/// Returns whether the library of the operating system does TLS.
pub fn is_native(given: &Keywords<'_, '_>) -> PyResult<bool> {
    let Some(engine) = given.find("engine")? else { return Ok(false) };
    match engine.extract::<String>().as_deref() {
        Ok("rustls") => Ok(false),
        Ok("native-tls") if cfg!(feature = "native-tls") => Ok(true),
        Ok("native-tls") => Err(PyValueError::new_err(
            "engine: this build has no native-tls; pip install . --config-settings=build-args='--features native-tls' makes one that has",
        )),
        _ => Err(wrong_value("engine", "\"rustls\" or \"native-tls\"", &engine)),
    }
}

fn wrong_type(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match value.get_type().name() {
        Ok(found) => PyTypeError::new_err(format!("{name} must be {expected}, not {found}")),
        Err(error) => error,
    }
}

/// Returns the options that pools share, and the others.
pub fn read(
    py: Python<'_>,
    trusted: TrustedSources,
    cert: Option<&Bound<'_, PyAny>>,
    given: &Keywords<'_, '_>,
) -> PyResult<(TlsOptions, OwnOptions)> {
    let TrustedSources { trust, rules } = trusted;
    let mut options = TlsOptions::new(trust, rules);
    options.versions = versions(given)?;
    options.ciphers = numbers(given, "ciphers", cipher_named, &cipher_names())?;
    options.groups = numbers(given, "groups", group_named, &group_names())?;
    options.accepts_other_names = !given.flag("verify_hostname", true)?;
    options.pins = pins(given)?;
    options.revocation_lists = match given.get("crls")? {
        None => Vec::new(),
        Some(lists) => each(&lists)?.iter().map(|list| pem_source("crls", list)).collect::<PyResult<_>>()?,
    };
    options.key_log = key_log(py, given)?;
    options.session_cache_size = match given.find("session_cache_size")? {
        None => SESSION_CACHE_SIZE,
        Some(size) => {
            size.extract().map_err(|_| wrong_value("session_cache_size", "a number of servers, 0 or more", &size))?
        }
    };
    options.needs_close_notify = given.flag("require_close_notify", false)?;
    check(py, &options)?;
    let choice = cert.map(identity::read).transpose()?;
    let (identity, chooser) = match choice {
        None => (None, None),
        Some(identity::ClientCertificate::One(identity)) => (Some(identity), None),
        Some(identity::ClientCertificate::ByHost(chooser)) => (None, Some(chooser)),
    };
    let early_data = given.flag("early_data", false)?;
    let own = OwnOptions { identity, chooser, protocols: protocols(given)?, reload: reload(given)?, early_data };
    match early_data.then(|| contradiction_of_early_data(&options, &own)).flatten() {
        Some(fault) => Err(PyValueError::new_err(fault)),
        None => Ok((options, own)),
    }
}

/// Returns why early data could never be sent, or must not be.
fn contradiction_of_early_data(options: &TlsOptions, own: &OwnOptions) -> Option<&'static str> {
    if !options.has_tls13() {
        Some("early_data needs TLS 1.3, which maximum_version or ciphers leave out")
    } else if options.session_cache_size == 0 {
        Some("early_data needs a session to resume, and session_cache_size=0 keeps none")
    } else if own.identity.is_some() || own.chooser.is_some() {
        Some(
            "early_data with cert: a recorded request that is sent again would have the authority of the client certificate",
        )
    } else {
        None
    }
}

/// Checks what contradicts itself, and warns about what is not verified.
fn check(py: Python<'_>, options: &TlsOptions) -> PyResult<()> {
    let verifies_nothing = options.trust == Trust::Anything;
    let fault = if verifies_nothing && !options.revocation_lists.is_empty() {
        Some("crls: with verify=False nothing is verified")
    } else if !options.fits() {
        Some("ciphers: none of them is of the versions that minimum_version and maximum_version allow")
    } else {
        None
    };
    if let Some(fault) = fault {
        return Err(PyValueError::new_err(fault));
    }
    let warning = match (verifies_nothing, options.accepts_other_names) {
        // A pinned key authenticates the server.
        (true, _) if options.pins.is_empty() => "verify=False",
        (false, true) if options.pins.is_empty() => "verify_hostname=False",
        _ => return Ok(()),
    };
    py.import(intern!(py, "httpcore_rs._tls_config"))?.call_method1(intern!(py, "warn_once"), (warning,))?;
    Ok(())
}

fn wrong_value(name: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match value.repr() {
        Ok(repr) => PyValueError::new_err(format!("{name} must be {expected}, not {repr}")),
        Err(error) => error,
    }
}

/// Reads the lowest and the highest version.
fn versions(given: &Keywords<'_, '_>) -> PyResult<Versions> {
    // TLSVersion.MAXIMUM_SUPPORTED is -1, MINIMUM_SUPPORTED -2; the others are the numbers of the protocol.
    const MINIMUM: i64 = -2;
    const MAXIMUM: i64 = -1;
    const TLS_1_2: i64 = 0x0303;
    const TLS_1_3: i64 = 0x0304;

    let number = |name| match given.get(name)? {
        None => Ok(None),
        Some(version) => match version.extract::<i64>() {
            Ok(number @ (MINIMUM | MAXIMUM | 0x0300..=TLS_1_3)) => Ok(Some(number)),
            _ => Err(wrong_value(name, "an ssl.TLSVersion", &version)),
        },
    };
    let is_from_13 = matches!(number("minimum_version")?, Some(MAXIMUM | TLS_1_3));
    let maximum = number("maximum_version")?.unwrap_or(MAXIMUM);
    match (is_from_13, maximum) {
        (_, MINIMUM | 0x0300..TLS_1_2) => Err(PyValueError::new_err(
            "maximum_version: versions below TLS 1.2 are never used; an ssl.SSLContext can have them",
        )),
        (true, TLS_1_2) => Err(PyValueError::new_err("minimum_version is higher than maximum_version")),
        (true, _) => Ok(Versions::Tls13),
        (false, TLS_1_2) => Ok(Versions::Tls12),
        (false, _) => Ok(Versions::Both),
    }
}

/// Reads a list of names as their numbers. It may be a `str` with colons between the names, as for OpenSSL.
fn numbers(
    given: &Keywords<'_, '_>,
    argument: &str,
    numbered: fn(&str) -> Option<u16>,
    known: &[&str],
) -> PyResult<Option<Vec<u16>>> {
    let Some(value) = given.get(argument)? else { return Ok(None) };
    let names = match value.extract::<String>() {
        Ok(list) => list.split(':').map(str::to_owned).collect(),
        Err(_) => strings(argument, &value)?,
    };
    if names.is_empty() {
        return Err(PyValueError::new_err(format!("{argument} names none")));
    }
    let mut found = Vec::new();
    for name in names {
        let Some(number) = numbered(&name) else {
            let known = known.join(", ");
            return Err(PyValueError::new_err(format!("{argument}: {name:?} is not known; there are {known}")));
        };
        if !found.contains(&number) {
            found.push(number);
        }
    }
    Ok(Some(found))
}

fn strings(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let strings: PyResult<_> = each(value)?.iter().map(PyAnyMethods::extract::<String>).collect();
    strings.map_err(|_| wrong_type(argument, "a str or a list of them", value))
}

/// Returns the items of a list or a tuple, or the one value.
pub fn each<'py>(value: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return value.try_iter()?.collect();
    }
    Ok(vec![value.clone()])
}

fn pins(given: &Keywords<'_, '_>) -> PyResult<Vec<Pin>> {
    let Some(value) = given.get("pins")? else { return Ok(Vec::new()) };
    let pins = strings("pins", &value)?;
    if pins.is_empty() {
        return Err(PyValueError::new_err("pins: an empty list would accept no server"));
    }
    pins.iter()
        .map(|pin| {
            Pin::parse(pin).ok_or_else(|| {
                PyValueError::new_err(format!(
                    "pins: {pin:?} is not sha256/ and the SHA-256 of a public key, in base64 or as 64 hexadecimal digits"
                ))
            })
        })
        .collect()
}

fn key_log(py: Python<'_>, given: &Keywords<'_, '_>) -> PyResult<KeyLogging> {
    // `python -I` and `-E` ignore the environment.
    let ignores_environment = || {
        let flags = py.import(intern!(py, "sys"))?.getattr(intern!(py, "flags"))?;
        flags.getattr(intern!(py, "ignore_environment"))?.is_truthy()
    };
    let Some(value) = given.get("keylog")? else {
        return Ok(if ignores_environment()? { KeyLogging::Off } else { KeyLogging::Environment });
    };
    match (value.cast::<PyBool>(), value.extract::<PathBuf>()) {
        (Ok(value), _) if !value.is_true() => Ok(KeyLogging::Off),
        (Err(_), Ok(path)) => Ok(KeyLogging::File(path)),
        _ => Err(wrong_value("keylog", "a path, False or None", &value)),
    }
}

fn protocols(given: &Keywords<'_, '_>) -> PyResult<Option<Vec<Vec<u8>>>> {
    let Some(value) = given.get("alpn")? else { return Ok(None) };
    let names = strings("alpn", &value)?;
    if let Some(name) = names.iter().find(|name| !matches!(name.as_str(), "h2" | "http/1.1" | "http/1.0")) {
        return Err(PyValueError::new_err(format!(
            "alpn: {name:?} is not spoken here; there are 'h2', 'http/1.1' and 'http/1.0'"
        )));
    }
    Ok(Some(names.into_iter().map(String::into_bytes).collect()))
}

fn reload(given: &Keywords<'_, '_>) -> PyResult<Option<Duration>> {
    const DEFAULT: Duration = Duration::from_secs(1);

    let Some(value) = given.find("reload")? else { return Ok(Some(DEFAULT)) };
    if value.is_none() {
        return Ok(None);
    }
    let seconds = value.extract::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(Some).ok_or_else(|| wrong_value("reload", "a number of seconds, or None", &value))
}

/// Reads a path, or PEM as `bytes`.
pub fn pem_source(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<PemSource> {
    if let Ok(path) = value.extract::<PathBuf>() {
        return Ok(PemSource::File(path));
    }
    match bytes(value)? {
        Some(bytes) => Ok(PemSource::Bytes(bytes.into())),
        None => Err(wrong_type(argument, "a path or bytes", value)),
    }
}

/// Returns the contents of `bytes` or of another buffer; `None` for other objects.
pub fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Some(bytes.as_bytes().to_vec()));
    }
    // A `memoryview` of a buffer has a real length. That of a sequence may be wrong: no memory is allocated by it.
    let py = value.py();
    match py.get_type::<PyMemoryView>().call1((value,)) {
        Ok(view) => {
            let bytes = view.call_method0(intern!(py, "tobytes"))?;
            Ok(Some(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))
        }
        Err(_) => Ok(None),
    }
}
