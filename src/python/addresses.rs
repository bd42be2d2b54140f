//! Socket addresses, to and from the tuples of Python's `socket` module.

use std::net::SocketAddr;

use pyo3::exceptions::{PyOSError, PyUnicodeError};
use pyo3::prelude::*;
use socket2::SockAddr;

use crate::error::{Error, Kind};
use crate::io::sys::path_of;

/// Returns the addresses that `socket.getaddrinfo()` found, each once.
pub fn socket_addresses(found: &Bound<'_, PyAny>) -> PyResult<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for entry in found.try_iter()? {
        let sockaddr = entry?.get_item(4)?;
        let host = sockaddr.get_item(0)?;
        // Families other than IPv4 and IPv6 have no string here.
        let Ok(host) = host.extract::<String>() else { continue };
        let port: u16 = sockaddr.get_item(1)?.extract()?;
        let scope_id = || sockaddr.get_item(3).and_then(|id| id.extract()).unwrap_or(0);
        let Some(address) = socket_address(&host, port, scope_id) else { continue };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Returns the address of an IP address in text form. The zone of an IPv6 address (`%2`) counts if `scope_id` is 0.
fn socket_address(host: &str, port: u16, scope_id: impl FnOnce() -> u32) -> Option<SocketAddr> {
    let (ip, zone) = host.split_once('%').unwrap_or((host, ""));
    let mut address = SocketAddr::new(ip.parse().ok()?, port);
    if let SocketAddr::V6(address) = &mut address {
        let scope_id = scope_id();
        address.set_scope_id(if scope_id == 0 { zone.parse().unwrap_or(0) } else { scope_id });
    }
    Some(address)
}

/// Returns the error for an exception of `socket.getaddrinfo()`; the exception itself if it does not concern the name.
pub fn failed_lookup(py: Python<'_>, host: &str, exception: PyErr) -> Result<Error, PyErr> {
    // A UnicodeError is raised for a label that is empty or too long.
    if !exception.is_instance_of::<PyOSError>(py) && !exception.is_instance_of::<PyUnicodeError>(py) {
        return Err(exception);
    }
    let message = format!("resolving {host} failed: {}", exception.value(py));
    Ok(Error::new(Kind::ConnectError, message).with_source(exception))
}

/// Returns both ends of a connection for a `repr()`: "127.0.0.1:50000 to 127.0.0.1:443", or "closed" if there are none.
pub fn both_ends(local: Option<&SockAddr>, peer: Option<&SockAddr>) -> String {
    match (local.and_then(text), peer.and_then(text)) {
        (Some(local), Some(peer)) => format!("{local} to {peer}"),
        (None, Some(peer)) => format!("to {peer}"),
        (Some(local), None) => format!("from {local}"),
        (None, None) => "closed".to_owned(),
    }
}

/// Returns an address as text. A Unix socket without a path has none.
fn text(address: &SockAddr) -> Option<String> {
    let path = path_of(address).map(|path| path.display().to_string());
    path.filter(|path| !path.is_empty()).or_else(|| address.as_socket().map(|address| address.to_string()))
}

/// Returns an address as Python's `socket` module has it: `(host, port)`, `(host, port, flowinfo, scope_id)`, or the path of a
/// Unix socket as a `str`.
pub fn address_tuple<'py>(py: Python<'py>, address: &SockAddr) -> PyResult<Bound<'py, PyAny>> {
    if let Some(path) = path_of(address) {
        return Ok(path.as_os_str().into_pyobject(py)?.into_any());
    }
    match address.as_socket() {
        Some(SocketAddr::V4(address)) => Ok((address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()),
        Some(SocketAddr::V6(address)) => {
            let tuple = (address.ip().to_string(), address.port(), address.flowinfo(), address.scope_id());
            Ok(tuple.into_pyobject(py)?.into_any())
        }
        None => Ok("".into_pyobject(py)?.into_any()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

    use super::*;

    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    #[test]
    fn ip_addresses_are_parsed() {
        assert_eq!(socket_address("127.0.0.1", 80, || 0), Some((Ipv4Addr::LOCALHOST, 80).into()));
        assert_eq!(socket_address("::1", 443, || 0), Some((Ipv6Addr::LOCALHOST, 443).into()));
    }

    #[test]
    fn the_scope_id_comes_before_the_zone_of_the_text() {
        let with_scope = |scope_id| Some(SocketAddrV6::new(LINK_LOCAL, 80, 0, scope_id).into());
        assert_eq!(socket_address("fe80::1%2", 80, || 3), with_scope(3));
        assert_eq!(socket_address("fe80::1%2", 80, || 0), with_scope(2));
        assert_eq!(socket_address("fe80::1%eth0", 80, || 0), with_scope(0));
        assert_eq!(socket_address("fe80::1", 80, || 4), with_scope(4));
    }

    #[test]
    fn text_that_is_no_ip_address_has_no_address() {
        for host in ["", "localhost", "127.0.0.1:80", "[::1]", "256.0.0.1"] {
            assert_eq!(socket_address(host, 80, || 0), None, "{host:?}");
        }
    }
}
