//! The options of a pool. A constructor in Python passes all of them in one dictionary; they are checked and converted here.
//!
//! A new option is a field of [`Given`], and is read in [`PoolOptions::read`]. Its type, its default and its description are in
//! `httpcore_rs/_options.py`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
#[cfg(target_os = "linux")]
use pyo3::types::PyList;
use pyo3::types::{PyBytes, PyDict, PyInt, PyTuple};

use super::arguments::PoolArguments;
use super::namespace::Package;
use super::request_defaults::RequestDefaults;
use super::{backend, connect_policy, pool_wait, proxy, ssl, values};
use crate::client::{Replay, WaitReports};
use crate::connect::{ConnectPolicy, Connector, Liveness, OptionValue, Proxy, SocketOption};
use crate::http2::KeepAlive;
use crate::io::sys;
use crate::pool::Limits;

/// The parts of an engine, made from the options.
pub struct PoolOptions {
    pub limits: Limits,
    pub connector: Connector,
    pub replay: Replay,
    pub arguments: Py<PoolArguments>,
    pub wait_reports: WaitReports,
    pub defaults: RequestDefaults,
}

/// The dictionary: a field is the name of an option. Python fills in the defaults.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Given<'py> {
    ssl_context: Bound<'py, PyAny>,
    proxy: Bound<'py, PyAny>,
    max_connections: Bound<'py, PyAny>,
    max_keepalive_connections: Bound<'py, PyAny>,
    keepalive_expiry: Bound<'py, PyAny>,
    max_connections_per_origin: Bound<'py, PyAny>,
    max_keepalive_connections_per_origin: Bound<'py, PyAny>,
    http1: Bound<'py, PyAny>,
    http2: Bound<'py, PyAny>,
    retries: Bound<'py, PyAny>,
    local_address: Bound<'py, PyAny>,
    uds: Bound<'py, PyAny>,
    network_backend: Bound<'py, PyAny>,
    python_sockets: Bound<'py, PyAny>,
    socket_options: Bound<'py, PyAny>,
    connect_policy: Bound<'py, PyAny>,
    interface: Bound<'py, PyAny>,
    proxy_authenticate: Bound<'py, PyAny>,
    resolver: Bound<'py, PyAny>,
    expect_continue_timeout: Bound<'py, PyAny>,
    http2_ping_interval: Bound<'py, PyAny>,
    http2_ping_timeout: Bound<'py, PyAny>,
    pool_wait_warning: Bound<'py, PyAny>,
    on_pool_wait: Bound<'py, PyAny>,
    tcp_keepalive: Bound<'py, PyAny>,
    tcp_user_timeout: Bound<'py, PyAny>,
    replay: Bound<'py, PyAny>,
    default_timeout: Bound<'py, PyAny>,
    total_timeout: Bound<'py, PyAny>,
    user_agent: Bound<'py, PyAny>,
}

