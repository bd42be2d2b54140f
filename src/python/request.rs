//! Reading an `httpcore.Request`: its head, its extensions, and the objects that its body comes from.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};

use super::callbacks::RequestCallbacks;
use super::errors::Fault;
use super::namespace::Package;
use super::request_defaults::RequestDefaults;
use super::upload_source::UploadSource;
use super::values::{bytes_of, copy_or_borrow, get, text, wrong_type};
use crate::error::{Error, Kind};
use crate::message::{Content, Framing, HeadWriter, Request, RequestHead, check_trailers};
use crate::operation::Fields;
use crate::origin::{Origin, Scheme, TunnelHeaders, check_host};
use crate::timeout::Timeouts;

/// A request, and the objects that produce the rest of it. Boxed, because it is moved often on its way.
pub type Parsed = (Box<Request>, RequestCallbacks);

/// Reads an `httpcore.Request`.
pub fn read(request: &Bound<'_, PyAny>, defaults: &RequestDefaults) -> Result<Parsed, Fault> {
    let py = request.py();
    let url = request.getattr(intern!(py, "url"))?;
    let origin = read_origin(&url)?;
    let method = request.getattr(intern!(py, "method"))?;
    let target = url.getattr(intern!(py, "target"))?;
    let mut writer = HeadWriter::new(bytes_of(&method, "method")?, bytes_of(&target, "target")?)?;
    let mut missing = defaults.missing_headers();
    for header in request.getattr(intern!(py, "headers"))?.try_iter()? {
        let (name, value) = pair(header?)?;
        let name = bytes_of(&name, "header name")?;
        missing.note(name);
        writer.header(name, bytes_of(&value, "header value")?)?;
    }
    missing.add_to(&mut writer)?;
    let head = writer.finish()?;
    let extensions = read_extensions(&request.getattr(intern!(py, "extensions"))?, defaults)?;
    let stream = request.getattr(intern!(py, "stream"))?;
    let (content, stream) = match inline(&stream)? {
        // An empty body is not iterated over. One without a declared length is: sending nothing may be an error.
        Some(content) if content.is_empty() || head.framing != Framing::None => (Content::Inline(content), None),
        _ => (Content::Streamed, Some(stream)),
    };
    Ok(extensions.complete(Arc::new(origin), head, content, stream))
}

/// Reads a header: a tuple of two items, or any other sequence of two.
fn pair(header: Bound<'_, PyAny>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> {
    if let Some(pair) = tuple_of_two(&header)? {
        return Ok(pair);
    }
    match header.len()? {
        2 => Ok((header.get_item(0)?, header.get_item(1)?)),
        length => Err(PyValueError::new_err(format!("a header must be a name and a value, not {length} items"))),
    }
}

/// Returns the items of a tuple of two; `None` for other objects.
pub fn tuple_of_two<'py>(header: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    match header.cast::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => Ok(Some((pair.get_item(0)?, pair.get_item(1)?))),
        _ => Ok(None),
    }
}

/// Reads the fields that follow a request body, from a list of pairs.
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

/// Reads the scheme, host and port of an `httpcore.URL` or `httpcore.Origin`.
pub fn read_origin(url: &Bound<'_, PyAny>) -> Result<Origin, Fault> {
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

/// Reads the host and port of a URL.
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
        // httpcore treats port 0 as missing. A number beyond 64 bits is rejected later, with the others that no socket takes.
        match port.extract().unwrap_or(i64::MAX) {
            0 => scheme.default_port(),
            port => port,
        }
    };
    Ok(Origin { scheme, host: host.to_owned(), port, server_name: None, tunnel_headers: None })
}

/// Reads an `httpcore.Origin`. Raises exceptions of `package`.
pub fn origin(origin: &Bound<'_, PyAny>, package: Package) -> PyResult<Origin> {
    read_origin(origin).map_err(|fault| fault.into_pyerr_of(origin.py(), package))
}

