//! The replies of `getaddrinfo`.

use std::net::SocketAddr;

use pyo3::exceptions::{PyOSError, PyUnicodeError};
use pyo3::prelude::*;

use crate::error::{Error, Kind};

/// The addresses that `getaddrinfo` returned, each once.
pub fn socket_addresses(found: &Bound<'_, PyAny>) -> PyResult<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for entry in found.try_iter()? {
        let sockaddr = entry?.get_item(4)?;
        let host = sockaddr.get_item(0)?;
        // Families other than the two of IP have no string here.
        let Ok(host) = host.extract::<String>() else { continue };
        let port: u16 = sockaddr.get_item(1)?.extract()?;
        let (host, scope) = host.split_once('%').unwrap_or((&host, ""));
        let Ok(mut address) = format!("{}:{port}", bracketed(host)).parse::<SocketAddr>() else { continue };
        if let SocketAddr::V6(address) = &mut address {
            let scope_id = sockaddr.get_item(3).and_then(|id| id.extract()).unwrap_or(0);
            address.set_scope_id(if scope_id == 0 { scope.parse().unwrap_or(0) } else { scope_id });
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// The error for an exception of `getaddrinfo`; the exception itself if it says nothing about the name.
pub fn failed_lookup(py: Python<'_>, host: &str, exception: PyErr) -> Result<Error, PyErr> {
    // UnicodeError: a label that is empty or too long.
    if !exception.is_instance_of::<PyOSError>(py) && !exception.is_instance_of::<PyUnicodeError>(py) {
        return Err(exception);
    }
    let message = format!("resolving {host} failed: {}", exception.value(py));
    Ok(Error::new(Kind::ConnectError, message).with_source(exception))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