impl PoolOptions {
    /// Reads the options. Raises `TypeError` for one of a wrong type and `ValueError` for one of a wrong value, by its name.
    pub fn read(options: &Bound<'_, PyDict>, package: Package) -> PyResult<Self> {
        let options: Given<'_> = options.extract()?;
        let limits = options.limits()?;
        let (http1, http2) = (flag("http1", &options.http1)?, flag("http2", &options.http2)?);
        if !http1 && !http2 {
            return Err(PyValueError::new_err("http1 and http2 are both false: there is no protocol to speak"));
        }
        let interface = options.interface()?;
        let arguments = options.arguments(http2, package)?;
        let backend = given(&options.network_backend).map(|object| backend::backend(object, &arguments));
        let python_sockets = given(&options.python_sockets).map(|object| backend::backend(object, &arguments));
        let tls = ssl::tls(options.ssl_context.py(), given(&options.ssl_context), package)?;
        if let Some(misfit) = tls.misfit(http1, http2) {
            return Err(PyValueError::new_err(misfit));
        }
        let replay = read_replay(&options.replay)?;
        if tls.sends_early_data() && replay != Replay::Idempotent {
            return Err(PyValueError::new_err(
                "early_data of the TLSConfig lets an attacker send a request again, and replay must then be \"idempotent\"",
            ));
        }
        let connector = Connector {
            tls,
            proxy: options.proxy(package)?,
            retries: count("retries", &options.retries)?,
            local_address: given(&options.local_address).map(ip_address).transpose()?,
            resolver: given(&options.resolver).map(connect_policy::callback),
            policy: options.policy()?,
            interface,
            uds: given(&options.uds).map(path).transpose()?,
            liveness: options.liveness()?,
            socket_options: read_socket_options(&options.socket_options)?,
            http1,
            http2,
            expect_continue_timeout: expect_continue(&options.expect_continue_timeout)?,
            keep_alive: keep_alive(&options.http2_ping_interval, &options.http2_ping_timeout)?,
            backend: ArcSwapOption::new(backend.map(Arc::new)),
            python_sockets,
        };
        let wait_reports = wait_reports(&options.pool_wait_warning, &options.on_pool_wait)?;
        let defaults = RequestDefaults::read(&options.default_timeout, &options.total_timeout, &options.user_agent)?;
        Ok(Self { limits, connector, replay, arguments, wait_reports, defaults })
    }
}

impl Given<'_> {
    fn limits(&self) -> PyResult<Limits> {
        let max_connections = limit("max_connections", &self.max_connections)?;
        let per_origin = limit("max_connections_per_origin", &self.max_connections_per_origin)?;
        for (name, limit) in [("max_connections", max_connections), ("max_connections_per_origin", per_origin)] {
            if limit == 0 {
                return Err(PyValueError::new_err(format!("{name} must be at least 1, or None for no limit")));
            }
        }
        let idle_per_origin =
            limit("max_keepalive_connections_per_origin", &self.max_keepalive_connections_per_origin)?;
        // A limit that is larger than that of the whole pool has no effect.
        let below = |limit: usize, most: usize| (limit < most).then_some(limit);
        let max_idle = limit("max_keepalive_connections", &self.max_keepalive_connections)?;
        Ok(Limits {
            max_connections,
            max_connections_per_origin: below(per_origin, max_connections),
            max_keepalive_connections: max_idle.min(max_connections),
            max_keepalive_connections_per_origin: below(idle_per_origin, max_idle.min(per_origin).min(max_connections)),
            keepalive_expiry: match given(&self.keepalive_expiry) {
                Some(expiry) => values::seconds(expiry, || "keepalive_expiry".to_owned())?,
                None => None,
            },
        })
    }

    fn proxy(&self, package: Package) -> PyResult<Option<Proxy>> {
        let callback = given(&self.proxy_authenticate);
        if let Some(callback) = callback.filter(|callback| !callback.is_callable()) {
            return Err(values::wrong_type("proxy_authenticate", "a function of a ProxyChallenge", callback));
        }
        let authenticate = callback.map(connect_policy::callback);
        let proxy = given(&self.proxy).map(|proxy| proxy::read(proxy, package)).transpose()?;
        Ok(proxy.map(|proxy| Proxy { authenticate, ..proxy }))
    }

    fn interface(&self) -> PyResult<Option<Arc<str>>> {
        let Some(interface) = given(&self.interface) else { return Ok(None) };
        let name: &str = interface.extract().map_err(|_| values::wrong_type("interface", "a str", interface))?;
        // The kernel's limit is 15 bytes.
        if name.is_empty() || name.contains('\0') || name.len() > 15 {
            let message = format!("interface must be the name of a network interface, such as eth0, not {name:?}");
            return Err(PyValueError::new_err(message));
        }
        if !sys::HAS_INTERFACES {
            return Err(PyValueError::new_err("interface must be None here: it exists on Linux and macOS only"));
        }
        if !cfg!(target_os = "linux") && given(&self.network_backend).is_some() {
            return Err(PyValueError::new_err(
                "interface must be None with a network_backend, which makes the sockets",
            ));
        }
        Ok(Some(name.into()))
    }

    fn policy(&self) -> PyResult<Option<ConnectPolicy>> {
        let policy = given(&self.connect_policy).map(connect_policy::read).transpose()?;
        if policy.is_some() && given(&self.uds).is_some() {
            return Err(PyValueError::new_err(
                "connect_policy checks IP addresses, and a Unix domain socket (uds) has none: leave one of the two out",
            ));
        }
        Ok(policy)
    }

    /// Returns the options that a backend is given for its sockets: with an interface, one more.
    #[cfg_attr(not(target_os = "linux"), expect(clippy::unnecessary_wraps, reason = "it fails on Linux only"))]
    fn socket_options_of_backends(&self) -> PyResult<Bound<'_, PyAny>> {
        #[cfg(target_os = "linux")]
        if let Some(interface) = given(&self.interface) {
            let options = PyList::empty(interface.py());
            if let Some(given) = given(&self.socket_options) {
                given.try_iter()?.try_for_each(|option| options.append(option?))?;
            }
            let name = PyBytes::new(interface.py(), interface.extract::<&str>()?.as_bytes());
            options.append((libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name))?;
            return Ok(options.into_any());
        }
        Ok(self.socket_options.clone())
    }

    fn liveness(&self) -> PyResult<Liveness> {
        let probe_after = whole_seconds("tcp_keepalive", &self.tcp_keepalive)?;
        let user_timeout = whole_seconds("tcp_user_timeout", &self.tcp_user_timeout)?;
        if user_timeout.is_some() && !sys::HAS_USER_TIMEOUT {
            return Err(PyValueError::new_err("tcp_user_timeout is not available on this operating system"));
        }
        Ok(Liveness { probe_after, user_timeout })
    }

    fn arguments(&self, http2: bool, package: Package) -> PyResult<Py<PoolArguments>> {
        let object = |value: &Bound<'_, PyAny>| value.clone().unbind();
        let (ssl_context, proxy) = (object(&self.ssl_context), object(&self.proxy));
        let socket_options = self.socket_options_of_backends()?.unbind();
        let arguments = PoolArguments::new(ssl_context, proxy, socket_options, http2, package);
        Py::new(self.proxy.py(), arguments)
    }
}

