//! Reading a request of httpcore's: its head, its extensions, and where its body comes from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple, PyType};

use super::callbacks::UploadSource;
use super::calls::call;
use super::errors::Fault;
use super::namespace::{Namespace, Package};
use crate::error::{Error, Kind};
use crate::message::{Content, Framing, HeadWriter, Request, check_trailers};
use crate::operation::Fields;
use crate::origin::{Origin, Scheme, check_host};
use crate::timeout::Timeouts;

/// Chunks from this size on are sent from Python's own memory; smaller ones are cheaper to copy.
const BORROW_FROM: usize = 16 * 1024;

/// A request, and what has to be asked for the rest of it.
pub type Parsed = (Request, Option<UploadSource>);

/// Reads an `httpcore.Request`.
pub fn read(request: &Bound<'_, PyAny>) -> Result<Parsed, Fault> {
    let py = request.py();
    let url = request.getattr(intern!(py, "url"))?;
    let mut origin = read_origin(&url)?;
    let method = request.getattr(intern!(py, "method"))?;
    let target = url.getattr(intern!(py, "target"))?;
    let mut writer = HeadWriter::new(bytes_of(&method, "method")?, bytes_of(&target, "target")?)?;
    for header in request.getattr(intern!(py, "headers"))?.try_iter()? {
        let (name, value) = pair(header?)?;
        writer.header(bytes_of(&name, "header name")?, bytes_of(&value, "header value")?)?;
    }
    let head = writer.finish()?;
    let Extensions { timeouts, server_name, trailers } = read_extensions(&request.getattr(intern!(py, "extensions"))?)?;
    let stream = request.getattr(intern!(py, "stream"))?;
    let (content, stream) = match inline(&stream)? {
        // An empty stream is asked for nothing, one without a declared length for what it may not have.
        Some(content) if content.is_empty() || head.framing != Framing::None => (Content::Inline(content), None),
        _ => (Content::Streamed, Some(stream)),
    };
    origin.server_name = server_name.filter(|_| origin.scheme.is_tls());
    let has_trailers = trailers.is_some();
    Ok((
        Request { origin: Arc::new(origin), head, content, timeouts, has_trailers },
        UploadSource::of(stream, trailers),
    ))
}

/// Reads the arguments of `pool.request()`, completing them as httpcore does: `Host` comes first, the framing of a body last.
///
/// This is the short way, for arguments of the usual types and requests that nobody follows; for others it is `None`, and
/// httpcore's own checks have the word.
pub fn read_arguments<'py>(
    namespace: &Namespace,
    method: &Bound<'py, PyAny>,
    url: &Bound<'py, PyAny>,
    headers: Option<&Bound<'py, PyAny>>,
    content: Option<&Bound<'py, PyAny>>,
    extensions: Option<&Bound<'py, PyAny>>,
) -> Result<Option<Parsed>, Fault> {
    let py = method.py();
    let url_class = namespace.url.bind(py);
    let parsed;
    let url = if url.get_type().is(url_class) {
        url
    } else if url.is_exact_instance_of::<PyString>() || url.is_exact_instance_of::<PyBytes>() {
        parsed = call(url_class, (url,))?;
        &parsed
    } else {
        return Ok(None);
    };
    let headers = match headers {
        None => None,
        Some(headers) => match headers.cast_exact::<PyList>() {
            Ok(headers) => Some(headers),
            Err(_) => return Ok(None),
        },
    };
    if extensions.is_some_and(|extensions| !extensions.is_exact_instance_of::<PyDict>()) {
        return Ok(None);
    }
    let is_traced = match extensions {
        Some(extensions) => get(extensions, intern!(py, "trace"))?.is_some(),
        None => false,
    };
    if is_traced || namespace.is_debugging(py, false)? {
        // Whoever listens is told of a `Request`.
        return Ok(None);
    }
    let target = match extensions {
        Some(extensions) => get(extensions, intern!(py, "target"))?,
        None => None,
    };
    let target = match target {
        Some(target) => target,
        None => url.getattr(intern!(py, "target"))?,
    };
    let mut origin = read_origin(url)?;
    let (Some(method), Some(target)) = (text(method), text(&target)) else { return Ok(None) };
    let mut writer = HeadWriter::new(method, target)?;
    let mut pairs = Vec::new();
    for header in headers.into_iter().flatten() {
        let Some(pair) = tuple_of_two(&header)? else { return Ok(None) };
        pairs.push(pair);
    }
    let has =
        |wanted: &[u8]| pairs.iter().any(|(name, _)| text(name).is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
    if !has(b"host") {
        writer.header(b"Host", origin.authority().as_bytes())?;
    }
    for (name, value) in &pairs {
        let (Some(name), Some(value)) = (text(name), text(value)) else { return Ok(None) };
        writer.header(name, value)?;
    }
    let (content, stream) = match content {
        None => (Content::Inline(Bytes::new()), None),
        Some(content) => {
            let is_framed = has(b"content-length") || has(b"transfer-encoding");
            if let Ok(bytes) = content.cast_exact::<PyBytes>() {
                if !is_framed {
                    writer.header(b"Content-Length", bytes.as_bytes().len().to_string().as_bytes())?;
                }
                (Content::Inline(copy_or_borrow(bytes)), None)
            } else {
                if !is_framed {
                    writer.header(b"Transfer-Encoding", b"chunked")?;
                }
                (Content::Streamed, Some(content.clone()))
            }
        }
    };
    let head = writer.finish()?;
    let Extensions { timeouts, server_name, trailers } = match extensions {
        Some(extensions) => read_extensions(extensions)?,
        None => Extensions::default(),
    };
    origin.server_name = server_name.filter(|_| origin.scheme.is_tls());
    let has_trailers = trailers.is_some();
    let request = Request { origin: Arc::new(origin), head, content, timeouts, has_trailers };
    Ok(Some((request, UploadSource::of(stream, trailers))))
}

/// A name and a value: a tuple of two, or whatever else has two items.
fn pair(header: Bound<'_, PyAny>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> {
    if let Some(pair) = tuple_of_two(&header)? {
        return Ok(pair);
    }
    match header.len()? {
        2 => Ok((header.get_item(0)?, header.get_item(1)?)),
        length => Err(PyValueError::new_err(format!("a header must be a name and a value, not {length} items"))),
    }
}

fn tuple_of_two<'py>(header: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    match header.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => Ok(Some((pair.get_item(0)?, pair.get_item(1)?))),
        _ => Ok(None),
    }
}

