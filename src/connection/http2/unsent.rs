//! Resets that have still to go out, over streams of the caller's.
//!
//! Whoever leaves an exchange drops it, and only a driver can write to a stream of the caller's. So the reset is left to the driver
//! that runs on the thread, which sends it before the caller hears that he has left: the peer is not to go on for nobody.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::Http2;
use super::access::Io;
use crate::ask::Asker;
use crate::error::Result;
use crate::lock::lock;

/// How long a peer that takes nothing may hold up somebody who leaves.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A connection with something to send for somebody who has left it.
pub struct UnsentReset {
    connection: Weak<Http2>,
    is_async: bool,
}

thread_local! {
    static UNSENT: RefCell<Vec<UnsentReset>> = const { RefCell::new(Vec::new()) };
}

/// What this thread has to send, over the streams whose methods are awaited or the others.
pub fn take_unsent_resets(is_async: bool) -> Vec<UnsentReset> {
    UNSENT.with_borrow_mut(|unsent| {
        if unsent.is_empty() {
            return Vec::new();
        }
        unsent.extract_if(.., |reset| reset.is_async == is_async).collect()
    })
}

impl UnsentReset {
    /// Leaves the reset of a stream to the driver, unless somebody else writes, or can be woken to.
    pub fn leave(connection: &Arc<Http2>) {
        let is_async = {
            let mut wire = connection.wire.lock();
            match wire.stream().carried() {
                Some(stream) if stream.is_write_wanted() => stream.handle().carrier().is_async(),
                _ => return,
            }
        };
        if lock(&connection.turns).has_followers() {
            return;
        }
        let connection = Arc::downgrade(connection);
        UNSENT.with_borrow_mut(|unsent| {
            if !unsent.iter().any(|reset| Weak::ptr_eq(&reset.connection, &connection)) {
                unsent.push(Self { connection, is_async });
            }
        });
    }

    /// Sends it, if the connection is still there. That it failed is for those to hear who still use the connection.
    pub async fn send(self, asker: Asker) -> Result<()> {
        if let Some(connection) = self.connection.upgrade() {
            let mut io = Io::new(&connection);
            std::future::poll_fn(|_| if io.write_out(&asker, TIMEOUT) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        Ok(())
    }
}