/// Returns the value unless it is Python's `None`.
fn given<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAny>> {
    (!value.is_none()).then_some(value)
}

/// Reads a `bool`.
fn flag(what: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract().map_err(|_| values::wrong_type(what, "a bool", value))
}

/// Reads a limit. Returns `usize::MAX` for Python's `None`.
fn limit(what: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    given(value).map_or(Ok(usize::MAX), |value| count(what, value))
}

/// Reads a number of connections or attempts. Returns 0 for negative numbers.
fn count(what: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let count: i64 = match value.cast::<PyInt>() {
        // `sys.maxsize` and larger numbers mean "no limit" as well.
        Ok(value) => value.extract().or_else(|_| value.gt(0).map(|is_huge| if is_huge { i64::MAX } else { 0 }))?,
        Err(_) => value.extract().map_err(|_| values::wrong_type(what, "an integer", value))?,
    };
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Reads how long a body waits for `100 Continue`; 0 does not wait.
fn expect_continue(timeout: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    let name = || "expect_continue_timeout".to_owned();
    match values::seconds(timeout, name)? {
        Some(timeout) => Ok((!timeout.is_zero()).then_some(timeout)),
        None => Err(PyValueError::new_err("expect_continue_timeout must be a number of seconds from 0 on, not inf")),
    }
}

/// Reads a time for a socket option. The systems count it in whole seconds; `None` stands for no limit.
fn whole_seconds(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    let Some(value) = given(value) else { return Ok(None) };
    let time = values::seconds(value, || what.to_owned())?;
    if time.is_some_and(|time| time < Duration::from_secs(1)) {
        return Err(PyValueError::new_err(format!("{what} must be at least 1 second, or None")));
    }
    Ok(time)
}

fn read_replay(value: &Bound<'_, PyAny>) -> PyResult<Replay> {
    let name: &str = value.extract().map_err(|_| values::wrong_type("replay", "a str", value))?;
    match name {
        "idempotent" => Ok(Replay::Idempotent),
        "unsent" => Ok(Replay::Unsent),
        "never" => Ok(Replay::Never),
        _ => {
            let message = format!("replay must be \"idempotent\", \"unsent\" or \"never\", not {name:?}");
            Err(PyValueError::new_err(message))
        }
    }
}

/// Reads when an HTTP/2 connection sends a PING, and how long it waits for the answer.
fn keep_alive(interval: &Bound<'_, PyAny>, timeout: &Bound<'_, PyAny>) -> PyResult<Option<KeepAlive>> {
    let timeout = values::seconds(timeout, || "http2_ping_timeout".to_owned())?;
    let Some(interval) = given(interval) else { return Ok(None) };
    let interval = values::seconds(interval, || "http2_ping_interval".to_owned())?;
    Ok(interval.zip(timeout).map(|(interval, timeout)| KeepAlive { interval, timeout }))
}

/// Reads when a request is reported that waits in the pool, and to what.
fn wait_reports(after: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>) -> PyResult<WaitReports> {
    let after = match given(after) {
        Some(after) => values::seconds(after, || "pool_wait_warning".to_owned())?,
        None => None,
    };
    let callback = pool_wait::callback(callback)?;
    if callback.is_some() && after.is_none() {
        return Err(PyValueError::new_err("on_pool_wait is never called with pool_wait_warning=None"));
    }
    Ok(WaitReports { after, callback })
}

fn ip_address(address: &Bound<'_, PyAny>) -> PyResult<IpAddr> {
    let address: &str = address.extract().map_err(|_| values::wrong_type("local_address", "a str", address))?;
    address.parse().map_err(|_| PyValueError::new_err(format!("local_address must be an IP address, not {address:?}")))
}

fn path(path: &Bound<'_, PyAny>) -> PyResult<String> {
    let path: std::path::PathBuf = path.extract().map_err(|_| values::wrong_type("uds", "a path", path))?;
    path.into_os_string().into_string().map_err(|_| PyValueError::new_err("uds must be a UTF-8 path"))
}

/// Reads httpcore's `SOCKET_OPTION`s: `(level, name, int)`, `(level, name, bytes)` or `(level, name, None, length)`.
fn read_socket_options(options: &Bound<'_, PyAny>) -> PyResult<Vec<SocketOption>> {
    let Some(options) = given(options) else { return Ok(Vec::new()) };
    options.try_iter()?.map(|option| read_socket_option(&option?)).collect()
}

fn read_socket_option(option: &Bound<'_, PyAny>) -> PyResult<SocketOption> {
    let malformed = || {
        PyTypeError::new_err(
            "socket_options must consist of (level, name, int), (level, name, bytes) or (level, name, None, length)",
        )
    };
    let parts = option.cast::<PyTuple>().map_err(|_| malformed())?;
    let (level, name) = match parts.len() {
        3 | 4 => (parts.get_item(0)?.extract()?, parts.get_item(1)?.extract()?),
        _ => return Err(malformed()),
    };
    let value = parts.get_item(2)?;
    let value = if parts.len() == 4 {
        OptionValue::Null(parts.get_item(3)?.extract()?)
    } else if let Ok(bytes) = value.cast::<PyBytes>() {
        OptionValue::Bytes(bytes.as_bytes().to_vec())
    } else if let Ok(integer) = value.extract() {
        OptionValue::Integer(integer)
    } else {
        OptionValue::Bytes(values::chunk(&value).map_err(|_| malformed())?.to_vec())
    };
    Ok(SocketOption { level, name, value })
}
