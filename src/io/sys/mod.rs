//! The operating system, beyond the portable calls of `std`, socket2 and mio.
//!
//! Rule: calls of one family of systems stand in this folder. The exceptions are `src/python`, where Python itself speaks of
//! descriptors (`fileno()`), `error.rs`, which formats error numbers as Python does, and `tls/trust.rs`, which compares files by their
//! inodes where there are any. `unix.rs` and `windows.rs` have the same items:
//!
//! | item | contract |
//! |---|---|
//! | `RawDescriptor` | The number that Python knows a socket by; `Copy`. |
//! | `descriptor`, `into_descriptor` | The number of a socket. The second one leaves it to the caller to close it. |
//! | `PollSet` | Sleeps until a socket is ready, a `WakePair` is woken, a time has passed or a signal arrives. |
//! | `wake_ends`, `WakeReader`, `WakeWriter` | The ends of a [`WakePair`], which wakes a `PollSet` from another thread or from a signal handler. Neither blocks. |
//! | `reader_descriptor`, `writer_number` | Those ends as a `PollSet` and as `signal.set_wakeup_fd()` know them. |
//! | `write_signals` | Writes the numbers of signals to the descriptor that a program has set for them. |
//! | `Poller` | The poller of one event loop: reports the readiness of many sockets. |
//! | `Watch` | A socket's place in a poller, which it must leave by `end` or a drop before it is closed. |
//! | `SEND_FLAGS` | Flags of every send, so that a closed peer is an error and no signal. |
//! | `HAS_INTERFACES`, `bind_to_interface` | Whether a socket can be bound to a network interface by its name, and doing it. |
//! | `set_option` | `setsockopt` with a level, a name and a value that the user gave. |
//! | `HAS_USER_TIMEOUT`, `set_user_timeout` | Whether data may go unacknowledged for a limited time, and the call that limits it. |
//! | `is_connecting` | Tells the error of a connect that goes on in the background. |
//! | `path_of` | The path of a Unix socket's address. |
//!
//! Three constants say in what the families differ:
//!
//! | constant | meaning |
//! |---|---|
//! | `MUST_ARM` | A poller reports a readiness once, and again only after `Watch::arm`. Otherwise it is edge-triggered. |
//! | `SHUTDOWN_ENDS_POLLS` | The shutdown of a socket ends the sleeps in which it is polled. |
//! | `POLLS_REPORT_FAILED_CONNECTS` | A failed connect ends the sleep that waits for it. |
//!
//! A host loop waits for a poller in one of two ways, which are contracts with Python. On Unix it watches the poller's
//! `descriptor()`. Windows has no such descriptor: a thread calls `PollerWaiter::wait` again and again, and has the loop take a turn
//! whenever that returns. The signal numbers that a `WakePair` carries are a contract with Python as well.

#[cfg(unix)]
mod unix;
mod wake_pair;
#[cfg(windows)]
mod windows;

#[cfg(not(any(unix, windows)))]
compile_error!("src/io/sys has no implementation for this system");

use mio::Token;

#[cfg(unix)]
pub use self::unix::*;
pub use self::wake_pair::WakePair;
#[cfg(windows)]
pub use self::windows::*;

/// The number of events that a poller collects at once; what is left is collected the next time.
const EVENTS_PER_TURN: usize = 1024;
/// The poller's own wake-up. Sockets count from zero and do not reach it.
const NOTIFY: Token = Token(usize::MAX);

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

impl Readiness {
    fn of(event: &mio::event::Event) -> Self {
        let read_closed = event.is_read_closed() || event.is_error();
        Self { readable: event.is_readable(), writable: event.is_writable() || read_closed, read_closed }
    }
}

/// The directions in which something waits for a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interests {
    pub read: bool,
    pub write: bool,
}

/// The value of a socket option.
#[derive(Clone, Debug)]
pub enum OptionValue {
    Integer(i32),
    Bytes(Vec<u8>),
    /// No value, only a length: what Python's `setsockopt(level, name, None, length)` sends.
    Null(u32),
}
