//! Slots: the connections that the pool has, and the order in which waiters get a free slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::routes::{OriginKey, move_key};
use super::status::Status;
use super::types::{LoopId, WaiterId};

/// The number of requests in a row that may take an idle connection of their own origin while another request has waited longer, for a slot.
///
/// Reuse saves a handshake, but the waiter for the slot must not starve: after so many it gets the slot of the next connection that
/// becomes idle. So at least one in `MAX_OVERTAKES + 1` of the connections that become idle goes to the slot queue.
pub const MAX_OVERTAKES: usize = 8;

/// A slot that is taken.
pub struct Slot<C, W> {
    pub status: Arc<Status>,
    pub origin: OriginKey,
    pub stage: SlotStage<C>,
    /// The loop whose route waits for the connection: it is being made and may turn out to be shared, or it is shared and its limit is
    /// not known yet.
    pub pending: Option<LoopId>,
    /// The waiters for this connection and no other.
    pub only: BTreeMap<WaiterId, (LoopId, W)>,
}

/// The use of a slot. The pool has the connection of an idle or shared one.
pub enum SlotStage<C> {
    /// One request makes the connection or uses it.
    Unique,
    Idle(C),
    /// Several requests may use the connection (HTTP/2).
    SharedSlot(SharedSlot<C>),
}

/// A connection that carries requests, and may carry more.
pub struct SharedSlot<C> {
    pub connection: C,
    pub loop_id: LoopId,
    pub requests: usize,
    /// The number of requests that it takes at a time, once that is known.
    pub limit: Option<usize>,
    pub availability: Availability,
}

/// The answer of a shared connection to one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Yes: its route has it among the open ones.
    Open,
    /// Not before a request on it has ended, or its limit has grown.
    Full,
    /// Never: it ends with the last request.
    Draining,
}

impl<C> SharedSlot<C> {
    /// Returns what the number of requests comes to.
    pub fn availability(&self) -> Availability {
        match self.availability {
            Availability::Draining => Availability::Draining,
            _ if self.requests < self.limit.unwrap_or(1) => Availability::Open,
            _ => Availability::Full,
        }
    }
}

/// The order of the waiters that want a slot.
///
/// It has one entry per origin, for its first such waiter, and only for origins that may have one more connection.
#[derive(Default)]
pub struct SlotQueue {
    queue: BTreeMap<WaiterId, OriginKey>,
    /// The number of requests that have overtaken the first waiter.
    overtaken: usize,
}

impl SlotQueue {
    pub fn first(&self) -> Option<(WaiterId, OriginKey)> {
        self.queue.first_key_value().map(|(waiter, origin)| (*waiter, *origin))
    }

    /// Moves an origin to the position of its waiter `first`, or out of the queue.
    pub fn update(&mut self, queued_as: &mut Option<WaiterId>, first: Option<WaiterId>, origin: OriginKey) {
        move_key(&mut self.queue, queued_as, first, origin);
        if self.queue.is_empty() {
            self.overtaken = 0;
        }
    }

    /// Returns whether `waiter` may take an idle connection now, and counts it if it overtakes a waiter for a slot.
    pub fn admit(&mut self, waiter: WaiterId) -> bool {
        match self.first() {
            Some((first, _)) if first < waiter => {
                let may_overtake = self.overtaken < MAX_OVERTAKES;
                self.overtaken += usize::from(may_overtake);
                may_overtake
            }
            _ => true,
        }
    }

    /// The first waiter got a slot.
    pub fn served(&mut self) {
        self.overtaken = 0;
    }
}
