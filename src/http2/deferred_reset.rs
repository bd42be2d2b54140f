//! Resets that have still to be sent, over external streams.
//!
//! Dropping an exchange must send `RST_STREAM`. Over an external stream only a driver may write, so the reset is left with the
//! owner of that stream; the operation that gave the exchange up sends it before it returns.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::access::ExchangeIo;
use super::connection::Http2;
use crate::error::Result;
use crate::operation::{DeferredWork, EffectChannel};

/// The time for which a peer that receives nothing may hold up the operation that sends a reset.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A connection with a reset to send for an exchange that was dropped.
struct DeferredReset {
    connection: Weak<Http2>,
    is_async: bool,
}

/// Leaves the reset of a stream with the owner of the external stream, unless another exchange is writing, or can be woken to write.
pub fn defer_reset(connection: &Arc<Http2>) {
    let handle = {
        let mut wire = connection.wire.lock();
        match wire.stream().external() {
            Some(stream) if stream.is_write_wanted() => stream.handle().clone(),
            _ => return,
        }
    };
    if connection.leader_followers.lock().has_followers() || connection.has_deferred_reset.swap(true, Ordering::AcqRel)
    {
        return;
    }
    let reset = DeferredReset { connection: Arc::downgrade(connection), is_async: handle.stream().is_async() };
    handle.owner().add(|dropped| dropped.resets.push(Arc::new(reset)));
}

impl DeferredWork for DeferredReset {
    fn is_async(&self) -> bool {
        self.is_async
    }

    /// Sends the reset. A failure is found by the exchanges that still use the connection.
    fn send(self: Arc<Self>, effects: EffectChannel) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            if let Some(connection) = self.connection.upgrade() {
                connection.has_deferred_reset.store(false, Ordering::Release);
                let mut io = ExchangeIo::new(&connection);
                std::future::poll_fn(|_| if io.write_out(&effects, TIMEOUT) { Poll::Ready(()) } else { Poll::Pending })
                    .await;
            }
            Ok(())
        })
    }
}
