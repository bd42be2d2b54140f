//! Making connections: from an origin to a stream.
//!
//! | file | what it does |
//! |---|---|
//! | `connector` | one attempt after another: socket, proxy, TLS; the trace events and the connect timeout |
//! | `happy_eyeballs` | sockets: the addresses of a host in turn, the first that answers wins |
//! | `policy`, `public_addresses` | which addresses may be connected to |
//! | `proxy` | which route leads to an origin, and what is sent to a proxy |
//! | `tunnel`, `socks5` | the dialogues that make a proxy connect to an origin |
//!
//! Cancelling: dropping a future closes the sockets that it has opened.

mod connector;
mod happy_eyeballs;
mod policy;
mod proxy;
mod public_addresses;
mod socks5;
#[cfg(test)]
mod tests;
mod tunnel;

pub use self::connector::{Attempt, Connector};
pub use self::happy_eyeballs::{Liveness, SocketOption};
pub use self::policy::ConnectPolicy;
pub use self::proxy::{Proxy, ProxyProtocol, ProxyRoute};
pub use self::public_addresses::{Network, PublicAddresses};
pub use self::socks5::Credentials;
#[cfg(any(test, fuzzing))]
pub use self::{socks5::connect as socks5_connect, tunnel::open as open_tunnel};
pub use crate::io::sys::OptionValue;
