//! Requests as early data of TLS 1.3 (0-RTT): what may be sent so, and what the server refuses.

use std::sync::atomic::Ordering;

use super::send::Exchange;
use crate::message::Http1Head;
use crate::tls::EarlyData;

/// The server does not want the request as early data (RFC 8470, 5.2).
const TOO_EARLY: u16 = 425;

impl Exchange<'_> {
    /// Returns what a new connection may send before its handshake is complete. The server may get it twice: an attacker can record and
    /// repeat it.
    pub(super) fn early_data(&self) -> Option<EarlyData<'_>> {
        let is_allowed = self.client.connector.tls.sends_early_data() && self.may_replay(false);
        let bytes = if is_allowed { self.request.for_early_data()? } else { return None };
        Some(EarlyData { bytes, is_tried: &self.early_data_tried })
    }

    /// Returns whether the response asks for the request again after the handshake. `was_early` says that it was early data. The next
    /// connection is made without.
    pub(super) fn is_too_early(&self, was_early: bool, head: &Http1Head) -> bool {
        was_early && head.status == TOO_EARLY && self.early_data_tried.load(Ordering::Relaxed)
    }
}