/// The extensions of a request that the engine uses.
#[derive(Default)]
pub struct RequestExtensions<'py> {
    timeouts: Timeouts,
    server_name: Option<String>,
    trailers: Option<Bound<'py, PyAny>>,
    informational: Option<Bound<'py, PyAny>>,
    tunnel_headers: Option<TunnelHeaders>,
}

impl<'py> RequestExtensions<'py> {
    /// Returns those of a request without extensions.
    pub fn none(defaults: &RequestDefaults) -> Result<Self, Fault> {
        Ok(Self { timeouts: defaults.timeouts(None)?, ..Self::default() })
    }

    /// Returns the request that has these extensions.
    pub fn complete(
        self,
        mut origin: Arc<Origin>,
        head: RequestHead,
        content: Content,
        stream: Option<Bound<'py, PyAny>>,
    ) -> Parsed {
        let Self { timeouts, server_name, trailers, informational, tunnel_headers } = self;
        if let Some(server_name) = server_name.filter(|_| origin.scheme.is_tls()) {
            Arc::make_mut(&mut origin).server_name = Some(server_name);
        }
        if tunnel_headers.is_some() {
            Arc::make_mut(&mut origin).tunnel_headers = tunnel_headers;
        }
        let has_trailers = trailers.is_some();
        let has_informational = informational.is_some();
        let request = Box::new(Request {
            origin,
            head,
            content,
            timeouts,
            has_trailers,
            has_informational,
            expect_continue: None,
            timings: Arc::default(),
        });
        let upload = UploadSource::new(stream, trailers);
        (request, RequestCallbacks { upload, informational: informational.map(Bound::unbind), tracer: None })
    }
}

/// Reads the extensions `timeout`, `sni_hostname`, `trailing_headers`, `informational` and `connect_headers`, and completes them by the
/// defaults of the pool.
pub fn read_extensions<'py>(
    extensions: &Bound<'py, PyAny>,
    defaults: &RequestDefaults,
) -> Result<RequestExtensions<'py>, Fault> {
    let py = extensions.py();
    let timeouts = defaults.timeouts(Some(extensions))?;
    let server_name = match get(extensions, intern!(py, "sni_hostname"))? {
        None => None,
        Some(name) => Some(read_server_name(&name)?),
    };
    let trailers = get(extensions, intern!(py, "trailing_headers"))?;
    let informational = get(extensions, intern!(py, "informational"))?;
    if let Some(callback) = informational.as_ref().filter(|callback| !callback.is_callable()) {
        return Err(wrong_type("the extension informational", "a function of a status and headers", callback).into());
    }
    let tunnel_headers = match get(extensions, intern!(py, "connect_headers"))? {
        None => None,
        Some(headers) => read_tunnel_headers(&headers)?,
    };
    Ok(RequestExtensions { timeouts, server_name, trailers, informational, tunnel_headers })
}

/// Reads the fields for a tunnel: a list of pairs, or a dictionary. Returns `None` if there are none.
fn read_tunnel_headers(headers: &Bound<'_, PyAny>) -> PyResult<Option<TunnelHeaders>> {
    let malformed = || wrong_type("the extension connect_headers", "pairs of strings or bytes", headers);
    let items = headers.getattr_opt(intern!(headers.py(), "items"))?;
    let pairs = items.map_or_else(|| Ok(headers.clone()), |items| items.call0())?;
    let mut fields = Vec::new();
    for field in pairs.try_iter().map_err(|_| malformed())? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = field?.extract().map_err(|_| malformed())?;
        let (Some(name), Some(value)) = (text(&name), text(&value)) else { return Err(malformed()) };
        fields.push((name.to_vec(), value.to_vec()));
    }
    Ok((!fields.is_empty()).then(|| TunnelHeaders(fields.into())))
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

/// Returns the whole body if the stream only wraps bytes, as the `ByteStream` classes of httpcore and httpx do.
pub fn inline(stream: &Bound<'_, PyAny>) -> PyResult<Option<Bytes>> {
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
