//! The fast path of `pool.request()`: reading its arguments without making an `httpcore.Request` of them.
//!
//! It takes arguments of the usual types, for requests that are not traced. For all others it returns `None`; httpcore then
//! checks the arguments and makes the request.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::calls::call;
use super::errors::Fault;
use super::namespace::Namespace;
use super::request::{Parsed, RequestExtensions, read_extensions, read_origin, tuple_of_two};
use super::request_defaults::RequestDefaults;
use super::values::{copy_or_borrow, get, text};
use crate::message::{Content, HeadWriter, UsualUrl};
use crate::origin::Origin;

/// The arguments of `pool.request()`.
#[derive(Clone, Copy)]
pub struct RequestArguments<'a, 'py> {
    pub method: &'a Bound<'py, PyAny>,
    pub url: &'a Bound<'py, PyAny>,
    pub headers: Option<&'a Bound<'py, PyAny>>,
    pub content: Option<&'a Bound<'py, PyAny>>,
    pub extensions: Option<&'a Bound<'py, PyAny>>,
}

type HeaderPairs<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// Reads the arguments of `pool.request()` and completes them as httpcore does: `Host` is the first header, the framing of a body
/// the last one.
pub fn read_arguments(
    namespace: &Namespace,
    arguments: RequestArguments<'_, '_>,
    defaults: &RequestDefaults,
) -> Result<Option<Parsed>, Fault> {
    let RequestArguments { method, url, headers, content, extensions } = arguments;
    let py = method.py();
    if headers.is_some_and(|headers| !headers.is_exact_instance_of::<PyList>())
        || extensions.is_some_and(|extensions| !extensions.is_exact_instance_of::<PyDict>())
        || extension(extensions, intern!(py, "trace"))?.is_some()
        || namespace.is_debugging(py, false)?
    {
        // A trace callback and the debug log are given an `httpcore.Request`.
        return Ok(None);
    }
    let Some(RequestUrl { origin, authority, target }) = read_url(namespace, url)? else { return Ok(None) };
    let target = match extension(extensions, intern!(py, "target"))? {
        Some(target) => Target::Object(target),
        None => target,
    };
    let (Some(method), Some(target)) = (text(method), target.bytes()) else { return Ok(None) };
    let mut writer = HeadWriter::new(method, target)?;
    let Some(pairs) = pairs(headers)? else { return Ok(None) };
    if !has(&pairs, b"host") {
        writer.header(b"Host", authority.map_or_else(|| origin.authority(), Cow::Borrowed).as_bytes())?;
    }
    let mut missing = defaults.missing_headers();
    for (name, value) in &pairs {
        let (Some(name), Some(value)) = (text(name), text(value)) else { return Ok(None) };
        missing.note(name);
        writer.header(name, value)?;
    }
    missing.add_to(&mut writer)?;
    let (content, stream) = match content {
        None => (Content::Inline(Bytes::new()), None),
        Some(content) => frame(content, &pairs, &mut writer)?,
    };
    let head = writer.finish()?;
    let extensions = match extensions {
        Some(extensions) => read_extensions(extensions, defaults)?,
        None => RequestExtensions::none(defaults)?,
    };
    Ok(Some(extensions.complete(origin, head, content, stream)))
}

/// The URL of a request.
struct RequestUrl<'a, 'py> {
    origin: Arc<Origin>,
    /// The value of `Host`, if it is a part of the string that the URL was given as.
    authority: Option<&'a str>,
    target: Target<'a, 'py>,
}

/// The target of a request: a part of the string that the URL was given as, or an attribute.
enum Target<'a, 'py> {
    Read(Cow<'a, str>),
    Object(Bound<'py, PyAny>),
}

impl Target<'_, '_> {
    /// Returns the bytes to send; `None` for an object of another type.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Read(target) => Some(target.as_bytes()),
            Self::Object(target) => text(target),
        }
    }
}

/// Reads an `httpcore.URL`, a `str` or `bytes`; returns `None` for other types.
fn read_url<'a, 'py>(namespace: &Namespace, url: &'a Bound<'py, PyAny>) -> Result<Option<RequestUrl<'a, 'py>>, Fault> {
    let py = url.py();
    let class = namespace.url.bind(py);
    let made;
    let parsed = if url.get_type().is(class) {
        url
    } else if url.is_exact_instance_of::<PyString>() || url.is_exact_instance_of::<PyBytes>() {
        if let Some(UsualUrl { scheme, host, port, authority, target }) = text(url).and_then(UsualUrl::read) {
            let port = port.map_or(scheme.default_port(), i64::from);
            let origin = Origin::shared(scheme, host, port);
            return Ok(Some(RequestUrl { origin, authority: Some(authority), target: Target::Read(target) }));
        }
        made = call(class, (url,))?;
        &made
    } else {
        return Ok(None);
    };
    let target = parsed.getattr(intern!(py, "target"))?;
    let origin = Arc::new(read_origin(parsed)?);
    Ok(Some(RequestUrl { origin, authority: None, target: Target::Object(target) }))
}

fn extension<'py>(
    extensions: Option<&Bound<'py, PyAny>>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    extensions.map_or(Ok(None), |extensions| get(extensions, name))
}

/// Returns the headers, or `None` if one of them is not a tuple of two.
fn pairs<'py>(headers: Option<&Bound<'py, PyAny>>) -> PyResult<Option<HeaderPairs<'py>>> {
    let mut pairs = Vec::new();
    if let Some(headers) = headers.and_then(|headers| headers.cast_exact::<PyList>().ok()) {
        for header in headers {
            let Some(pair) = tuple_of_two(&header)? else { return Ok(None) };
            pairs.push(pair);
        }
    }
    Ok(Some(pairs))
}

/// Returns whether there is a header with this name, given in lower case.
fn has(pairs: &HeaderPairs<'_>, wanted: &[u8]) -> bool {
    pairs.iter().any(|(name, _)| text(name).is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
}

/// Adds the header that frames the body, unless one is given.
fn frame<'py>(
    content: &Bound<'py, PyAny>,
    pairs: &HeaderPairs<'_>,
    writer: &mut HeadWriter,
) -> Result<(Content, Option<Bound<'py, PyAny>>), Fault> {
    let is_framed = has(pairs, b"content-length") || has(pairs, b"transfer-encoding");
    if let Ok(bytes) = content.cast_exact::<PyBytes>() {
        if !is_framed {
            writer.header(b"Content-Length", bytes.as_bytes().len().to_string().as_bytes())?;
        }
        return Ok((Content::Inline(copy_or_borrow(bytes)), None));
    }
    if !is_framed {
        writer.header(b"Transfer-Encoding", b"chunked")?;
    }
    Ok((Content::Streamed, Some(content.clone())))
}
