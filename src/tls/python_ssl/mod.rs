//! TLS by Python's `ssl`, as a layer on a stream.
//!
//! The protocol is an `ssl.SSLObject` between two buffers in memory, which only a driver can call. So the layer has two halves:
//!
//! * [`SslStream`] moves ciphertext between the stream below and the buffers. Where bytes have to be decrypted, encrypted or
//!   answered, it notes in the thread's [`steps`] that its session needs a *step*, and is pending.
//! * [`SslSession`] has the buffers. A driver takes a step: [`SslSession::begin_step`] hands out those that the step works on, Python
//!   is called with no lock held, and [`SslSession::finish_step`] takes the buffers back and wakes the tasks that wait for them.
//!
//! One driver at a time takes a step of a session. A step that fails ends the session, and so does one that is interrupted: it is
//! unknown which of its bytes were processed.

mod records;
mod session;
mod steps;
mod stream;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;

pub use self::records::{Record, first_record};
pub use self::session::{SessionFault, SslSession, StepBuffers, StepInput, StepOutput};
pub use self::steps::{has_steps, needs_step, take_step};
pub use self::stream::SslStream;

/// Makes sessions: a pool's `ssl.SSLContext`, which only the drivers know.
pub trait SslEngine: Any + Send + Sync {
    /// Returns the driver's part of a session with a server of this name, offering these protocols (ALPN). Calls no Python.
    fn session(&self, name: &str, protocols: &'static [&'static [u8]]) -> Arc<dyn Any + Send + Sync>;
}

pub type PythonTls = Arc<dyn SslEngine>;
