//! Reading an `httpx.Request` and building an `httpx.Response` without an `httpcore.Request` and an `httpcore.Response` between
//! them, for httpx and for httpx2.
//!
//! `httpcore_rs._fast_path` knows what the objects of the installed version look like, and when this path is not to be taken.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple, PyType};

use super::calls::{call_with, new_object};
use super::errors::Fault;
use super::namespace::{Namespace, Package};
use super::request::{Parsed, inline, read_extensions};
use super::request_defaults::RequestDefaults;
use super::response;
use super::values::{get, text};
use crate::message::{Content, Framing, HeadWriter, ResponseHead};
use crate::origin::{Origin, Scheme, check_host};

/// The classes of httpx or httpx2 that requests are read from and responses are made of.
///
/// - `package`: `"httpcore"` or `"httpcore2"`, the package whose exceptions the library expects.
/// - `request`, `url`, `headers`, `response`: the classes `Request`, `URL`, `Headers` and `Response`.
/// - `request_stream`: the base class of request bodies: `SyncByteStream` or `AsyncByteStream`.
/// - `response_stream`: the class for response bodies. An instance has the engine's stream as its attribute `_httpcore_stream`.
/// - `response_attributes`: the attributes of a new `Response` by name, in the order in which its constructor sets them. `None` if
///   responses are to be made by calling the class.
#[pyclass(frozen, module = "httpcore_rs._engine")]
pub struct HttpxModels {
    namespace: &'static Namespace,
    request: Py<PyType>,
    url: Py<PyType>,
    headers: Py<PyType>,
    response: Py<PyType>,
    request_stream: Py<PyType>,
    response_stream: Py<PyType>,
    response_attributes: Option<Vec<(Py<PyString>, ResponseAttribute)>>,
}

/// The value of an attribute of a response.
enum ResponseAttribute {
    StatusCode,
    Headers,
    Extensions,
    History,
    Stream,
    /// The value is the same for each response, and is immutable.
    Constant(Py<PyAny>),
}

impl ResponseAttribute {
    fn of(name: &str, value: Bound<'_, PyAny>) -> Self {
        match name {
            "status_code" => Self::StatusCode,
            "headers" => Self::Headers,
            "extensions" => Self::Extensions,
            "history" => Self::History,
            "stream" => Self::Stream,
            _ => Self::Constant(value.unbind()),
        }
    }
}

#[pymethods]
impl HttpxModels {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "each is one class")]
    #[pyo3(signature = (*, package, request, url, headers, response, request_stream, response_stream, response_attributes))]
    fn py_new(
        py: Python<'_>,
        package: &str,
        request: Py<PyType>,
        url: Py<PyType>,
        headers: Py<PyType>,
        response: Py<PyType>,
        request_stream: Py<PyType>,
        response_stream: Py<PyType>,
        response_attributes: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let attribute = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| -> PyResult<_> {
            let name = name.cast_into::<PyString>()?;
            let attribute = ResponseAttribute::of(name.to_str()?, value);
            Ok((name.unbind(), attribute))
        };
        Ok(Self {
            namespace: Package::named(package)?.namespace(py)?,
            request,
            url,
            headers,
            response,
            request_stream,
            response_stream,
            response_attributes: response_attributes
                .map(|attributes| attributes.iter().map(attribute).collect())
                .transpose()?,
        })
    }
}