/// The bytes of what httpcore takes for text: `bytes`, or a `str` of ASCII.
fn text<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(bytes.as_bytes());
    }
    let text = value.cast::<PyString>().ok()?.to_str().ok()?;
    text.is_ascii().then_some(text.as_bytes())
}

/// The fields that follow a request body, from a list of pairs.
pub fn trailers(given: &Bound<'_, PyAny>) -> PyResult<crate::error::Result<Fields>> {
    let mut fields = Fields::new();
    for field in given.try_iter()? {
        let (name, value) = pair(field?)?;
        let (Some(name), Some(value)) = (text(&name), text(&value)) else {
            return Err(PyTypeError::new_err("trailing_headers must be pairs of bytes, or of ASCII strings"));
        };
        fields.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
    }
    Ok(check_trailers(&fields).map(|()| fields))
}

/// A chunk of a request body.
pub fn chunk(chunk: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = chunk.cast::<PyBytes>() {
        return Ok(copy_or_borrow(bytes));
    }
    match PyBuffer::<u8>::get(chunk) {
        Ok(buffer) => Ok(buffer.to_vec(chunk.py())?.into()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "the request body must consist of bytes, but a chunk is of type {}",
            chunk.get_type().name()?
        ))),
    }
}

fn copy_or_borrow(bytes: &Bound<'_, PyBytes>) -> Bytes {
    if bytes.as_bytes().len() < BORROW_FROM {
        Bytes::copy_from_slice(bytes.as_bytes())
    } else {
        Bytes::from_owner(PyBackedBytes::from(bytes.clone()))
    }
}

fn read_origin(url: &Bound<'_, PyAny>) -> Result<Origin, Fault> {
    let py = url.py();
    let scheme = url.getattr(intern!(py, "scheme"))?;
    let scheme = bytes_of(&scheme, "scheme")?;
    let Some(scheme) = Scheme::parse(scheme) else {
        let message = if scheme.is_empty() {
            "Request URL is missing an 'http://' or 'https://' protocol.".to_owned()
        } else {
            format!("Request URL has an unsupported protocol '{}://'.", scheme.escape_ascii())
        };
        return Err(Error::new(Kind::UnsupportedProtocol, message).into());
    };
    endpoint(url, scheme)
}

/// The host and port of a URL.
pub fn endpoint(url: &Bound<'_, PyAny>, scheme: Scheme) -> Result<Origin, Fault> {
    let py = url.py();
    let host = url.getattr(intern!(py, "host"))?;
    let host = bytes_of(&host, "host")?;
    let Some(host) = std::str::from_utf8(host).ok().filter(|host| host.is_ascii()) else {
        let message = format!("connecting to b'{}' failed: the host must be ASCII (IDNA)", host.escape_ascii());
        return Err(Error::new(Kind::ConnectError, message).into());
    };
    check_host("host", host)?;
    let port = url.getattr(intern!(py, "port"))?;
    let port = if port.is_none() {
        scheme.default_port()
    } else {
        // httpcore takes port 0 for none. One that no integer of ours holds is refused with those that no socket takes.
        match port.extract().unwrap_or(i64::MAX) {
            0 => scheme.default_port(),
            port => port,
        }
    };
    Ok(Origin { scheme, host: host.to_owned(), port, server_name: None })
}

