//! Which addresses may be connected to (`connect_policy=`).
//!
//! 1. The policy is given the addresses that the engine then connects to: nothing is looked up between the check and the connect.
//! 2. It is asked before each connect, those of repeated attempts and those to proxies included. Addresses that it refuses are left
//!    out; if none remains, nothing is connected.
//! 3. A proxy connects by itself: only a target that is written as an address can be checked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::public_addresses::PublicAddresses;
use crate::error::{Error, Kind, Result};
use crate::operation::{Callback, Effect, EffectChannel, PolicyQuery, PolicyRefusal};
use crate::origin::Origin;

/// A connect policy of a pool.
pub enum ConnectPolicy {
    /// `PublicAddressesOnly`, which needs no Python.
    Public(PublicAddresses),
    /// A callable of the user's, and its name.
    Callable(Callback, String),
}

/// The host whose addresses are checked.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    /// The origin or the proxy that is connected to.
    pub peer: &'a Origin,
    /// The origin of the request.
    pub origin: &'a Origin,
    pub is_proxy: bool,
}

impl ConnectPolicy {
    /// Returns the addresses that are allowed, or an error if there are only others.
    pub async fn allowed(
        &self,
        checked: Checked<'_>,
        addresses: Vec<SocketAddr>,
        effects: &EffectChannel,
    ) -> Result<Vec<SocketAddr>> {
        let refusals = match self {
            Self::Public(public) => addresses.iter().map(|address| refusal_of(public, address.ip())).collect(),
            Self::Callable(policy, _) => {
                let query = PolicyQuery {
                    host: checked.peer.bare_host().to_owned(),
                    port: checked.peer.tcp_port()?,
                    origin: checked.origin.to_string(),
                    is_proxy: checked.is_proxy,
                    addresses: addresses.iter().map(SocketAddr::ip).collect(),
                };
                let (policy, query) = (policy.clone(), Box::new(query));
                effects.request(|reply| Effect::CheckAddresses { policy, query, reply }).await?
            }
        };
        if refusals.len() != addresses.len() {
            return Err(Error::new(Kind::Internal, "a connect policy has not answered for each address"));
        }
        let (mut allowed, mut refused) = (Vec::with_capacity(addresses.len()), Vec::new());
        for (address, refusal) in addresses.into_iter().zip(refusals) {
            match refusal {
                None => allowed.push(address),
                Some(refusal) => refused.push((address.ip(), refusal)),
            }
        }
        if allowed.is_empty() && !refused.is_empty() { Err(self.refused(checked, refused)) } else { Ok(allowed) }
    }

    /// Checks the target of a request through a proxy, if that is an address.
    pub async fn check_target(&self, origin: &Origin, effects: &EffectChannel) -> Result<()> {
        let Some(address) = literal(origin.bare_host()) else { return Ok(()) };
        let address = SocketAddr::new(address, origin.tcp_port()?);
        let checked = Checked { peer: origin, origin, is_proxy: false };
        self.allowed(checked, vec![address], effects).await.map(drop)
    }

    /// Returns the error for a host whose addresses are all refused. The attempt is not repeated.
    fn refused(&self, checked: Checked<'_>, refused: Vec<(IpAddr, PolicyRefusal)>) -> Error {
        let proxy = if checked.is_proxy { "the proxy " } else { "" };
        let addresses: Vec<_> = refused.iter().map(|(address, refusal)| format!("{address}{refusal}")).collect();
        let (peer, addresses) = (checked.peer, addresses.join(", "));
        let message = format!("connecting to {proxy}{peer} failed: the connect policy {self} refuses {addresses}");
        let error = Error::new(Kind::ConnectError, message).not_repeated();
        match refused.into_iter().find_map(|(_, refusal)| refusal.cause) {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

impl fmt::Display for ConnectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public(public) => public.fmt(f),
            Self::Callable(_, name) => f.write_str(name),
        }
    }
}

fn refusal_of(public: &PublicAddresses, address: IpAddr) -> Option<PolicyRefusal> {
    public.refusal(address).map(|reason| PolicyRefusal { reason: reason.to_owned(), cause: None })
}

/// Returns the address that a host is, in any form that a resolver reads as one: `127.1`, `0x7f000001` and `2130706433` are
/// `127.0.0.1` for `inet_aton`.
fn literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let without_zone = host.split_once('%').map_or(host, |(address, _)| address);
    without_zone.parse().ok().or_else(|| inet_aton(host).map(IpAddr::V4))
}

/// Reads one to four numbers, the last of which has all the bytes that are left.
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (&last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|&part| part > 0xff) {
        return None;
    }
    let room = 32 - 8 * first.len();
    if u64::from(last) >> room != 0 {
        return None;
    }
    let bits = first.iter().zip([24, 16, 8]).fold(last, |bits, (part, shift)| bits | part << shift);
    Some(Ipv4Addr::from_bits(bits))
}

/// Reads a number as C does: hexadecimal behind `0x`, octal behind `0`.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_each_form() {
        for host in ["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.01", "127.0.0.1."]
        {
            assert_eq!(literal(host), Some(Ipv4Addr::LOCALHOST.into()), "{host}");
        }
        assert_eq!(literal("255.255.65535"), Some(Ipv4Addr::BROADCAST.into()));
        assert_eq!(literal("4294967295"), Some(Ipv4Addr::BROADCAST.into()));
        for host in ["::1", "::1%lo"] {
            assert_eq!(literal(host), "::1".parse().ok(), "{host}");
        }
    }

    #[test]
    fn names_are_no_addresses() {
        for host in [
            "",
            "localhost",
            "1.2.3.4.5",
            "256.1",
            "1.2.3.256",
            "4294967296",
            "127.0.0.",
            "+1",
            "0x",
            "08",
            "1..2",
            "a.1",
        ] {
            let expected = if host == "127.0.0." { inet_aton("127.0.0") } else { None };
            assert_eq!(literal(host), expected.map(IpAddr::V4), "{host}");
        }
    }
}
