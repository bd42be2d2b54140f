//! Sockets and waiting, without a runtime: the thread or task that waits for a response moves the bytes of its connection.
//!
//! [`socket`] moves bytes and remembers the readiness that the kernel last reported ([`source`]). A poll that cannot finish leaves in
//! the [`wait_set`] of its thread what it waits for. There are two ways to wait:
//!
//! * A thread polls its future and sleeps in between ([`block_on`], [`parker`]): on the descriptors of its wait set ([`sleep`]), with a
//!   [`notifier`] among them where another thread may have to end the sleep.
//! * A task of an event loop has its sockets in a [`reactor`] and its deadlines in [`timers`].
//!
//! [`deadline`] ends an operation as a whole.
//!
//! A [`stream`] is what a protocol reads from and writes to: a socket, TLS on another stream, or an external stream ([`external`]), which a
//! user's `network_backend` made. Calls of one operating system are in [`sys`].

pub mod block_on;
pub mod deadline;
pub mod external;
pub mod notifier;
pub mod parker;
pub mod progress;
pub mod reactor;
pub mod sleep;
pub mod socket;
pub mod source;
pub mod strand;
pub mod stream;
pub mod sys;
pub mod timers;
pub mod wait_set;
