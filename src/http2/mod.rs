//! HTTP/2 on the h2 crate: one connection that several exchanges share.
//!
//! Who moves its bytes depends on who uses it:
//!
//! * On an event loop it is a job of the loop's reactor: polled when its socket is ready and when an exchange has given it
//!   something to do, also while no exchange waits.
//! * Threads poll it themselves. Each of them may, for it never takes long; but only one at a time, the leader, sleeps on the
//!   socket. The others sleep until somebody has read what they wait for, or until the lead falls to them ([`leader_followers`]).
//! * A stream of the caller's `network_backend` is read and written by the exchanges, as by threads.
//!
//! Cancelling: dropping an exchange resets its stream (`CANCEL`) and leaves the connection to the others.

mod access;
mod body;
mod connection;
mod deferred_reset;
mod keep_alive;
mod leader_followers;
mod stream;
mod upload;
mod upload_task;
mod windows;
mod wire;

pub use self::access::StreamWaiter;
pub use self::body::Http2Body;
pub use self::connection::{ConnectionObserver, Http2};
pub use self::keep_alive::KeepAlive;
pub use self::stream::{Http2Failure, Http2Response};
pub use self::wire::{Http2Wire, Http2WireHandle};