/// Reads an `httpcore.Origin`. Exceptions are those of `package`.
pub fn origin(origin: &Bound<'_, PyAny>, package: Package) -> PyResult<Origin> {
    read_origin(origin).map_err(|fault| fault.into_pyerr_of(origin.py(), package))
}

/// What of a request's extensions the engine needs.
#[derive(Default)]
struct Extensions<'py> {
    timeouts: Timeouts,
    server_name: Option<String>,
    trailers: Option<Bound<'py, PyAny>>,
}

fn read_extensions<'py>(extensions: &Bound<'py, PyAny>) -> Result<Extensions<'py>, Fault> {
    let py = extensions.py();
    let mut timeouts = Timeouts::default();
    if let Some(values) = get(extensions, intern!(py, "timeout"))? {
        if values.cast::<PyDict>().is_err() && !values.hasattr(intern!(py, "get"))? {
            return Err(wrong_type("the extension timeout", "a dictionary such as {\"read\": 5.0}", &values).into());
        }
        let limit = |name: &Bound<'_, PyString>| -> PyResult<Option<Duration>> {
            get(&values, name)?.map_or(Ok(None), |value| seconds(&value, || format!("the {name} timeout")))
        };
        timeouts = Timeouts {
            connect: limit(intern!(py, "connect"))?,
            read: limit(intern!(py, "read"))?,
            write: limit(intern!(py, "write"))?,
            pool: limit(intern!(py, "pool"))?,
        };
    }
    let server_name = match get(extensions, intern!(py, "sni_hostname"))? {
        None => None,
        Some(name) => Some(read_server_name(&name)?),
    };
    let trailers = get(extensions, intern!(py, "trailing_headers"))?;
    Ok(Extensions { timeouts, server_name, trailers })
}

fn read_server_name(name: &Bound<'_, PyAny>) -> Result<String, Fault> {
    let name = match name.cast::<PyBytes>() {
        Ok(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        Err(_) => name.extract().map_err(|_| wrong_type("the extension sni_hostname", "a string", name))?,
    };
    // Python's `ssl` takes names that are not ASCII as well.
    check_host("sni_hostname", &name.replace(|character: char| !character.is_ascii(), "x"))?;
    Ok(name)
}

/// `mapping.get(name)`, where `None` is as good as nothing.
pub fn get<'py>(mapping: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let value = match mapping.cast::<PyDict>() {
        Ok(mapping) => mapping.get_item(name)?,
        Err(_) => Some(mapping.call_method1(intern!(mapping.py(), "get"), (name,))?),
    };
    Ok(value.filter(|value| !value.is_none()))
}

/// A number of seconds; infinity is no limit.
pub fn seconds(value: &Bound<'_, PyAny>, what: impl Fn() -> String) -> PyResult<Option<Duration>> {
    let seconds: f64 = value.extract().map_err(|_| wrong_type(&what(), "a number of seconds", value))?;
    if seconds == f64::INFINITY {
        return Ok(None);
    }
    Duration::try_from_secs_f64(seconds)
        .map(Some)
        .map_err(|_| PyValueError::new_err(format!("{} must be a number of seconds from 0 on, not {seconds}", what())))
}

/// The exception for an argument of the wrong type, which it names.
pub fn wrong_type(what: &str, expected: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let class = value.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!("{what} must be {expected}, not {class}"))
}

pub fn bytes_of<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a [u8]> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => Err(wrong_type(what, "bytes", value)),
    }
}

/// The whole body, if the stream is one of those that only wrap bytes: httpcore's `ByteStream` and httpx's.
fn inline(stream: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
    // From the wrapping class to the name of the attribute with the bytes.
    static WRAPPERS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

    let py = stream.py();
    let class = stream.get_type();
    let wrappers = WRAPPERS.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    let attribute = if let Some(attribute) = wrappers.get_item(&class)? {
        attribute.cast_into::<PyString>()?
    } else {
        let Some(attribute) = wrapper_attribute(&class)? else { return Ok(None) };
        let attribute = PyString::intern(py, attribute);
        wrappers.set_item(&class, &attribute)?;
        attribute
    };
    let content = stream.getattr_opt(&attribute)?;
    Ok(content.and_then(|content| content.cast::<PyBytes>().ok().map(copy_or_borrow)))
}

fn wrapper_attribute(class: &Bound<'_, PyType>) -> PyResult<Option<&'static str>> {
    if class.name()?.to_str()? != "ByteStream" {
        return Ok(None);
    }
    let module = class.module()?;
    Ok(match module.to_str()?.split('.').next() {
        Some("httpcore" | "httpcore2") => Some("_content"),
        Some("httpx" | "httpx2") => Some("_stream"),
        _ => None,
    })
}
