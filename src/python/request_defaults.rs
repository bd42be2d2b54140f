//! The defaults of a pool for requests that do not say it by themselves: `default_timeout`, `total_timeout`, `user_agent`.

use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::values::{self, get, seconds, text, wrong_type};
use crate::error::Result;
use crate::message::HeadWriter;
use crate::timeout::{Deadline, Timeouts};

/// The end of several requests together: `httpcore_rs.Deadline(seconds)`, as `total` in the extension `timeout`.
///
/// The time begins when the object is made. Requests that httpx makes by itself, for redirects and for authentication, have the
/// extensions of the first one, and so its deadline.
#[pyclass(frozen, module = "httpcore_rs", name = "Deadline")]
pub struct SharedDeadline {
    /// `None` if the time has no end.
    deadline: Option<Deadline>,
}

#[pymethods]
impl SharedDeadline {
    /// Raises `TypeError` or `ValueError` for what is not a number of seconds.
    #[new]
    #[pyo3(signature = (seconds, /))]
    fn new(seconds: &Bound<'_, PyAny>) -> PyResult<Self> {
        let total = values::seconds(seconds, || "a deadline".to_owned())?;
        Ok(Self { deadline: total.and_then(Deadline::after) })
    }

    /// Returns the seconds that are left, 0 when the deadline has passed.
    fn remaining(&self) -> f64 {
        self.deadline.map_or(f64::INFINITY, |deadline| deadline.remaining().as_secs_f64())
    }

    fn __repr__(&self) -> String {
        match self.deadline {
            Some(deadline) => format!("<Deadline: {:.3} s left>", deadline.remaining().as_secs_f64()),
            None => "<Deadline: never>".to_owned(),
        }
    }
}

/// The defaults of a pool for its requests.
#[derive(Default)]
pub struct RequestDefaults {
    /// For requests without the extension `timeout`.
    timeouts: Timeouts,
    /// For requests whose extension `timeout` has no `total`.
    total: Option<Duration>,
    /// For requests without a header `User-Agent`.
    user_agent: Option<Bytes>,
}

impl RequestDefaults {
    /// Reads the options of a pool.
    pub fn read(
        default_timeout: &Bound<'_, PyAny>,
        total_timeout: &Bound<'_, PyAny>,
        user_agent: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let timeouts = if default_timeout.is_none() {
            Timeouts::default()
        } else if is_mapping(default_timeout)? {
            only_known(default_timeout)?;
            phases(default_timeout, |name| format!("{name} of default_timeout"))?
        } else {
            let limit = seconds(default_timeout, || "default_timeout".to_owned())?;
            Timeouts { connect: limit, read: limit, write: limit, pool: limit, deadline: None }
        };
        let total = optional(total_timeout, "total_timeout")?;
        let user_agent = if user_agent.is_none() { None } else { Some(read_user_agent(user_agent)?) };
        Ok(Self { timeouts, total, user_agent })
    }

    /// Returns the timeouts of a request with these extensions. A deadline begins now.
    pub fn timeouts(&self, extensions: Option<&Bound<'_, PyAny>>) -> PyResult<Timeouts> {
        let (mut timeouts, mut total) = (self.timeouts, self.total);
        let mut shared = None;
        if let Some(extensions) = extensions
            && let Some(values) = get(extensions, intern!(extensions.py(), "timeout"))?
        {
            if !is_mapping(&values)? {
                return Err(wrong_type("the extension timeout", "a dictionary such as {\"read\": 5.0}", &values));
            }
            timeouts = phases(&values, |name| format!("the {name} timeout"))?;
            if let Some(given) = given_total(&values)? {
                if let Ok(given) = given.cast::<SharedDeadline>() {
                    shared = Some(given.get().deadline);
                } else {
                    total = optional(&given, "the total timeout")?;
                }
            }
        }
        timeouts.deadline = shared.unwrap_or_else(|| total.and_then(Deadline::after));
        Ok(timeouts)
    }

    /// Returns the header to add to a request, unless the request has it.
    pub fn missing_headers(&self) -> MissingHeaders<'_> {
        MissingHeaders { user_agent: self.user_agent.as_deref() }
    }
}

/// The headers that a request still has to be given.
pub struct MissingHeaders<'a> {
    user_agent: Option<&'a [u8]>,
}

impl MissingHeaders<'_> {
    /// Notes a header that the request has.
    pub fn note(&mut self, name: &[u8]) {
        if self.user_agent.is_some() && name.eq_ignore_ascii_case(b"user-agent") {
            self.user_agent = None;
        }
    }

    /// Adds the headers that the request does not have.
    pub fn add_to(self, writer: &mut HeadWriter) -> Result<()> {
        self.user_agent.map_or(Ok(()), |user_agent| writer.header(b"User-Agent", user_agent))
    }
}

/// Returns whether a value has the method `get`, as dictionaries and other mappings have.
fn is_mapping(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(value.cast::<PyDict>().is_ok() || value.hasattr(intern!(value.py(), "get"))?)
}

/// Reads a number of seconds; `None` stands for no limit.
fn optional(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Option<Duration>> {
    if value.is_none() { Ok(None) } else { seconds(value, || what.to_owned()) }
}

/// Reads the four timeouts of a mapping.
fn phases(values: &Bound<'_, PyAny>, what: impl Fn(&Bound<'_, PyString>) -> String) -> PyResult<Timeouts> {
    let py = values.py();
    let limit = |name: &Bound<'_, PyString>| -> PyResult<Option<Duration>> {
        get(values, name)?.map_or(Ok(None), |value| seconds(&value, || what(name)))
    };
    Ok(Timeouts {
        connect: limit(intern!(py, "connect"))?,
        read: limit(intern!(py, "read"))?,
        write: limit(intern!(py, "write"))?,
        pool: limit(intern!(py, "pool"))?,
        deadline: None,
    })
}

/// Returns `total` of a mapping: also Python's `None`, which is a value of its own in a dictionary.
fn given_total<'py>(values: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let name = intern!(values.py(), "total");
    match values.cast::<PyDict>() {
        Ok(values) => values.get_item(name),
        Err(_) => get(values, name),
    }
}

/// Refuses names that `default_timeout` does not have, and `total`, which is an option of its own.
fn only_known(values: &Bound<'_, PyAny>) -> PyResult<()> {
    for name in values.try_iter()? {
        let name = name?;
        match text(&name) {
            Some(b"connect" | b"read" | b"write" | b"pool") => {}
            Some(b"total") => {
                return Err(PyValueError::new_err("default_timeout has no total: pass it as total_timeout"));
            }
            _ => {
                let name = name.repr()?;
                let message = format!("default_timeout has connect, read, write and pool, not {name}");
                return Err(PyValueError::new_err(message));
            }
        }
    }
    Ok(())
}

fn read_user_agent(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let user_agent = text(value).ok_or_else(|| wrong_type("user_agent", "a str of ASCII, or bytes", value))?;
    let is_legal = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if user_agent.is_empty() || user_agent.trim_ascii() != user_agent || !user_agent.iter().all(is_legal) {
        return Err(PyValueError::new_err("user_agent must be printable text without spaces at its ends"));
    }
    Ok(Bytes::copy_from_slice(user_agent))
}
