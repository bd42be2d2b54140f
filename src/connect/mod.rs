//! From an origin to a stream: addresses, sockets, proxies and handshakes.

mod connector;
mod happy_eyeballs;
mod proxy;
mod socks5;
mod tunnel;

pub use self::connector::{Attempt, Connector};
pub use self::happy_eyeballs::{OptionValue, SocketOption};
pub use self::proxy::{Proxy, ProxyProtocol, ProxyRoute};
pub use self::socks5::Credentials;
