//! The operating system, beyond the portable calls of `std`, socket2 and mio.
//!
//! Rule: calls of one family of systems stand in this folder. The exceptions are `src/python`, where Python itself speaks of
//! descriptors (signals, the `"socket"` of a network stream), and `tls/trust.rs`, which compares files by their inodes where there are
//! any. `unix.rs` is the only implementation so far; one for another family has the same items:
//!
//! | item | contract |
//! |---|---|
//! | `RawDescriptor` | The number that Python and the poller know a socket by; `Copy`. |
//! | `descriptor`, `poller_descriptor` | The number of a socket, and of a poller that a host loop watches. |
//! | `PollSet` | Sleeps until a socket is ready, a `WakePair` is woken, a time has passed or a signal arrives. |
//! | `WakePair` | Wakes a `PollSet` from another thread or from a signal handler. Neither end blocks. |
//! | `register`, `deregister` | Watch a socket in both directions, edge-triggered, and end that. |
//! | `SEND_FLAGS` | Flags of every send, so that a closed peer is an error and no signal. |
//! | `set_option` | `setsockopt` with a level, a name and a value that the user gave. |
//! | `is_connecting` | Tells the error of a connect that goes on in the background. |
//!
//! The signal numbers that a `WakePair` carries, and a host loop that watches the poller's descriptor, are contracts with Python.

#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
compile_error!("src/io/sys has no implementation for this system");

#[cfg(unix)]
pub use self::unix::{
    PollSet, RawDescriptor, SEND_FLAGS, WakePair, deregister, descriptor, is_connecting, poller_descriptor, register,
    set_option,
};

/// A direction of a stream, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// The readiness of a socket, as the system reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer has closed its side, or the socket has failed: reads never block again.
    pub read_closed: bool,
}

/// The value of a socket option.
#[derive(Clone, Debug)]
pub enum OptionValue {
    Integer(i32),
    Bytes(Vec<u8>),
    /// No value, only a length: what Python's `setsockopt(level, name, None, length)` sends.
    Null(u32),
}
