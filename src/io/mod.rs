//! Sockets and waiting, without a runtime: whoever waits for a response drives its connection.
//!
//! [`socket`] moves bytes and remembers what the kernel last said about readiness. What a poll could not finish it leaves in
//! [`park`]: the descriptors and the deadline that the calling thread has to wait for. A thread sleeps on them in `poll(2)`
//! ([`sleep`]), where another may wake it ([`bell`]); an event loop has its sockets in a [`reactor`] and its deadlines in
//! [`timers`]. Where the caller brings streams of his own, they take the place of sockets ([`carrier`]).

pub mod external;
pub mod notifier;
pub mod progress;
pub mod reactor;
pub mod sleep;
pub mod socket;
pub mod source;
pub mod strand;
pub mod stream;
pub mod timers;
pub mod wait_set;