impl HttpxModels {
    /// Returns the namespace whose exceptions the library expects.
    pub fn namespace(&self) -> &'static Namespace {
        self.namespace
    }

    /// Reads a request. Returns `None` for one that is traced, or that has parts of unusual types: it needs an `httpcore.Request`.
    pub fn read(&self, request: &Bound<'_, PyAny>, defaults: &RequestDefaults) -> Result<Option<Parsed>, Fault> {
        let py = request.py();
        if !request.get_type().is(self.request.bind(py)) {
            return Ok(None);
        }
        let extensions = request.getattr(intern!(py, "extensions"))?;
        if !extensions.is_exact_instance_of::<PyDict>() || get(&extensions, intern!(py, "trace"))?.is_some() {
            return Ok(None);
        }
        let Some((origin, target)) = self.read_url(&request.getattr(intern!(py, "url"))?)? else { return Ok(None) };
        let given = get(&extensions, intern!(py, "target"))?;
        let target = given.as_ref().map_or(Some(target.as_bytes()), text);
        let method = request.getattr(intern!(py, "method"))?;
        let (Some(method), Some(target)) = (text(&method), target) else { return Ok(None) };
        let headers = request.getattr(intern!(py, "headers"))?;
        if !headers.get_type().is(self.headers.bind(py)) {
            return Ok(None);
        }
        let mut writer = HeadWriter::new(method, target)?;
        let list = headers.getattr(intern!(py, "_list"))?;
        let Ok(list) = list.cast::<PyList>() else { return Ok(None) };
        let mut missing = defaults.missing_headers();
        for header in list {
            let Some((name, value)) = name_and_value(&header) else { return Ok(None) };
            missing.note(name.as_bytes());
            writer.header(name.as_bytes(), value.as_bytes())?;
        }
        missing.add_to(&mut writer)?;
        let head = writer.finish()?;
        let stream = request.getattr(intern!(py, "stream"))?;
        let (content, stream) = match inline(&stream)? {
            Some(content) if content.is_empty() || head.framing != Framing::None => (Content::Inline(content), None),
            // The library checks the type of the body.
            _ if !stream.is_instance(self.request_stream.bind(py))? => return Ok(None),
            _ => (Content::Streamed, Some(stream)),
        };
        Ok(Some(read_extensions(&extensions, defaults)?.complete(origin, head, content, stream)))
    }

    /// Reads the origin and the target of a URL; `None` for one of another class, or of a scheme that pools do not accept.
    fn read_url(&self, url: &Bound<'_, PyAny>) -> Result<Option<(Arc<Origin>, String)>, Fault> {
        let py = url.py();
        if !url.get_type().is(self.url.bind(py)) {
            return Ok(None);
        }
        let parts = url.getattr(intern!(py, "_uri_reference"))?;
        let (scheme, host) = (parts.getattr(intern!(py, "scheme"))?, parts.getattr(intern!(py, "host"))?);
        let (path, query) = (parts.getattr(intern!(py, "path"))?, parts.getattr(intern!(py, "query"))?);
        let number = parts.getattr(intern!(py, "port"))?;
        let Some(scheme) = text(&scheme).and_then(Scheme::parse) else { return Ok(None) };
        let (Some(host), Some(path)) = (ascii(&host), ascii(&path)) else { return Ok(None) };
        check_host("host", host)?;
        // As in httpcore, port 0 counts as missing.
        let given = if number.is_none() { 0 } else { number.extract()? };
        let port = if given == 0 { scheme.default_port() } else { given };
        let origin = Origin::shared(scheme, host, port);
        let mut target = if path.is_empty() { "/" } else { path }.to_owned();
        if !query.is_none() {
            let Some(query) = ascii(&query) else { return Ok(None) };
            target.push('?');
            target.push_str(query);
        }
        Ok(Some((origin, target)))
    }

    /// Returns a response whose body is read from `stream`.
    pub fn respond<'py>(
        &self,
        py: Python<'py>,
        head: &ResponseHead,
        stream: &Bound<'py, PyAny>,
        extensions: Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wrapper = new_object(self.response_stream.bind(py))?;
        wrapper.setattr(intern!(py, "_httpcore_stream"), stream)?;
        let class = self.response.bind(py);
        let Some(attributes) = &self.response_attributes else {
            let keywords = PyDict::new(py);
            keywords.set_item(intern!(py, "headers"), response::headers(py, head)?)?;
            keywords.set_item(intern!(py, "stream"), wrapper)?;
            keywords.set_item(intern!(py, "extensions"), extensions)?;
            return call_with(class, (head.status(),), Some(&keywords));
        };
        let headers = new_object(self.headers.bind(py))?;
        headers.setattr(intern!(py, "_list"), header_list(py, head)?)?;
        headers.setattr(intern!(py, "_encoding"), py.None())?;
        let response = new_object(class)?;
        for (name, attribute) in attributes {
            let name = name.bind(py);
            match attribute {
                ResponseAttribute::StatusCode => response.setattr(name, head.status())?,
                ResponseAttribute::Headers => response.setattr(name, &headers)?,
                ResponseAttribute::Extensions => response.setattr(name, &extensions)?,
                ResponseAttribute::History => response.setattr(name, PyList::empty(py))?,
                ResponseAttribute::Stream => response.setattr(name, &wrapper)?,
                ResponseAttribute::Constant(value) => response.setattr(name, value.bind(py))?,
            }
        }
        Ok(response)
    }
}

/// Returns the characters of a `str` of ASCII; `None` for other values.
fn ascii<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    value.cast::<PyString>().ok()?.to_str().ok().filter(|text| text.is_ascii())
}

/// Returns name and value of a field of `httpx.Headers`, which keeps the name, the name in lower case, and the value.
fn name_and_value<'py>(field: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let field = field.cast::<PyTuple>().ok()?;
    let item = |index| field.get_item(index).ok()?.cast_into::<PyBytes>().ok();
    if field.len() == 3 { Some((item(0)?, item(2)?)) } else { None }
}

/// Returns the fields of a response as `httpx.Headers` keeps them.
fn header_list<'py>(py: Python<'py>, head: &ResponseHead) -> PyResult<Bound<'py, PyList>> {
    response::field_list(py, head, |name, value| {
        let name = PyBytes::new(py, name);
        let lower = if name.as_bytes().iter().any(u8::is_ascii_uppercase) {
            PyBytes::new(py, &name.as_bytes().to_ascii_lowercase())
        } else {
            name.clone()
        };
        (name, lower, PyBytes::new(py, value))
    })
}
