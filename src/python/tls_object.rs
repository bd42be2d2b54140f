//! `get_extra_info("ssl_object")` where rustls does TLS.

use std::any::Any;
use std::sync::Arc;

use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::calls::call;
use super::ssl;
use crate::tls::{RustlsSession, SessionFacts, marked_as_authority};

/// The facts about a TLS session of the engine, in the methods of an `ssl.SSLObject`. Returned for `"ssl_object"` by
/// `get_extra_info()` of a network stream.
///
/// The object stays valid when the connection is closed. It cannot read, write or end the session.
#[pyclass(frozen, module = "httpcore_rs", name = "TLSObject")]
pub struct TLSObject {
    session: Arc<RustlsSession>,
}

impl TLSObject {
    fn facts(&self) -> PyResult<&SessionFacts> {
        self.session.facts().ok_or_else(|| PyValueError::new_err("the TLS handshake is not complete"))
    }
}

#[pymethods]
impl TLSObject {
    /// Returns the version of TLS: `"TLSv1.3"` or `"TLSv1.2"`; `None` if native-tls does TLS.
    fn version(&self) -> PyResult<Option<&'static str>> {
        Ok(self.facts()?.version)
    }

    /// Returns the cipher suite: its name, the lowest version of TLS that has it, and the bits of its key, as in
    /// `("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)`.
    fn cipher(&self) -> PyResult<Option<(&'static str, &'static str, u16)>> {
        Ok(self.facts()?.cipher.map(|cipher| (cipher.name, cipher.version, cipher.bits)))
    }

    /// Returns the protocol that ALPN has chosen, `"h2"` or `"http/1.1"`; `None` if the server has chosen none.
    fn selected_alpn_protocol(&self) -> PyResult<Option<String>> {
        Ok(self.facts()?.protocol.as_deref().map(|protocol| String::from_utf8_lossy(protocol).into_owned()))
    }

    /// Returns the certificate of the server: in DER with `binary_form=True`, otherwise as the dictionary of Python's `ssl`, which is
    /// empty if certificates are not verified. Returns `None` if there is none.
    #[pyo3(signature = (binary_form = false))]
    fn getpeercert<'py>(&self, py: Python<'py>, binary_form: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(certificate) = self.facts()?.certificates.first() else { return Ok(None) };
        if binary_form {
            return Ok(Some(PyBytes::new(py, certificate).into_any()));
        }
        if !self.session.is_verified {
            return Ok(Some(PyDict::new(py).into_any()));
        }
        let marked = marked_as_authority(certificate).ok_or_else(|| {
            PyValueError::new_err("the certificate cannot be decoded; getpeercert(True) returns it in DER")
        })?;
        let decode = py.import(intern!(py, "httpcore_rs._ssl_context"))?.getattr(intern!(py, "decode_authority"))?;
        call(&decode, (PyBytes::new(py, &marked),)).map(Some)
    }

    /// Returns the certificates that the server has sent, its own first, in DER.
    fn get_unverified_chain<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        Ok(self.facts()?.certificates.iter().map(|certificate| PyBytes::new(py, certificate)).collect())
    }

    /// Returns `None`: TLS does not compress.
    #[expect(clippy::unused_self, reason = "a method of Python's `ssl.SSLObject`")]
    fn compression(&self) -> Option<&'static str> {
        None
    }

    /// The host name or address that the certificate was verified for.
    #[getter]
    fn server_hostname(&self) -> &str {
        &self.session.server_name
    }

    /// `False`: this is the side of the client.
    #[getter]
    #[expect(clippy::unused_self, reason = "an attribute of Python's `ssl.SSLObject`")]
    fn server_side(&self) -> bool {
        false
    }

    /// `True` if the handshake resumed an earlier session.
    #[getter]
    fn session_reused(&self) -> PyResult<bool> {
        Ok(self.facts()?.is_resumed)
    }

    /// Is called for attributes that do not exist.
    #[expect(clippy::unused_self, reason = "a method for Python")]
    fn __getattr__(&self, name: &str) -> PyResult<()> {
        Err(PyAttributeError::new_err(format!(
            "'TLSObject' object has no attribute '{name}': rustls does TLS, and tells version(), cipher(), selected_alpn_protocol(), \
             getpeercert(), get_unverified_chain(), compression(), server_hostname, server_side and session_reused; with an \
             ssl.SSLContext as the pool's ssl_context Python's ssl does TLS, and this is an ssl.SSLObject"
        )))
    }

    fn __repr__(&self) -> String {
        let Some(facts) = self.session.facts() else { return "<httpcore_rs.TLSObject>".to_owned() };
        let cipher = facts.cipher.map_or("unknown cipher", |cipher| cipher.name);
        let version = facts.version.unwrap_or("unknown version");
        format!("<httpcore_rs.TLSObject [{:?}, {version}, {cipher}]>", self.session.server_name)
    }
}

/// Returns what `"ssl_object"` stands for: an `ssl.SSLObject`, or a [`TLSObject`]. `note_facts` is called first in the second case.
/// Returns `None` before the handshake.
pub fn of_session<'py>(
    py: Python<'py>,
    session: &Arc<dyn Any + Send + Sync>,
    note_facts: impl FnOnce(),
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Ok(session) = Arc::clone(session).downcast::<RustlsSession>() else { return ssl::object(py, &**session) };
    if session.facts().is_none() {
        note_facts();
    }
    if session.facts().is_none() {
        return Ok(None);
    }
    Ok(Some(Bound::new(py, TLSObject { session })?.into_any()))
}
