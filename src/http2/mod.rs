//! HTTP/2 on the h2 crate: one connection that several exchanges share.
//!
//! h2 keeps the state of all streams, and the exchanges hold handles on theirs. Bytes move only when the connection is polled
//! ([`connection`]). Who polls it depends on who uses it:
//!
//! 1. **On an event loop** the connection is a job of the loop's reactor, which reads and writes: when the socket is ready, and when
//!    an exchange has given h2 something to do, also while no exchange waits. An exchange polls its own stream only, and sleeps until h2
//!    wakes it.
//! 2. **Among threads** each exchange reads and writes whenever it is polled, or leaves that to the thread that is doing it at the time
//!    ([`Http2::drive_or_delegate`]); a poll never blocks. Sleeping follows the leader/followers pattern (POSA 2, see
//!    [`leader_followers`]): one of the threads, the leader, sleeps on the socket; the others sleep until what they wait for has been
//!    read, or until they lead.
//! 3. **An external stream** is read and written by the exchanges through effects, one read and one write at a time. The exchanges
//!    that do neither sleep as followers. Nothing is read while no exchange waits.
//!
//! What dropping does on the wire:
//!
//! * An exchange or a response body ([`stream`]) sends `RST_STREAM` (`CANCEL`) unless both sides are complete; the connection stays
//!   with the other exchanges. Over an external stream the reset is deferred to the stream's owner ([`deferred_reset`]).
//! * A connection closes its stream, without a GOAWAY.
//! * In a forked child nothing is sent, and h2's state is left alone ([`DropIfCurrent`](crate::fork::DropIfCurrent)).
//!
//! Lock order, as [`Rank`](crate::lock::Rank) asserts it in debug builds: an [`upload_task`]'s state, the protocol state, h2's sender, h2's
//! own lock, the wire. Wakers are called under h2's lock, and take leaves; the reactor of the [`waker`] and the leader/followers are
//! leaves too. The pool is told of changes without any of these locks.

mod access;
mod body;
mod connection;
mod deferred_reset;
mod exchange;
mod frames;
#[cfg(test)]
mod interleaving;
mod keep_alive;
mod leader_followers;
mod protocol;
mod read_ahead;
mod stream;
#[cfg(test)]
mod tests;
mod upload;
mod upload_task;
mod waker;
mod windows;
mod wire;

pub use self::access::StreamWaiter;
pub use self::body::Http2Body;
pub use self::connection::{ConnectionObserver, Http2};
pub use self::exchange::{FailureCause, Http2Failure, Http2Response};
pub use self::keep_alive::KeepAlive;
pub use self::wire::Http2Wire;
