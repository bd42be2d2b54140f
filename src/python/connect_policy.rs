//! The options `connect_policy` and `resolver`: callables of the user's, and the policy that needs no Python.

use std::net::IpAddr;
use std::sync::Arc;

use pyo3::exceptions::{PyException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

use super::helpers::{helper, partial};
use super::values;
use crate::connect::{ConnectPolicy, Network, PublicAddresses};
use crate::operation::{Callback, PolicyQuery, PolicyRefusal};

/// A connect policy that allows public addresses only: for programs that open URLs of others, which must not lead into the own network
/// (SSRF).
///
/// It refuses addresses that are private, loopback, link-local (with the metadata services of clouds, 169.254.169.254), multicast,
/// reserved or unspecified, those of a provider's shared address space (100.64.0.0/10), and addresses of IPv6 that lead to such an
/// address of IPv4 (IPv4-mapped, NAT64, ISATAP) or to any (IPv4-compatible, 6to4, Teredo).
///
/// An object can also be called, with a `ConnectAddress` or an IP address: it returns whether the address is allowed. So it can be a part
/// of another policy.
///
/// Raises `TypeError` and `ValueError` for an `allow` that does not consist of networks.
///
/// Parameters:
///     allow: Iterable[str | ipaddress.IPv4Network | ipaddress.IPv6Network] = ()
///         Networks, or single addresses, that are allowed as well: `["10.1.0.0/16"]`.
#[pyclass(frozen, module = "httpcore_rs")]
pub struct PublicAddressesOnly {
    policy: PublicAddresses,
}

#[pymethods]
impl PublicAddressesOnly {
    #[new]
    #[pyo3(signature = (allow = None))]
    fn new(allow: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let mut policy = PublicAddresses::default();
        if let Some(allow) = allow {
            if allow.is_instance_of::<PyString>() {
                return Err(values::wrong_type("allow", "an iterable of networks such as [\"10.0.0.0/8\"]", allow));
            }
            let networks =
                allow.try_iter().map_err(|_| values::wrong_type("allow", "an iterable of networks", allow))?;
            for network in networks {
                let text = network?.str()?;
                let network =
                    Network::parse(text.to_str()?).map_err(|why| PyValueError::new_err(format!("allow: {why}")))?;
                policy.allow.push(network);
            }
        }
        Ok(Self { policy })
    }

    /// The networks that are allowed as well.
    #[getter]
    fn allow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.policy.allow.iter().map(ToString::to_string))
    }

    /// Returns whether an address is allowed: a `ConnectAddress`, or an IP address as an object or a `str`.
    fn __call__(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let ip = address.getattr_opt(intern!(address.py(), "ip"))?.unwrap_or_else(|| address.clone());
        let text = ip.str()?;
        let text = text.to_str()?;
        let without_zone = text.split_once('%').map_or(text, |(address, _)| address);
        let address: IpAddr =
            without_zone.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is not an IP address")))?;
        Ok(self.policy.refusal(address).is_none())
    }

    fn __repr__(&self) -> String {
        self.policy.to_string()
    }
}

/// A callable in the form that the connector keeps.
struct UserCallable(Py<PyAny>);

/// Returns a callable in the form that the connector keeps.
pub fn callback(object: &Bound<'_, PyAny>) -> Callback {
    Arc::new(UserCallable(object.clone().unbind()))
}

/// Returns the callable that was given.
pub fn object<'py>(py: Python<'py>, callback: &Callback) -> PyResult<Bound<'py, PyAny>> {
    let callable = callback.downcast_ref::<UserCallable>().ok_or_else(|| {
        PyRuntimeError::new_err("httpcore_rs has a bug, please report it: a callable of an unknown kind")
    })?;
    Ok(callable.0.bind(py).clone())
}

/// Visits a callable for the garbage collector: it may refer to the pool that uses it.
pub fn traverse(callback: &Callback, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    callback.downcast_ref::<UserCallable>().map_or(Ok(()), |callable| visit.call(&callable.0))
}

/// Reads the option `connect_policy`.
pub fn read(given: &Bound<'_, PyAny>) -> PyResult<ConnectPolicy> {
    let py = given.py();
    if let Ok(public) = given.cast::<PublicAddressesOnly>() {
        return Ok(ConnectPolicy::Public(public.get().policy.clone()));
    }
    let what = "a function of an address that returns a bool, or PublicAddressesOnly()";
    if let Ok(class) = given.cast::<PyType>() {
        let name = class.qualname()?;
        return Err(PyTypeError::new_err(format!(
            "connect_policy must be {what}, not the class {name}: pass {name}()"
        )));
    }
    if !given.is_callable() {
        return Err(values::wrong_type("connect_policy", what, given));
    }
    let is_coroutine = py.import("httpcore_rs._coroutines")?.getattr("is_coroutine_function")?;
    if is_coroutine.call1((given,))?.is_truthy()? {
        return Err(PyTypeError::new_err(format!("connect_policy must be {what}, not a coroutine function")));
    }
    let named = match given.getattr_opt(intern!(py, "__qualname__"))? {
        Some(name) => name,
        None => given.get_type().qualname()?.into_any(),
    };
    Ok(ConnectPolicy::Callable(callback(given), named.str()?.to_string()))
}

/// Prepares the call of a policy with each of the addresses.
pub fn check<'py>(py: Python<'py>, policy: &Callback, query: &PolicyQuery) -> PyResult<Bound<'py, PyAny>> {
    let PolicyQuery { host, port, origin, is_proxy, addresses } = query;
    let addresses = PyList::new(py, addresses.iter().map(ToString::to_string))?;
    let policy = object(py, policy)?;
    partial(py, (helper(py, "check_addresses")?, policy, host, port, origin, is_proxy, addresses), None)
}

/// Reads the answers of a policy: `None` for an address that is allowed, else a text or an exception.
pub fn refusals(answers: &Bound<'_, PyAny>) -> PyResult<Vec<Option<PolicyRefusal>>> {
    let refusal = |answer: Bound<'_, PyAny>| {
        if answer.is_none() {
            return Ok(None);
        }
        let reason = answer.str()?.to_string();
        let is_exception = answer.is_instance_of::<PyException>();
        let cause = is_exception.then(|| PyErr::from_value(answer.clone()).into());
        PyResult::Ok(Some(PolicyRefusal { reason, cause }))
    };
    answers.try_iter()?.map(|answer| refusal(answer?)).collect()
}
