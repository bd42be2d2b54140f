//! Sockets and waiting, without a runtime: whoever waits for a response drives its connection.
//!
//! [`socket`] moves bytes and remembers what the kernel last said about readiness. What a poll could not finish it leaves in
//! [`wait_set`]: the descriptors and the deadline that the calling thread has to wait for. A thread polls its future and sleeps in
//! between ([`block_on`], [`parker`]): in `poll(2)` ([`sleep`]), where another thread may wake it ([`notifier`]). An event loop has
//! its sockets in a [`reactor`] and its deadlines in [`timers`]. Where the caller brings streams of his own, they take the place
//! of sockets ([`external`]).

pub mod block_on;
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
pub mod timers;
pub mod wait_set;
