//! Which requests may be sent a second time.

use super::send::Exchange;
use crate::error::Kind;
use crate::http1;
use crate::message::Content;

/// The requests that are sent once more when their connection has failed under them, with a body that is here in full.
///
/// A request that was handed over to an idle connection which turns out to be closed, before a byte of it was written, is no such
/// request: nothing was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// Those that the server has not processed, and those that it may have processed and whose method is idempotent.
    #[default]
    Idempotent,
    /// Those that the server has not processed: nothing of them was written, or the server has said so (`GOAWAY`, `REFUSED_STREAM`).
    Unsent,
    Never,
}

impl Exchange<'_> {
    /// Returns whether the request may be sent once more. `is_unsent` says that the server has not processed it.
    pub(super) fn may_replay(&self, is_unsent: bool) -> bool {
        match self.client.replay {
            Replay::Idempotent => is_unsent || self.request.head.method.is_idempotent(),
            Replay::Unsent => is_unsent,
            Replay::Never => false,
        }
    }

    /// Returns whether a request that failed on a reused connection is sent once more on another one (RFC 9112, 9.3.1): the server
    /// closed it before it answered, and either cannot have seen the request or may see it twice.
    pub(super) fn is_replaceable(&self, failure: &http1::Http1Failure) -> bool {
        let closed = matches!(failure.error.kind(), Kind::ReadError | Kind::WriteError | Kind::RemoteProtocolError);
        let unseen = failure.written == 0;
        let repeatable = matches!(self.request.content, Content::Inline(_));
        closed && failure.received == 0 && repeatable && self.may_replay(unseen)
    }
}
