//! Reading an `httpcore.Proxy`.

use bytes::Bytes;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use super::errors::Fault;
use super::helpers::helper;
use super::namespace::Package;
use super::performer::Performer;
use super::{connect_policy, request, response, ssl, values};
use crate::connect::{Credentials, Proxy, ProxyProtocol};
use crate::error::{Error, Kind};
use crate::operation::{Callback, Fields, ProxyChallenge};
use crate::origin::Scheme;

/// Reads an `httpcore.Proxy`. Raises `UnsupportedProtocol` of `package` for other schemes than those of HTTP and SOCKS5, and
/// `LocalProtocolError` for headers or credentials that cannot be sent.
pub fn read(proxy: &Bound<'_, PyAny>, package: Package) -> PyResult<Proxy> {
    let py = proxy.py();
    let url = proxy.getattr_opt(intern!(py, "url"))?.ok_or_else(|| {
        let class = proxy.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("proxy must be an httpcore.Proxy, not {class}"))
    })?;
    read_parts(proxy, &url, package).map_err(|fault| fault.into_pyerr_of(py, package))
}

fn read_parts(proxy: &Bound<'_, PyAny>, url: &Bound<'_, PyAny>, package: Package) -> Result<Proxy, Fault> {
    let py = proxy.py();
    let scheme = url.getattr(intern!(py, "scheme"))?;
    let (scheme, is_socks) = match values::bytes_of(&scheme, "scheme")? {
        b"http" => (Scheme::Http, false),
        b"https" => (Scheme::Https, false),
        b"socks5" | b"socks5h" => (Scheme::Socks5, true),
        other => {
            let message = format!(
                "Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got '{}'.",
                other.escape_ascii()
            );
            return Err(Error::new(Kind::UnsupportedProtocol, message).into());
        }
    };
    let origin = request::endpoint(url, scheme)?;
    let protocol = if is_socks {
        ProxyProtocol::Socks5(credentials(&proxy.getattr(intern!(py, "auth"))?)?)
    } else {
        ProxyProtocol::Http(fields(&proxy.getattr(intern!(py, "headers"))?)?)
    };
    let context = proxy.getattr(intern!(py, "ssl_context"))?;
    let tls = ssl::tls(py, (!context.is_none()).then_some(&context), package)?;
    if let Some(misfit) = tls.misfit(true, false) {
        return Err(PyValueError::new_err(misfit).into());
    }
    if tls.sends_early_data() {
        return Err(PyValueError::new_err("early_data of the proxy's TLSConfig: a proxy gets none").into());
    }
    Ok(Proxy::new(origin, protocol, tls)?)
}

/// Prepares the call of the user's callback for a proxy that wants authentication.
pub fn authenticate<'py>(
    py: Python<'py>,
    callback: &Callback,
    challenge: &ProxyChallenge,
    performer: Performer<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let ProxyChallenge { proxy, origin, head, round } = challenge;
    let call = helper(py, if performer.is_task() { "aauthenticate" } else { "authenticate" })?;
    let (callback, headers) = (connect_policy::object(py, callback)?, response::headers(py, head)?);
    performer.later(py, (call, callback, proxy, origin, head.status(), headers, *round), None)
}

/// Reads the fields that the callback has returned, as a list of pairs.
pub fn answer(fields: &Bound<'_, PyAny>) -> PyResult<Fields> {
    let malformed =
        || PyTypeError::new_err("proxy_authenticate must return headers, as pairs of strings or bytes, or None");
    let mut answer = Fields::new();
    for field in fields.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = field?.extract().map_err(|_| malformed())?;
        let (Some(name), Some(value)) = (values::text(&name), values::text(&value)) else { return Err(malformed()) };
        answer.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
    }
    Ok(answer)
}

fn credentials(auth: &Bound<'_, PyAny>) -> PyResult<Option<Credentials>> {
    if auth.is_none() {
        return Ok(None);
    }
    let (username, password) = pair(auth)?;
    Ok(Some(Credentials { username, password }))
}

fn fields(headers: &Bound<'_, PyAny>) -> PyResult<Fields> {
    headers.try_iter()?.map(|field| pair(&field?)).collect()
}

/// Reads a pair of `bytes`.
fn pair(pair: &Bound<'_, PyAny>) -> PyResult<(Bytes, Bytes)> {
    let (first, second): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
    let bytes = |value| values::bytes_of(value, "proxy headers and credentials").map(Bytes::copy_from_slice);
    Ok((bytes(&first)?, bytes(&second)?))
}
